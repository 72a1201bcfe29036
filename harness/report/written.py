"""This module writes the report of a suite (tables in every format, HTML page, rows), and can make each of them by
itself.

Reads the store, runs no stage.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness.core.errors import HarnessError

if TYPE_CHECKING:
    from harness.core.store import Store
    from harness.planning.plan import Plan
    from harness.report.result_table import Table as ResultTable
    from harness.results.gains import Paired
    from harness.results.paired import Single
    from harness.results.rows import Row, SeedResult

QUALITY = "ablation"
"""The suite of image quality, which stands beside the gains in a report."""


def table_of(plan: "Plan", store: "Store", name: str = "results", *, intervals: bool = False) -> "ResultTable":
    """Return a table of the suite. Its cells know their `intervals`, which take a second, where somebody will read
    them.
    """
    from harness.report import named_table, spec_of
    from harness.results.collect import rows

    collected = rows(plan, store)
    known = intervals_of(plan, store, collected).cells if intervals or spec_of(plan.suite).intervals else None
    return named_table(name, plan.suite, plan.profile, collected, things=things_of(plan), intervals=known)


class IntervalSources(NamedTuple):
    """This holds the functions that give a report its intervals: of differences, of single scores."""

    paired: "Paired"
    cells: "Single"


def intervals_of(plan: "Plan", store: "Store", collected: "Sequence[Row]") -> IntervalSources:
    """Return what statistics in the store and accepted rows of the kind say; image quality has no statistics of
    frames."""
    from harness.results.baselines import read_baselines
    from harness.results.collect import statistics_folder
    from harness.results.paired import estimates, intervals

    segmented = plan.suite.kind == "segmentation"
    accepted = [row for found in read_baselines() for row in found.rows] if segmented else []

    def where(run: "SeedResult") -> Path | None:
        return statistics_folder(run, store) if segmented else None

    return IntervalSources(intervals(where, collected, accepted), estimates(where, collected, accepted))


def things_of(plan: "Plan") -> list[str]:
    """Return the classes with instances, by name."""
    return [label.name for label in plan.labels.things]


def page(plan: "Plan", store: "Store") -> str:
    """Return the whole report as one HTML file."""
    from harness.planning.plan import make_plan_on_same_data
    from harness.report.gather import gather
    from harness.report.page import render_page
    from harness.results.collect import rows

    collected = rows(plan, store)
    paired, cells = intervals_of(plan, store, collected)
    quality: list[Row] = []
    if plan.suite.kind == "segmentation":
        # What the same generators score as images, where that was measured: it stands beside what their frames gain.
        # A machine that lacks the networks for it has measured nothing.
        with contextlib.suppress(HarnessError):
            quality = rows(make_plan_on_same_data(plan, QUALITY), store)
    return render_page(gather(plan, store, collected, paired=paired, intervals=cells, quality=quality))


def write_reports(plan: "Plan", store: "Store") -> Path:
    """Write everything into reports/<suite>-<profile> beside the store; return the folder."""
    from harness.core.files import write_text
    from harness.report import SUFFIXES, named_table, render
    from harness.results.collect import rows, syntheses
    from harness.results.rows import write_rows
    from harness.synthesis.gallery import write_gallery

    folder = store.root.parent / "reports" / plan.folder
    collected = rows(plan, store)
    intervals = intervals_of(plan, store, collected).cells
    kinds = {"results": "table"} | ({"classes": "classes"} if plan.suite.kind == "segmentation" else {})
    for kind, stem in kinds.items():
        table = named_table(kind, plan.suite, plan.profile, collected, things=things_of(plan), intervals=intervals)
        for form in ("markdown", "csv", "json", "latex"):
            write_text(folder / f"{stem}.{SUFFIXES[form]}", render(table, form))
    write_text(folder / "report.html", page(plan, store))
    write_rows(folder / "rows.json", collected)
    if plan.suite.kind == "image_quality" and (made := syntheses(plan, store)):
        write_gallery(made, folder / "gallery.png", title=plan.suite.title)
    return folder
