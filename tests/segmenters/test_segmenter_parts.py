"""Parts and adapters: options are parsed once and written as given; hooks have defaults."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import toy
from pydantic import Field

from harness.core.config import Strict, parse
from harness.core.errors import HarnessError
from harness.data.cityscapes import CITYSCAPES
from harness.generators.base import GENERATORS, GeneratorPart
from harness.planning.suite import load_part, names
from harness.segmenters import checkpoint
from harness.segmenters.base import SEGMENTERS, SegmenterAdapter, SegmenterPart
from harness.segmenters.options import Backbone, Budget, Inference, Training
from harness.stages.train import TrainSpec

PROFILES = ("smoke", "mini", "paper")
PAINTING = [name for name in names("generators") if GENERATORS.has(load_part("generators", name, "mini")[0]["adapter"])]


class Lines(Strict):
    """Model options of an adapter that has nothing but defaults."""

    width: int = Field(default=3, ge=1)
    sides: tuple[int, int] = (1, 2)


class Plain(SegmenterAdapter[Lines]):
    """An adapter that names its options and builds nothing."""

    Model = Lines

    @classmethod
    def build(cls, backbone, model, labels, *, shape=None):
        raise NotImplementedError


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.setitem(SEGMENTERS.entries, "plain", "test_segmenter_parts:Plain")


def table(**tables: Any) -> dict[str, Any]:
    training = {"iterations": 1, "batch_size": 2, "crop": [32, 32], "short_sides": [32], "learning_rate": 1e-3}
    given = {"label": "Plain", "adapter": "plain", "backbones": {"b": {"label": "B"}}, "training": training}
    return given | tables


def test_hooks_that_an_adapter_leaves_out_have_defaults(tmp_path: Path):
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"1")
    assert (Plain.missing(), Plain.Training, Plain.Inference) == ("", Training, Inference)
    assert Plain.tasks == ("instance", "semantic", "panoptic")
    assert Plain.reading("a/b", Lines(), CITYSCAPES) == Lines()
    assert Plain.fingerprint(Backbone(label="B", weights="owner/name"), Lines()) == ""
    first = Plain.fingerprint(Backbone(label="B", weights=str(weights)), Lines())
    weights.write_bytes(b"2")
    assert "" != first != Plain.fingerprint(Backbone(label="B", weights=str(weights)), Lines())


def test_a_table_is_parsed_by_the_models_of_its_adapter():
    part = parse(SegmenterPart, table(model={"width": 5, "sides": [3, 4]}), "plain.toml")
    assert part.model == Lines(width=5, sides=(3, 4))
    assert isinstance(part.training, Training) and part.training.crop == (32, 32)
    assert part.inference == Inference()
    assert part.kind is Plain


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"model": {"widht": 5}}, r"plain.toml, model: unknown key 'widht'(.|\n)*'width'"),
        ({"model": {"width": 0}}, "plain.toml, model: key 'width': input should be greater"),
        ({"training": {}}, "plain.toml, training: key 'iterations' is missing"),
        ({"inference": 3}, "plain.toml, inference: key '(top level)'".replace("(", r"\(").replace(")", r"\)")),
        ({"adapter": "plane"}, r"unknown segmenter adapter 'plane'(.|\n)*'plain'"),
        ({"modle": {}}, r"plain.toml: unknown key 'modle'(.|\n)*'model'"),
    ],
)
def test_a_mistake_in_a_table_is_told_with_file_table_and_key(tables, words):
    with pytest.raises(HarnessError, match=words):
        parse(SegmenterPart, table(**tables), "plain.toml")


def test_a_part_without_an_adapter_says_so():
    with pytest.raises(HarnessError, match=r"plain\.toml: key 'adapter' is missing"):
        parse(SegmenterPart, {"label": "x", "backbones": {"b": {"label": "B"}}}, "plain.toml")


def test_a_default_that_an_adapter_gains_moves_no_key(monkeypatch):
    class More(Lines):
        depth: int = 7

    def key() -> dict[str, Any]:
        part = parse(SegmenterPart, table(model={"width": 5}), "plain.toml")
        return TrainSpec(segmenter=part, backbone="b", seed=0).decisive()

    before = key()
    monkeypatch.setattr(Plain, "Model", More)
    assert key() == before
    assert before["segmenter"]["model"] == {"width": 5}


def as_json(data: Any) -> Any:
    return json.loads(json.dumps(data))


def has_settings(name: str, profile: str) -> bool:
    """Whether the part has a budget under the profile: some systems have none but the paper's so far."""
    return "iterations" in load_part("segmenters", name, profile)[0].get("training", {})


@pytest.mark.parametrize(
    ("name", "profile"), [both for both in product(names("segmenters"), PROFILES) if has_settings(*both)]
)
def test_tables_of_segmenters_are_written_as_they_were_given(name, profile):
    data, path = load_part("segmenters", name, profile)
    part = parse(SegmenterPart, data, path)
    for copy in (part, SegmenterPart.model_validate_json(part.model_dump_json())):
        written = copy.model_dump(mode="json")
        for kind in ("model", "training", "inference"):
            assert written[kind] == as_json(data.get(kind, {})), f"{name}, {kind}: the key of its steps would move"


@pytest.mark.parametrize(("name", "profile"), list(product(PAINTING, PROFILES)))
def test_options_of_generators_are_written_as_they_were_given(name, profile):
    data, path = load_part("generators", name, profile)
    part = parse(GeneratorPart, data, path)
    for copy in (part, GeneratorPart.model_validate_json(part.model_dump_json())):
        assert copy.model_dump(mode="json")["options"] == as_json(data.get("options", {}))


def test_a_training_is_read_back_with_typed_options(tmp_path):
    part = toy.part("mask2former")
    import torch

    torch.manual_seed(0)
    network = part.build("convnext", CITYSCAPES)
    assert not checkpoint.finished(tmp_path)
    checkpoint.save(tmp_path, network, network.state_dict(), part, "convnext", {"images_seen": 8})
    found = checkpoint.read(tmp_path)
    assert found.model == part.model and type(found.model) is type(part.model)
    assert (found.adapter, found.backbone, found.facts) == ("mask2former", part.chosen("convnext"), {"images_seen": 8})
    config = json.loads((tmp_path / checkpoint.CONFIG).read_text())
    (tmp_path / checkpoint.CONFIG).write_text(json.dumps(config | {"format": 2}))
    with pytest.raises(HarnessError, match=r"config.json: key 'format': input should be 1, found 2"):
        checkpoint.read(tmp_path)
    (tmp_path / checkpoint.CONFIG).write_text(json.dumps(config | {"model": {"hiden": 1}}))
    with pytest.raises(HarnessError, match=r"config.json, model: unknown key 'hiden'"):
        checkpoint.read(tmp_path)


def test_a_budget_alone_asks_for_no_validation_and_no_parts():
    budget = Budget(iterations=3, batch_size=4)
    assert (budget.validates, budget.at_a_time) == (False, 4)
    training = parse(Training, table()["training"] | {"batch_size": 4, "accumulate": 2, "validate_every": 5}, "x")
    assert (training.validates, training.at_a_time) == (True, 2)
