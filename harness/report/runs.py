"""Each row of a report has one run for each seed, with the folders of what it left in the store."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from harness.core.store import Store
from harness.data.base import Dataset, DatasetPart, open_dataset
from harness.planning.plan import Plan, Step, chain
from harness.report.row_names import short_name
from harness.results.rows import Row

ROLE = {"predictions": "predict"}
"""Stages that stand in the place of another one."""


class SeedRun(NamedTuple):
    """One seed of one row and the finished artifacts behind it, by kind of step."""

    row: Row
    seed: int
    folders: dict[str, Path]

    @property
    def label(self) -> str:
        """A short name for columns and legends."""
        return short_name(self.row)


def runs_of(plan: Plan, store: Store, rows: Sequence[Row]) -> list[SeedRun]:
    """The runs of all measured rows, in the order of the plan, with what stands of them in the store."""
    by_name = {row.name: row for row in rows if row.origin == "measured"}
    found = []
    for planned in plan.rows:
        for seed, final in sorted(planned.finals.items()):
            found_there = ((step, _folder(step, store)) for step in chain(final))
            folders = {ROLE.get(step.kind, step.kind): folder for step, folder in found_there if folder}
            found.append(SeedRun(by_name[planned.arm.name], seed, folders))
    return found


def first_seeds(runs: Iterable[SeedRun]) -> list[SeedRun]:
    """One run of each row: that of its first seed."""
    return list({run.row.name: run for run in reversed(list(runs))}.values())[::-1]


def dataset_of(run: SeedRun, data: Step) -> Dataset:
    """The data set that a run was evaluated on; `data` is the plan's."""
    assert isinstance(data.spec, DatasetPart)
    return open_dataset(data.spec, run.folders["dataset"])


def _folder(step: Step, store: Store) -> Path | None:
    if step.external:
        return step.external
    return store.path(step.kind, step.key) if store.has(step.kind, step.key) else None
