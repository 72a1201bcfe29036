"""Files that are there whole or not at all: written under a temporary name and renamed.

`replace` and `write_bytes` are for the folder of one step, which nobody else writes to: the temporary name is the
same every time, so what kill -9 left behind is taken over by the next try and no artifact keeps it. `write_text` is
for files that two commands may write at once (reports, baselines, records of failures).
"""

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def refused(path: Path, error: OSError) -> HarnessError:
    """What to tell when the disk didn't take `path`."""
    hint = "make room, or write elsewhere; the same command goes on where this one stopped"
    return HarnessError(
        f"{path}: cannot be written: {error.strerror or error}", hint=hint if error.errno in FULL else ""
    )


def replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` make the file under a temporary name, then put it in place; HarnessError when the disk refuses."""
    _replace(path, path.with_name(f".{path.name}.part"), write)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, making its folder."""
    replace(path, lambda temporary: temporary.write_bytes(data))


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8, lines end with a line feed) to `path`, making its folder; it has reached the disk then."""
    _replace(path, path.with_name(f".{path.name}.{os.getpid()}.part"), lambda temporary: write_through(temporary, text))


def append_text(path: Path, text: str) -> None:
    """Add `text` to the end of a file that others write to as well; HarnessError when the disk refuses."""
    try:
        with open(path, "a", encoding="utf-8", newline="\n") as handle:
            handle.write(text)
    except OSError as error:
        raise refused(path, error) from None


def write_through(path: Path, text: str) -> None:
    """Write a text file and wait until it is on the disk."""
    with open(path, "w", encoding="utf-8", newline="\n") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())


def _replace(path: Path, temporary: Path, write: Callable[[Path], Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise refused(path, error) from None
