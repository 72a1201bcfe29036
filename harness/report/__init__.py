"""Tables and reports from result rows. Nothing here runs a stage or imports torch.

`table_for(suite, rows, profile)` builds a suite's table and `render(table, "markdown")` prints it; the renderers are
modules of this package, imported when they are asked for.
"""

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, near

if TYPE_CHECKING:
    from harness.report.table import Setting, Table
    from harness.results import Row

FORMATS = {
    "console": "harness.report.console",
    "markdown": "harness.report.markdown",
    "latex": "harness.report.latex",
    "html": "harness.report.html",
    "csv": "harness.report.data",
    "json": "harness.report.data",
}
SUFFIXES = {"markdown": "md", "latex": "tex", "html": "html", "csv": "csv", "json": "json", "console": "txt"}


def render(table: "Table", form: str, **options: Any) -> str:
    """`table` as text: console, markdown, latex, html (a fragment), csv or json."""
    if form not in FORMATS:
        raise HarnessError(f"unknown table format {form!r}", hint=near(form, FORMATS))
    module = importlib.import_module(FORMATS[form])
    return getattr(module, f"to_{form}")(table, **options)


def table_for(suite: Any, rows: "Sequence[Row]", profile: "Setting") -> "Table":
    """The table of a suite (`title`, `kind`, `published`, `table` as in harness.suite.Suite) from its rows.

    Published rows of the paper's table are set beside the measured ones: as the counterpart a difference is taken from
    where a row has one, apart and above where it hasn't.
    """
    from harness.config import parse
    from harness.report import table as tables
    from harness.results import beside

    default = {"columns": tables.IMAGE_QUALITY, "difference": ("CLIPScore", "FID", "SSIM", "PSNR"), "marks": "best"}
    given = dict(suite.table)
    if suite.kind == "image_quality":
        given = {**default, **given}
    spec = parse(tables.TableSpec, given, f"suite {suite.title!r}, [table]")
    if suite.published is not None:
        rows = beside(rows, suite.published)
    return tables.build(spec, rows, title=suite.title, setting=profile)
