"""A lease says which worker makes a step. The worker renews it; when it dies, another worker takes over.

A folder holds numbered tenures; the newest one counts. A tenure is taken by link(2), which one of many wins on every
file system. The holder rewrites a counter, and who waits times it with his own monotonic clock: no clock of one machine
is compared with that of another. A holder that wakes up too late finds a newer tenure. What he was working on has been
renamed by then (harness/core/store.py), so that nothing of his reaches the artifact.
"""

import contextlib
import functools
import os
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from harness.core.config import Strict

BEAT, EXPIRY = 15.0, 90.0
"""Seconds between two beats of a holder, and after how many seconds without one he counts as gone."""
SIZE = 1024
"""Bytes of a tenure: one write replaces the whole."""


class LeaseRecord(Strict):
    """A tenure's file holds this record; `beat` grows as long as the holder lives."""

    beat: int = 0
    held: bool = True
    token: str
    host: str = ""
    space: str = ""
    """The boot and process space of the holder: process ids mean something only within one."""
    pid: int = 0
    born: str = ""
    """When the process began, in ticks of its kernel; tells it from another one with the same id."""
    launcher: str = ""
    job: str = ""
    device: str = ""
    done: int = 0
    total: int = 0
    note: str = ""
    first: int = 0
    """The most that was done before the tenure began."""
    seconds: float = 0.0
    """How long the tenure lasts by the holder's own clock."""
    stalled: int = 0
    """Tenures in a row, this one not counted, that ended without a result and without progress."""


class Holder(NamedTuple):
    """A holder takes a lease; `node` is the cluster's name of the machine where it differs from the host name."""

    launcher: str = "local"
    job: str = ""
    device: str = ""
    node: str = ""


class Tenure(NamedTuple):
    """A tenure is one holder's term of a lease, here the newest; `record` is None while it cannot be read."""

    number: int
    record: LeaseRecord | None


@dataclass
class Watch:
    """A watch measures how long holders are silent; time counts only while the watching process runs and looks."""

    expiry: float = EXPIRY
    clock: Callable[[], float] = time.monotonic
    seen: dict[Path, tuple[Tenure, float, float]] = field(default_factory=dict)

    def is_gone(self, folder: Path, tenure: Tenure) -> bool:
        """Return whether the holder of the newest tenure in `folder` no longer lives; callers poll."""
        if tenure.record is not None and (not tenure.record.held or is_dead(tenure.record)):
            return True
        now = self.clock()
        last, looked, silent = self.seen.get(folder, (None, now, 0.0))
        silent = silent + min(now - looked, self.expiry / 4) if last == tenure else 0.0
        self.seen[folder] = tenure, now, silent
        return silent >= self.expiry


class Lease:
    """A lease is a tenure held by this process; `beat` renews it and records how far the work is."""

    def __init__(self, folder: Path, number: int, record: LeaseRecord) -> None:
        self.folder, self.number, self.record = folder, number, record
        self._began = time.monotonic()
        self._handle = os.open(folder / file_name(number), os.O_WRONLY)

    def beat(self, done: int | None = None, total: int = 0, note: str = "") -> bool:
        """Renew the lease; False when another holder has taken over."""
        news = {} if done is None else {"done": done, "total": total, "note": note[:200]}
        seconds = round(time.monotonic() - self._began, 1)
        self.record = self.record.model_copy(update={"beat": self.record.beat + 1, "seconds": seconds, **news})
        with contextlib.suppress(OSError):  # a beat that does not reach the disk is a missed beat and no more
            os.pwrite(self._handle, _render(self.record), 0)
            os.fsync(self._handle)
        return newest(self.folder).number == self.number

    def give_back(self) -> None:
        """Release the lease in the state in which the holder before left it."""
        self.release(stalled=self.record.stalled)

    def release(self, *, stalled: int = 0) -> None:
        """Let others take the step, which is not done; `stalled` counts the last tenures without progress."""
        self.record = self.record.model_copy(update={"held": False, "stalled": stalled})
        self.beat()
        self.close()

    def remove(self) -> None:
        """End the lease of a step that is done, and the folder with it."""
        self.close()
        with contextlib.suppress(OSError):
            (self.folder / file_name(self.number)).unlink()
            self.folder.rmdir()

    def close(self) -> None:
        """Close the tenure's file; nothing is written afterwards."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    @property
    def progressed(self) -> bool:
        """Return whether the work has advanced since the tenure began."""
        return self.record.done > self.record.first


def take(folder: Path, holder: Holder, watch: Watch, *, over: str = "") -> Lease | None:
    """Return the lease of `folder`, or None while another holder has it.

    `over`: the token of a tenure that is known to be over, whatever its beats say.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = newest(folder)
    is_over = before.record is not None and before.record.token == over
    if before.number and not is_over and not watch.is_gone(folder, before):
        return None
    record = _begin(holder, before.record)
    number = before.number + 1
    unique = folder / f".{record.token}"
    try:
        unique.write_bytes(_render(record))
        try:
            os.link(unique, folder / file_name(number))
        except FileExistsError:
            if unique.stat().st_nlink != 2:  # not ours; with 2 the link was made and only the reply was lost
                return None
        lease = Lease(folder, number, record)
    except FileNotFoundError:  # the step was done meanwhile, and its folder removed
        return None
    finally:
        with contextlib.suppress(OSError):
            unique.unlink()
    for older in _numbers(folder):
        if older < number:
            with contextlib.suppress(OSError):
                (folder / file_name(older)).unlink()
    watch.seen.pop(folder, None)
    return lease


def newest(folder: Path) -> Tenure:
    """Return the newest tenure; number 0 where there is none."""
    number = max(_numbers(folder), default=0)
    return Tenure(number, _read(folder / file_name(number)) if number else None)


def is_dead(record: LeaseRecord) -> bool:
    """Return whether the holder ran on this machine and has died; False when that cannot be known from here."""
    if not record.space or record.space != process_space():
        return False
    return born(record.pid) != record.born


@functools.cache
def process_space() -> str:
    """Return a name of this boot of this machine and its space of process ids; empty where the system tells none."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def born(pid: int) -> str:
    """Return when a process began, in ticks since the boot; empty when there is none or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _begin(holder: Holder, before: LeaseRecord | None) -> LeaseRecord:
    pid = os.getpid()
    stalled = first = 0
    if before is not None:
        first = max(before.first, before.done)
        gone = before.held  # without a word
        stalled = before.stalled if not gone else 0 if before.done > before.first else before.stalled + 1
    return LeaseRecord(
        token=uuid.uuid4().hex,
        host=holder.node or socket.gethostname(),
        space=process_space(),
        pid=pid,
        born=born(pid),
        launcher=holder.launcher,
        job=holder.job,
        device=holder.device,
        done=first,
        first=first,
        stalled=stalled,
    )


def _numbers(folder: Path) -> list[int]:
    try:
        return [int(name) for name in os.listdir(folder) if name.isdigit()]
    except OSError:
        return []


def file_name(number: int) -> str:
    """Return the name of a tenure's file."""
    return f"{number:06d}"


def _read(path: Path) -> LeaseRecord | None:
    try:
        return LeaseRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _render(record: LeaseRecord) -> bytes:
    text = record.model_dump_json(exclude_defaults=True).encode()
    if len(text) >= SIZE:
        text = record.model_copy(update={"note": ""}).model_dump_json(exclude_defaults=True).encode()
    return text.ljust(SIZE - 1) + b"\n"
