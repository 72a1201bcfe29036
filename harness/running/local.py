"""The local launcher runs steps on one machine: a pool of its GPUs and processors.

Each step is pinned to its GPUs by CUDA_VISIBLE_DEVICES; a step that asks for none sees none. Workers are forked by a
nursery (nursery.py), a process of its own that ends them all when this one is gone.
"""

import contextlib
import itertools
import json
import os
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import IO, NamedTuple

from harness.core import environment
from harness.core.errors import HarnessError
from harness.core.store import Store
from harness.running.launcher import Ended, Job, Why
from harness.running.orders import Order
from harness.running.worker import stage_variables
from harness.stages import STAGES

KEEP_FREED_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**28),
}
"""For glibc: a network frees and takes the same buffers at each step; giving them back costs 7 ms of 104 a step of the
tiny OneFormer."""
SILENCE = 120.0
"""Seconds after which a nursery that has not passed an order on counts as dead: it may be stopped."""
PATIENCE = 4.5
"""Seconds that a nursery has to end everything."""


class DeviceShare(NamedTuple):
    """This says where a job runs. `gpus`: as CUDA_VISIBLE_DEVICES has it; None where the machine has none."""

    number: int
    gpus: str | None


class _Places:
    """Free places: those that were given back, then new ones; however many there may be, none is made in vain."""

    def __init__(self, new: Iterator[DeviceShare]) -> None:
        self.new = new
        self.free: deque[DeviceShare] = deque()

    def take(self) -> DeviceShare | None:
        """Return a free place, None when all are taken."""
        return self.free.popleft() if self.free else next(self.new, None)

    def give_back(self, place: DeviceShare) -> None:
        """Take a place back."""
        self.free.append(place)


