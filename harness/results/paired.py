"""How sure the difference between two rows is: `harness.metrics.intervals` on the stored statistics of their seeds.

For `check`, which widens its tolerance by it, and for the gains of the report. The caller says where statistics lie
(beside a baseline, in a store); numpy is imported only when an interval is asked for.
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
    from harness.metrics.intervals import Difference

Where = Callable[[SeedResult], Path | None]
"""The folder with the statistics of a run; None where there are none."""


def noise(before: Where, now: Where) -> Noise:
    """A `Noise` for a check: where the baseline's statistics lie, and where those of the measured rows do."""

    def difference(old: Row, new: Row, metric: str) -> "Difference | None":
        metrics = tuple(info.key for info in known() if info.key in old.scores and info.key in new.scores)
        return _differences(_folders(old, before), _folders(new, now), metrics, None).get(metric)

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


def _folders(row: Row, where: Where) -> tuple[Path, ...]:
    """The folders with the statistics of all runs of a row; empty when one has none."""
    found = [where(run) for run in finished(row.seeds)]
    return tuple(path for path in found if path is not None) if None not in found else ()


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
