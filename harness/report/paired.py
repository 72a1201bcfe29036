"""How sure a difference between two rows is: paired bootstrap over evaluated images, and over seeds if there are some.

A replicate draws the images once for both rows, and the seeds of a row (the same ones for both rows where they ran the
same seeds); its difference is that of the mean scores. Reads stored statistics, never a pixel. numpy is imported here
only, when an interval is asked for.
"""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.check import Noise, Spread
from harness.errors import HarnessError
from harness.report.gains import Interval, Paired
from harness.results import Row, SeedResult, finished
from harness.seeds import derive

if TYPE_CHECKING:
    import numpy as np

    from harness.metrics.statistics import Statistics

SAMPLES = 2000
METRICS = ("PQ", "IoU", "AP", "AP50")
Where = Callable[[SeedResult], Path | None]
"""The folder with the statistics of a run; None where there are none."""


def noise(before: Where, now: Where) -> Noise:
    """A `Noise` for a check: where the baseline's statistics lie, and where those of the measured rows do."""

    def of_rows(old: Row, new: Row, metric: str) -> Spread | None:
        sides = [[where(run) for run in finished(row.seeds)] for row, where in ((old, before), (new, now))]
        if metric not in METRICS or not all(sides) or any(path is None for side in sides for path in side):
            return None
        if any(metric not in _replicates(path)[1] for side in sides for path in side):
            return None
        seeds = [[run.seed for run in finished(row.seeds)] for row in (old, new)]
        return spread(sides[0], sides[1], metric, same_seeds=seeds[0] == seeds[1])

    return of_rows


def intervals(where: Where) -> Paired:
    """A `Paired` for the gains of one report: the 95 % interval of row after minus row before."""
    of_rows = noise(where, where)

    def interval(before: Row, after: Row, metric: str) -> Interval | None:
        found = of_rows(before, after, metric)
        return (found.low, found.high) if found else None

    return interval


def spread(before: Sequence[Path], after: Sequence[Path], metric: str, *, same_seeds: bool) -> Spread:
    """The spread of mean(after) - mean(before) over SAMPLES replicates. HarnessError when the images differ."""
    import numpy as np

    images = {path: _replicates(path)[0] for path in (*before, *after)}
    if len(set(images.values())) > 1:
        raise HarnessError("two rows were not evaluated on the same images: " + ", ".join(map(str, images)))
    old, new = (np.stack([_replicates(path)[1][metric] for path in side]) for side in (before, after))
    generator = np.random.default_rng(derive(0, "bootstrap", "seeds"))
    drawn_old = generator.integers(len(old), size=(SAMPLES, len(old)))
    drawn_new = drawn_old if same_seeds else generator.integers(len(new), size=(SAMPLES, len(new)))
    replicate = np.arange(SAMPLES)[:, None]
    differences = new[drawn_new, replicate].mean(axis=1) - old[drawn_old, replicate].mean(axis=1)
    differences = differences[~np.isnan(differences)]
    if len(differences) < 2:
        raise HarnessError(f"{metric} is undefined on nearly every draw of the images", hint="evaluate more frames")
    low, high = np.quantile(differences, (0.025, 0.975))
    return Spread(float(differences.std(ddof=1)), float(low), float(high))


@cache
def _replicates(path: Path) -> tuple[tuple[str, ...], "dict[str, np.ndarray]"]:
    """Images of an evaluation, and its scores in every replicate; replicates of equal image lists draw alike."""
    import numpy as np

    found = _load(path)
    count = len(found.images)
    generator = np.random.default_rng(derive(0, "bootstrap", "images", count))
    weights = generator.multinomial(count, [1 / count] * count, size=SAMPLES)
    known = found.scores(names=None)
    scores = found.scores(weights, names=[metric for metric in METRICS if metric in known])
    return found.images, scores


def _load(path: Path) -> "Statistics":
    from harness.metrics import statistics

    return statistics.load(path)