class Running(NamedTuple):
    """This holds a running job, its place (GPUs) and the nursery of its worker."""

    job: str
    apart: bool
    place: DeviceShare
    nursery: "Nursery"


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
        self.threads = max(1, cores // count) if groups else 1
        self.apart = bool(groups) and workers is None
        """Whether jobs without a GPU have places of their own."""
        mine = map(DeviceShare, range(count), itertools.cycle(groups or [None]))
        others = (DeviceShare(count + number, None) for number in range(max(1, cores // 4) if self.apart else 0))
        self.places = {False: _Places(mine), True: _Places(others)}
        """By whether they are for jobs without a GPU alone."""
        self.waiting: dict[bool, deque[Job]] = {False: deque(), True: deque()}
        self.running: dict[int, Running] = {}
        """By the number of the order."""
        self.orders = itertools.count()
        self.gone: list[Ended] = []
        self.nurseries = {networks: Nursery(kinds) for networks, kinds in _kinds().items()}
        """By whether their steps need a network: what that takes to import is not in the way of the others."""

    def start(self, jobs: Sequence[Job]) -> None:
        """Take jobs; those that do not fit wait."""
        for job in jobs:
            self.waiting[self.apart and not job.resources.gpus].append(job)
        self._fill()

    def poll(self, seconds: float) -> list[Ended]:
        """Return what ended; a nursery that died has lost all its jobs."""
        if not self.gone:
            self._listen(seconds)
        self._fill()
        ended, self.gone = self.gone, []
        return ended

    def cancel(self, ids: Collection[str]) -> None:
        """Drop waiting jobs and kill running ones."""
        for queue in self.waiting.values():
            for job in [job for job in queue if job.id in ids]:
                queue.remove(job)
                self.gone.append(Ended(job.id, "cancelled"))
        for running in self.running.values():
            if running.job in ids:
                running.nursery.kill(running.place)

    def close(self) -> None:
        """End everything that runs."""
        for nursery in self.nurseries.values():
            nursery.leave()
        end = time.monotonic() + PATIENCE
        for nursery in self.nurseries.values():
            nursery.end(max(0.0, end - time.monotonic()))

    def _fill(self) -> None:
        for apart, queue in self.waiting.items():
            while queue and (place := self.places[apart].take()) is not None:
                job = queue.popleft()
                nursery = self.nurseries[_needs_network(job.kind)]
                order = self._order(next(self.orders), job, place)
                self.running[order.number] = Running(job.id, apart, place, nursery)
                nursery.order(order, place)

    def _order(self, number: int, job: Job, place: DeviceShare) -> Order:
        visible = (place.gpus or "") if job.resources.gpus else ""
        device = f"cuda {visible}" if visible else "cpu"
        variables = stage_variables(self.threads, visible)
        return Order(number, job.given, str(self.store.root), self.name, job.id, device, variables)

    def _listen(self, seconds: float) -> None:
        """Wait for answers of the nurseries."""
        pipes = {nursery.answers: nursery for nursery in self.nurseries.values() if nursery.process}
        for pipe in select.select(list(pipes), [], [], seconds)[0] if pipes else ():
            for number, outcome in pipes[pipe].hear():
                self._ended(number, "lost" if outcome == "lost" else "exited", outcome)
        for nursery in pipes.values():
            if nursery.is_dead():
                nursery.end(0.0)
                for number in [n for n, running in self.running.items() if running.nursery is nursery]:
                    self._ended(number, "lost", "the process that forks workers died")

    def _ended(self, number: int, why: Why, detail: str) -> None:
        if (running := self.running.pop(number, None)) is not None:
            self.places[running.apart].give_back(running.place)
            self.gone.append(Ended(running.job, why, detail))


class Nursery:
    """A handle to the process that forks workers for steps of some kinds; the first order starts it."""

    def __init__(self, kinds: Sequence[str]) -> None:
        self.kinds = kinds
        self.process: subprocess.Popen[bytes] | None = None
        self.heard = b""
        self.given: dict[int, float] = {}
        """Orders that it has not passed on yet, and when they were given."""

    @property
    def answers(self) -> IO[bytes]:
        """The pipe on which the process and its workers answer."""
        assert self.process is not None and self.process.stdout is not None
        return self.process.stdout

    def order(self, order: Order, place: DeviceShare) -> None:
        """Have the worker of a place make a step."""
        self.given[order.number] = time.monotonic()
        self._say({"place": place.number, **order._asdict()})

    def kill(self, place: DeviceShare) -> None:
        """Have the worker of a place killed."""
        self._say({"kill": place.number})

    def hear(self) -> list[tuple[int, str]]:
        """Return the numbers and outcomes of orders that are done with."""
        *lines, self.heard = (self.heard + os.read(self.answers.fileno(), 2**20)).split(b"\n")
        answers = [json.loads(line) for line in lines]
        for answer in answers:
            self.given.pop(answer["number"], None)
        return [(answer["number"], answer["outcome"]) for answer in answers if answer["outcome"] != "passed on"]

    def is_dead(self) -> bool:
        """Return whether the process has ended, or does not answer."""
        if self.process is None:
            return False
        silent = bool(self.given) and time.monotonic() - min(self.given.values()) > SILENCE
        return silent or self.process.poll() is not None

    def leave(self) -> None:
        """Tell the process to end its workers and itself."""
        if self.process is not None and self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()

    def end(self, seconds: float) -> None:
        """End the process, by force when it is still there after so many seconds."""
        if self.process is None:
            return
        self.leave()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.answers.close()
        self.process, self.heard = None, b""
        self.given.clear()

    def _say(self, message: dict[str, object]) -> None:
        """Tell it something; that it has died is noticed by `is_dead`."""
        if self.process is None:
            self.process = self._start()
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()

    def _start(self) -> "subprocess.Popen[bytes]":
        """Start it in a session of its own: Ctrl-C reaches the runner alone; in one thread, so that it may fork."""
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "harness", "worker", "--serve", *self.kinds],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**KEEP_FREED_MEMORY, **os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            start_new_session=True,
        )


def groups_of(gpus: list[str], size: int) -> list[str]:
    """Return the GPUs in groups of `size`, each as CUDA_VISIBLE_DEVICES wants it; a rest that fills no group stays
    idle.
    """
    if gpus and len(gpus) < size:
        raise HarnessError(f"{size} devices for a training: this machine has {len(gpus)} GPUs")
    return [",".join(gpus[first : first + size]) for first in range(0, len(gpus) - size + 1, size)]


def _kinds() -> dict[bool, list[str]]:
    return {networks: [kind for kind in STAGES if _needs_network(kind) == networks] for networks in (False, True)}


def _needs_network(kind: str) -> bool:
    return "torch" in STAGES[kind].imports
