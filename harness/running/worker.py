"""Makes one step: takes its lease, lets a stage process compute, and commits what that made.

The worker is the parent of the stage process and does nothing that blocks, so that its beats come whatever the stage
does. It describes the machine it runs on. Whoever started it may be gone: the store knows everything that matters.
"""

import contextlib
import json
import os
import selectors
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from harness import __version__
from harness.core import environment, files
from harness.core.errors import HarnessError
from harness.core.failures import Failure, Kind
from harness.core.leases import BEAT, Holder, Lease
from harness.core.store import Store
from harness.running import stage_process
from harness.running.task import Task
from harness.stages import STAGES

Outcome = Literal["made", "failed", "stopped", "lost"]
"""made: the artifact stands, whoever made it. stopped: asked to end. lost: another worker has taken over."""

STOPPED = 75
"""Exit code of a worker that was asked to end before its step was done: try again later (sysexits.h, EX_TEMPFAIL)."""
NEWS = 1.0
"""Seconds between two beats that carry progress."""
TRIES = 3
"""How often a step may come no further before it counts as failed."""
WAIT_FOR_DISK = 3600.0
"""Seconds to wait for room on a full disk."""
ROOM = 64 * 2**20
"""Free bytes below which a disk counts as full."""


class Order(NamedTuple):
    """What a launcher tells a worker, as JSON. `number` names the order in the answer."""

    number: int
    given: str
    store: str
    launcher: str
    job: str
    device: str
    variables: dict[str, str]
    """Laid over the environment of the stage."""


class Site(NamedTuple):
    """Where a worker runs. `life`: a descriptor that reads as ended when the launcher is gone."""

    holder: Holder
    variables: dict[str, str]
    life: int | None = None
    grace: float = 3.0
    """Seconds that a stage has to save its state when it is asked to end."""


class Ending(NamedTuple):
    """How a stage process ended. All None: it died without a word, of `signal` where it was killed."""

    result: dict[str, Any] | None = None
    failure: Failure | None = None
    errno: int | None = None
    stopped: bool = False
    lost: bool = False
    signal: int = 0


def serve(orders: int, answers: int) -> bool:
    """Make the steps that are ordered, one after the other, until the descriptor `orders` ends; False when told to end.

    Each line of `orders` is an order, and a line of `answers` says what became of it.
    """
    while line := _line(orders):
        order = Order(**json.loads(line))
        outcome = obey(order, life=orders)
        files.write_all(answers, json.dumps({"number": order.number, "outcome": outcome}).encode() + b"\n")
        if outcome == "stopped":
            return False
    return True


def obey(order: Order, *, life: int | None) -> Outcome:
    """Make the step of an order; the launcher is gone when the descriptor `life` has ended."""
    holder = Holder(order.launcher, order.job, order.device)
    site = Site(holder=holder, variables=order.variables, life=life)
    return make(Task.model_validate_json(order.given), Store(Path(order.store)), site)


def _line(descriptor: int) -> bytes:
    """The next line, or nothing at the end. One line is written at a time, and the next only after it was answered."""
    line = b""
    while not line.endswith(b"\n"):
        if not (part := os.read(descriptor, 2**16)):
            return b""
        line += part
    return line


def make(task: Task, store: Store, site: Site) -> Outcome:
    """Make the artifact of `task`, or wait until another worker has made it."""
    with _Signals(site.life) as signals:
        lease = _take(task, store, site, signals)
        if lease is None:
            return "made" if store.has(task.kind, task.key) else "stopped"
        return _Try(task, store, site, lease, signals).run()


def _take(task: Task, store: Store, site: Site, signals: "_Signals") -> Lease | None:
    """The lease; None when the artifact stands already, or the worker is to end."""
    while not store.has(task.kind, task.key) and not signals.asked:
        if lease := store.lease(task.kind, task.key, site.holder):
            return lease
        signals.wait(0.2)
    return None


