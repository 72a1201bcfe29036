"""This module turns comparisons of rows into a table. It is pure: comparisons in, a table out."""

from collections.abc import Sequence

from harness.core.numbers import number
from harness.report.cells import Cell
from harness.report.columns import Column, of_score
from harness.report.result_table import Line, Note, Table
from harness.results.compare import Comparison

COLUMNS = (
    Column(key="row", label="Rows", kind="text"),
    Column(key="metric", label="Metric", kind="text"),
    Column(key="before", label="First", kind="count"),
    Column(key="after", label="Second", kind="count"),
    Column(key="difference", label="Second − first", kind="count"),
    Column(key="interval", label="95 % interval", kind="text"),
    Column(key="outcome", label="The second is", kind="text"),
)


def to_table(found: Sequence[Comparison], first: str, second: str) -> Table:
    """Return one line for each pair of rows and metric; what else differs between two rows stands below."""
    notes: dict[str, str] = {}
    lines = [_line(one, notes) for one in found]
    return Table(
        title=f"{second} against {first}",
        profile="",
        comparable=True,
        caption=(
            "Intervals are paired over images, and over seeds as far as rows of the kind say how much they matter.",
            "First and second in the unit of the metric; percent and points for fractions.",
        ),
        columns=COLUMNS,
        lines=tuple(lines),
        notes=tuple(Note(mark=mark, text=text) for text, mark in notes.items()),
        marks="none",
    )


def _line(one: Comparison, notes: dict[str, str]) -> Line:
    entry = of_score(one.metric)
    names = one.first if one.first == one.second else f"{one.first} → {one.second}"
    said = "; ".join(f"{name}: {old} → {new}" for name, (old, new) in one.differs.items())
    mark = notes.setdefault(said, str(len(notes) + 1)) if said else ""
    interval = "" if one.low is None or one.high is None else f"{_text(one.low, entry)} to {_text(one.high, entry)}"
    outcome = f"{one.outcome}: {one.reason}" if one.reason else one.outcome
    return Line(
        name=f"{names} {one.metric}",
        group="measured",
        section=names,
        cells=(
            Cell(value=names, text=names),
            Cell(value=one.metric, text=entry.label if one.metric else "–"),
            _value(one.before, entry),
            _value(one.after, entry),
            _value(one.difference, entry, signed=True),
            Cell(value=interval, text=interval),
            Cell(value=one.outcome, text=outcome),
        ),
        notes=(mark,) if mark else (),
    )


def _value(value: float | None, entry: Column, *, signed: bool = False) -> Cell:
    if value is None:
        return Cell(status="blank")
    printed = round(value * entry.scale, 10)
    return Cell(value=printed, n=1, text=number(printed, entry.decimals, signed=signed))


def _text(value: float, entry: Column) -> str:
    return number(value * entry.scale, entry.decimals, signed=True)
