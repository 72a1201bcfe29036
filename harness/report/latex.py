r"""This renderer writes a table for a paper: booktabs rules, siunitx numbers, and macros \firstbest, \secondbest,
\thirdbest.

The macros are only provided: a venue that defines them beforehand (in colours, say) keeps its own. The short names
would clash: siunitx has a unit called \\second.
"""

import re

from harness.report.cells import Cell
from harness.report.columns import Column
from harness.report.result_table import Line, Table

PREAMBLE = r"""% Needs \usepackage{booktabs,graphicx,siunitx}. Define \firstbest, \secondbest, \thirdbest beforehand to
% mark ranks otherwise, for example \newcommand{\firstbest}[1]{\textcolor{red}{#1}} with \usepackage{xcolor}.
\providecommand{\firstbest}[1]{{\sisetup{detect-all}\textbf{\boldmath#1}}}
\providecommand{\secondbest}[1]{\underline{#1}}
\providecommand{\thirdbest}[1]{{\sisetup{detect-all}\textit{#1}}}
"""
RANKS = {1: r"\firstbest{%s}", 2: r"\secondbest{%s}", 3: r"\thirdbest{%s}"}
SIGNS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "†": r"\textdagger{}",
    "‡": r"\textdaggerdbl{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "–": "--",
    "×": r"$\times$",
    "Δ": r"$\Delta$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
    "λ": r"$\lambda$",
    "\n": " ",
}


def to_latex(table: Table, *, label: str = "") -> str:
    """A table environment that compiles with booktabs and siunitx; `label` is what \\ref names."""
    width = len(table.columns)
    body: list[str] = []
    for position, (heading, sections) in enumerate(table.blocks()):
        if position:
            body.append(r"\midrule")
        if heading:
            body.append(rf"\multicolumn{{{width}}}{{@{{}}l@{{}}}}{{\itshape {escape(heading)}}} \\")
        for section in sections:
            body += [_line(line, table.columns) for line in section]
            if section is not sections[-1]:
                body.append(rf"\cmidrule(lr){{1-{width}}}")
    notes = [
        rf"\textsuperscript{{{escape(n.mark)}}}\,{escape(n.text)}." if n.mark else f"{escape(n.text)}."
        for n in table.notes
    ]
    notes += [breakable(text) for text in table.signatures]
    heads = " & ".join(_head(entry) for entry in table.columns)
    return (
        "\n".join(
            [
                PREAMBLE + r"\begin{table*}[t]",
                r"\centering",
                rf"\caption{{{' '.join(map(escape, (_sentence(table.title), *table.caption)))}}}",
                *([rf"\label{{{label}}}"] if label else []),
                r"\setlength{\tabcolsep}{4pt}\footnotesize",
                # As wide as its text, and never wider than both columns.
                r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
                rf"\begin{{tabular}}{{@{{}}{''.join('r' if entry.numeric else 'l' for entry in table.columns)}@{{}}}}",
                r"\toprule",
                rf"{heads} \\",
                r"\midrule",
                *body,
                r"\bottomrule",
                r"\end{tabular}}",
                *([r"\par\smallskip\raggedright\scriptsize " + " ".join(notes)] if notes else []),
                r"\end{table*}",
            ]
        )
        + "\n"
    )


def escape(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return re.sub("|".join(map(re.escape, SIGNS)), lambda found: SIGNS[found.group()], text)


def breakable(text: str) -> str:
    """Return a signature, which LaTeX may break behind any of its signs."""
    return re.sub(r"([:+,>]|\\textbar\{\})", r"\1\\allowbreak{}", escape(text))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _head(entry: Column) -> str:
    return rf"\multicolumn{{1}}{{c}}{{{escape(entry.heading)}}}" if entry.numeric else escape(entry.heading)


def _line(line: Line, columns: tuple[Column, ...]) -> str:
    cells = [_cell(cell, entry) for cell, entry in zip(line.cells, columns, strict=True)]
    if line.notes:
        cells[0] += rf"\textsuperscript{{{escape(','.join(line.notes))}}}"
    if cells[0].startswith(("[", "*")):  # behind the \\ of the line before, these would be its arguments
        cells[0] = "{}" + cells[0]
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell, entry: Column) -> str:
    if cell.status != "ok" or not entry.numeric:
        return escape(cell.text)
    score, _, interval = cell.text.partition(" (")
    digits = _digits(score).replace(" ± ", " +- ")
    bracketed = digits.startswith("[")
    option = "[retain-explicit-plus]" if entry.kind == "difference" else "[separate-uncertainty]" if cell.std else ""
    text = rf"\num{option}{{{digits.strip('[]')}}}"
    # A leading bracket would be read as the optional argument of the line break before it.
    text = f"{{[}}{text}{{]}}" if bracketed else text
    if interval:
        ends = " to ".join(rf"\num{{{end}}}" for end in _digits(interval.rstrip(")")).split(" to "))
        text += f" ({ends})"
    return RANKS.get(cell.rank or 0, "%s") % text


def _digits(text: str) -> str:
    """Printed numbers as siunitx reads them."""
    return text.replace("−", "-").replace(",", "")
