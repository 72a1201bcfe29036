"""This module compares any two sets of rows, row by row: two suites, stores, baselines or files, or single rows of
them.

Rows on other data, or scored in another way, are never compared; what else differs between two rows is said with their
difference. Not here: `check`, which judges new rows of a suite by its accepted ones (check.py), and where rows come
from (sources.py).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from harness.core.errors import HarnessError, near
from harness.metrics.table import find, known
from harness.results.gains import Paired
from harness.results.rows import Record, Row, finished

if TYPE_CHECKING:
    from harness.metrics.intervals import Difference

HEADLINES = ("AP", "AP50", "PQ", "IoU", "CLIPScore", "FID", "SSIM", "PSNR")
"""The metrics that are compared where nobody names any, as far as both rows have them."""

Outcome = Literal["better", "worse", "not distinguishable", "no interval", "not comparable", "missing", "same runs"]

_OBSTACLES = (("data", "data"), ("images", "number of evaluated images"), ("signature", "metric signature"))
_ASPECTS = (
    ("profile", "profile"),
    ("segmenter", "segmenter"),
    ("backbone", "backbone"),
    ("generator", "generator"),
    ("recipe", "recipe"),
    ("mix", "mix"),
    ("labels", "labels"),
    ("crop", "crop"),
)


class Comparison(Record):
    """Two rows in one metric: the second less the first."""

    first: str
    """Name of the first row."""
    second: str
    """Name of the second row."""
    metric: str = ""
    """The score; empty where there is nothing to compare."""
    before: float | None = None
    """Score of the first row, as stored (fractions for segmentation)."""
    after: float | None = None
    """Score of the second row."""
    difference: float | None = None
    """Second minus first."""
    low: float | None = None
    """Lower end of the paired 95 % interval of the difference; null where there is none."""
    high: float | None = None
    """Upper end."""
    outcome: Outcome
    """What the interval says of the second row, in the metric's direction; why there is no interval."""
    differs: dict[str, tuple[str, str]] = {}
    """What else is not the same in the two rows: name to both values."""
    reason: str = ""
    """Why the rows were not compared."""


def compare(
    first: Sequence[Row], second: Sequence[Row], paired: Paired, *, metrics: Sequence[str] = ()
) -> list[Comparison]:
    """Return every row of `first` with the one of its name in `second`; of one row on each side, these two.

    `metrics`: default the headlines that both rows have. HarnessError for a metric that no metric describes, and where
    the two sides have no row in common.
    """
    for metric in metrics:
        if find(metric) is None:
            raise HarnessError(f"unknown metric {metric!r}", hint=near(metric, [info.key for info in known()]))
    pairs = _pairs(first, second)
    return [one for before, after in pairs for one in _compared(before, after, paired, metrics)]


def _pairs(first: Sequence[Row], second: Sequence[Row]) -> list[tuple[Row, Row]]:
    if len(first) == len(second) == 1:
        return [(first[0], second[0])]
    there = {row.name: row for row in second}
    found = [(row, there[row.name]) for row in first if row.name in there]
    if not found:
        raise HarnessError(
            "the two sides have no row in common",
            hint=f"name one on each side with a colon: {first[0].name} and {second[0].name}, say",
        )
    return found


def _compared(before: Row, after: Row, paired: Paired, metrics: Sequence[str]) -> list[Comparison]:
    def nothing(outcome: Outcome, reason: str) -> list[Comparison]:
        return [Comparison(first=before.name, second=after.name, outcome=outcome, reason=reason)]

    for row in (before, after):
        if row.status != "ok":
            return nothing("missing", f"{row.name}: {row.status}")
    for name, label in _OBSTACLES:
        if getattr(before, name) != getattr(after, name):
            return nothing("not comparable", f"{label} differs: {getattr(before, name)!r} and {getattr(after, name)!r}")
    differs = differences(before, after)
    keys = [[run.key for run in row.seeds] for row in (before, after)]
    if keys[0] == keys[1] and keys[0] and all(keys[0]):
        return nothing("same runs", "the numbers of both rows are of the same evaluations")
    both = [key for key in metrics or HEADLINES if all(row.scores.get(key) is not None for row in (before, after))]
    return [_one(before, after, key, paired(before, after, key), differs) for key in both] or nothing(
        "missing", "no score that both rows have"
    )


def _one(
    before: Row, after: Row, metric: str, found: "Difference | None", differs: dict[str, tuple[str, str]]
) -> Comparison:
    old, new = before.scores[metric], after.scores[metric]
    assert old is not None and new is not None
    return judged((before.name, after.name), metric, (old, new), found).model_copy(update={"differs": differs})


def judged(names: tuple[str, str], metric: str, values: tuple[float, float], found: "Difference | None") -> Comparison:
    """Return the comparison of two scores, whose outcome follows from the interval of their difference; None: there is
    none."""
    outcome: Outcome = "no interval" if found is None else "not distinguishable"
    if found is not None and found.distinguishable:
        info = find(metric)
        outcome = "better" if (found.value > 0) == (info is None or info.direction == "up") else "worse"
    return Comparison(
        first=names[0],
        second=names[1],
        metric=metric,
        before=values[0],
        after=values[1],
        difference=values[1] - values[0],
        low=None if found is None else found.low,
        high=None if found is None else found.high,
        outcome=outcome,
    )


def differences(before: Row, after: Row) -> dict[str, tuple[str, str]]:
    """Return what is not the same in two rows beside their scores, by name; both values as text."""
    found = {
        label: (_text(getattr(before, name)), _text(getattr(after, name)))
        for name, label in _ASPECTS
        if getattr(before, name) != getattr(after, name)
    }
    for key in dict.fromkeys((*before.settings, *after.settings)):
        values = before.settings.get(key, "as in the file"), after.settings.get(key, "as in the file")
        if values[0] != values[1]:
            found[key] = values
    for name in ("images_seen", "iterations", "batch_size", "real_images", "synthetic_images"):
        values = _text(getattr(before.budget, name)), _text(getattr(after.budget, name))
        if values[0] != values[1]:
            found[name] = values
    seeds = [", ".join(str(run.seed) for run in finished(row.seeds)) for row in (before, after)]
    if seeds[0] != seeds[1]:
        found["seeds"] = seeds[0], seeds[1]
    trained = ["a GPU" if row.cost.gpu_seconds else "no GPU" for row in (before, after) if row.cost.seconds is not None]
    if len(set(trained)) > 1:
        found["computed with"] = trained[0], trained[1]
    commits = [", ".join(sorted({run.commit for run in row.seeds if run.commit})) for row in (before, after)]
    if commits[0] != commits[1]:
        found["commit"] = commits[0], commits[1]
    return found


def _text(value: object) -> str:
    if value is None or value == "":
        return "–"
    return " × ".join(map(str, value)) if isinstance(value, tuple) else str(value)
