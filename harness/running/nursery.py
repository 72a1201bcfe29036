"""Forks workers from a process that has imported everything already: a worker then starts in milliseconds.

One JSON line on standard input starts a job or cancels one; one line on standard output tells that a job ended. When
standard input closes, the runner is gone: all workers are asked to end, and ended. It has neither threads nor a GPU
context, so that forking is safe; modules that would break that are left to the children.
"""

import contextlib
import importlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from typing import Any

from harness.core import environment
from harness.running import worker
from harness.stages import STAGES

GRACE = 3.0
"""Seconds that the workers have to end by themselves."""
NETWORKS = ("torch", "torchvision", "accelerate", "transformers")
"""Imported once a job needs a network, where that starts no thread."""


def main() -> None:
    """Serve until standard input closes."""
    _Nursery().serve()


class _Nursery:
    def __init__(self) -> None:
        self.children: dict[int, str] = {}
        self.life, self._alive = os.pipe()
        self.answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
        os.dup2(2, 1)  # what a library prints is no answer
        self.warm = False
        self.spawned: list[subprocess.Popen[bytes]] = []
        for stage in STAGES.values():
            importlib.import_module(stage.module)
        environment.describe()

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
        self.inherited = (0, reading, writing, self._alive, selector.fileno(), self.answers.fileno())
        heard = b""
        with contextlib.suppress(BrokenPipeError):
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
        self._end()

    def _obey(self, message: dict[str, Any]) -> None:
        if "cancel" in message:
            for pid, job in self.children.items():
                if job == message["cancel"]:
                    os.kill(pid, signal.SIGKILL)
            return
        job, order = message.pop("id"), worker.Order(**message)
        self._warm_up(order)
        self.children[self._fork(order) if _threads() == 1 else self._spawn(order)] = job

    def _fork(self, order: worker.Order) -> int:
        pid = os.fork()
        if pid:
            return pid
        try:
            signal.set_wakeup_fd(-1)
            for descriptor in self.inherited:
                os.close(descriptor)
            worker.obey(order, self.life)
            os._exit(0)
        finally:
            os._exit(1)

    def _spawn(self, order: worker.Order) -> int:
        """The slow way, for a process that cannot fork safely."""
        command = [sys.executable, "-P", "-m", "harness", "worker"]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=2)
        assert child.stdin is not None
        child.stdin.write(json.dumps(order._asdict()).encode() + b"\n")
        child.stdin.flush()
        self.spawned.append(child)  # its standard input stays open as long as this process lives
        return child.pid

    def _warm_up(self, order: worker.Order) -> None:
        if self.warm or not STAGES[json.loads(order.given)["kind"]].resources.gpus:
            return
        self.warm = True
        for name in NETWORKS:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)

    def _reap(self) -> None:
        while self.children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            code = os.waitstatus_to_exitcode(status)
            self.answers.write(json.dumps({"id": self.children.pop(pid), "code": code}) + "\n")

    def _end(self) -> None:
        """Ask all workers to end, then end them."""
        os.close(self._alive)
        for child in self.spawned:
            if child.stdin is not None:
                child.stdin.close()
        end = time.monotonic() + GRACE + 1.0
        while self.children and time.monotonic() < end:
            with contextlib.suppress(BrokenPipeError):
                self._reap()
            time.sleep(0.02)
        for pid in self.children:
            os.kill(pid, signal.SIGKILL)


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