@dataclass
class _Try:
    """The time between taking a lease and giving it back."""

    task: Task
    store: Store
    site: Site
    lease: Lease
    signals: "_Signals"
    started: float = field(default_factory=time.time)

    def run(self) -> Outcome:
        store, task, lease = self.store, self.task, self.lease
        try:
            partial = store.adopt(task.kind, task.key, lease)
            if store.has(task.kind, task.key):  # an earlier holder committed before the folder was adopted
                shutil.rmtree(partial, ignore_errors=True)
                lease.remove()
                return "made"
            return self._again_and_again(partial)
        except (HarnessError, OSError) as error:  # the store refuses
            return self._fail(_of_store(error))

    def _again_and_again(self, partial: Path) -> Outcome:
        stalled, best = self.lease.record.stalled, self.lease.record.first
        while True:
            if stalled >= TRIES:
                return self._fail(_gave_up(self.lease, stalled))
            ending = self._supervise(partial)
            if ending.result is not None:
                return self._commit(partial, ending.result)
            if ending.lost:
                self.lease.close()
                return "lost"
            if ending.stopped:
                self.lease.release(stalled=self.lease.record.stalled)
                return "stopped"
            if ending.failure is not None and not (ending.failure.kind == "disk" and self._room(ending.errno)):
                return self._fail(ending.failure)
            if ending.failure is None:
                stalled = 0 if self.lease.record.done > best else stalled + 1
                best = max(best, self.lease.record.done)
                if stalled >= TRIES:
                    return self._fail(_killed(ending))

    def _supervise(self, partial: Path) -> Ending:
        """One stage process from its start to its end, with a beat in time."""
        task, store = self.task, self.store
        work = stage_process.Work(
            kind=task.kind,
            spec=task.spec,
            inputs={name: task.folder(name, store) for name in task.inputs},
            dataset=task.inputs["dataset"].part if "dataset" in task.inputs else None,
            out=partial,
            log=store.log(task.kind, task.key),
            variables=self.site.variables,
        )
        stage = stage_process.start(work)
        os.set_blocking(stage.channel, False)
        self.signals.selector.register(stage.channel, selectors.EVENT_READ)
        try:
            return self._listen(stage)
        finally:
            self.signals.selector.unregister(stage.channel)
            os.close(stage.channel)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(stage.pid, signal.SIGKILL)

    def _listen(self, stage: stage_process.Started) -> Ending:
        said, last = b"", {}
        beaten = time.monotonic()
        told = beaten - NEWS
        news: tuple[int, int, str] | None = None
        deadline: float | None = None
        while True:
            status = _ended(stage.pid)
            said += _read(stage.channel)
            *lines, said = said.split(b"\n")
            for message in map(json.loads, lines):
                if "done" in message:
                    news = message["done"], message["total"], message["note"]
                else:
                    last = message
            now = time.monotonic()
            if status is None and (now - beaten >= BEAT or (news and now - told >= NEWS)):
                if not self.lease.beat(*(news or ())):
                    _kill(stage.pid)
                    return Ending(lost=True)
                told, beaten, news = now if news else told, now, None
            if status is not None:
                if news:
                    self.lease.beat(*news)
                return _ending(last, status, asked=self.signals.asked)
            if self.signals.asked and deadline is None:
                deadline = now + self.site.grace
                os.kill(stage.pid, signal.SIGTERM)
            if deadline is not None and now >= deadline:
                _kill(stage.pid)
                return Ending(stopped=True)
            pause = BEAT - (now - beaten) if not news else NEWS - (now - told)
            self.signals.wait(max(0.0, min(pause, 0.1 if deadline else BEAT)))

    def _commit(self, partial: Path, result: dict[str, Any]) -> Outcome:
        task, store, lease = self.task, self.store, self.lease
        manifest = {
            "version": 2,
            "kind": task.kind,
            "key": task.key,
            "label": task.label,
            "spec": task.spec,
            "inputs": {name: {"kind": i.kind, "key": i.key} for name, i in task.inputs.items()},
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.started)),
            **result,
            "code": {"harness": __version__, "stage": STAGES[task.kind].version},
            "job": self._job(),
            "environment": environment.describe(),
        }
        if store.has(task.kind, task.key) or not partial.is_dir():
            lease.close()
            return "lost"
        while True:
            try:
                store.commit(task.kind, task.key, manifest, partial=partial)
            except files.DiskError as error:
                if not self._room(error.number):
                    raise
            else:
                lease.remove()
                return "made"

    def _fail(self, failure: Failure) -> Outcome:
        task, store, record = self.task, self.store, self.lease.record
        log = store.log(task.kind, task.key)
        complete = failure.model_copy(
            update={
                "label": task.label,
                "log": str(log.relative_to(store.root)),
                "progress": (record.done, record.total, record.note) if record.total else None,
                "traceback": failure.traceback or ("" if failure.kind in ("usage", "disk") else _tail(log)),
                "job": self._job(),
                "environment": environment.describe(),
            }
        )
        try:
            store.fail(task.kind, task.key, complete)
        finally:
            self.lease.release()
        return "failed"

    def _job(self) -> dict[str, str]:
        record = self.lease.record
        return {"host": record.host, "launcher": record.launcher, "id": record.job, "device": record.device}

    def _room(self, number: int | None) -> bool:
        """Wait until a full disk has room; False when the disk is not full, or stays so."""
        if number not in files.FULL or number == files.TOO_LARGE:
            return False
        end, free, record = time.monotonic() + WAIT_FOR_DISK, _free(self.store), self.lease.record
        while time.monotonic() < end and not self.signals.asked:
            if not self.lease.beat(record.done, record.total, "the disk is full: waiting for room"):
                return False
            self.signals.wait(NEWS)
            if _free(self.store) > max(free, ROOM):
                return True
        return False


