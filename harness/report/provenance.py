"""A report says how its numbers came about: cost of each step, machines, steps that failed."""

from collections.abc import Iterable, Sequence
from typing import Any

from harness.core.numbers import number
from harness.core.store import Store
from harness.planning.plan import Plan, Step
from harness.report.cells import Cell
from harness.report.columns import Column
from harness.report.page import FailureReport, Section
from harness.report.result_table import Line, Table
from harness.report.tables import cost_table
from harness.results.rows import Row


def cost(plan: Plan, store: Store, rows: Sequence[Row]) -> Section:
    """Budget and cost of each row, time and memory of each step."""
    columns = (
        Column(key="step", label="Step", kind="text"),
        Column(key="of", label="Of", kind="text"),
        Column(key="seconds", label="Seconds", kind="count", decimals=1),
        Column(key="memory", label="Peak memory, MiB", kind="count", decimals=0),
    )
    made = [(step, store.manifest(step.kind, step.key)) for step in _made(plan, store)]
    lines = [_cost_line(step, manifest) for step, manifest in made]
    total = sum(manifest["facts"]["wall_s"] for _, manifest in made)
    steps = Table(
        title="Steps",
        profile=plan.profile.label,
        comparable=plan.profile.comparable,
        caption=(f"All steps together: {number(total, 0)} s.",),
        columns=columns,
        lines=tuple(lines),
        marks="none",
    )
    tables = (cost_table(rows, plan.profile), *((steps,) if lines else ()))
    return Section(anchor="cost", title="Cost", tables=tables, folded=True)


def _cost_line(step: Step, manifest: dict[str, Any]) -> Line:
    seconds, memory = manifest["facts"]["wall_s"], manifest["peak_memory_bytes"] / 2**20
    return Line(
        name=step.key,
        group="measured",
        section=step.kind,
        cells=(
            Cell(value=step.kind, text=step.kind),
            Cell(value=step.label, text=step.label),
            Cell(value=seconds, n=1, text=number(seconds, 1)),
            Cell(value=memory, n=1, text=number(memory, 0)),
        ),
        provenance=f"key {step.key}",
    )


def environment(plan: Plan, store: Store) -> Section:
    """Return what the steps ran on; several values where they differ."""
    found: dict[str, dict[str, None]] = {}
    for step in _made(plan, store):
        for name, value in sorted(_flat(store.manifest(step.kind, step.key)["environment"])):
            found.setdefault(name, {})[value] = None
    facts = tuple((name, ", ".join(values)) for name, values in found.items())
    return Section(anchor="environment", title="Environment", facts=facts, folded=True)


def _flat(environment: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in environment.items():
        if isinstance(value, dict):
            yield from ((key, str(inner)) for key, inner in value.items())
        else:
            yield name, ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _made(plan: Plan, store: Store) -> list[Step]:
    return [step for step in plan.steps().values() if not step.external and store.has(step.kind, step.key)]


def step_failures(plan: Plan, store: Store) -> Section:
    """Steps whose last try failed, with the message and the traceback."""
    failed = [
        FailureReport(f"{step.kind} {step.label}", record.message, record.traceback)
        for step in plan.steps().values()
        if (record := store.failure(step.kind, step.key))
    ]
    return Section(anchor="failures", title="Steps that failed", failures=tuple(failed))
