"""How sure the difference between two rows is: `harness.metrics.intervals` on the stored statistics of their seeds.

For `check`, which widens its tolerance by it, and for the gains of the report. The caller says where statistics lie
(beside a baseline, in a store); numpy is imported only when an interval is asked for.
"""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.metrics.table import known
from harness.results.check import Noise
from harness.results.gains import Paired
from harness.results.rows import Row, SeedResult, finished, pooled_deviation

if TYPE_CHECKING:
    from harness.metrics.intervals import Difference

Where = Callable[[SeedResult], Path | None]
"""The folder with the statistics of a run; None where there are none."""


def noise(before: Where, now: Where) -> Noise:
    """A `Noise` for a check: where the baseline's statistics lie, and where those of the measured rows do."""

    return lambda old, new, metric: _between(before, now, old, new).get(metric)


def intervals(where: Where, rows: Sequence[Row]) -> Paired:
    """A `Paired` for the gains of one report: the 95 % interval of row after minus row before.

    How much seeds matter is learnt from all `rows` of the same segmenter and backbone, not from the two alone: three
    seeds a row say little, the same three of eight rows much more.
    """

    def difference(before: Row, after: Row, metric: str) -> "Difference | None":
        alike = [row for row in rows if (row.segmenter, row.backbone) == (after.segmenter, after.backbone)]
        metrics = [info.key for info in known() if info.key in before.scores and info.key in after.scores]
        deviations = {name: pooled_deviation(alike, name) for name in metrics}
        pooled = tuple((name, deviation**2, freedom) for name, (deviation, freedom) in deviations.items() if freedom)
        return _between(where, where, before, after, pooled).get(metric)

    return difference


def _between(
    before: Where, now: Where, old: Row, new: Row, pooled: tuple[tuple[str, float, int], ...] = ()
) -> dict[str, "Difference"]:
    sides = [tuple(where(run) for run in finished(row.seeds)) for row, where in ((old, before), (new, now))]
    if not all(sides) or any(path is None for side in sides for path in side):
        return {}
    return _spreads(*sides, pooled)


@cache
def _spreads(
    before: tuple[Path, ...], after: tuple[Path, ...], pooled: tuple[tuple[str, float, int], ...]
) -> dict[str, "Difference"]:
    """After minus before for every metric that both have; `pooled`: (metric, variance over seeds, degrees of
    freedom)."""
    from harness.metrics import frame_statistics
    from harness.metrics.intervals import SeedSpread, differences

    old, new = ([frame_statistics.load(path) for path in side] for side in (before, after))
    both = set.intersection(*(set(found.scores()) for found in (*old, *new)))
    over_seeds = {metric: SeedSpread(variance, freedom) for metric, variance, freedom in pooled}
    found = differences(new, old, [info.key for info in known() if info.key in both], over_seeds=over_seeds)
    return {metric: one for metric, one in found.items() if one is not None}
