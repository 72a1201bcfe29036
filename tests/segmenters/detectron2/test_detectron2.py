"""The detectron2 adapter where detectron2 is not installed; on the real one: test_detectron2_fetched.py."""

import importlib.util

import pytest

from harness.core.config import parse
from harness.core.errors import HarnessError
from harness.data.cityscapes import CITYSCAPES
from harness.planning.listing import entries
from harness.planning.plan import make_plan
from harness.segmenters.base import SegmenterPart
from harness.segmenters.detectron2.adapter import Detectron2
from harness.segmenters.detectron2.options import INSTALL, Model, Training
from harness.segmenters.options import Backbone

SUITE = """
title = "with a neighbour"
question = "does it stand in the way?"
seeds = [0]
[[rows]]
method = "m"
generator = "none"
segmenter = "detectron2"
backbone = "resnet50"
[[rows]]
method = "o"
generator = "none"
segmenter = "oneformer"
backbone = "convnext"
"""


@pytest.fixture(autouse=True)
def without(monkeypatch):
    """No detectron2, whatever this machine has."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "detectron2" else found(name))


def test_it_is_listed_with_the_line_that_installs_it():
    states = {entry.name: entry.state for entry in entries() if entry.kind == "segmenter"}
    assert states["detectron2"].startswith("not installed: detectron2")
    assert INSTALL in states["detectron2"]
    assert states["oneformer"] == "built"


def test_its_rows_are_not_built_and_the_others_run(tmp_path):
    suite = tmp_path / "neighbour.toml"
    suite.write_text(SUITE)
    names = {row.arm.segmenter: row for row in make_plan(str(suite), "mini").rows}
    assert "not installed" in names["detectron2"].why
    assert not names["detectron2"].finals
    assert names["oneformer"].finals


def test_building_it_is_one_clear_error():
    with pytest.raises(HarnessError, match="not installed") as error:
        Detectron2.build(Backbone(label="R50", family="resnet"), Model(config="x.yaml"), CITYSCAPES)
    assert error.value.hint == INSTALL


def test_its_tables_are_parsed_by_its_own_models(tmp_path):
    base, over = tmp_path / "base.yaml", tmp_path / "over.yaml"
    base.write_text("A: 1\n")
    over.write_text('_BASE_: "base.yaml"\nB: 2\n')
    part = SegmenterPart(
        label="x",
        adapter="detectron2",
        backbones={"r": Backbone(label="r", family="resnet")},
        model={"config": str(over)},
        training={"iterations": 3, "batch_size": 1},
    )
    assert part.training == Training(iterations=3, batch_size=1)
    first = part.fingerprint("r")
    base.write_text("A: 2\n")
    assert part.fingerprint("r") != first, "what it is based on decides, too"
    data = part.model_dump(mode="json")
    with pytest.raises(HarnessError, match="training: unknown key 'crop'"):
        parse(SegmenterPart, data | {"training": data["training"] | {"crop": 5}}, "x.toml")
    with pytest.raises(HarnessError, match="no such file: nowhere"):
        parse(SegmenterPart, data | {"model": {"config": "nowhere.yaml"}}, "x.toml").fingerprint("r")
