"""This fork server has imported everything already and forks workers: each then starts in milliseconds.

One JSON line on standard input is an order for a worker, which makes one step after the other, or the number of one to
be killed; one line on standard output tells that an order is done with. When standard input closes, the runner is gone:
all workers are let go, and ended. It has neither threads nor a GPU context, so that forking is safe.
"""

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from harness.core import environment
from harness.core.files import write_all
from harness.running.orders import serve
from harness.stages import STAGES

GRACE = 3.0
"""Seconds that the workers have to end by themselves."""


def main(kinds: Sequence[str]) -> None:
    """Fork workers for these kinds of steps until standard input closes."""
    nursery = _Nursery()
    for kind in kinds:
        _import(kind)
    environment.describe()
    gc.freeze()  # what is there now is never looked at again, so that children share its memory for longer
    nursery.serve()


class _Worker(NamedTuple):
    """A worker and the pipe through which it gets orders; it ends when the pipe does."""

    pid: int
    orders: int


class _Nursery:
    def __init__(self) -> None:
        self.workers: dict[int, _Worker] = {}
        """By place; each makes one step after the other."""
        self.given: dict[int, int] = {}
        """The last order of each place."""
        self.answers = os.dup(1)
        os.dup2(2, 1)  # what a library prints is no answer

    def serve(self) -> None:
        reading, writing = os.pipe()
        for descriptor in (reading, writing, 0):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for name in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: None)
        selector = selectors.DefaultSelector()
        for descriptor in (0, reading):
            selector.register(descriptor, selectors.EVENT_READ)
        self.inherited = (0, reading, writing, selector.fileno())
        heard = b""
        while True:
            for key, _ in selector.select():
                if key.fd == reading:
                    _drain(reading)
                    self._reap()
                    continue
                part = os.read(0, 2**20)
                if not part:
                    return self._end()
                *lines, heard = (heard + part).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line))

    def _obey(self, message: dict[str, Any]) -> None:
        if "kill" in message:
            if (found := self.workers.get(message["kill"])) is not None:
                os.kill(found.pid, signal.SIGKILL)
            return
        place = message.pop("place")
        if place not in self.workers:
            self.workers[place] = self._fork() if _threads() == 1 else self._spawn()
        self.given[place] = message["number"]
        with contextlib.suppress(BrokenPipeError):  # it has just died, and `_reap` will tell
            write_all(self.workers[place].orders, json.dumps(message).encode() + b"\n")
        self._answer(place, "passed on")

    def _fork(self) -> _Worker:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid:
            os.close(reading)
            return _Worker(pid, writing)
        try:
            signal.set_wakeup_fd(-1)
            for name in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
                signal.signal(name, signal.SIG_DFL)
            for descriptor in (*self.inherited, writing, *(other.orders for other in self.workers.values())):
                os.close(descriptor)
            serve(reading, self.answers)
            os._exit(0)
        finally:
            os._exit(1)

    def _spawn(self) -> _Worker:
        """Start a new interpreter: the slow way, for a process that cannot fork safely."""
        reading, writing = os.pipe()
        command = [sys.executable, "-P", "-m", "harness", "worker"]
        child = subprocess.Popen(command, stdin=reading, stdout=self.answers)
        child.returncode = 0  # `_reap` waits for it
        os.close(reading)
        return _Worker(child.pid, writing)

    def _reap(self) -> None:
        """Tell of the orders whose workers died."""
        while self.workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            place = next(place for place, found in self.workers.items() if found.pid == pid)
            os.close(self.workers.pop(place).orders)
            code = os.waitstatus_to_exitcode(status)
            self._answer(place, "lost", f"exit code {code}")

    def _answer(self, place: int, outcome: str, detail: str = "") -> None:
        answer = {"number": self.given[place], "outcome": outcome, "detail": detail}
        with contextlib.suppress(BrokenPipeError):  # the runner is gone, and standard input ends
            write_all(self.answers, json.dumps(answer).encode() + b"\n")

    def _end(self) -> None:
        """Let all workers end, then end them."""
        for found in self.workers.values():
            os.close(found.orders)
        end = time.monotonic() + GRACE + 1.0
        left = {found.pid for found in self.workers.values()}
        while left and time.monotonic() < end:
            left = {pid for pid in left if not os.waitpid(pid, os.WNOHANG)[0]}
            time.sleep(0.02)
        for pid in left:
            os.kill(pid, signal.SIGKILL)


def _import(kind: str) -> None:
    """All that a step of this kind needs, as far as it is installed."""
    STAGES[kind].spec.model_rebuild()
    for name in STAGES[kind].imports:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _threads() -> int:
    """Threads of this process; 1 where the system does not tell."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1


def _drain(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(descriptor, 4096):
            pass
