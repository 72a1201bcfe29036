"""The listing says of every kind of part what it needs and has not."""

from pathlib import Path

import pytest

from harness.core.registry import Adapter
from harness.data.base import DATASETS, Dataset
from harness.generators.base import GENERATORS, Generator
from harness.planning.listing import entries


class Lacking(Adapter):
    @classmethod
    def missing(cls):
        return "not installed: theirs"


class LackingDataset(Lacking, Dataset):
    pass


class LackingGenerator(Lacking, Generator):
    pass


@pytest.mark.parametrize(
    ("registry", "adapter"), [(DATASETS, LackingDataset), (GENERATORS, LackingGenerator)], ids=["dataset", "generator"]
)
def test_what_an_adapter_lacks_is_told_with_and_without_a_part(registry, adapter, tmp_path, monkeypatch):
    monkeypatch.setitem(registry.entries, "theirs", f"{__name__}:{adapter.__name__}")
    kind = registry.kind
    unused = {one.name: one.state for one in entries() if one.kind == f"{kind} adapter"}
    assert unused["theirs"] == "not installed: theirs, no part uses it"
    monkeypatch.chdir(tmp_path)
    part = Path("configs", f"{kind}s", "mine.toml")
    part.parent.mkdir(parents=True)
    part.write_text('label = "Mine"\nadapter = "theirs"\n')
    found = {one.name: one.state for one in entries() if one.kind == kind}
    assert found["mine"] == "not installed: theirs"
