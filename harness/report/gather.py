"""This module gathers the HTML report of a suite from its rows and artifacts: which sections there are, and in which
order.

Runs no stage. What isn't there yet is left out, and the table says why. Sections are made in answer.py, self_test.py,
evidence.py and provenance.py; page.py turns them into HTML.
"""

from collections.abc import Sequence

from harness import __version__
from harness.core.store import Store
from harness.planning.plan import Plan
from harness.report import answer, evidence, headline, provenance, self_test, table_for
from harness.report.cells import Intervals, no_intervals
from harness.report.page import Page, Section
from harness.report.runs import runs_of
from harness.report.tables import reproduction_table
from harness.results.gains import Paired, decompose
from harness.results.instrument import examine
from harness.results.rows import Row


def no_interval(before: Row, after: Row, metric: str) -> None:
    """Return no interval: a `Paired` for reports without statistics."""


def gather(
    plan: Plan,
    store: Store,
    rows: Sequence[Row],
    *,
    paired: Paired = no_interval,
    intervals: Intervals = no_intervals,
    quality: Sequence[Row] = (),
) -> Page:
    """Build the report of a suite. `rows` as collected; `paired` and `intervals`: those of differences and of scores;
    `quality`: rows of the image-quality table, for the comparison."""
    profile, runs = plan.profile, runs_of(plan, store, rows)
    table = table_for(plan.suite, profile, rows, intervals=intervals)
    results = Section(anchor="table", title="Results", tables=(table,))
    printed = reproduction_table(rows, profile, intervals=intervals)
    beside = Section(
        anchor="reproduction", title="Beside the paper", tables=(printed,) if printed.lines else (), folded=True
    )
    samples, last = evidence.samples(runs, plan.dataset), [evidence.curves(runs), beside]
    warning = ""
    if plan.suite.kind == "segmentation":
        gains = decompose(rows, paired)
        found = examine(rows, gains)
        warning = self_test.warning(found)
        things = [label.name for label in plan.labels.things]
        first = [
            answer.first(gains, headline.sentence(gains, found), self_test.verdict(found))
            if gains
            else answer.alone(rows, intervals),
            results,
            samples,
            evidence.predictions(runs, plan.dataset, profile.confidence),
            answer.section(gains),
            self_test.section(found, profile),
            evidence.classes(rows, profile, things=things, intervals=intervals),
            evidence.worst_frames(runs, plan.dataset, profile.confidence),
            answer.quality(gains, quality),
            self_test.power(found),
        ]
    else:
        first = [answer.looks(rows, headline.of_quality(rows)), results, samples]
    last += [provenance.cost(plan, store, rows), provenance.environment(plan, store)]
    commits = dict.fromkeys(run.commit for row in rows for run in row.seeds if run.commit)
    return Page(
        title=plan.suite.title,
        question=plan.suite.question,
        profile=profile.label,
        caption=profile.caption,
        comparable=profile.comparable,
        warning=warning,
        sections=(*first, *last, provenance.step_failures(plan, store)),
        footer=f"harness {__version__}; results made at commit {', '.join(commits) or '–'}; suite {plan.name}.",
    )
