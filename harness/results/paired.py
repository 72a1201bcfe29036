"""How sure a score and the difference between two rows are, from the stored statistics of their seeds.

For the cells of a table, for the gains of a report, and for `check`, which widens its tolerance. The caller says where
statistics lie (beside a baseline, in a store); numpy is imported only when an interval is asked for.
"""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.metrics.power import Spread
from harness.metrics.table import known
from harness.results.check import Noise
from harness.results.gains import Paired
from harness.results.rows import Row, SeedResult, finished
from harness.results.spread import over_seeds

if TYPE_CHECKING:
    from harness.metrics.intervals import Difference, Interval

Where = Callable[[SeedResult], Path | None]
"""The folder with the statistics of a run; None where there are none."""

Single = Callable[[Row, str], "Interval | None"]
"""(row, score) to the 95 % interval of "AP", or of a class as "AP/car"; None where there is none."""


def noise(before: Where, now: Where) -> Noise:
    """A `Noise` for a check: where the baseline's statistics lie, and where those of the measured rows do."""

    def difference(old: Row, new: Row, metric: str) -> "Difference | None":
        return _differences(_folders(old, before), _folders(new, now), _keys(old, new), None).get(metric)

    return difference


def intervals(where: Where, rows: Sequence[Row], accepted: Sequence[Row] = ()) -> Paired:
    """A `Paired` for the gains of one report: the 95 % interval of row after minus row before.

    How much seeds matter is learnt from all `rows` of the same network, not from the two alone: three seeds a row say
    little, the same three of eight rows much more. Rows of one seed have it from the `accepted` rows of their kind.
    Where nothing says what another seed would give there is no interval: one of images alone would be too narrow.
    """

    def difference(before: Row, after: Row, metric: str) -> "Difference | None":
        seeds = over_seeds(after, metric, rows, accepted)
        if not seeds.freedom:
            return None
        return _differences(_folders(before, where), _folders(after, where), (metric,), seeds).get(metric)

    return difference


def estimates(where: Where, rows: Sequence[Row], accepted: Sequence[Row] = ()) -> Single:
    """The intervals of single scores, for the cells of a table.

    As in `intervals` the spread over seeds is that of the kind of row, and where none is known there is no interval.
    """
    learnt: dict[tuple[str, ...], Spread] = {}

    def spread(row: Row, score: str) -> Spread:
        kind = (row.profile, row.data, row.labels, row.segmenter, row.backbone, score)
        if kind not in learnt:
            learnt[kind] = over_seeds(row, score, rows, accepted)
        return learnt[kind]

    def interval(row: Row, score: str) -> "Interval | None":
        key, _, name = score.partition("/")
        # All classes, or all scores of the set, together: they share the draws.
        asked = [f"{key}/{other}" for run in row.seeds[:1] for other in run.classes] if name else _keys(row)
        known_of = tuple((one, found) for one in asked if (found := spread(row, one)).freedom)
        return _intervals(_folders(row, where), known_of).get(score)

    return interval


def _keys(*rows: Row) -> tuple[str, ...]:
    """The scores that all of some rows have and a metric describes."""
    return tuple(info.key for info in known() if all(info.key in row.scores for row in rows))


def _folders(row: Row, where: Where) -> tuple[Path, ...]:
    """The folders with the statistics of all runs of a row; empty when one has none."""
    found = [where(run) for run in finished(row.seeds)]
    return tuple(path for path in found if path is not None) if None not in found else ()


@cache
def _intervals(folders: tuple[Path, ...], seeds: tuple[tuple[str, Spread], ...]) -> dict[str, "Interval"]:
    """Intervals of those scores that the statistics give; `seeds`: what is known of each run's spread."""
    from harness.metrics import frame_statistics
    from harness.metrics.intervals import intervals

    if not folders or not seeds:
        return {}
    evaluations = [frame_statistics.load(path) for path in folders]
    there = set.intersection(*(set(found.scores()) for found in evaluations))
    spreads = {score: spread for score, spread in seeds if score in there}
    found = intervals(evaluations, [*spreads], over_seeds=spreads)
    return {score: one for score, one in found.items() if one is not None}


@cache
def _differences(
    before: tuple[Path, ...], after: tuple[Path, ...], metrics: tuple[str, ...], seeds: Spread | None
) -> dict[str, "Difference"]:
    """After minus before for those of `metrics` that both have; `seeds`: what is known of each run's spread."""
    from harness.metrics import frame_statistics
    from harness.metrics.intervals import differences

    if not before or not after:
        return {}
    old, new = ([frame_statistics.load(path) for path in side] for side in (before, after))
    both = set.intersection(*(set(found.scores()) for found in (*old, *new)))
    asked = [metric for metric in metrics if metric in both]
    found = differences(new, old, asked, over_seeds=dict.fromkeys(asked, seeds) if seeds else None)
    return {metric: one for metric, one in found.items() if one is not None}
