"""Predictions from files give what the same predictions from arrays give, and read no more than is asked for."""

import json

import numpy as np
import pytest
from PIL import Image
from small import CAR, PERSON, ROAD, SKY, canvas, mask, write_instances, write_panoptic, write_semantic, write_truth

from harness.core.errors import HarnessError
from harness.data import png, rle
from harness.data.cityscapes import CITYSCAPES
from harness.metrics.base import Target
from harness.metrics.prediction_views import Detection, LabelMap, Segmentation, locate
from harness.metrics.reader import reader

NAME = "city_000000_000001"
TRUTH = canvas((26000, (5, 5, 25, 25)), (24001, (10, 30, 35, 45)), (SKY, (0, 0, 5, 60)))


@pytest.fixture(params=[False, True], ids=["numpy", "compiled"])
def frame(request, tmp_path):
    """(reader, ground truth read by it)."""
    read = reader(compiled=request.param)
    return read, read.target(write_truth(tmp_path, NAME, TRUTH), CITYSCAPES)


def opened(kind, source, frame):
    return locate(kind, source, "val", [NAME], CITYSCAPES)[NAME].open(*frame)


def same(one, other) -> None:
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_map_of_labels(frame, tmp_path):
    labels = canvas((CAR, (6, 5, 25, 28)), (SKY, (0, 0, 6, 60))).astype(np.uint8)
    write_semantic(tmp_path / "p", NAME, labels)
    found, plain = opened("semantic", tmp_path / "p", frame), Target(ids=TRUTH, labels=CITYSCAPES)
    same(found.counts(frame[1]), LabelMap(labels).counts(plain))
    np.testing.assert_array_equal(found.ids, labels)
    assert found.source.endswith(".png")


def test_a_panoptic_map(frame, tmp_path):
    ids, labels = canvas((900, (6, 5, 25, 28)), (901, (0, 0, 6, 60))), {ROAD: ROAD, 900: CAR, 901: SKY}
    found = opened("panoptic", write_panoptic(tmp_path / "p", **{NAME: (ids, labels)}), frame)
    plain = Target(ids=TRUTH, labels=CITYSCAPES)
    same(found.counts(frame[1]), Segmentation(ids.astype(np.int32), labels).counts(plain))
    np.testing.assert_array_equal(found.ids, ids)
    assert found.labels == labels


@pytest.mark.parametrize("form", ["masks", "run lengths"])
def test_instances(frame, tmp_path, form):
    drawn = [(CAR, 0.9, mask(6, 5, 25, 28)), (PERSON, 0.25, mask(8, 30, 33, 44))]
    source = tmp_path / "p"
    if form == "masks":
        write_instances(source, NAME, *drawn)
    else:
        source = tmp_path / "results.json"
        entries = [
            {
                "image_id": NAME,
                "category_id": label,
                "score": score,
                "segmentation": {"size": [40, 60], "counts": rle.encode(pixels)},
            }
            for label, score, pixels in drawn
        ]
        source.write_text(json.dumps(entries))
    found, plain = opened("instances", source, frame), Target(ids=TRUTH, labels=CITYSCAPES)
    assert [(one.label_id, one.score) for one in found] == [(label, score) for label, score, _ in drawn]
    for one, (label, score, pixels) in zip(found, drawn, strict=True):
        same(one.under(frame[1]), Detection(label, score, pixels).under(plain))
        np.testing.assert_array_equal(one.mask != 0, pixels != 0)


def test_counts_decode_no_image_and_pixels_are_read_once(tmp_path, monkeypatch):
    write_semantic(tmp_path / "p", NAME, canvas().astype(np.uint8))
    read = reader(compiled=True)
    found = opened("semantic", tmp_path / "p", (read, read.target(write_truth(tmp_path, NAME, TRUTH), CITYSCAPES)))
    calls = []
    monkeypatch.setattr(png, "decoded", lambda path: calls.append(path) or Image.open(path))
    assert found.counts(Target(ids=TRUTH, labels=CITYSCAPES)) is found.counts(Target(ids=TRUTH, labels=CITYSCAPES))
    assert calls == []
    assert found.ids is found.ids
    assert len(calls) == 1


@pytest.mark.parametrize(
    "prediction", [LabelMap(np.zeros((3, 4), np.uint8)), Segmentation(np.zeros((3, 4), np.int32), {})]
)
def test_arrays_of_another_size_are_an_error(prediction):
    with pytest.raises(HarnessError, match=r"the prediction is \(3, 4\), ground truth is \(40, 60\)"):
        prediction.counts(Target(ids=TRUTH, labels=CITYSCAPES))


def test_a_mask_without_a_finite_score_is_an_error():
    with pytest.raises(HarnessError, match="score nan"):
        Detection(CAR, float("nan"), mask(0, 0, 5, 5)).under(Target(ids=TRUTH, labels=CITYSCAPES))
