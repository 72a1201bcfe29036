"""What every metric has from its base: joining, drawing frames again, and the ground truth it reads."""

import numpy as np
import pytest

from harness.core.errors import HarnessError
from harness.data.cityscapes import CITYSCAPES
from harness.metrics.base import Metric, Target, join, mean_of_defined
from harness.metrics.info import MetricInfo


class Share(Metric):
    """Hits over tries, additive: the simplest metric there is."""

    infos = (MetricInfo(key="share", label="Share", reads="semantic", direction="up"),)
    signature = "share"

    def observe(self, prediction, target):
        return {"hits": np.array([prediction]), "tries": np.ones(1)}

    def score(self, statistics):
        tries = statistics["tries"].sum()
        return {"share": statistics["hits"].sum() / tries if tries else np.nan}


def test_drawing_frames_again_is_repeating_their_rows():
    rng, metric = np.random.default_rng(0), Share(CITYSCAPES)
    statistics = metric.collect([metric.observe(hit, None) for hit in rng.random(7)])
    weights = rng.multinomial(7, np.full(7, 1 / 7), size=50).astype(np.float64)
    found = metric.replicates(statistics, weights)["share"]
    np.testing.assert_allclose(found, weights @ statistics["hits"] / 7)
    assert metric.replicates(statistics)["share"].tolist() == [metric.score(statistics)["share"]]
    assert np.isnan(metric.replicates(statistics, np.zeros((1, 7)))["share"][0])


def test_a_metric_has_nothing_to_add_unless_it_says_so():
    metric = Share(CITYSCAPES)
    assert (metric.unavailable({}), metric.counts({}), metric.details({})) == ({}, {}, {})


def test_indices_move_by_what_they_point_into():
    parts = [
        {"image": np.zeros(2, np.int32), "area": np.array([5, 6]), "pair": np.array([1], np.int32)},
        {"image": np.zeros(1, np.int32), "area": np.array([7]), "pair": np.array([0], np.int32)},
    ]
    joined = join(parts, links={"image": "image", "pair": "area"})
    assert joined["image"].tolist() == [0, 0, 1]
    assert joined["area"][joined["pair"]].tolist() == [6, 7]


def test_the_mean_leaves_out_what_is_undefined():
    values = np.array([[[1.0, np.nan], [3.0, np.nan]], [[np.nan] * 2, [np.nan] * 2]])
    np.testing.assert_array_equal(mean_of_defined(values), [2.0, np.nan])


def test_ground_truth_is_of_16_bits_and_its_ids_are_those_of_labels():
    with pytest.raises(HarnessError, match="expected uint16 ids"):
        Target(ids=np.zeros((2, 2), np.uint8), labels=CITYSCAPES)
    target = Target(ids=np.array([[7, 26001], [7, 40]], np.uint16), labels=CITYSCAPES)
    with pytest.raises(HarnessError, match="id 40 is of no label of cityscapes"):
        target.regions  # noqa: B018
    assert target.columns.tolist() == [7, 7, 26001, 40]
    assert target.depth is None
