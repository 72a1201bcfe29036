"""How sure the difference between two rows is: `harness.stats` on the stored statistics of their seeds.

For `check`, which widens its tolerance by it, and for the gains of the report. The caller says where statistics lie
(beside a baseline, in a store); numpy is imported only when an interval is asked for.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from harness.check import Noise, Spread
from harness.report.gains import Interval, Paired
from harness.results import Row, SeedResult, finished

METRICS = ("PQ", "IoU", "AP", "AP50")
Where = Callable[[SeedResult], Path | None]
"""The folder with the statistics of a run; None where there are none."""


def noise(before: Where, now: Where) -> Noise:
    """A `Noise` for a check: where the baseline's statistics lie, and where those of the measured rows do."""

    def of_rows(old: Row, new: Row, metric: str) -> Spread | None:
        sides = [tuple(where(run) for run in finished(row.seeds)) for row, where in ((old, before), (new, now))]
        if not all(sides) or any(path is None for side in sides for path in side):
            return None
        return _spreads(*sides).get(metric)

    return of_rows


def intervals(where: Where) -> Paired:
    """A `Paired` for the gains of one report: the 95 % interval of row after minus row before."""
    of_rows = noise(where, where)

    def interval(before: Row, after: Row, metric: str) -> Interval | None:
        found = of_rows(before, after, metric)
        return (found.low, found.high) if found else None

    return interval


@cache
def _spreads(before: tuple[Path, ...], after: tuple[Path, ...]) -> dict[str, Spread]:
    """The spread of after minus before for every headline metric that both have."""
    from harness import stats
    from harness.metrics import statistics

    old, new = ([statistics.load(path) for path in side] for side in (before, after))
    known = set.intersection(*(set(found.scores()) for found in (*old, *new)))
    found = stats.differences(new, old, [metric for metric in METRICS if metric in known])
    return {metric: Spread(one.low, one.high) for metric, one in found.items() if one is not None}
