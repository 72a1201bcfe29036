"""Paired bootstrap of the difference between two rows, from stored statistics."""

from pathlib import Path

import numpy as np
import pytest
from result_rows import measured, run

from harness.core.errors import HarnessError
from harness.data.cityscapes import CITYSCAPES
from harness.metrics.frame_statistics import Statistics
from harness.metrics.intervals import Difference, Interval
from harness.metrics.student import student
from harness.results.baselines import Baseline
from harness.results.check import compare
from harness.results.paired import estimates, intervals, noise

FRAMES = 40


def evaluated(folder: Path, quality: float, *, seed: int = 0, noise: float = 0.0, frames: int = FRAMES) -> Path:
    """Panoptic statistics of one evaluation: per frame one class, ten segments, `quality` of them matched."""
    rng = np.random.default_rng(0)
    own = np.random.default_rng(seed)
    share = (rng.uniform(0.6, 1.4, frames) * quality + own.normal(0, 1, frames) * noise).clip(0, 1)
    panoptic = np.zeros((frames, 19, 4))
    panoptic[:, 0] = np.stack([share * 9, share * 10, 10 - share * 10, 10 - share * 10], axis=1)
    names = tuple(f"town_{index:06d}_000019" for index in range(frames))
    statistics = Statistics(
        images=names, cities=("town",) * frames, labels=CITYSCAPES, parts={"panoptic": {"panoptic": panoptic}}
    )
    folder.mkdir(parents=True)
    statistics.save(folder)
    return folder


def ends(found: Difference | Interval | None) -> tuple[float, float]:
    """The interval of what has one."""
    assert found is not None
    return found.low, found.high


def test_the_statistics_are_the_ones_that_evaluation_stores(tmp_path):
    from harness.metrics import frame_statistics

    found = frame_statistics.load(evaluated(tmp_path / "a", 0.5)).scores(names=["PQ"])["PQ"]
    assert 0.35 < found[0] < 0.55


STEADY = measured(run(8), run(9))
"""An accepted row whose seeds agree: where it is known, single seeds have intervals, and images alone decide."""


def test_an_interval_is_of_after_minus_before(tmp_path):
    rows = measured(run(0)), measured(run(1))
    folders = {0: evaluated(tmp_path / "a", 0.5), 1: evaluated(tmp_path / "b", 0.6)}
    low, high = ends(intervals(lambda found: folders[found.seed], rows, [STEADY])(*rows, "PQ"))
    assert 0 < low < 0.09 < high
    low, high = ends(intervals(lambda found: folders[1 - found.seed], rows, [STEADY])(*rows, "PQ"))
    assert low < -0.09 < high < 0


def test_other_images_are_an_error_and_not_an_interval(tmp_path):
    rows = measured(run(0)), measured(run(1))
    folders = {0: evaluated(tmp_path / "a", 0.5), 1: evaluated(tmp_path / "b", 0.5, frames=30)}
    with pytest.raises(HarnessError, match="evaluations of different frames"):
        intervals(lambda found: folders[found.seed], rows, [STEADY])(*rows, "PQ")


def test_a_check_takes_its_tolerance_from_the_images(tmp_path):
    folders = {
        run(0, pq=0.45).key: evaluated(tmp_path / "before", 0.5, seed=1, noise=0.3),
        run(1, pq=0.44).key: evaluated(tmp_path / "now", 0.5, seed=2, noise=0.3),
    }

    def where(found):
        return folders.get(found.key)

    before, now = measured(run(0, pq=0.45)), measured(run(1, pq=0.44))
    old = Baseline(format=1, suite="table1", profile="mini", reason="x", tolerance={"PQ": 1e-6}, rows=(before,))
    verdict = compare([now], old, noise=noise(where, where))[0]
    assert (verdict.kind, verdict.decided_by) == ("same", "resampling")
    assert verdict.interval[0] < verdict.interval[1]
    without = compare([now], old, noise=noise(where, lambda found: None))[0]
    assert (without.kind, without.interval) == ("worse", None)


def test_gains_have_intervals_only_where_there_are_statistics(tmp_path):
    folder = evaluated(tmp_path / "a", 0.5)
    rows = measured(run(0)), measured(run(0, pq=0.4))
    assert ends(intervals(lambda found: folder, rows, [STEADY])(*rows, "PQ")) == (0.0, 0.0)
    assert intervals(lambda found: None, rows, [STEADY])(*rows, "PQ") is None
    assert intervals(lambda found: folder, rows, [STEADY])(*rows, "FID") is None


