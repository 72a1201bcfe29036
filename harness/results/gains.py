"""A gain is a row less the row that it is compared with, in one metric, with a paired interval.

What is compared with what stands in the rows, which have it from the generators' TOML: zoom = focus - none, generated
appearance = generator - focus. Recipes, mixes and labels are compared with the first of the suite, generator by
generator. Not here: the words (harness/report/answer.py), and where intervals come from (paired.py).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.results.rows import Row

if TYPE_CHECKING:
    from harness.metrics.intervals import Difference

Paired = Callable[[Row, Row, str], "Difference | None"]
"""(row before, row after, metric) to the difference after minus before; None where there is no interval of it."""
Factor = Literal["generator", "recipe", "mix", "labels"]

MAIN = "AP"
"""The metric in which gains are counted."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """One difference between two rows that differ in one factor, in the metric's unit (fractions for segmentation)."""

    share: str
    """What the difference is called: "zoom", "generated appearance"."""
    factor: Factor
    """In what the two rows differ."""
    before: Row
    after: Row
    group: tuple[str, ...]
    """What the two rows have in common, as printed: the backbone, and what else differs between rows of the suite."""
    metric: str
    value: float
    """Score of `after` minus score of `before`."""
    difference: "Difference | None"
    """The same with its interval; None where nothing can be concluded."""

    @property
    def certain(self) -> bool:
        """Return whether there is an interval and it leaves zero out."""
        return self.difference is not None and self.difference.distinguishable


def decompose(rows: Sequence[Row], paired: Paired, *, metric: str = MAIN) -> list[Gain]:
    """Return the gains between measured rows that have a score: those of controls first, then share by share."""
    measured = [row for row in rows if row.origin == "measured" and row.scores.get(metric) is not None]
    varied = [name for name in _SHARED if len({getattr(row, name) for row in measured if _has(row, name)}) > 1]

    def gain(share: str, factor: Factor, before: Row, after: Row) -> Gain:
        shared = [name for name in _SHARED if name != factor and (name == "backbone" or name in varied)]
        return Gain(
            share=share,
            factor=factor,
            before=before,
            after=after,
            group=tuple(filter(None, (printed(after, name) for name in shared if _has(after, name)))),
            metric=metric,
            value=_score(after, metric) - _score(before, metric),
            difference=paired(before, after, metric),
        )

    found = [gain(share, "generator", before, after) for share, before, after in _between_generators(measured)]
    for factor in ("recipe", "mix", "labels"):
        found += [gain(f"the {factor}", factor, before, after) for before, after in _between_levels(measured, factor)]
    return found


def printed(row: Row, factor: str) -> str:
    """Return the level of a factor (or a part) of a row, as printed."""
    if factor == "mix":
        return row.mix or "concat"
    if factor == "labels":
        return f"{row.labels} labels"
    text: str = getattr(row, factor)
    return text


_SHARED = ("segmenter", "backbone", "recipe", "mix", "labels")


def _has(row: Row, factor: str) -> bool:
    """Return whether a factor plays a part in a row: real frames alone know neither recipe nor mix."""
    return row.role != "baseline" or factor not in ("recipe", "mix")


def _between_generators(rows: Sequence[Row]) -> Iterator[tuple[str, Row, Row]]:
    """(share, before, after) for rows of one network, recipe, mix and kind of labels."""
    networks: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        networks.setdefault((row.segmenter, row.backbone), []).append(row)
    pairs = [
        (share, before, after)
        for after in rows
        for generator, share in after.compared_with.items()
        if (before := _mate(after, generator, networks[after.segmenter, after.backbone])) is not None
    ]
    controls = [pair for pair in pairs if pair[2].role == "control"]
    yield from controls
    others = [pair for pair in pairs if pair[2].role != "control"]
    for share in dict.fromkeys(share for share, _, _ in others):
        yield from (pair for pair in others if pair[0] == share)


def _mate(row: Row, generator: str, rows: Sequence[Row]) -> Row | None:
    """Return the row of `generator` that `row` is compared with."""
    there = [other for other in rows if other.generator == generator and other.name != row.name]
    return next((other for other in there if all(_alike(row, other, name) for name in _SHARED)), None)


def _between_levels(rows: Sequence[Row], factor: Factor) -> Iterator[tuple[Row, Row]]:
    """(first level, other level) for rows that differ in `factor` alone."""
    firsts: dict[tuple[str, ...], Row] = {}
    for row in rows:
        if _has(row, factor):
            alike = (row.generator, *(getattr(row, name) for name in _SHARED if name != factor))
            first = firsts.setdefault(alike, row)
            if getattr(first, factor) != getattr(row, factor):
                yield first, row


def _alike(row: Row, other: Row, factor: str) -> bool:
    return not _has(other, factor) or getattr(row, factor) == getattr(other, factor)


def _score(row: Row, metric: str) -> float:
    score = row.scores[metric]
    assert score is not None
    return score
