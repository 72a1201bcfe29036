"""Paired intervals say how sure a score and a difference of two rows are, from the stored statistics of their seeds.

For the cells of a table, for the gains of a report, and for `check`, which widens its tolerance. The caller says where
statistics lie (beside a baseline, in a store); numpy is imported only when an interval is asked for.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.metrics.power import Spread
from harness.metrics.table import known
from harness.results.check import Noise
from harness.results.gains import Paired
from harness.results.rows import Row, SeedResult, finished
from harness.results.spread import SeedSpreads

if TYPE_CHECKING:
    from harness.metrics.frame_statistics import Statistics
    from harness.metrics.intervals import Difference, Interval

Where = Callable[[SeedResult], Path | None]
"""The folder with the statistics of a run; None where there are none."""

Single = Callable[[Row, str], "Interval | None"]
"""(row, score) to the 95 % interval of "AP", or of a class as "AP/car"; None where there is none."""


def noise(before: Where, now: Where) -> Noise:
    """Return a `Noise` for a check: where the baseline's statistics lie, and where those of the measured rows do."""

    def difference(old: Row, new: Row, metric: str) -> "Difference | None":
        asked = tuple((key, None) for key in _keys(old, new))
        return _differences(_folders(old, before), _folders(new, now), asked).get(metric)

    return difference


def intervals(where: Where, rows: Sequence[Row], accepted: Sequence[Row] = ()) -> Paired:
    """Return a `Paired` for the gains of one report: the 95 % interval of row after minus row before.

    How much seeds matter is learnt from all `rows` of the same network, not from the two alone: three seeds a row say
    little, the same three of eight rows much more. Rows of one seed have it from the `accepted` rows of their kind.
    Where nothing says what another seed would give there is no interval: one of images alone would be too narrow.
    """
    spreads = SeedSpreads(rows, accepted)

    def difference(before: Row, after: Row, metric: str) -> "Difference | None":
        asked = _known(spreads, after, _keys(before, after))
        return _differences(_folders(before, where), _folders(after, where), asked).get(metric)

    return difference


def estimates(where: Where, rows: Sequence[Row], accepted: Sequence[Row] = ()) -> Single:
    """Return the intervals of single scores, for the cells of a table.

    As in `intervals` the spread over seeds is that of the kind of row, and where none is known there is no interval.
    """
    spreads = SeedSpreads(rows, accepted)

    def interval(row: Row, score: str) -> "Interval | None":
        key, _, name = score.partition("/")
        # All classes, or all scores of the set, together: they share the draws.
        asked = [f"{key}/{other}" for run in row.seeds[:1] for other in run.classes] if name else _keys(row)
        return _intervals(_folders(row, where), _known(spreads, row, asked)).get(score)

    return interval


def _known(spreads: SeedSpreads, row: Row, scores: Iterable[str]) -> tuple[tuple[str, Spread], ...]:
    """Return those of `scores` whose spread is known for rows of this kind."""
    return tuple((score, found) for score in scores if (found := spreads.of(row, score)).freedom)


def _keys(*rows: Row) -> tuple[str, ...]:
    """Return the scores that all of some rows have and a metric describes."""
    return tuple(info.key for info in known() if all(info.key in row.scores for row in rows))


def _folders(row: Row, where: Where) -> tuple[Path, ...]:
    """The folders with the statistics of all runs of a row; empty when one has none."""
    found = [where(run) for run in finished(row.seeds)]
    return tuple(path for path in found if path is not None) if None not in found else ()


@cache
def _load(folder: Path) -> "Statistics":
    from harness.metrics import frame_statistics

    return frame_statistics.load(folder)


@cache
def _known_scores(folder: Path) -> frozenset[str]:
    """Return the scores that the statistics in a folder give."""
    return frozenset(_load(folder).scores())


@cache
def _intervals(folders: tuple[Path, ...], seeds: tuple[tuple[str, Spread], ...]) -> dict[str, "Interval"]:
    """Intervals of those scores that the statistics give; `seeds`: what is known of each run's spread."""
    from harness.metrics.intervals import intervals

    if not folders or not seeds:
        return {}
    there = frozenset.intersection(*map(_known_scores, folders))
    spreads = {score: spread for score, spread in seeds if score in there}
    found = intervals([_load(path) for path in folders], [*spreads], over_seeds=spreads)
    return {score: one for score, one in found.items() if one is not None}


@cache
def _differences(
    before: tuple[Path, ...], after: tuple[Path, ...], seeds: tuple[tuple[str, Spread | None], ...]
) -> dict[str, "Difference"]:
    """After minus before for those scores that both have; `seeds`: what is known of each run's spread."""
    from harness.metrics.intervals import differences

    if not before or not after or not seeds:
        return {}
    there = frozenset.intersection(*map(_known_scores, (*before, *after)))
    spreads = {score: spread for score, spread in seeds if score in there}
    known_of = {score: spread for score, spread in spreads.items() if spread}
    old, new = ([_load(path) for path in side] for side in (before, after))
    found = differences(new, old, [*spreads], over_seeds=known_of)
    return {score: one for score, one in found.items() if one is not None}
