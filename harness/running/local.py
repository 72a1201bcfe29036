"""The launcher for one machine: a pool of its GPUs and processors.

Each step is pinned to its GPUs by CUDA_VISIBLE_DEVICES; a step that asks for none sees none. Workers are forked by a
nursery (nursery.py), a process of its own that ends them all when this one is gone.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
from collections import deque
from collections.abc import Collection, Sequence
from typing import IO, NamedTuple

from harness.core import environment
from harness.core.errors import HarnessError
from harness.core.store import Store
from harness.running.launcher import Ended, Job
from harness.running.worker import Order

KEEP_FREED_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**28),
}
"""For glibc: a network frees and takes the same buffers at each step; giving them back costs 7 ms of 104 a step of the
tiny OneFormer."""
PATIENCE = 4.5
"""Seconds that the nursery has to end everything."""


class Place(NamedTuple):
    """Where a job runs. `gpus`: as CUDA_VISIBLE_DEVICES has it; None where the machine has none."""

    number: int
    gpus: str | None


class Local:
    """Runs jobs on this machine.

    `workers`: jobs at a time; default one per GPU (or group of `devices`) and a few without GPU; on a machine without
    GPUs one per core, each with one thread (small models lose speed with more). HarnessError for more devices than
    there are.
    """

    name = "local"

    def __init__(self, store: Store, *, workers: int | None = None, devices: int = 1) -> None:
        self.store = store
        groups = groups_of(environment.gpus(), devices)
        cores = environment.cores()
        count = workers or len(groups) or cores
        self.apart = bool(groups) and workers is None
        """Whether jobs without a GPU have places of their own."""
        self.threads = max(1, cores // count) if groups else 1
        gpus = [groups[number % len(groups)] for number in range(count)] if groups else [None] * count
        self.free = {True: deque(map(Place, range(count), gpus)), False: deque[Place]()}
        if self.apart:
            self.free[False].extend(Place(count + number, "") for number in range(max(1, cores // 4)))
        self.waiting: dict[bool, deque[Job]] = {True: deque(), False: deque()}
        self.running: dict[str, tuple[bool, Place]] = {}
        self.gone: list[Ended] = []
        self.nursery: subprocess.Popen[bytes] | None = None
        self.heard = b""

    def start(self, jobs: Sequence[Job]) -> None:
        """Take jobs; those that do not fit wait."""
        for job in jobs:
            self.waiting[bool(job.resources.gpus) or not self.apart].append(job)
        self._fill()

    def poll(self, seconds: float) -> list[Ended]:
        """What ended; a nursery that died has lost all its jobs."""
        if not self.gone and self.nursery is not None:
            self._listen(seconds)
        ended, self.gone = self.gone, []
        self._fill()
        return ended

    def cancel(self, ids: Collection[str]) -> None:
        """Drop waiting jobs and kill running ones."""
        for queue in self.waiting.values():
            dropped = [job for job in queue if job.id in ids]
            for job in dropped:
                queue.remove(job)
                self.gone.append(Ended(job.id, "cancelled"))
        for job_id in ids:
            if job_id in self.running:
                self._say({"cancel": job_id})

    def close(self) -> None:
        """End everything that runs."""
        if self.nursery is None:
            return
        with contextlib.suppress(OSError):
            _pipe(self.nursery.stdin).close()
        try:
            self.nursery.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.nursery.kill()
            self.nursery.wait()
        _pipe(self.nursery.stdout).close()
        self.nursery = None

    def _fill(self) -> None:
        for kind, queue in self.waiting.items():
            while queue and self.free[kind]:
                job, place = queue.popleft(), self.free[kind].popleft()
                self.running[job.id] = kind, place
                self._say({"id": job.id, **self._order(job, place)._asdict()})

    def _order(self, job: Job, place: Place) -> Order:
        visible = (place.gpus or "") if job.resources.gpus else ""
        threads = str(self.threads)
        variables = {
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "TOKENIZERS_PARALLELISM": "false",
            "CUDA_VISIBLE_DEVICES": visible,
        }
        device = f"cuda {visible}" if visible else "cpu"
        return Order(job.given, str(self.store.root), self.name, job.id, device, variables)

    def _say(self, message: dict[str, object]) -> None:
        """Tell the nursery; one that died is noticed by `_listen`."""
        if self.nursery is None:
            self.nursery = _nursery()
        pipe = _pipe(self.nursery.stdin)
        with contextlib.suppress(BrokenPipeError):
            pipe.write(json.dumps(message).encode() + b"\n")
            pipe.flush()

    def _listen(self, seconds: float) -> None:
        assert self.nursery is not None
        pipe = _pipe(self.nursery.stdout)
        if not select.select([pipe], [], [], seconds)[0]:
            return
        part = os.read(pipe.fileno(), 2**20)
        if not part:
            self._lost()
            return
        *lines, self.heard = (self.heard + part).split(b"\n")
        for answer in map(json.loads, lines):
            self._ended(answer["id"], "exited" if answer["code"] == 0 else "lost", f"exit code {answer['code']}")

    def _ended(self, job_id: str, why: str, detail: str) -> None:
        kind, place = self.running.pop(job_id)
        self.free[kind].append(place)
        self.gone.append(Ended(job_id, why, detail))  # type: ignore[arg-type]

    def _lost(self) -> None:
        assert self.nursery is not None
        self.nursery.kill()
        self.nursery.wait()
        self.nursery, self.heard = None, b""
        for job_id in list(self.running):
            self._ended(job_id, "lost", "the process that starts workers died")


def groups_of(gpus: list[str], size: int) -> list[str]:
    """The GPUs in groups of `size`, each as CUDA_VISIBLE_DEVICES wants it; a rest that fills no group stays idle."""
    if gpus and len(gpus) < size:
        raise HarnessError(f"{size} devices for a training: this machine has {len(gpus)} GPUs")
    return [",".join(gpus[first : first + size]) for first in range(0, len(gpus) - size + 1, size)]


def _nursery() -> "subprocess.Popen[bytes]":
    """A process of its own session, so that Ctrl-C reaches the runner alone; it has one thread, so that it may fork."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "harness", "worker", "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**KEEP_FREED_MEMORY, **os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        start_new_session=True,
    )


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe
