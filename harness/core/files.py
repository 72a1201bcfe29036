"""Files appear whole or not at all: they are written under a temporary name and renamed.

`replace` and `write_bytes` are for the folder of one step, which nobody else writes to: the temporary name is the
same every time, so what kill -9 left behind is taken over by the next try and no artifact keeps it. `write_text` is
for files that two commands may write at once and that a user names (reports, baselines): it follows links, keeps the
mode of the file it replaces, and writes into a device or a pipe instead of replacing it.
"""

import contextlib
import ctypes
import errno
import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError

TOO_LARGE = errno.EFBIG
"""A limit on the size of one file; waiting does not help."""
FULL = (errno.ENOSPC, errno.EDQUOT, TOO_LARGE)
_MANY = 16
TEMPORARY = ".*.part"
"""Pattern of the names of files that are being written."""


class DiskError(HarnessError):
    """The disk did not take a file; `number` is the errno, where it is known."""

    @property
    def of_disk(self) -> bool:
        """Return whether the disk itself is the reason (full, broken, read-only), and not the files on it or the
        request.
        """
        return self.number is None or self.number in (*FULL, errno.EROFS, errno.EIO, errno.EACCES, errno.ESTALE)

    def __init__(self, message: str, *, hint: str = "", number: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.number = number


def refused(path: Path, error: OSError) -> DiskError:
    """Return the error to raise when the disk did not take `path`."""
    hint = "make room, or write elsewhere; the same command goes on where this one stopped"
    return DiskError(
        f"{path}: cannot be written: {error.strerror or error}",
        hint=hint if error.errno in FULL else "",
        number=error.errno,
    )


def replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` make the file under a temporary name, then rename it into place; HarnessError when the disk
    refuses.
    """
    _replace(path, path.with_name(f".{path.name}.part"), write)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, making its folder."""
    replace(path, lambda temporary: temporary.write_bytes(data))


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8, lines end with a line feed) to `path`, making its folder; return once it has reached the
    disk.

    A link is followed. A file keeps its mode. What is no file (a device, a pipe) is written into, never replaced.
    HarnessError when the disk refuses, or a folder stands there.
    """
    try:
        found = path.stat().st_mode if path.exists() else None
        if found is not None and not stat.S_ISREG(found):
            path.write_text(text, encoding="utf-8", newline="\n")
            return
        target = path.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise refused(path, error) from None
    os.close(handle)

    def write(temporary: Path) -> None:
        write_through(temporary, text)
        temporary.chmod(stat.S_IMODE(found) if found is not None else 0o666 & ~_umask())

    _replace(target, Path(name), write)


def append_text(path: Path, text: str) -> None:
    """Add `text` to the end of a file that others write to as well; HarnessError when the disk refuses."""
    try:
        with open(path, "a", encoding="utf-8", newline="\n") as handle:
            handle.write(text)
    except OSError as error:
        raise refused(path, error) from None


def hash_into(digest: "hashlib.blake2b", path: Path, *, whole: int = 64 * 2**20, blocks: int = 256) -> None:
    """Update `digest` with the content of a file: all of it up to `whole` bytes; of a larger one both ends and blocks
    of 64 KiB evenly between, `blocks` in all.
    """
    size, block = path.stat().st_size, 2**16
    with path.open("rb") as file:
        if size <= whole:
            digest.update(file.read())
            return
        for number in range(blocks):
            file.seek(number * max(size - block, 0) // (blocks - 1))
            digest.update(file.read(block))


def write_through(path: Path, text: str) -> None:
    """Write a text file and wait until it is on the disk."""
    with open(path, "w", encoding="utf-8", newline="\n") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data` to an open descriptor."""
    while data:
        data = data[os.write(descriptor, data) :]


def sync(folder: Path, names: Sequence[str]) -> None:
    """Wait until these files below `folder`, and their names, are on the disk."""
    if len(names) > _MANY and sys.platform == "linux":
        handle = os.open(folder, os.O_RDONLY)
        try:  # one call for the whole file system; a call for each of many files takes milliseconds each
            if ctypes.CDLL(None, use_errno=True).syncfs(handle) == 0:
                return
        finally:
            os.close(handle)
    for name in names:
        handle = os.open(folder / name, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    for parent in {(folder / name).parent for name in names}:
        sync_folder(parent)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk; file systems that cannot do that are trusted."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _replace(path: Path, temporary: Path, write: Callable[[Path], Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if temporary.is_symlink():  # left by somebody else: writing would follow it
            temporary.unlink()
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise refused(path, error) from None


def _umask() -> int:
    """Return the mask of this process, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
