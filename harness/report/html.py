"""This renderer writes a table as an HTML fragment: it escapes every text, scopes headings for screen readers and shows
provenance on hover."""

from collections.abc import Sequence
from html import escape

from harness.core.numbers import number
from harness.report.cells import Cell
from harness.report.columns import Column
from harness.report.result_table import Line, Table

RANKS = {1: "first", 2: "second", 3: "third"}
NAMES = {1: "best", 2: "second best", 3: "third best"}


def to_html(table: Table) -> str:
    """Return a <figure> with the table, its caption and its footnotes; classes only, the page brings the style."""
    parts, quoted = [], ""
    both = len({line.group for line in table.lines}) > 1
    measured = [line for line in table.lines if line.group == "measured"]
    shown = _filled(table, measured) if both else list(range(len(table.columns)))
    for heading, sections in table.blocks():
        group = sections[0][0].group
        aside = both and group == "published"
        places = _filled(table, [line for section in sections for line in section]) if aside else shown
        head = f'<tr class="group"><th scope="rowgroup" colspan="{len(places)}">{escape(heading)}</th></tr>'
        bodies = []
        for index, section in enumerate(sections):
            lines = "".join(_line(line, table.columns, places) for line in section)
            bodies.append(f"<tbody>{head if not index and heading else ''}{lines}</tbody>")
        if aside:
            count = sum(map(len, sections))
            inner = _scrolling(f"{table.title}: quoted", "Quoted rows", _heads(table, places), bodies)
            quoted = (
                f"<details><summary>{count} quoted row{'s' * (count > 1)}: {escape(heading)}</summary>{inner}</details>"
            )
        else:
            parts += bodies
    caption = " ".join(escape(text) for text in table.caption)
    notes = "".join(
        f"<li>{f'<sup>{escape(n.mark)}</sup> ' if n.mark else ''}{escape(n.text)}</li>" for n in table.notes
    )
    listed = "".join(f"<p>{escape(text)}</p>" for text in table.signatures)
    signatures = f"<details><summary>How the scores were made</summary>{listed}</details>" if listed else ""
    kind = "comparable" if table.comparable else "incomparable"
    return (
        f'<figure class="table {kind}">{_scrolling(table.title, table.title, _heads(table, shown), parts)}{quoted}'
        f"<figcaption><p>{caption}</p>{f'<ul class=notes>{notes}</ul>' if notes else ''}{signatures}</figcaption>"
        "</figure>\n"
    )


def _filled(table: Table, lines: Sequence[Line]) -> list[int]:
    """Return the places of the columns in which one of the lines says something; the first, which names the line,
    always.
    """
    blank = ("undefined", "blank")
    said = [i for i in range(1, len(table.columns)) if any(line.cells[i].status not in blank for line in lines)]
    return [0, *said]


def _heads(table: Table, places: Sequence[int]) -> str:
    return "".join(
        f'<th scope="col"{_class(entry)}>{escape(entry.label)}{_unit(entry)}{_arrow(entry)}</th>'
        for entry in (table.columns[place] for place in places)
    )


def _scrolling(name: str, caption: str, heads: str, bodies: Sequence[str]) -> str:
    """Return a table that scrolls within itself where the page is narrower."""
    return (
        f'<p class="caption">{escape(caption)}</p>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">'
        f'<table aria-label="{escape(name)}"><thead><tr>{heads}</tr></thead>{"".join(bodies)}</table></div>'
    )


def _unit(entry: Column) -> str:
    """Percent and points too, which papers leave out."""
    unit = "points" if entry.kind == "difference" and entry.unit == "%" else entry.unit
    return f' <span class="unit">({escape(unit)})</span>' if unit else ""


def _line(line: Line, columns: tuple[Column, ...], places: Sequence[int]) -> str:
    marks = f"<sup>{escape(','.join(line.notes))}</sup>" if line.notes else ""
    cells = [f'<th scope="row" title="{escape(line.provenance)}">{escape(line.cells[0].text)}{marks}</th>']
    for entry, cell in [(columns[place], line.cells[place]) for place in places[1:]]:
        title = _hover(cell, entry, line)
        cells.append(
            f"<td{_class(entry, cell)}{f' title={chr(34)}{escape(title)}{chr(34)}' if title else ''}>{_text(cell)}</td>"
        )
    return f"<tr>{''.join(cells)}</tr>"


def _hover(cell: Cell, entry: Column, line: Line) -> str:
    if cell.status != "ok" or entry.kind in ("text", "count") or not isinstance(cell.value, float):
        return line.provenance if cell.status in ("failed", "missing") else ""
    text = f"{entry.label} {number(cell.value, entry.decimals + 2)}{entry.unit and f' {entry.unit}'}"
    if cell.std is not None:
        text += f", standard deviation {number(cell.std, entry.decimals + 2)} over {cell.n} seeds"
    if cell.interval is not None:
        ends = (number(end, entry.decimals + 2) for end in (cell.interval.low, cell.interval.high))
        text += f", 95 % interval {' to '.join(ends)}"
    if cell.reference is not None:
        text += f", published {number(cell.reference, entry.decimals)}"
    return f"{text}; {line.provenance}"


def _text(cell: Cell) -> str:
    if cell.rank:
        # The rank is said in words too: a screen reader reads neither bold nor colour.
        said = f'<span class="said"> ({NAMES[cell.rank]})</span>'
        return f'<span class="{RANKS[cell.rank]}">{escape(cell.text)}</span>{said}'
    return escape(cell.text)


def _class(entry: Column, cell: Cell | None = None) -> str:
    names = ["number"] if entry.numeric else []
    if cell is not None:
        names += [cell.status.replace(" ", "-")] if cell.status != "ok" else []
        names += ["difference"] if entry.kind == "difference" else []
    return f' class="{" ".join(names)}"' if names else ""


def _arrow(entry: Column) -> str:
    words = {"↑": "higher is better", "↓": "lower is better"}
    return f' <abbr title="{words[entry.arrow]}">{entry.arrow}</abbr>' if entry.arrow else ""
