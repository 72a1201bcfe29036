"""Intervals hold the truth as often as they say, on simulated scores of known spread."""

import functools
import subprocess
import sys

import numpy as np
import pytest
import simulated

from harness.core.errors import HarnessError
from harness.data.cityscapes import CITYSCAPES
from harness.metrics import intervals
from harness.metrics.frame_statistics import Statistics
from harness.metrics.instance import InstanceAP
from harness.metrics.power import Spread


def evaluation(scores: np.ndarray, cities: np.ndarray | None = None) -> Statistics:
    """Statistics whose PQ is the mean of `scores` over frames: one matched segment of one class in each."""
    table = np.zeros((len(scores), 19, 4))
    table[:, 0, 0], table[:, 0, 1] = scores, 1
    names = tuple(f"frame{i}" for i in range(len(scores)))
    homes = tuple("a" for _ in scores) if cities is None else tuple(f"city{c}" for c in cities)
    return Statistics(images=names, cities=homes, labels=CITYSCAPES, parts={"panoptic": {"panoptic": table}})


def records(rng: np.random.Generator, n_images: int, *, objects: int = 10, wrong: int = 6) -> Statistics:
    """Statistics of instances: objects found with an IoU and a score at random, and inventions."""
    parts = []
    for _ in range(n_images):
        class_ = rng.integers(0, 8, objects)
        ids = np.sort(np.array([24, 25, 26, 27, 28, 31, 32, 33])[class_] * 1000 + np.arange(objects)).astype(np.int32)
        class_ = CITYSCAPES.thing_of_id[ids]
        found = np.flatnonzero(rng.random(objects) < 0.7)
        n = len(found) + wrong
        predicted = np.concatenate((class_[found], rng.integers(0, 8, wrong))).astype(np.int8)
        parts.append(
            {
                "gt_image": np.zeros(objects, np.int32),
                "gt_id": ids,
                "gt_area": np.full(objects, 1000, np.int32),
                "gt_truncated": np.zeros(objects, bool),
                "gt_metres": np.full(objects, -1.0),
                "gt_density": np.zeros(objects),
                "pred_image": np.zeros(n, np.int32),
                "pred_class": predicted,
                "pred_score": np.concatenate((rng.beta(4, 2, len(found)), rng.beta(2, 4, wrong))),
                "pred_area": np.full(n, 1000, np.int32),
                "pred_void": np.zeros(n, np.int32),
                "pair_gt": found.astype(np.int32),
                "pair_pred": np.arange(len(found), dtype=np.int32),
                "pair_pixels": (1000 * rng.beta(12, 2, len(found))).astype(np.int32),
                "images": np.ones(1, np.int32),
            }
        )
    names = tuple(f"frame{i}" for i in range(n_images))
    return Statistics(
        images=names,
        cities=("a",) * n_images,
        labels=CITYSCAPES,
        parts={"instances": InstanceAP(CITYSCAPES).collect(parts)},
    )


def coverage(draw, truth: float, trials: int, **options) -> float:
    """Share of intervals that hold the truth; `draw` makes the evaluations of a trial."""
    held = 0
    for trial in range(trials):
        found = intervals.interval(draw(np.random.default_rng(trial)), "PQ", replicates=200, seed=trial, **options)
        held += found.low <= truth <= found.high
    return held / trials


def test_coverage_over_images():
    share = coverage(lambda rng: [evaluation(rng.normal(0.5, 0.1, 60))], 0.5, 300)
    assert 0.92 <= share <= 0.98


def test_coverage_over_cities_is_right_and_over_images_too_small():
    def draw(rng):
        cities = np.repeat(np.arange(5), 10)
        return [evaluation(0.5 + rng.normal(0, 0.1, 5)[cities] + rng.normal(0, 0.1, 50), cities)]

    assert 0.92 <= coverage(draw, 0.5, 200, unit="city") <= 0.98
    assert coverage(draw, 0.5, 200) < 0.8


