"""This module builds the one Table from result rows; the renderers beside this file print it.

Ranks are computed once, here, on the printed digits and among measured rows only. Published rows stand apart, and the
caption says what the numbers may be compared with: rows measured under a profile that isn't the paper's can never be
read as a reproduction, whatever the renderer. Not here: what one cell knows (cells.py).
"""

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from harness.core.config import Strict
from harness.core.errors import HarnessError
from harness.core.numbers import number
from harness.metrics.info import SIGNATURE_JOINT
from harness.report.cells import Cell, Cells, Intervals, no_intervals
from harness.report.columns import Column, column, difference_to_paper
from harness.results.rows import Row, competes, finished

if TYPE_CHECKING:
    from harness.planning.suite import Profile

Marks = Literal["three", "best", "none"]

STATUS_NOTES = {
    "not built": "not built: the part that the row needs doesn't exist in this version",
    "not run": "not run: the row has no result yet",
    "missing": "missing: the result should be there and isn't",
    "failed": "failed: a step of the row ended with an error",
    "undefined": "–: not reported, or undefined on this data",
}
SEGMENTATION = ("method", "backbone", "version", "crop", "PQ", "IoU", "AP", "AP50", "images_seen")


class TableSpec(Strict):
    """The [table] of a suite. `difference`: the columns beside which the difference to the paper stands; `intervals`:
    whether scores are printed with theirs."""

    columns: tuple[str | Column, ...] = SEGMENTATION
    difference: tuple[str, ...] = ("PQ", "IoU", "AP", "AP50")
    marks: Marks = "three"
    intervals: bool = False
    note: str = ""


class Line(Strict):
    """One row of cells. `notes` are the marks printed behind its first cell; `provenance` is shown on hover."""

    name: str
    group: Literal["published", "measured"]
    section: str = ""
    cells: tuple[Cell, ...]
    notes: tuple[str, ...] = ()
    provenance: str = ""


class Note(Strict):
    """A footnote."""

    mark: str
    text: str


class Table(Strict):
    """This holds what every renderer prints. `groups` are the headings over published and measured lines; `intervals`:
    whether the texts of scores hold them; `signatures`: how the scores were made, in sentences."""

    title: str
    profile: str
    comparable: bool
    caption: tuple[str, ...]
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    notes: tuple[Note, ...] = ()
    groups: dict[str, str] = Field(default_factory=dict)
    marks: Marks = "three"
    intervals: bool = False
    signatures: tuple[str, ...] = ()

    @property
    def said(self) -> tuple[str, ...]:
        """Caption and signatures, for renderers that set them together."""
        return (*self.caption, *self.signatures)

    def blocks(self) -> list[tuple[str, list[list[Line]]]]:
        """Lines by group, then by section, in order: (heading, sections). Rules go between them."""
        found: list[tuple[str, list[list[Line]]]] = []
        for group in ("published", "measured"):
            sections: list[list[Line]] = []
            for line in (line for line in self.lines if line.group == group):
                if not sections or sections[-1][-1].section != line.section:
                    sections.append([])
                sections[-1].append(line)
            if sections:
                found.append((self.groups.get(group, ""), sections))
        return found


def build(
    spec: TableSpec, rows: Sequence[Row], *, title: str, profile: "Profile", intervals: Intervals = no_intervals
) -> Table:
    """Return the table of `rows`. Published rows come first; measured ones keep their order and must share one profile.

    Cells know the `intervals` that there are; the spec says whether they are printed.
    """
    rows = [*(row for row in rows if row.origin != "measured"), *(row for row in rows if row.origin == "measured")]
    strangers = sorted({row.profile for row in rows if row.origin == "measured"} - {profile.name})
    if strangers:
        raise HarnessError(
            f"table {title!r}: rows of profile {', '.join(map(repr, strangers))} can't stand in a table of profile "
            f"{profile.label!r}",
            hint="results of different profiles are never ranked against each other; report one profile at a time",
        )
    columns = _columns(spec, rows, comparable=profile.comparable)
    footnotes = _Footnotes()
    cells = Cells(intervals, spec.intervals, profile.comparable)
    lines = [_line(row, columns, footnotes, cells) for row in rows]
    return Table(
        title=title if profile.comparable else f"{title} [profile {profile.label}, not comparable with the paper]",
        profile=profile.label,
        comparable=profile.comparable,
        caption=(*_caption(spec, rows, columns, profile), *(about_intervals(columns, lines) if spec.intervals else ())),
        columns=columns,
        lines=tuple(rank(lines, columns, spec.marks, apart={row.name for row in rows if not competes(row)})),
        notes=tuple(footnotes.ordered(lines)),
        groups={
            "published": "As printed, Cityscapes val; not measured here",
            "measured": f"Measured here, profile {profile.label}",
        },
        marks=spec.marks,
        intervals=spec.intervals,
        signatures=tuple(signatures(row for row in rows if row.origin == "measured")),
    )


