"""This renderer writes a table in GitHub's Markdown: ranks bold, <ins>underlined</ins>, italic; GitHub's sanitizer
removes colours."""

import re

from harness.report.cells import Cell
from harness.report.result_table import Line, Table

RANKS = {1: "**{}**", 2: "<ins>{}</ins>", 3: "*{}*"}


def to_markdown(table: Table, *, level: int = 3) -> str:
    """Heading of `level`, table, caption, footnotes."""
    heads = [escape(entry.heading) for entry in table.columns]
    lines = [f"{'#' * level} {escape(table.title)}", "", _pipes(heads)]
    lines.append(_pipes(["---:" if entry.numeric else ":---" for entry in table.columns]))
    for heading, sections in table.blocks():
        if heading:
            lines.append(_pipes([f"*{escape(heading)}*", *[""] * (len(heads) - 1)]))
        lines.extend(_pipes(_cells(line)) for section in sections for line in section)
    lines += ["", " ".join(escape(text) for text in table.said)]
    if table.notes:
        notes = [
            f"<sup>{escape(note.mark)}</sup> {escape(note.text)}" if note.mark else escape(note.text)
            for note in table.notes
        ]
        lines += ["", "<br>".join(notes)]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Text that Markdown shows as it is."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", text).replace("\n", " ").replace("\r", " ")


def _cells(line: Line) -> list[str]:
    cells = [_cell(cell) for cell in line.cells]
    if line.notes:
        cells[0] += f" <sup>{escape(','.join(line.notes))}</sup>"
    return cells


def _cell(cell: Cell) -> str:
    return RANKS.get(cell.rank or 0, "{}").format(escape(cell.text))


def _pipes(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
