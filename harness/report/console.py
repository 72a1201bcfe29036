"""This renderer prints a table in the terminal (rich): published rows above a rule, ranks bold, underlined and italic,
caption below.

Columns are laid out here and not by rich, because headings span all columns. Where the terminal is too narrow, texts
fold first; when that isn't enough, differences, counts and crop sizes are left out, and a line says so.
"""

import textwrap
from typing import TYPE_CHECKING

from harness.report.cells import Cell
from harness.report.columns import Column
from harness.report.result_table import Table

if TYPE_CHECKING:
    from rich.text import Text

STYLES = {1: "bold", 2: "underline", 3: "italic"}
COLORS = {1: "bold red", 2: "underline blue", 3: "italic green"}
GAP = 2
FAST = "\N{NO-BREAK SPACE}"
"""Stands for a space at which a text may not be folded; a score may, before its interval."""


def to_console(table: Table, *, width: int | None = None, color: bool = False) -> str:
    """Return the table as text of at most `width` columns (default: as wide as it needs); ANSI styles only with
    `color`.
    """
    if not color:
        return "\n".join(line.plain.rstrip() for line in lines(table, width=width)) + "\n"

    from io import StringIO

    from rich.console import Console

    out = StringIO()
    console = Console(file=out, width=10_000, force_terminal=True, color_system="truecolor", highlight=False)
    for line in lines(table, width=width, color=True):
        console.print(line, soft_wrap=True)
    return out.getvalue()


def lines(table: Table, *, width: int | None = None, color: bool = False) -> list["Text"]:
    """Return what the command line prints, one styled rich text per terminal line."""
    from rich.text import Text

    widths = _widths(table, width)
    total = sum(cell + GAP for cell in widths if cell is not None) - GAP
    rule = Text("─" * total, style="dim")
    out = [Text(part, style="bold") for part in textwrap.wrap(table.title, width or 10_000)]
    heads = [Cell(text=entry.heading) for entry in table.columns]
    out += [*_row(table, heads, (), widths, color=color), rule]
    for position, (heading, sections) in enumerate(table.blocks()):
        if position:
            out.append(rule)
        if heading:
            out.append(Text(heading, style="dim italic"))
        for line in (line for section in sections for line in section):
            out += _row(table, line.cells, line.notes, widths, color=color)
    out.append(rule)
    for text in _below(table, widths, width):
        out += [Text(part, style="dim") for part in textwrap.wrap(text, width or max(total, 100))]
    return out


def _below(table: Table, widths: list[int | None], width: int | None) -> list[str]:
    remarks = [*table.said, *(f"{note.mark} {note.text}.".strip() for note in table.notes)]
    if None in widths:
        needed = sum(cell + GAP for cell in _widths(table, None) if cell is not None) - GAP
        lost = dict.fromkeys(entry.label for entry, cell in zip(table.columns, widths, strict=True) if cell is None)
        remarks.append(
            f"Left out because this terminal is {width} columns wide and the table {needed}: {', '.join(lost)}. "
            "The written files have all."
        )
    return remarks


def _widths(table: Table, width: int | None) -> list[int | None]:
    """Width of every column; None: left out. Text columns give way down to their longest word, the widest first."""
    texts = [[entry.heading.replace(" ", FAST) if entry.numeric else entry.heading] for entry in table.columns]
    for line in table.lines:
        for place, (entry, cell) in enumerate(zip(table.columns, line.cells, strict=True)):
            texts[place].append(_foldable(cell, entry) + _marks(line.notes if not place else ()))
    natural = [max(map(len, column)) for column in texts]
    least = [
        full if entry.key == "crop" else max(len(word) for text in column for word in text.split(" "))
        for entry, column, full in zip(table.columns, texts, natural, strict=True)
    ]
    if width is None:
        return [*natural]
    kept = [True] * len(natural)
    for surplus in ("difference", "count", "crop"):
        if sum(cell + GAP for cell, keep in zip(least, kept, strict=True) if keep) - GAP > width:
            kept = [
                keep and surplus not in (entry.kind, entry.key) for entry, keep in zip(table.columns, kept, strict=True)
            ]
    found: list[int | None] = [cell if keep else None for cell, keep in zip(natural, kept, strict=True)]
    while sum(cell + GAP for cell in found if cell is not None) - GAP > width:
        slack = [-1 if cell is None or cell <= low else cell for cell, low in zip(found, least, strict=True)]
        if max(slack) < 0:
            break
        widest = slack.index(max(slack))
        found[widest] = slack[widest] - 1
    return found


def _row(
    table: Table, cells: tuple[Cell, ...] | list[Cell], notes: tuple[str, ...], widths: list[int | None], *, color: bool
) -> list["Text"]:
    """Return one table line as one or more terminal lines."""
    from rich.text import Text

    folded = []
    for place, (entry, cell) in enumerate(zip(table.columns, cells, strict=True)):
        space = widths[place]
        text = _foldable(cell, entry) + _marks(notes if not place else ())
        parts = textwrap.wrap(text, space) if space else []
        folded.append([part.replace(FAST, " ") for part in parts])
    out = []
    for depth in range(max(1, *map(len, folded))):
        styled = Text()
        for place, (entry, cell) in enumerate(zip(table.columns, cells, strict=True)):
            space = widths[place]
            if space is None:
                continue
            part = folded[place][depth] if depth < len(folded[place]) else ""
            pad = " " * (space - len(part))
            styled.append(" " * GAP if len(styled) else "")
            styled.append(pad if entry.numeric else "")
            styled.append(part, style=_style(cell, color=color))
            styled.append("" if entry.numeric else pad)
        out.append(styled)
    return out


def _foldable(cell: Cell, entry: Column) -> str:
    """Return the text of a cell with the spaces at which it may be folded: a number has one, before its interval."""
    return cell.text.replace(" ", FAST).replace(f"{FAST}(", " (") if entry.numeric else cell.text


def _marks(notes: tuple[str, ...]) -> str:
    return f" {','.join(notes)}" if notes else ""


def _style(cell: Cell, *, color: bool) -> str:
    if cell.rank:
        return (COLORS if color else STYLES)[cell.rank]
    return "" if cell.status == "ok" and cell.reference is None else "dim"