class _Signals:
    """Hears that the worker is to end: a signal, or the end of the launcher. Wakes whoever waits."""

    def __init__(self, life: int | None) -> None:
        self.life, self.asked = life, False
        self.selector = selectors.DefaultSelector()
        self._reading, self._writing = os.pipe()

    def __enter__(self) -> "_Signals":
        for descriptor in (self._reading, self._writing):
            os.set_blocking(descriptor, False)
        self._wakeup = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        handlers = dict.fromkeys((signal.SIGTERM, signal.SIGUSR2, signal.SIGINT), self._ask)
        self._old = {name: signal.signal(name, handler) for name, handler in handlers.items()}
        self._old[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        self.selector.register(self._reading, selectors.EVENT_READ)
        if self.life is not None:
            self.selector.register(self.life, selectors.EVENT_READ)
        return self

    def __exit__(self, *_: object) -> None:
        for name, handler in self._old.items():
            signal.signal(name, handler)
        signal.set_wakeup_fd(self._wakeup)
        self.selector.close()
        os.close(self._reading)
        os.close(self._writing)

    def wait(self, seconds: float) -> None:
        """Until something happens, at most so long."""
        for key, _ in self.selector.select(seconds):
            if key.fd == self._reading:
                _read(self._reading)
            elif key.fd == self.life and not os.read(self.life, 4096):
                self.asked = True
                self.selector.unregister(self.life)

    def _ask(self, *_: object) -> None:
        self.asked = True


def _ended(pid: int) -> int | None:
    """The wait status of a child, None while it runs. A child that somebody stopped goes on: it holds the step."""
    found, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
    if found and os.WIFSTOPPED(status):
        os.kill(pid, signal.SIGCONT)
        return None
    return status if found else None


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _ending(last: dict[str, Any], status: int, *, asked: bool) -> Ending:
    if "result" in last:
        return Ending(result=last["result"])
    if "failure" in last:
        return Ending(failure=Failure.model_validate_json(json.dumps(last["failure"])), errno=last.get("errno"))
    if last.get("stopped") or asked:
        return Ending(stopped=True)
    return Ending(signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)


def _killed(ending: Ending) -> Failure:
    return Failure(
        kind="killed",
        message=f"the process of this step was killed {TRIES} times without progress"
        + (f" (signal {ending.signal})" if ending.signal else ""),
        hint="most often memory: see the log, and run fewer steps at a time with --workers",
    )


def _gave_up(lease: Lease, stalled: int) -> Failure:
    return Failure(kind="lost", message=f"the workers of this step were lost {stalled} times without progress")


def _of_store(error: HarnessError | OSError) -> Failure:
    if isinstance(error, OSError):
        return Failure(kind="disk", message=f"the store refuses: {error}")
    kind: Kind = "disk" if isinstance(error, files.DiskError) and error.of_disk else "usage"
    return Failure(kind=kind, message=error.message, hint=error.hint)


def _free(store: Store) -> int:
    return shutil.disk_usage(store.root).free


def _read(descriptor: int) -> bytes:
    """All that can be read without waiting."""
    found = b""
    with contextlib.suppress(BlockingIOError):
        while part := os.read(descriptor, 65536):
            found += part
    return found


def _tail(log: Path, characters: int = 4000) -> str:
    """The end of a log: the last thing a killed process said."""
    try:
        return log.read_text(encoding="utf-8", errors="replace")[-characters:]
    except OSError:
        return ""
