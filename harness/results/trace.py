"""A trace leads from a cell of a result table to the file that holds the number, and to the artifact of that file."""

from collections.abc import Iterator
from typing import NamedTuple

from harness.core.errors import HarnessError, near
from harness.core.store import Store
from harness.planning.plan import Plan
from harness.planning.versions import other_versions
from harness.results.collect import SCORES, rows


class NumberSource(NamedTuple):
    """The source of one number. `key`: of the artifact; empty where there is none."""

    seed: int
    text: str
    where: str
    key: str


def trace(plan: Plan, store: Store, row: str, metric: str) -> Iterator[NumberSource]:
    """Yield the sources of the number of `metric` in the row called `row`, seed by seed; HarnessError for unknown
    names.
    """
    measured = {found.name: found for found in rows(plan, store) if found.origin == "measured"}
    if row not in measured:
        raise HarnessError(f"suite {plan.name!r} has no measured row {row!r}", hint=near(row, measured))
    planned = next(found for found in plan.rows if found.arm.name == row)
    others = other_versions(plan.missing(store), store)
    for run in measured[row].seeds:
        final = planned.finals[run.seed]
        if run.status != "ok":
            said = run.error.splitlines()[-1] if run.error else ""
            if final.key in others:
                said = f"{final.kind} {others[final.key].made}: {others[final.key].text}"
            yield NumberSource(run.seed, f"none: {run.status}", said, "")
            continue
        if metric not in run.scores:
            raise HarnessError(f"row {row!r} has no metric {metric!r}", hint=near(metric, run.scores))
        value = run.scores[metric]
        where = f"{store.path(final.kind, final.key) / SCORES}, key {metric!r}"
        yield NumberSource(run.seed, "undefined" if value is None else f"{value!r}", where, final.key)
