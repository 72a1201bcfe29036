"""A cell of a table knows its value, its interval and its state; this module makes cells from rows.

A cell knows its value, its text, its interval, its rank and why it is empty. Not here: the table around it (table.py).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from harness.core.config import Strict
from harness.core.errors import HarnessError
from harness.core.numbers import number
from harness.report.columns import Column
from harness.report.row_names import version
from harness.results.rows import Row, finished

if TYPE_CHECKING:
    from harness.metrics.intervals import Interval

Intervals = Callable[[Row, str], "Interval | None"]
"""(row, score) to the interval of that score; None where there is none."""
CellStatus = Literal["ok", "undefined", "blank", "not built", "not run", "missing", "failed"]

FACTS = ("images_seen", "iterations", "batch_size", "real_images", "synthetic_images")
COSTS = ("seconds", "gpu_seconds", "peak_memory_mb")


class CellInterval(Strict):
    """The ends of a 95 % interval, in the column's unit."""

    low: float
    high: float


class Cell(Strict):
    """One cell. `value`, `std` and `interval` in the column's unit; `reference`: the published value a difference is
    taken from. A cell may know its interval whether it is printed in `text` or not."""

    value: float | int | str | None = None
    std: float | None = None
    interval: CellInterval | None = None
    n: int = 0
    text: str = ""
    rank: int | None = None
    status: CellStatus = "ok"
    reference: float | None = None


def no_intervals(row: Row, score: str) -> None:
    """Return no interval, for tables without statistics."""


class Cells(NamedTuple):
    """Makes the cells of a table; the fields are what they have in common."""

    intervals: Intervals
    with_intervals: bool
    comparable: bool

    def cell(self, row: Row, entry: Column) -> Cell:
        """Return the cell of a row in a column."""
        if entry.kind == "text":
            return _text_cell(row, entry)
        if entry.kind == "count":
            return _count_cell(row, entry)
        metric = entry.key.removesuffix("_difference")
        if entry.kind == "difference":
            measured = row.scores.get(metric) if row.status == "ok" else None
            return difference_cell(measured, row.paper.get(metric), entry, comparable=self.comparable)
        if row.status != "ok":
            return Cell(text=row.status, status=row.status)
        if metric not in row.scores and row.origin == "measured":
            return score_cell(None, entry) if entry.published_only else Cell(text="missing", status="missing")
        return self.score(row, metric, entry)

    def score(self, row: Row, score: str, entry: Column) -> Cell:
        """Return the cell of a score such as "AP" or "AP/car", which `entry` says how to print."""
        found = row.measurement(score)
        return score_cell(
            found.mean,
            entry,
            std=found.std,
            n=found.n,
            interval=self.intervals(row, score) if row.origin == "measured" else None,
            with_interval=self.with_intervals,
        )


def score_cell(
    value: float | None,
    entry: Column,
    *,
    std: float | None = None,
    n: int = 1,
    interval: "Interval | None" = None,
    with_interval: bool = False,
) -> Cell:
    """Return a cell with a score in the column's unit; the numbers given are in the row's. None is "undefined", an en
    dash.
    """
    if value is None:
        return Cell(text="–", status="undefined")
    value, std = _printed(value, entry), None if std is None else _printed(std, entry)
    ends = CellInterval(low=_printed(interval.low, entry), high=_printed(interval.high, entry)) if interval else None
    text = score_text(value, entry, std=std, interval=ends if with_interval else None)
    return Cell(value=value, std=std, interval=ends, n=n, text=text)


def score_text(value: float, entry: Column, *, std: float | None, interval: CellInterval | None) -> str:
    """Return a score in the column's unit as printed: value, spread over seeds, interval."""
    text = number(value, entry.decimals)
    if std is not None:
        text += f" ± {number(std, entry.decimals)}"
    if interval is not None:
        text += f" ({number(interval.low, entry.decimals)} to {number(interval.high, entry.decimals)})"
    return text


def difference_cell(value: float | None, reference: float | None, entry: Column, *, comparable: bool) -> Cell:
    """Make a cell of measured minus published, and published; bracketed if not comparable, blank if one is absent."""
    if value is None or reference is None:
        return Cell(status="blank", reference=None if reference is None else _printed(reference, entry))
    difference, reference = _printed(value - reference, entry), _printed(reference, entry)
    text = difference_text(difference, reference, entry, comparable=comparable)
    return Cell(value=difference, n=1, text=text, reference=reference)


def difference_text(difference: float, reference: float | None, entry: Column, *, comparable: bool) -> str:
    """Return a difference in the column's unit as printed, where the column says so with the published score behind
    it."""
    text = number(difference, entry.decimals, signed=True)
    text = text if comparable else f"[{text}]"
    return f"{text} ({number(reference, entry.decimals)})" if entry.with_reference and reference is not None else text


def _printed(value: float, entry: Column) -> float:
    # 0.646 * 100 is 64.60000000000001; ten decimals keep every digit that was measured and none that wasn't.
    return round(value * entry.scale, 10)


def _text_cell(row: Row, entry: Column) -> Cell:
    if entry.key == "crop":
        text: Any = f"{row.crop[0]} × {row.crop[1]}" if row.crop else ""
    else:
        text = version(row) if entry.key == "version" else getattr(row, entry.key, None)
        if not isinstance(text, str):
            raise HarnessError(f"[table] columns: a row has no text called {entry.key!r}")
    return Cell(value=text, text=text or "–", status="ok" if text else "undefined")


def _count_cell(row: Row, entry: Column) -> Cell:
    if entry.key in FACTS:
        value = getattr(row.budget, entry.key)
    elif entry.key in COSTS:
        value = getattr(row.cost, entry.key)
    else:
        value = {"seeds": len(finished(row.seeds)) or None, "images": row.images}.get(entry.key)
    if value is None:
        return Cell(status="blank")
    return Cell(value=value, n=1, text=number(value, entry.decimals))
