"""Panoptic quality, case by case."""

import numpy as np
import pytest
from small import CAR, PERSON, ROAD, canvas, target

from harness.core.errors import HarnessError
from harness.data.cityscapes import CITYSCAPES
from harness.metrics.base import Target
from harness.metrics.panoptic import PanopticQuality
from harness.metrics.prediction_views import Segmentation

METRIC = PanopticQuality(CITYSCAPES)
CARS = ((26000, (5, 5, 25, 25)), (26, (5, 30, 35, 50)))


def predict(*boxes: tuple[int, tuple[int, int, int, int]], **labels: int) -> Segmentation:
    ids = canvas(*boxes).astype(np.int64)
    return Segmentation(ids, {ROAD: ROAD} | {int(name[1:]): label for name, label in labels.items()})


def counts(prediction: Segmentation, *boxes) -> dict[str, list[float]]:
    table = METRIC.observe(prediction, target(*boxes))["panoptic"][0]
    return {"road": table[0].tolist(), "person": table[11].tolist(), "car": table[13].tolist()}


def test_a_perfect_prediction_is_1():
    statistics = METRIC.observe(predict((900, (5, 5, 25, 25)), s900=CAR), target(CARS[0]))
    found = METRIC.score(statistics)
    assert found["PQ"] == found["SQ"] == 1.0


def test_a_prediction_on_the_crowd_of_its_class_is_forgiven_and_of_another_class_not():
    prediction = predict(
        (900, (5, 5, 25, 25)), (901, (10, 32, 20, 42)), (902, (22, 32, 32, 42)), s900=CAR, s901=CAR, s902=PERSON
    )
    found = counts(prediction, *CARS)
    assert found["car"] == [1.0, 1.0, 0.0, 0.0]
    assert found["person"] == [0.0, 0.0, 1.0, 0.0]


def test_void_leaves_the_union_and_forgives():
    prediction = predict((900, (5, 5, 25, 35)), (901, (28, 40, 38, 50)), s900=CAR, s901=CAR)
    truth = (CARS[0], (4, (5, 25, 25, 35)), (29001, (28, 40, 38, 50)))
    assert counts(prediction, *truth)["car"] == [1.0, 1.0, 0.0, 0.0]


def test_iou_of_exactly_one_half_is_a_false_positive_and_a_miss():
    assert counts(predict((900, (5, 5, 25, 15)), s900=CAR), CARS[0])["car"] == [0.0, 0.0, 1.0, 1.0]


def test_weights_multiply_frames():
    good = METRIC.observe(predict((900, (5, 5, 25, 25)), s900=CAR), target(CARS[0]))["panoptic"]
    bad = METRIC.observe(predict(), target(CARS[0]))["panoptic"]
    found = METRIC.replicates({"panoptic": np.concatenate([good, bad])}, np.array([[1, 1], [2, 0], [0, 1]]))
    np.testing.assert_allclose(found["PQ/car"], [1 / 1.5, 1.0, 0.0])
    np.testing.assert_allclose(found["PQ_things"], [1 / 1.5, 1.0, 0.0])


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({ROAD: ROAD}, "segment 900 is in the PNG, but not in segments_info"),
        ({ROAD: ROAD, 900: CAR, 5: CAR}, "segment 5 is in segments_info, but not in the PNG"),
        ({ROAD: ROAD, 900: 99}, "no evaluated label id"),
        ({ROAD: ROAD, 900: 255}, "train ids"),
    ],
)
def test_segments_and_png_must_agree(labels, words):
    ids = canvas((900, (5, 5, 25, 25))).astype(np.int64)
    with pytest.raises(HarnessError) as caught:
        METRIC.observe(Segmentation(ids, labels), target(CARS[0]))
    assert words in str(caught.value)


def test_100000_segments_that_are_not_there_are_one_short_message():
    labels = {ROAD: ROAD} | dict.fromkeys(range(1000, 101_000), CAR)
    with pytest.raises(HarnessError) as caught:
        METRIC.observe(Segmentation(canvas().astype(np.int64), labels), target())
    assert "100000 segments (1000, 1001, 1002, ...)" in str(caught.value) and len(str(caught.value)) < 200


def test_100000_segments_that_are_there_are_evaluated():
    ids = np.arange(1, 100_001).reshape(250, 400)
    truth = Target(ids=np.full((250, 400), ROAD, np.uint16), labels=CITYSCAPES)
    table = METRIC.observe(Segmentation(ids, dict.fromkeys(ids.ravel().tolist(), CAR)), truth)["panoptic"]
    assert table[0, 13].tolist() == [0.0, 0.0, 100_000.0, 0.0] and table[0, 0].tolist() == [0.0, 0.0, 0.0, 1.0]
