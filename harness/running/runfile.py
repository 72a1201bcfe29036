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


def write_run(tasks: Iterable[Task], store: Store) -> Path:
    """Write the tasks, inputs first."""
    lines = b"".join(task.model_dump_json(exclude_defaults=True).encode() + b"\n" for task in tasks)
    path = store.root / "runs" / f"{hashlib.sha256(lines).hexdigest()[:12]}.jsonl.gz"
    if not path.is_file():
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        write_bytes(temporary, gzip.compress(lines, compresslevel=3, mtime=0))
        temporary.rename(path)
    return path


def read_run(path: Path) -> dict[str, Task]:
    """The tasks by key, in their order; HarnessError for a file that is not such a run."""
    try:
        lines = gzip.decompress(path.read_bytes()).splitlines()
        tasks = [Task.model_validate_json(line) for line in lines]
    except (OSError, EOFError, zlib.error, ValidationError) as error:
        raise HarnessError(f"{path}: not a readable run: {error}", hint="start the run again") from None
    return {task.key: task for task in tasks}
