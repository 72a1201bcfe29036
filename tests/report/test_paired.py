"""Paired bootstrap of the difference between two rows, from stored statistics."""

from pathlib import Path

import numpy as np
import pytest
from result_rows import measured, run

from harness.check import Baseline, compare
from harness.errors import HarnessError
from harness.metrics.statistics import Statistics
from harness.report.paired import intervals, noise, spread

FRAMES = 40


def evaluated(folder: Path, quality: float, *, seed: int = 0, noise: float = 0.0, frames: int = FRAMES) -> Path:
    """Panoptic statistics of one evaluation: per frame one class, ten segments, `quality` of them matched."""
    rng = np.random.default_rng(0)
    own = np.random.default_rng(seed)
    share = (rng.uniform(0.6, 1.4, frames) * quality + own.normal(0, 1, frames) * noise).clip(0, 1)
    panoptic = np.zeros((frames, 19, 4))
    panoptic[:, 0] = np.stack([share * 9, share * 10, 10 - share * 10, 10 - share * 10], axis=1)
    names = tuple(f"town_{index:06d}_000019" for index in range(frames))
    statistics = Statistics(images=names, cities=("town",) * frames, parts={"panoptic": {"panoptic": panoptic}})
    folder.mkdir(parents=True)
    statistics.save(folder)
    return folder


def test_the_statistics_are_the_ones_that_evaluation_stores(tmp_path):
    from harness.metrics import statistics

    found = statistics.load(evaluated(tmp_path / "a", 0.5)).scores(names=["PQ"])["PQ"]
    assert 0.35 < found[0] < 0.55


def test_an_interval_holds_the_difference_and_is_narrower_for_being_paired(tmp_path):
    before, after = evaluated(tmp_path / "a", 0.5), evaluated(tmp_path / "b", 0.6)
    paired = spread([before], [after], "PQ", same_seeds=True)
    assert paired.low < 0.09 < paired.high
    assert paired.low > 0
    # Unpaired, the two standard errors would add up; paired, what the rows have in common cancels.
    alone = spread([evaluated(tmp_path / "zero", 1e-9)], [after], "PQ", same_seeds=True)
    assert paired.error < 0.5 * alone.error


def test_equal_evaluations_do_not_differ(tmp_path):
    a, b = evaluated(tmp_path / "a", 0.5), evaluated(tmp_path / "b", 0.5)
    assert spread([a], [b], "PQ", same_seeds=True) == (0.0, 0.0, 0.0)


def test_seeds_that_disagree_widen_the_interval(tmp_path):
    close = [evaluated(tmp_path / f"c{k}", 0.5 + 0.001 * k) for k in range(3)]
    apart = [evaluated(tmp_path / f"a{k}", 0.5 + 0.1 * (k - 1)) for k in range(3)]
    base = [evaluated(tmp_path / f"b{k}", 0.5) for k in range(3)]
    narrow, wide = (spread(base, side, "PQ", same_seeds=False) for side in (close, apart))
    assert wide.error > 3 * narrow.error


def test_it_is_the_same_every_time(tmp_path):
    a, b = evaluated(tmp_path / "a", 0.5), evaluated(tmp_path / "b", 0.55, seed=1, noise=0.1)
    assert spread([a], [b], "PQ", same_seeds=True) == spread([a], [b], "PQ", same_seeds=True)


def test_other_images_are_an_error_and_not_an_interval(tmp_path):
    a, b = evaluated(tmp_path / "a", 0.5), evaluated(tmp_path / "b", 0.5, frames=30)
    with pytest.raises(HarnessError, match="not evaluated on the same images"):
        spread([a], [b], "PQ", same_seeds=True)


def test_a_check_takes_its_tolerance_from_the_images(tmp_path):
    folders = {
        run(0).key: evaluated(tmp_path / "before", 0.5, seed=1, noise=0.3),
        run(1).key: evaluated(tmp_path / "now", 0.5, seed=2, noise=0.3),
    }

    def where(found):
        return folders.get(found.key)

    before, now = measured(run(0, pq=0.45)), measured(run(1, pq=0.44))
    old = Baseline(format=1, suite="table1", profile="mini", reason="x", tolerance={"PQ": 1e-6}, rows=(before,))
    verdict = compare([now], old, noise=noise(where, where))[0]
    assert (verdict.kind, verdict.decided_by) == ("same", "images")
    assert verdict.interval[0] < verdict.interval[1]
    without = compare([now], old, noise=noise(where, lambda found: None))[0]
    assert (without.kind, without.interval) == ("worse", None)


def test_gains_have_intervals_only_where_there_are_statistics(tmp_path):
    folder = evaluated(tmp_path / "a", 0.5)
    rows = measured(run(0)), measured(run(0, pq=0.4))
    assert intervals(lambda found: folder)(*rows, "PQ") == (0.0, 0.0)
    assert intervals(lambda found: None)(*rows, "PQ") is None
    assert intervals(lambda found: folder)(*rows, "FID") is None
