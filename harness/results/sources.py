"""This module finds the rows that a user names (of a suite in a store, a baseline or a rows file) and their statistics.

SUITE[:ROW] is a suite of the store, FILE.json[:ROW] a baseline or what a run writes as rows.json.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from harness.core.config import read_json
from harness.core.errors import HarnessError, near
from harness.core.store import Store
from harness.planning.changes import Changes
from harness.planning.plan import Plan
from harness.results.baselines import STATISTICS, baseline_files, read_baseline, statistics_in
from harness.results.collect import rows, statistics_folder
from harness.results.rows import Row, SeedResult, read_rows

EVERY_ROW = Changes()


class NamedRows(NamedTuple):
    """Measured rows, what they are called, and where the statistics of a run lie (None: nowhere)."""

    name: str
    rows: list[Row]
    statistics: Callable[[SeedResult], Path | None]


def find(text: str, store: Store, plan: Callable[[str], Plan], changes: Changes = EVERY_ROW) -> NamedRows:
    """Return the rows that `text` names; `plan` plans a suite, and of a file `changes` leave some rows.

    HarnessError for a file, suite or row that there is not.
    """
    name, colon, row = text.partition(":")
    found = _kept(_of_file(Path(name), store), changes) if name.endswith(".json") else _of_suite(plan(name), store)
    if not found.rows:
        raise HarnessError(f"{name}: no measured row in it")
    if not colon:
        return found
    chosen = [one for one in found.rows if one.name == row]
    if not chosen:
        raise HarnessError(f"{name} has no row {row!r}", hint=near(row, [one.name for one in found.rows]))
    return found._replace(name=text, rows=chosen)


class _Names(NamedTuple):
    """A row as `--only` and `--without` name it."""

    name: str
    generator: str
    recipe: str | None
    segmenter: str | None
    backbone: str | None
    row: Row


def _kept(found: NamedRows, changes: Changes = EVERY_ROW) -> NamedRows:
    named = [_names(row) for row in found.rows]
    return found._replace(rows=[one.row for one in changes.kept(named, found.name)]) if named else found


def _names(row: Row) -> _Names:
    """The names of a row. The backbone's is no field of it, but follows the segmenter's in that of the row."""
    behind = row.name.partition(f"{row.segmenter}/")[2] if row.segmenter else ""
    backbone = behind.partition("/")[0] or None
    return _Names(row.name, row.generator, row.recipe_label or None, row.segmenter or None, backbone, row)


def _of_suite(plan: Plan, store: Store) -> NamedRows:
    measured = [row for row in rows(plan, store) if row.origin == "measured"]
    return NamedRows(plan.name, measured, lambda run: _there(statistics_folder(run, store), run))


def _of_file(path: Path, store: Store) -> NamedRows:
    content = read_json(path, "file of rows")
    if not isinstance(content, dict):
        raise HarnessError(f"{path}: neither a baseline nor a file of rows")
    if "reason" in content:
        return NamedRows(path.stem, list(read_baseline(path).rows), statistics_in(path))
    measured = [row for row in read_rows(path) if row.origin == "measured"]

    def statistics(run: SeedResult) -> Path | None:
        beside = (statistics_in(file)(run) for file in (path, *baseline_files().values()))
        return _there(store.root / run.folder, run) or next(filter(None, beside), None)

    return NamedRows(path.stem, measured, statistics)


def _there(folder: Path, run: SeedResult) -> Path | None:
    return folder if run.folder and (folder / STATISTICS).is_file() else None
