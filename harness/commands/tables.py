"""This module prints tables on a terminal: where it is narrow, it folds texts, then drops columns and says which."""

import textwrap
from collections.abc import Collection, Mapping, Sequence
from itertools import zip_longest
from typing import Any

GAP = 2
LEAST, MOST = 16, 18
"""Columns of the terminal that a text keeps which may fold: those of its longest word, within these bounds."""


def print_columns(
    out: Any, columns: Mapping[str, Sequence[str]], *, fold: Collection[str] = (), spare: Sequence[str] = ()
) -> None:
    """Print columns (heading to cells) to a rich console.

    `fold`: those whose texts may be broken into lines; all others stand on one. `spare`: those that are left out where
    there is no room, the first one first.
    """
    from rich.text import Text

    kept, lost = dict(columns), []
    for name in spare:
        if _whole({one: _least(one, cells, one in fold) for one, cells in kept.items()}) <= out.width:
            break
        del kept[name]
        lost.append(name)
    least = {name: _least(name, cells, name in fold) for name, cells in kept.items()}
    widths = {name: max(map(len, (name, *cells))) for name, cells in kept.items()}
    while _whole(widths) > out.width and (wide := [name for name in widths if widths[name] > least[name]]):
        widths[max(wide, key=lambda name: widths[name])] -= 1
    for number, row in enumerate([tuple(kept), *zip(*kept.values(), strict=True)]):
        parts = [
            textwrap.wrap(cell, width, break_on_hyphens=False) for cell, width in zip(row, widths.values(), strict=True)
        ]
        for line in zip_longest(*parts, fillvalue=""):
            text = (" " * GAP).join(part.ljust(width) for part, width in zip(line, widths.values(), strict=True))
            out.print(Text(text.rstrip(), style="" if number else "bold"), soft_wrap=True)
    if lost:
        names = ", ".join(name for name in columns if name in lost)
        out.print(f"left out, since the terminal has {out.width} columns: {names}", soft_wrap=True)


def _least(name: str, cells: Sequence[str], foldable: bool) -> int:
    width = max(map(len, (name, *cells)))
    words = [len(word) for cell in (name, *cells) for word in cell.split()]
    return min(width, MOST, max(LEAST, *words)) if foldable else width


def _whole(widths: Mapping[str, int]) -> int:
    return sum(widths.values()) + GAP * (len(widths) - 1)
