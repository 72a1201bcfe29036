"""A reader chooses which lines of a table are shown, and in which order, after ranks and notes were made."""

import operator
import re
from collections.abc import Callable
from typing import NamedTuple

from harness.core.errors import HarnessError, near
from harness.report.cells import Cell
from harness.report.columns import Column
from harness.report.result_table import Line, Table

_TESTS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_FILTER = re.compile(r"\s*([^<>=!~]+?)\s*(>=|<=|!=|=|>|<)\s*(.*?)\s*")


class Filter(NamedTuple):
    """One test of a line: a column, how it is compared, and with what."""

    column: str
    sign: str
    value: str


def parse_filter(text: str) -> Filter:
    """`AP>30`, `version=GLIGEN`, `method!=Control` as a filter; HarnessError when it is none."""
    hit = _FILTER.fullmatch(text)
    if hit is None or not hit[3]:
        raise HarnessError(f"--filter {text!r}: expected COLUMN=TEXT, COLUMN!=TEXT, COLUMN>NUMBER or COLUMN<NUMBER")
    if hit[2] in _TESTS:
        try:
            float(hit[3])
        except ValueError:
            raise HarnessError(f"--filter {text!r}: {hit[3]!r} is no number") from None
    return Filter(*hit.groups())


class Chosen(NamedTuple):
    """This says which lines are shown. `sort`: measured lines by a column, the best first; printed ones stay."""

    sort: str = ""
    filters: tuple[Filter, ...] = ()

    def of(self, table: Table) -> Table:
        """Return the table with these lines; HarnessError for a column that it has not.

        Texts are found within a cell, in any case; numbers are compared with what is printed. Printed lines are
        filtered too.
        """
        lines = [line for line in table.lines if all(_passes(line, table, one) for one in self.filters)]
        if self.sort:
            place, entry = _place(table, self.sort)
            measured = [line for line in lines if line.group == "measured"]
            ordered = sorted(measured, key=lambda line: _order(line.cells[place], entry))
            # Sections would tear a sorted list apart.
            lines = [line for line in lines if line.group != "measured"]
            lines += [line.model_copy(update={"section": ""}) for line in ordered]
        if not lines:
            raise HarnessError("no row is left", hint="--filter leaves none of the table's rows")
        marks = {mark for line in lines for mark in line.notes}
        notes = tuple(note for note in table.notes if not note.mark or note.mark in marks)
        return table.model_copy(update={"lines": tuple(lines), "notes": notes})


def _passes(line: Line, table: Table, one: Filter) -> bool:
    place, _ = _place(table, one.column)
    cell = line.cells[place]
    if one.sign in _TESTS:
        return isinstance(cell.value, int | float) and _TESTS[one.sign](cell.value, float(one.value))
    within = one.value.casefold() in str(cell.value if isinstance(cell.value, str) else cell.text).casefold()
    return within == (one.sign == "=")


def _place(table: Table, name: str) -> tuple[int, Column]:
    """Return where a column stands that is called so, by its key or its label."""
    for place, entry in enumerate(table.columns):
        if name.casefold() in (entry.key.casefold(), entry.label.casefold()):
            return place, entry
    raise HarnessError(f"the table has no column {name!r}", hint=near(name, [entry.key for entry in table.columns]))


def _order(cell: Cell, entry: Column) -> tuple[bool, float, str]:
    """Return the place in the order: numbers by what is better, large counts first; texts; then what has no value."""
    if isinstance(cell.value, int | float):
        return False, cell.value if entry.direction == "down" else -cell.value, ""
    return not isinstance(cell.value, str), 0.0, cell.text.casefold()
