"""Pixel IoU, case by case."""

import numpy as np
import pytest
from small import CAR, PERSON, ROAD, SKY, canvas, target

from harness.core.errors import HarnessError
from harness.data.cityscapes import CITYSCAPES
from harness.metrics.prediction_views import LabelMap
from harness.metrics.semantic import PixelIoU

METRIC = PixelIoU(CITYSCAPES)


def score(prediction: np.ndarray, *boxes) -> dict[str, float]:
    return METRIC.score(METRIC.observe(LabelMap(prediction.astype(np.uint8)), target(*boxes)))


def test_a_perfect_prediction_is_1_and_absent_classes_are_left_out():
    found = score(canvas((CAR, (5, 5, 25, 25))), (26000, (5, 5, 25, 25)))
    assert found["IoU"] == found["IoU_category"] == found["iIoU"] == found["iIoU_category"] == 1.0
    assert np.isnan(found["IoU/sky"])


def test_a_class_predicted_on_other_ground_truth_is_0_and_counts():
    found = score(canvas((SKY, (0, 0, 20, 60))))
    assert (found["IoU/sky"], found["IoU/road"], found["IoU"]) == (0.0, 0.5, 0.25)


def test_ignored_ground_truth_counts_nowhere_and_predicted_void_is_a_miss():
    found = score(canvas((SKY, (0, 0, 20, 60)), (0, (20, 0, 40, 30))), (4, (0, 0, 20, 60)))
    assert np.isnan(found["IoU/sky"])
    assert found["IoU/road"] == 0.5


def test_instances_weigh_the_same_in_iiou_whatever_their_size():
    boxes = ((26000, (0, 0, 30, 30)), (26001, (32, 40, 38, 50)))
    found = score(canvas((CAR, (0, 0, 30, 30))), *boxes)
    assert found["IoU/car"] == pytest.approx(900 / 960)
    assert found["iIoU/car"] == pytest.approx(0.5)


def test_iiou_of_a_category_takes_any_label_of_it():
    found = score(canvas((29, (0, 0, 30, 30))), (26000, (0, 0, 30, 30)))
    assert (found["iIoU/car"], found["iIoU_category/vehicle"]) == (0.0, 1.0)
    assert found["IoU_category/vehicle"] == 0.0


def test_weights_multiply_frames():
    parts = [
        METRIC.observe(LabelMap(canvas().astype(np.uint8)), target((SKY, (0, 0, rows, 60)))) for rows in (0, 20, 40)
    ]
    together = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    found = METRIC.replicates(together, np.array([[1, 1, 1], [0, 2, 0]]))
    np.testing.assert_allclose(found["IoU/road"], [60 / 120, 0.5])


@pytest.mark.parametrize(
    ("ids", "label", "words"), [(ROAD, 34, "label id 34"), (ROAD, 255, "train ids"), (40, ROAD, "id 40")]
)
def test_ids_outside_the_set_are_errors(ids, label, words):
    with pytest.raises(HarnessError) as caught:
        METRIC.observe(LabelMap(canvas((label, (1, 1, 2, 2)))), target((ids, (0, 0, 1, 1))))
    assert words in str(caught.value)


@pytest.mark.parametrize("ids", [34, 999, 7001, 23999, 34000, 65535])
def test_ground_truth_of_no_label_is_an_error(ids):
    with pytest.raises(HarnessError, match=f"id {ids} is of no label of cityscapes"):
        METRIC.observe(LabelMap(canvas().astype(np.uint8)), target((ids, (0, 0, 1, 1))))


def test_a_person_for_a_car_is_wrong_in_its_category_too():
    assert score(canvas((PERSON, (5, 5, 25, 25))), (26000, (5, 5, 25, 25)))["IoU_category"] < 1


@pytest.mark.parametrize(
    ("map_", "doubted"),
    [
        (canvas((2, (0, 0, 20, 60)), (13, (20, 0, 40, 60))), True),  # train ids of building and car
        (canvas((11, (0, 0, 20, 60)), (26, (20, 0, 40, 60))), False),
        (canvas((11, (0, 0, 20, 60))), False),  # building on road, and no car found: poor, but label ids
        (canvas((0, (0, 0, 40, 60))), False),  # nothing is predicted
    ],
)
def test_maps_that_look_like_train_ids_are_doubted(map_, doubted):
    found = METRIC.observe(LabelMap(map_.astype(np.uint8)), target((26000, (5, 5, 25, 25))))
    assert ("train ids" in METRIC.doubt(found)) == doubted


def test_a_map_of_another_size_is_an_error():
    with pytest.raises(HarnessError, match=r"the prediction is \(3, 4\), ground truth is \(40, 60\)"):
        METRIC.observe(LabelMap(np.zeros((3, 4), np.uint8)), target())
