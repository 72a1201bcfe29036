"""The run file holds the steps of a run in the store, for workers that look for work themselves.

The name is a hash of what is in it: the same run has the same file, and a file never changes.
"""

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from harness.core.errors import HarnessError
from harness.core.files import write_bytes
from harness.core.store import Store
from harness.running.task import Task

_ENDING = ".jsonl.gz"
_LATEST = 8
"""Files of runs that are looked at."""


def write_run(tasks: Iterable[Task], store: Store) -> Path:
    """Write the tasks, inputs first; where an earlier run has just these left, its workers are those of this one, and
    its file is returned."""
    wanted = {task.key: task for task in tasks}
    if earlier := _with_the_same_left(wanted, store):
        return earlier
    lines = b"".join(task.model_dump_json(exclude_defaults=True).encode() + b"\n" for task in wanted.values())
    path = store.root / "runs" / f"{hashlib.sha256(lines).hexdigest()[:12]}{_ENDING}"
    if not path.is_file():
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        write_bytes(temporary, gzip.compress(lines, compresslevel=3, mtime=0))
        temporary.rename(path)
    return path


def _with_the_same_left(wanted: dict[str, Task], store: Store) -> Path | None:
    """The newest file of a run whose steps that are not made are among the wanted ones, which it holds all."""
    files = sorted((store.root / "runs").glob(f"*{_ENDING}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[:_LATEST]:
        try:
            earlier = read_run(path)
        except HarnessError:
            continue
        left = {key for key, task in earlier.items() if not store.has(task.kind, key)}
        same = all(key in earlier and _asked(earlier[key]) == _asked(task) for key, task in wanted.items())
        if same and left <= wanted.keys():
            return path
    return None


def _asked(task: Task) -> Task:
    """Return the task without the command that asked for it: another one may ask for the same."""
    return task.model_copy(update={"command": ""})


def read_run(path: Path) -> dict[str, Task]:
    """Return the tasks by key, in their order; HarnessError for a file that is not such a run."""
    try:
        lines = gzip.decompress(path.read_bytes()).splitlines()
        tasks = [Task.model_validate_json(line) for line in lines]
    except (OSError, EOFError, zlib.error, ValidationError) as error:
        raise HarnessError(f"{path}: not a readable run: {error}", hint="start the run again") from None
    return {task.key: task for task in tasks}
