"""AP of Cityscapes, case by case."""

import numpy as np
import pytest
from small import BUS, CAR, PERSON, mask, target

from harness.data.cityscapes import CITYSCAPES
from harness.metrics.instance import InstanceAP, has_depth
from harness.metrics.matching import assign
from harness.metrics.prediction_views import Detection

METRIC = InstanceAP(CITYSCAPES)


def score(truth, *detections: Detection) -> dict[str, float]:
    return METRIC.score(METRIC.observe(detections, truth))


def test_a_perfect_prediction_is_1():
    found = score(target((26000, (5, 5, 25, 25))), Detection(CAR, 0.3, mask(5, 5, 25, 25)))
    assert found["AP"] == found["AP50"] == found["AP/car"] == 1.0
    assert np.isnan(found["AP/bus"])


def test_iou_of_exactly_one_half_is_no_match():
    half = Detection(CAR, 0.9, mask(5, 5, 25, 15))  # 200 of 400 pixels
    assert score(target((26000, (5, 5, 25, 25))), half)["AP50"] == 0.0


def test_the_higher_score_has_the_object_even_with_the_lower_iou():
    truth = target((26000, (5, 5, 25, 25)))
    loose, tight = Detection(CAR, 0.9, mask(5, 5, 25, 20)), Detection(CAR, 0.5, mask(5, 5, 25, 25))
    # Up to 0.7 both match and the loose one, first on the curve, is the hit; above 0.75 it is a false positive.
    assert score(truth, loose, tight)["AP50"] == 1.0
    assert score(truth, loose, tight)["AP"] == pytest.approx((5 * 1.0 + 5 * 0.25) / 10)


def test_ties_are_one_point_of_the_curve():
    truth = target((26000, (5, 5, 25, 25)))
    hit, wrong = Detection(CAR, 0.5, mask(5, 5, 25, 25)), Detection(CAR, 0.5, mask(28, 30, 38, 50))
    assert score(truth, hit, wrong)["AP50"] == score(truth, wrong, hit)["AP50"] == 0.75


def test_objects_below_100_pixels_are_neither_asked_for_nor_punished():
    truth = target((26000, (5, 5, 25, 25)), (26001, (30, 30, 39, 41)))
    assert score(truth, Detection(CAR, 0.9, mask(5, 5, 25, 25)))["AP"] == 1.0
    both = Detection(CAR, 0.9, mask(5, 5, 25, 25)), Detection(CAR, 0.95, mask(30, 30, 39, 41))
    assert score(truth, *both)["AP"] == 1.0


def test_predictions_in_groups_and_void_are_forgiven_as_far_as_the_threshold_says():
    truth = target((26000, (5, 5, 25, 25)), (CAR, (5, 30, 35, 50)))
    hit, inside = Detection(CAR, 0.5, mask(5, 5, 25, 25)), Detection(CAR, 0.9, mask(10, 32, 20, 42))
    assert score(truth, hit, inside)["AP"] == 1.0
    leaking = Detection(CAR, 0.9, mask(10, 43, 20, 53))  # 70 of 100 pixels lie in the group
    assert score(truth, hit, leaking)["AP50"] == 1.0
    assert score(truth, hit, leaking)["AP"] == pytest.approx((4 * 1.0 + 6 * 0.25) / 10)


def test_caravan_objects_are_no_void_but_caravan_groups_are():
    hit, on_it = Detection(CAR, 0.5, mask(5, 5, 25, 25)), Detection(CAR, 0.9, mask(10, 32, 20, 42))
    assert score(target((26000, (5, 5, 25, 25)), (29001, (5, 30, 35, 50))), hit, on_it)["AP50"] == 0.25
    assert score(target((26000, (5, 5, 25, 25)), (29, (5, 30, 35, 50))), hit, on_it)["AP50"] == 1.0


def test_a_class_whose_predictions_are_all_forgiven_is_0():
    """The official script stops here with an IndexError."""
    truth = target((26000, (5, 5, 25, 25)), (CAR, (5, 30, 35, 50)))
    assert score(truth, Detection(CAR, 0.9, mask(10, 32, 20, 42)))["AP"] == 0.0


def test_false_positives_of_a_class_without_ground_truth_do_not_matter():
    hit, bus = Detection(CAR, 0.5, mask(5, 5, 25, 25)), Detection(BUS, 0.9, mask(28, 30, 38, 50))
    assert score(target((26000, (5, 5, 25, 25))), hit, bus)["AP"] == 1.0


def test_no_prediction_is_0_and_no_ground_truth_undefined():
    assert score(target((26000, (5, 5, 25, 25))))["AP"] == 0.0
    assert np.isnan(score(target(), Detection(CAR, 0.5, mask(5, 5, 25, 25)))["AP"])


def test_weights_equal_drawing_frames_again():
    rng = np.random.default_rng(0)
    parts = []
    for frame in range(8):
        truth = target((26000, (5, 5, 25, 25)), (24000 + frame, (10, 30, 35, 45)))
        detections = [
            Detection(int(label), float(value), mask(5 + shift, left + shift, 25, left + 20))
            for label, value, shift, left in zip(
                rng.choice([CAR, PERSON], 6),
                np.round(rng.random(6), 1),
                rng.integers(0, 6, 6),
                [5, 5, 28, 28, 5, 30],
                strict=True,
            )
        ]
        parts.append(METRIC.observe(detections, truth))
    together = METRIC.collect(parts)
    for _ in range(30):
        drawn = rng.integers(0, 8, 8)
        again = METRIC.replicates(METRIC.collect([parts[i] for i in drawn]))
        weighted = METRIC.replicates(together, np.bincount(drawn, minlength=8)[None])
        for name, values in again.items():
            np.testing.assert_allclose(weighted[name], values, atol=1e-12, err_msg=name)


def test_ap_is_the_mean_over_thresholds_and_ap50_the_first():
    found = score(target((26000, (5, 5, 25, 25))), Detection(CAR, 0.9, mask(5, 5, 25, 20)))
    assert (found["AP"], found["AP50"]) == (pytest.approx(0.5), 1.0)


def test_truncation_is_touching_the_edge_or_the_border_of_the_camera():
    truth = target((3, (0, 0, 40, 4)), (26000, (5, 4, 15, 20)), (26001, (5, 30, 20, 45)), (26002, (25, 30, 40, 45)))
    statistics = METRIC.observe([], truth)
    assert dict(zip(statistics["gt_id"].tolist(), statistics["gt_truncated"].tolist(), strict=True)) == {
        26000: True,
        26001: False,
        26002: True,
    }


def test_groups_below_100_pixels_count_twice_and_distances_need_depth():
    truth = target((26000, (5, 5, 25, 25)), (CAR, (30, 30, 36, 40)))
    found = assign(METRIC.observe([Detection(CAR, 0.9, mask(25, 30, 37, 40))], truth), CITYSCAPES)
    assert found.forgiven.tolist() == [1.0]  # 60 pixels of the group, twice, in a mask of 120
    assert not has_depth(METRIC.observe([], truth))