@pytest.mark.parametrize(
    "spread", [(0.1, 0.0, 0.05), (0.1, 0.05, 0.1), (0.0, 0.0, 0.1)], ids=["images", "seeds", "mixed"]
)
def test_coverage_over_images_and_seeds(spread):
    image, seed, mixed = spread

    def draw(rng):
        shared = rng.normal(0, image, 50)
        return [evaluation(0.5 + shared + rng.normal(0, seed) + rng.normal(0, mixed, 50)) for _ in range(3)]

    assert 0.92 <= coverage(draw, 0.5, 200) <= 0.985


def test_coverage_of_differences_when_the_spread_over_seeds_is_pooled():
    """Eight methods of three seeds each; two of them are compared. Pooled, intervals are as true and much narrower."""
    held, widths = [], []
    for trial in range(150):
        rng = np.random.default_rng(trial)
        shared = rng.normal(0.5, 0.1, 50)
        scores = (
            shared + rng.normal(0, 0.03, (8, 1, 50)) + rng.normal(0, 0.04, (8, 3, 1)) + rng.normal(0, 0.05, (8, 3, 50))
        )
        pooled = Spread(float(scores.mean(2).var(axis=1, ddof=1).mean()), 16)
        sides = [[evaluation(row) for row in arm] for arm in scores[:2]]
        found = [
            intervals.difference(*sides, "PQ", replicates=200, seed=trial, over_seeds=known)
            for known in (None, {"PQ": pooled})
        ]
        held.append([one.low <= 0 <= one.high for one in found])
        widths.append([one.high - one.low for one in found])
    alone, together = np.mean(held, axis=0)
    assert alone >= 0.92 and 0.91 <= together <= 0.985
    assert np.mean(widths, axis=0)[1] < 0.7 * np.mean(widths, axis=0)[0]


METRICS = ("AP", "AP50", "PQ", "IoU", "AP/car", "AP/bus", "AP50/train")


@functools.cache
def truth() -> list[dict[str, float]]:
    """Scores of the two simulated methods on so many frames that they are known to some thousandths."""
    worlds = [simulated.methods(np.random.default_rng(10_000 + part), 4000) for part in range(3)]
    scored = [[side.scores(names=METRICS) for side in world] for world in worlds]
    return [{name: float(np.mean([world[side][name][0] for world in scored])) for name in METRICS} for side in (0, 1)]


def held(n_images: int, trials: int, *, replicates: int = 200) -> dict[str, list[bool]]:
    """For each metric, and for its paired difference ("-" before it): whether the interval of each trial held it."""
    found: dict[str, list[bool]] = {}
    one, other = truth()
    for trial in range(trials):
        sides = simulated.methods(np.random.default_rng((n_images, trial)), n_images)
        for name, interval in intervals.intervals(sides[:1], METRICS, replicates=replicates, seed=trial).items():
            if interval is not None:
                found.setdefault(name, []).append(interval.low <= one[name] <= interval.high)
        paired = intervals.differences(sides[1:], sides[:1], METRICS, replicates=replicates, seed=trial)
        for name, interval in paired.items():
            if interval is not None:
                found.setdefault(f"-{name}", []).append(interval.low <= other[name] - one[name] <= interval.high)
    return found


def test_coverage_of_all_scores_on_few_frames():
    found = held(60, 40)
    assert 0.92 <= np.mean([hit for hits in found.values() for hit in hits]) <= 0.98
    assert len(found) == 2 * len(METRICS) and all(np.mean(hits) >= 0.85 for hits in found.values())


@pytest.mark.slow
@pytest.mark.parametrize(("n_images", "trials"), [(60, 200), (120, 120), (250, 80), (500, 50)])
def test_coverage_of_scores_and_of_their_paired_differences(n_images, trials):
    """Each within what so many trials can tell of 92 to 98 %, all together within it."""
    found = held(n_images, trials)
    shares = {name: float(np.mean(hits)) for name, hits in found.items()}
    print(f"\n{n_images} frames:", ", ".join(f"{name} {share:.3f}" for name, share in shares.items()))
    assert 0.92 <= np.mean(list(shares.values())) <= 0.98
    noise = 2 * np.sqrt(0.05 * 0.95 / trials)
    assert all(0.92 - noise <= share <= 0.98 + noise for share in shares.values()), shares


