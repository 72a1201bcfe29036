"""The official result formats."""

import json

import numpy as np
import pytest
from PIL import Image

from harness.core.errors import HarnessError
from harness.data import prediction_files
from harness.data.cityscapes import CITYSCAPES
from harness.data.prediction import Instance, Prediction, Segment

MASK = np.eye(6, 8, dtype=bool)
ANSWER = Prediction(
    instances=[Instance(MASK, 26, 0.75), Instance(~MASK, 24, 0.5)],
    semantic=np.full((6, 8), 7, dtype=np.uint8),
    panoptic=np.where(MASK, 300, 1).astype(np.int32),
    segments=(Segment(1, 7), Segment(300, 26)),
)


def test_files_are_those_of_the_official_scripts(tmp_path):
    prediction_files.write(tmp_path, "val", "a_000000_000019", ANSWER, CITYSCAPES)
    assert prediction_files.finish(tmp_path, "val", ["a_000000_000019"], CITYSCAPES) == [
        "instance",
        "semantic",
        "panoptic",
    ]
    lines = (tmp_path / "instances/a_000000_000019.txt").read_text().splitlines()
    path, label, score = lines[0].split(" ")
    assert (label, float(score)) == ("26", 0.75)
    mask = np.asarray(Image.open(tmp_path / "instances" / path))
    assert mask.dtype == np.uint8
    assert (mask == MASK * 255).all()
    assert (np.asarray(Image.open(tmp_path / "semantic/a_000000_000019_pred_labelIds.png")) == 7).all()
    panoptic = json.loads((tmp_path / "panoptic/cityscapes_panoptic_val.json").read_text())
    annotation = panoptic["annotations"][0]
    path = tmp_path / "panoptic/cityscapes_panoptic_val" / annotation["file_name"]
    colours = np.asarray(Image.open(path)).astype(int)
    assert (colours @ [1, 256, 65536] == ANSWER.panoptic).all()
    assert annotation["image_id"] == "a_000000_000019"
    areas = {s["id"]: (s["category_id"], s["area"]) for s in annotation["segments_info"]}
    assert areas == {1: (7, 42), 300: (26, 6)}


def test_a_frame_without_answers_is_named(tmp_path):
    prediction_files.write(tmp_path, "val", "a_000000_000019", ANSWER, CITYSCAPES)
    with pytest.raises(HarnessError, match="a_000001_000019"):
        prediction_files.finish(tmp_path, "val", ["a_000000_000019", "a_000001_000019"], CITYSCAPES)


def test_tasks_that_were_not_done_leave_no_files(tmp_path):
    prediction_files.write(tmp_path, "val", "a_000000_000019", Prediction(instances=[]), CITYSCAPES)
    assert prediction_files.finish(tmp_path, "val", ["a_000000_000019"], CITYSCAPES) == ["instance"]
    assert (tmp_path / "instances/a_000000_000019.txt").read_text() == ""
    assert not (tmp_path / "panoptic").exists()
    assert not (tmp_path / "semantic").exists()
