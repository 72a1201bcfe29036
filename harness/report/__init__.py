"""Reports are tables and pages made of result rows. Nothing here runs a stage or imports torch.

`table_for(suite, profile, rows)` builds a suite's table and `render(table, "markdown")` prints it; the renderers are
modules of this package, imported when they are asked for.
"""

import importlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.core.errors import HarnessError, near

if TYPE_CHECKING:
    from rich.console import Console

    from harness.planning.suite import Profile, Suite
    from harness.report.cells import Intervals
    from harness.report.result_table import Table, TableSpec
    from harness.results.rows import Row

FORMATS = {
    "console": "harness.report.console",
    "markdown": "harness.report.markdown",
    "latex": "harness.report.latex",
    "html": "harness.report.html",
    "csv": "harness.report.csv_json",
    "json": "harness.report.csv_json",
}
TABLES = {
    "results": "the suite's own table",
    "classes": "AP per class, with the number of instances in val",
    "cost": "budget, time and memory",
    "reproduction": "measured beside published, metric by metric",
}
"""The tables of a suite, by the name that `harness report --table` takes."""
SUFFIXES = {"markdown": "md", "latex": "tex", "html": "html", "csv": "csv", "json": "json", "console": "txt"}


def render(table: "Table", form: str) -> str:
    """`table` as text: console, markdown, latex, html (a fragment), csv or json."""
    if form not in FORMATS:
        raise HarnessError(f"unknown table format {form!r}", hint=near(form, FORMATS))
    module = importlib.import_module(FORMATS[form])
    text: str = getattr(module, f"to_{form}")(table)
    return text


def print_table(table: "Table", console: "Console") -> None:
    """Print to a rich console: folded to its width on a terminal, or where COLUMNS is set; elsewhere as wide as it
    needs."""
    from harness.report.console import lines

    narrow = console.is_terminal or os.environ.get("COLUMNS", "").isdigit()
    for line in lines(table, width=console.width if narrow else None, color=console.is_terminal):
        console.print(line, soft_wrap=True, highlight=False)


def named_table(
    name: str,
    suite: "Suite",
    profile: "Profile",
    rows: "Sequence[Row]",
    *,
    things: "Sequence[str]",
    intervals: "Intervals | None" = None,
) -> "Table":
    """Build a table of a suite, one of TABLES. `things`: classes with instances, by name; `intervals`: of scores."""
    from harness.report import tables
    from harness.report.cells import no_intervals

    known, shown = intervals or no_intervals, spec_of(suite).intervals
    if name == "classes":
        return tables.class_table(rows, profile, metric="AP", things=things, intervals=known, with_intervals=shown)
    if name == "cost":
        return tables.cost_table(rows, profile)
    if name == "reproduction":
        return tables.reproduction_table(rows, profile, intervals=known, with_intervals=shown)
    return table_for(suite, profile, rows, intervals=known)


def table_for(
    suite: "Suite", profile: "Profile", rows: "Sequence[Row]", *, intervals: "Intervals | None" = None
) -> "Table":
    """Return the table of a suite from its rows and the printed ones."""
    from harness.report import result_table
    from harness.report.cells import no_intervals

    spec = spec_of(suite)
    return result_table.build(spec, rows, title=suite.title, profile=profile, intervals=intervals or no_intervals)


def spec_of(suite: "Suite") -> "TableSpec":
    """Return the [table] of a suite; HarnessError for a key or a column that there is not. It needs no result."""
    from harness.core.config import parse
    from harness.report import result_table
    from harness.report.columns import column

    default: dict[str, object] = {}
    if suite.kind == "image_quality":
        scores = ("CLIPScore", "FID", "SSIM", "PSNR")
        default = {"columns": ("method", "version", *scores), "difference": scores, "marks": "best"}
    spec = parse(result_table.TableSpec, {**default, **suite.table}, f"suite {suite.title!r}, [table]")
    keys = [column(entry).key for entry in spec.columns]
    for key in suite.table.get("difference", ()):
        if key not in keys:
            raise HarnessError(f"suite {suite.title!r}, [table]: difference: no column {key!r}", hint=near(key, keys))
    return spec