def test_single_seeds_have_an_interval_only_where_rows_of_their_kind_say_what_another_would_give(tmp_path):
    folder = evaluated(tmp_path / "a", 0.5)
    rows = measured(run(0)), measured(run(0, pq=0.4))
    assert intervals(lambda found: folder, rows)(*rows, "PQ") is None
    loose = measured(run(0, pq=0.3), run(1, pq=0.4), run(2, pq=0.5))
    low, high = ends(intervals(lambda found: folder, rows, [loose])(*rows, "PQ"))
    half = student(0.025, 2) * (2 * 0.1**2) ** 0.5
    assert (low, high) == pytest.approx((-half, half))
    elsewhere = loose.model_copy(update={"data": "other"})
    assert intervals(lambda found: folder, rows, [elsewhere])(*rows, "PQ") is None


def test_how_much_seeds_matter_is_learnt_from_all_rows_of_the_same_network(tmp_path):
    """Two rows whose seeds agree by luck, among rows whose seeds don't: the difference is not as sure as it looks."""
    folder = evaluated(tmp_path / "a", 0.5)
    lucky = [
        measured(*(run(seed, pq=0.4, ap=ap) for seed in range(3)), generator=name)
        for name, ap in (("none", 0.2), ("b", 0.3))
    ]
    wide = [
        measured(*(run(seed, pq=0.3 + 0.1 * seed, ap=ap) for seed in range(3)), generator=name)
        for name, ap in (("c", 0.2), ("d", 0.3))
    ]
    others = [measured(run(0, pq=0.1), run(1, pq=0.9), generator="c", backbone="ConvNeXt (mini)")]
    low, high = ends(intervals(lambda found: folder, lucky)(*lucky, "PQ"))
    assert (low, high) == (0.0, 0.0)
    low, high = ends(intervals(lambda found: folder, [*lucky, *wide, *others])(*lucky, "PQ"))
    # Variance 0.1^2 in two rows and 0 in two, 8 degrees of freedom, two means of three.
    half = student(0.025, 8) * (0.1**2 / 2 * 2 / 3) ** 0.5
    assert (low, high) == pytest.approx((-half, half))


def test_a_score_of_several_seeds_has_an_interval_wider_than_its_images_alone(tmp_path):
    folders = {seed: evaluated(tmp_path / str(seed), 0.5, seed=seed, noise=0.1) for seed in range(3)}
    row = measured(*(run(seed, pq=0.4 + 0.02 * seed) for seed in range(3)))
    found = estimates(lambda one: folders[one.seed], [row])(row, "PQ")
    images = estimates(lambda one: folders[one.seed], [measured(run(0), run(1))])(row, "PQ")
    (low, high), (inner_low, inner_high) = ends(found), ends(images)
    assert found.sources == "images and seeds"
    assert low < inner_low < inner_high < high


def test_a_score_of_one_seed_has_an_interval_only_where_its_kind_says_what_another_would_give(tmp_path):
    folder = evaluated(tmp_path / "a", 0.5)
    row = measured(run(0))
    assert estimates(lambda one: folder, [row])(row, "PQ") is None
    steady = measured(run(8), run(9))
    loose = measured(run(0, pq=0.3), run(1, pq=0.4), run(2, pq=0.5))
    inner, outer = (ends(estimates(lambda one: folder, [row], [known])(row, "PQ")) for known in (steady, loose))
    # Squares of half-widths add up; of the loose rows it is Student's t with 2 degrees of freedom, variance 0.1^2.
    halves = [(high - low) / 2 for low, high in (inner, outer)]
    assert halves[1] ** 2 - halves[0] ** 2 == pytest.approx((student(0.025, 2) * 0.1) ** 2)
    assert estimates(lambda one: folder, [row], [loose.model_copy(update={"data": "other"})])(row, "PQ") is None
    assert estimates(lambda one: None, [row], [loose])(row, "PQ") is None


def test_scores_of_classes_have_intervals_learnt_from_the_seeds_of_their_class(tmp_path):
    folders = {seed: evaluated(tmp_path / str(seed), 0.5, seed=seed, noise=0.1) for seed in range(2)}
    seeds = [run(seed).model_copy(update={"classes": {"road": {"PQ": 0.4 + 0.1 * seed}}}) for seed in range(2)]
    row = measured(*seeds)
    assert row.measurement("PQ/road").std == pytest.approx(0.1 / 2**0.5)
    low, high = ends(estimates(lambda one: folders[one.seed], [row])(row, "PQ/road"))
    # Two seeds: one degree of freedom. The road is the only class, so its frames vary as those of the set do.
    set_low, set_high = ends(estimates(lambda one: folders[one.seed], [row])(row, "PQ"))
    assert high - low > student(0.025, 1) * 0.05 > set_high - set_low
    alone = measured(seeds[0])
    assert estimates(lambda one: folders[0], [alone])(alone, "PQ/road") is None
