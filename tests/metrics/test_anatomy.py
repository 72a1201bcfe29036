"""The error anatomy: each kind of error made once, by hand, and what repairing it gives back."""

import numpy as np
import pytest
from small import BUS, CAR, mask, target

from harness.data.cityscapes import CITYSCAPES
from harness.metrics.anatomy import KINDS, anatomy
from harness.metrics.instance import InstanceAP
from harness.metrics.prediction_views import Detection

METRIC = InstanceAP(CITYSCAPES)
TRUTH = ((26000, (5, 5, 25, 25)), (26001, (5, 32, 25, 52)))
HIT = Detection(CAR, 0.5, mask(5, 5, 25, 25))
OTHER = Detection(CAR, 0.4, mask(5, 32, 25, 52))


def of(*detections: Detection, boxes=TRUTH) -> dict:
    return anatomy(METRIC.observe(detections, target(*boxes)), CITYSCAPES)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("localisation", Detection(CAR, 0.9, mask(5, 32, 25, 40))),
        ("classification", Detection(BUS, 0.9, mask(5, 32, 25, 52))),
        ("duplicate", Detection(CAR, 0.45, mask(5, 5, 25, 25))),
        ("background", Detection(CAR, 0.9, mask(28, 2, 38, 30))),
        ("both", Detection(CAR, 0.9, mask(28, 2, 38, 30))),
    ],
)
def test_an_error_of_each_kind(kind, wrong):
    boxes = TRUTH
    if kind == "both":  # loosely over a bus that nobody else claims
        boxes = (*TRUTH, (28000, (28, 25, 38, 45)))
    if kind == "classification":  # a false positive only counts in a class that has ground truth
        boxes = (*TRUTH, (28000, (28, 25, 38, 45)))
    found = of(HIT, wrong, boxes=boxes)
    assert {name for name in KINDS if found["count50"][name]} - {"missed"} == {kind}
    assert all(found["loss50"][name] == pytest.approx(0) for name in KINDS if name not in (kind, "missed"))
    base = METRIC.score(METRIC.observe([HIT, wrong], target(*boxes)))["AP50"]
    assert found["AP50"] == pytest.approx(base)
    repaired = {
        "localisation": (HIT, Detection(CAR, 0.9, OTHER.mask)),
        "classification": (HIT, Detection(CAR, 0.9, OTHER.mask)),
    }.get(kind, (HIT,))
    after = METRIC.score(METRIC.observe(repaired, target(*boxes)))["AP50"]
    assert found["loss50"][kind] == pytest.approx(after - base)


def test_missed_objects_leave_the_ground_truth():
    found = of(HIT)
    assert found["count50"]["missed"] == 1 and found["loss"]["missed"] == pytest.approx(0.5)
    assert sum(found["count50"].values()) == 1


def test_an_error_that_points_at_an_object_is_not_a_miss_too():
    found = of(HIT, Detection(CAR, 0.3, mask(5, 32, 25, 40)))
    assert found["count50"] == dict.fromkeys(KINDS, 0) | {"localisation": 1}
    assert found["loss50"]["localisation"] == pytest.approx(1 - found["AP50"])


def test_of_two_errors_on_one_object_the_best_is_repaired_and_the_other_removed():
    two = Detection(CAR, 0.3, mask(5, 32, 25, 40)), Detection(CAR, 0.2, mask(5, 44, 25, 52))
    assert of(HIT, *two)["loss50"]["localisation"] == pytest.approx(1 - of(HIT, *two)["AP50"])


def test_forgiven_predictions_are_no_errors():
    boxes = (*TRUTH, (CAR, (28, 2, 38, 30)))
    assert sum(of(HIT, OTHER, Detection(CAR, 0.9, mask(28, 2, 38, 30)), boxes=boxes)["count50"].values()) == 0


def test_by_size_and_truncation():
    boxes = ((26000, (5, 5, 25, 25)), (26001, (0, 30, 38, 59)))
    found = of(HIT, boxes=boxes)
    assert (found["size"]["small"]["objects"], found["size"]["small"]["found50"]) == (1, 1.0)
    assert (found["size"]["medium"]["objects"], found["size"]["medium"]["found50"]) == (1, 0.0)
    assert found["size"]["large"] == found["size"]["large"] | {"objects": 0, "found50": None}
    assert found["size"]["small"]["loss50"]["missed"] == 0
    assert found["size"]["medium"]["loss50"]["missed"] == pytest.approx(0.5)
    assert found["truncation"]["truncated"]["loss50"]["missed"] == pytest.approx(0.5)
    assert found["truncation"]["whole"]["found"] == 1.0


def test_nothing_to_say_without_objects():
    assert of(boxes=()) == {}


def test_losses_are_those_of_the_scores_on_random_frames():
    """AP in the anatomy is AP; no repair makes anything but a rise of recall or precision."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        boxes = [(int(c) * 1000 + k, tuple(b)) for k, (c, b) in enumerate(_boxes(rng, 4))]
        detections = [Detection(int(c), float(rng.random()), mask(*b)) for c, b in _boxes(rng, 6)]
        detections += [Detection(id_ // 1000, float(rng.random()), mask(*b)) for id_, b in boxes]
        statistics = METRIC.observe(detections, target(*boxes))
        found = anatomy(statistics, CITYSCAPES)
        assert found["AP"] == pytest.approx(METRIC.score(statistics)["AP"])
        assert min(found["loss"].values()) > -1e-9


def _boxes(rng: np.random.Generator, n: int):
    for _ in range(n):
        top, left = int(rng.integers(0, 20)), int(rng.integers(0, 40))
        yield rng.choice([CAR, BUS]), (top, left, top + int(rng.integers(10, 20)), left + int(rng.integers(10, 20)))
