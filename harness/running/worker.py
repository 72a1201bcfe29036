"""A worker makes one step: it takes the lease, lets a stage process compute, and commits what that made.

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
from harness.running.signals import Signals, read
from harness.running.task import Task
from harness.stages import STAGES

WorkerOutcome = Literal["made", "failed", "stopped", "lost"]
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


class Site(NamedTuple):
    """This says where a worker runs. `variables` are laid over the environment of its stages."""

    holder: Holder
    variables: dict[str, str]
    grace: float = 3.0
    """Seconds that a stage has to save its state when it is asked to end."""


def stage_variables(threads: int, gpus: str) -> dict[str, str]:
    """Return the environment of a stage: so many threads, and these GPUs, as CUDA_VISIBLE_DEVICES has them; none: it
    sees none.
    """
    return {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "CUDA_VISIBLE_DEVICES": gpus,
    }


class Ending(NamedTuple):
    """This says how a stage process ended. All None: it died without a word, of `signal` where it was killed."""

    result: dict[str, Any] | None = None
    failure: Failure | None = None
    errno: int | None = None
    stopped: bool = False
    lost: bool = False
    signal: int = 0


def make(task: Task, store: Store, site: Site, signals: Signals) -> WorkerOutcome:
    """Make the artifact of `task`, or wait until another worker has made it."""
    while not store.has(task.kind, task.key):
        if signals.asked:
            return "stopped"
        if outcome := attempt(task, store, site, signals):
            return outcome
        signals.wait(0.2)
    return "made"


def attempt(task: Task, store: Store, site: Site, signals: Signals) -> WorkerOutcome | None:
    """Make the artifact of `task`; None while another worker holds the step, or there is no room to take it."""
    try:
        lease = store.lease(task.kind, task.key, site.holder)
    except OSError as error:
        if error.errno not in files.FULL:
            raise
        signals.wait(NEWS)
        return None
    return _Try(task, store, site, lease, signals).run() if lease else None


@dataclass
class _Try:
    """The time between taking a lease and giving it back."""

    task: Task
    store: Store
    site: Site
    lease: Lease
    signals: Signals
    started: float = field(default_factory=time.time)

    def run(self) -> WorkerOutcome:
        store, task, lease = self.store, self.task, self.lease
        while True:
            try:
                partial = store.adopt(task.kind, task.key, lease)
                if store.has(task.kind, task.key):  # an earlier holder committed before the folder was adopted
                    shutil.rmtree(partial, ignore_errors=True)
                    lease.remove()
                    return "made"
                return self._again_and_again(partial)
            except (HarnessError, OSError) as error:  # the store refuses
                if not self._room(_number(error)):
                    return self._fail(_of_store(error))

    def _again_and_again(self, partial: Path) -> WorkerOutcome:
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
                self._release()
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
            said += read(stage.channel)
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

    def _commit(self, partial: Path, result: dict[str, Any]) -> WorkerOutcome:
        task, store, lease = self.task, self.store, self.lease
        manifest = {
            "version": 3,
            "kind": task.kind,
            "key": task.key,
            "identity": task.identity,
            "label": task.label,
            "command": task.command,
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

    def _fail(self, failure: Failure) -> WorkerOutcome:
        task, store, record = self.task, self.store, self.lease.record
        log = store.log(task.kind, task.key)
        complete = failure.model_copy(
            update={
                "label": task.label,
                "log": str(log.relative_to(store.root)),
                "progress": (record.done, record.total, record.note) if record.total else None,
                "traceback": failure.traceback or ("" if failure.kind in ("usage", "damaged", "disk") else _tail(log)),
                "job": self._job(),
                "environment": environment.describe(),
            }
        )
        try:
            while True:
                try:
                    store.fail(task.kind, task.key, complete)
                except files.DiskError as error:
                    if not self._room(error.number):
                        if self.signals.asked:
                            return "stopped"
                        raise
                else:
                    return "failed"
        finally:
            self.lease.release()

    def _release(self) -> None:
        """Give the step back unfinished. Who is stopped by a cluster without having come further counts it."""
        record = self.lease.record
        preempted = bool(self.signals.number) and not self.lease.progressed
        self.lease.release(stalled=record.stalled + 1 if preempted else 0)

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


def _number(error: HarnessError | OSError) -> int | None:
    """Return the errno of a refusal, None where there is none."""
    return error.errno if isinstance(error, OSError) else getattr(error, "number", None)


def _free(store: Store) -> int:
    return shutil.disk_usage(store.root).free


def _tail(log: Path, characters: int = 4000) -> str:
    """The end of a log: the last thing a killed process said."""
    try:
        return log.read_text(encoding="utf-8", errors="replace")[-characters:]
    except OSError:
        return ""