def rank(lines: Iterable[Line], columns: Sequence[Column], marks: Marks, *, apart: Collection[str] = ()) -> list[Line]:
    """Lines with ranks 1 to 3 (or 1) per score column, on printed digits; ties share a rank.

    Measured lines are ranked, but for those named in `apart`: controls are there to be compared with.
    """
    lines = list(lines)
    depth = {"three": 3, "best": 1, "none": 0}[marks]
    ranks: dict[tuple[int, int], int] = {}
    for place, entry in enumerate(columns):
        if entry.kind != "score" or not entry.direction:
            continue
        sign = -1 if entry.direction == "up" else 1
        printed = {
            index: sign * round(value, entry.decimals)
            for index, line in enumerate(lines)
            if line.group == "measured" and line.name not in apart and line.cells[place].status == "ok"
            if isinstance(value := line.cells[place].value, int | float)
        }
        if len(set(printed.values())) > 1:
            for index, value in printed.items():
                position = 1 + sum(other < value for other in printed.values())
                if position <= depth:
                    ranks[index, place] = position
    return [
        line.model_copy(
            update={
                "cells": tuple(
                    cell.model_copy(update={"rank": ranks.get((index, place))}) for place, cell in enumerate(line.cells)
                )
            }
        )
        for index, line in enumerate(lines)
    ]


class _Footnotes:
    """Letters for texts, given out in the order in which they are asked for; marks of rows keep their own sign."""

    def __init__(self) -> None:
        self.notes: dict[str, str] = {}

    def mark(self, text: str, mark: str = "") -> str:
        taken = {known: sign for sign, known in self.notes.items()}
        if text in taken:
            return taken[text]
        lettered = sum(sign.isalpha() for sign in self.notes)
        while not mark or mark in self.notes:
            mark, lettered = _letters(lettered), lettered + 1
        self.notes[mark] = text
        return mark

    def ordered(self, lines: Iterable[Line]) -> list[Note]:
        used = {cell.status for line in lines for cell in line.cells}
        signs = [Note(mark="", text=text) for status, text in STATUS_NOTES.items() if status in used]
        return [*(Note(mark=mark, text=text) for mark, text in self.notes.items()), *signs]