def test_differences_are_paired():
    rng = np.random.default_rng(0)
    shared = rng.normal(0.5, 0.2, 100)
    better, worse = evaluation(shared + 0.02 + rng.normal(0, 0.01, 100)), evaluation(shared)
    found = intervals.difference([better], [worse], "PQ")
    assert found.distinguishable and found.low > 0.015 and found.high < 0.025
    assert (
        intervals.interval([better], "PQ").low < intervals.interval([worse], "PQ").high
    )  # each alone would say nothing
    back = intervals.difference([worse], [better], "PQ")
    assert back.distinguishable and back.value == pytest.approx(-found.value)
    same = intervals.difference([worse], [worse], "PQ")
    assert (same.value, same.low, same.high, same.distinguishable) == (0, 0, 0, False)


def test_noise_is_no_difference():
    held = 0
    for trial in range(100):
        rng = np.random.default_rng(trial)
        shared = rng.normal(0.5, 0.1, 60)
        sides = [
            [evaluation(shared + rng.normal(0, 0.03) + rng.normal(0, 0.05, 60)) for _ in range(3)] for _ in range(2)
        ]
        held += not intervals.difference(*sides, "PQ", replicates=200).distinguishable
    assert held >= 92


def test_the_same_seed_gives_the_same_interval_and_class_wise_ones_the_same_draws():
    statistics = records(np.random.default_rng(0), 30)
    one = intervals.interval([statistics], "AP", replicates=100)
    assert one == intervals.interval([statistics], "AP", replicates=100)
    assert one != intervals.interval([statistics], "AP", replicates=100, seed=1)
    several = intervals.intervals([statistics], ["AP", "AP50", "AP/car"], replicates=100)
    assert several["AP"] == one and several["AP/car"].low < several["AP/car"].value < several["AP/car"].high


def test_bias_of_small_sets_is_taken_back():
    found = intervals.interval([records(np.random.default_rng(3), 20)], "AP", replicates=200)
    assert found.bias > 0 and (found.low + found.high) / 2 < found.value


def test_undefined_scores_have_no_interval():
    statistics = evaluation(np.full(10, 0.5))
    assert intervals.interval([statistics], "PQ_things") is None
    assert intervals.difference([statistics], [statistics], "PQ_things") is None


def test_replicates_without_a_value_are_counted():
    table = np.zeros((6, 19, 4))
    table[0, 11, 1] = table[0, 11, 0] = 1
    table[:, 0, :2] = 1
    statistics = Statistics(
        images=tuple("abcdef"), cities=("x",) * 6, labels=CITYSCAPES, parts={"panoptic": {"panoptic": table}}
    )
    found = intervals.interval([statistics], "PQ_things")
    assert 0.2 < found.undefined < 0.5


def test_what_does_not_compare_is_an_error():
    ten, twelve = evaluation(np.ones(10)), evaluation(np.ones(12))
    with pytest.raises(HarnessError, match="10 and 12 frames, 10 in common"):
        intervals.difference([ten], [twelve], "PQ")
    with pytest.raises(HarnessError, match="one city has no spread"):
        intervals.interval([ten], "PQ", unit="city")
    with pytest.raises(HarnessError, match="no score 'AP'"):
        intervals.interval([ten], "AP")
    with pytest.raises(HarnessError, match="no score 'PQ/caar'"):
        intervals.interval([ten], "PQ/caar")
    with pytest.raises(HarnessError, match="at least one evaluation"):
        intervals.interval([], "PQ")


def test_1000_replicates_of_ap_over_500_images():
    statistics = records(np.random.default_rng(0), 500, objects=18, wrong=27)
    found = intervals.interval([statistics], "AP", replicates=1000)
    assert found.n_images == 500 and found.low < found.value - found.bias < found.high


def test_importing_it_imports_no_heavy_library():
    heavy = ("torch", "scipy", "numba", "cv2", "pandas")
    code = f"import sys, harness.metrics.intervals; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