def _letters(index: int) -> str:
    return chr(ord("a") + index) if index < 26 else _letters(index // 26 - 1) + chr(ord("a") + index % 26)


def _columns(spec: TableSpec, rows: Sequence[Row], *, comparable: bool) -> tuple[Column, ...]:
    """Return the columns of the spec; a difference column only where some row has a published counterpart."""
    columns: list[Column] = []
    for entry in map(column, spec.columns):
        columns.append(entry)
        if entry.key in spec.difference and any(row.paper.get(entry.key) is not None for row in rows):
            columns.append(difference_to_paper(entry, comparable=comparable))
    return tuple(columns)


def _line(row: Row, columns: Sequence[Column], footnotes: _Footnotes, cells: Cells) -> Line:
    return Line(
        name=row.name,
        group="measured" if row.origin == "measured" else "published",
        section=row.section or row.method,
        cells=tuple(cells.cell(row, entry) for entry in columns),
        notes=tuple(_row_notes(row, footnotes)),
        provenance=provenance(row),
    )


def _row_notes(row: Row, footnotes: _Footnotes) -> Iterable[str]:
    if row.mark or row.origin != "measured":
        printed = f"as printed in {row.source}" if row.origin == "published" else f"reproduced in {row.source}"
        text = f"{row.note}; {printed}" if row.note else printed
        yield footnotes.mark(text, row.mark or ("†" if row.origin == "published" else "*"))
    elif row.note:
        yield footnotes.mark(row.note)
    done = len(finished(row.seeds))
    if row.status == "ok" and done < len(row.seeds):
        lost = ", ".join(f"{run.seed} {run.status}" for run in row.seeds if run.status != "ok")
        yield footnotes.mark(f"{done} of {len(row.seeds)} seeds (seed {lost})")
    errors = [run.error.strip().splitlines()[-1] for run in row.seeds if run.error.strip()]
    if row.status != "ok" and errors:
        yield footnotes.mark(errors[0])


def provenance(row: Row) -> str:
    """Return where a row's numbers come from, in one line."""
    if row.origin != "measured":
        return f"{row.origin}: {row.source}" + (f" ({row.note})" if row.note else "")
    runs = "; ".join(
        f"seed {run.seed}: {run.key or run.status}" + (f" at {run.commit}" if run.commit else "") for run in row.seeds
    )
    facts = [f"suite {row.suite}, row {row.name}, profile {row.profile}", runs, row.signature]
    if row.cost.seconds is not None:
        facts.append(f"{number(row.cost.seconds, 0)} s")
    return "; ".join(fact for fact in facts if fact)


def _caption(spec: TableSpec, rows: Sequence[Row], columns: Sequence[Column], profile: "Profile") -> Iterable[str]:
    """Yield the sentences under a table."""
    measured = [row for row in rows if row.origin == "measured"]
    yield f"Profile {profile.label}: {profile.caption}."
    if not profile.comparable:
        yield (
            "NOT COMPARABLE with the paper: other data, other sizes, other budget. These numbers say which row is "
            "better here and reproduce nothing."
        )
    bracketed = any(entry.kind == "difference" for entry in columns)
    if bracketed:
        yield "Δ paper: measured minus the published counterpart, which stands in parentheses" + (
            "." if profile.comparable else ", in brackets because the two were not measured alike."
        )
    yield from _budget(measured)
    yield from _counts(measured)
    if spec.marks != "none" and sum(map(competes, measured)) > 1:
        how = "best: bold" if spec.marks == "best" else "first, second, third: bold, underlined, italic"
        yield f"Marked among measured rows that are no control ({how})."
    if spec.note:
        yield spec.note


def about_intervals(columns: Sequence[Column], lines: Sequence[Line]) -> Iterable[str]:
    """Return what the printed intervals are, and why a score may have none."""
    yield "In parentheses: 95 % intervals over images and seeds, around the score freed of what few frames add."
    scores = [place for place, entry in enumerate(columns) if entry.kind == "score" and entry.key != "published"]
    cells = [line.cells[place] for line in lines if line.group == "measured" for place in scores]
    if any(cell.interval is None for cell in cells if cell.status == "ok"):
        yield (
            "A score without one has no statistics, or one seed and no row of its kind with several: an interval of "
            "images alone would be too narrow."
        )


def signatures(rows: Iterable[Row]) -> Iterable[str]:
    """Return how the scores of `rows` were made, in sentences that say each part once: what all rows share, what
    differs."""
    signed = [row.signature.split(SIGNATURE_JOINT) for row in rows if row.signature]
    parts = dict.fromkeys(part for row in signed for part in row)
    shared = [part for part in parts if all(part in row for row in signed)]
    if shared:
        yield f"Signature: {SIGNATURE_JOINT.join(shared)}."
    if len(shared) < len(parts):
        yield f"Signatures of some rows only: {SIGNATURE_JOINT.join(part for part in parts if part not in shared)}."


def _budget(measured: Sequence[Row]) -> Iterable[str]:
    given = [(row.budget.iterations, row.budget.batch_size) for row in measured if row.status == "ok"]
    budgets = [(steps, batch) for steps, batch in dict.fromkeys(given) if steps is not None and batch is not None]
    if len(budgets) == 1:
        iterations, batch = budgets[0]
        yield (
            f"Budget of every row: {number(iterations, 0)} iterations of {batch} images, "
            f"{number(iterations * batch, 0)} images seen."
        )
    elif budgets:
        listed = ", ".join(f"{number(iterations, 0)} × {batch}" for iterations, batch in budgets)
        yield f"Budgets DIFFER between rows (iterations × images): {listed}."


def _counts(measured: Sequence[Row]) -> Iterable[str]:
    seeds = list(
        dict.fromkeys(tuple(run.seed for run in finished(row.seeds)) for row in measured if finished(row.seeds))
    )
    if len(seeds) == 1:
        listed = ", ".join(map(str, seeds[0]))
        yield f"Seed {listed}." if len(seeds[0]) == 1 else f"Mean ± sample standard deviation over seeds {listed}."
    elif seeds:
        yield "Seeds differ between rows: " + "; ".join(", ".join(map(str, group)) for group in seeds) + "."
    images = sorted({row.images for row in measured if row.images is not None})
    if images:
        yield f"n = {' or '.join(number(count, 0) for count in images)} images."
