"""Makes the artifacts of a plan that are missing: which step comes next, and what became of it.

Same command again = resume: whole artifacts are left alone, half-made ones go on where they stopped. A step that
fails is recorded, what needs it fails with it, and everything else still runs. Nothing here knows where steps run
(launcher.py) or what they do (harness/stages).
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from harness.core.failures import INPUT_FAILED, TRIED_AGAIN, Failure
from harness.core.store import Store
from harness.planning.plan import Step
from harness.running.launcher import Ended, Job, Launcher
from harness.running.local import Local
from harness.running.task import task_of

LOOK = 1.0
"""Seconds between two looks at what the running steps say of themselves."""
AGAIN = "it would fail in the same way; after a change of the code, --retry-failed tries it again"
TRIES = 3
"""Workers in a row that may end without a word, before they have taken the step's lease."""


class Event(NamedTuple):
    """What happened to a step: "start", "progress", "done" or "failed"."""

    step: Step
    what: str
    done: int = 0
    total: int = 0
    note: str = ""


@dataclass(kw_only=True)
class Outcome:
    """What a run did: steps made now, and steps that failed with their records."""

    made: list[Step] = field(default_factory=list)
    failed: dict[str, Failure] = field(default_factory=dict)


class Wanted(Protocol):
    """What a run needs of a plan: the steps that are not in the store, inputs first."""

    def missing(self, store: Store) -> dict[str, Step]: ...


class Graph:
    """Which steps can be made: those whose inputs are there. Each step and each input is looked at once."""

    def __init__(self, steps: Mapping[str, Step]) -> None:
        self.unmet = {key: sum(i.key in steps for i in _inputs(step)) for key, step in steps.items()}
        self.needed_by: dict[str, list[str]] = {key: [] for key in steps}
        for key, step in steps.items():
            for needed in _inputs(step):
                if needed.key in steps:
                    self.needed_by[needed.key].append(key)
        self.ready = deque(key for key, count in self.unmet.items() if not count)
        self.open = set(steps)

    def take(self) -> list[str]:
        """The steps that became ready since the last call, in the order of the plan."""
        taken = list(self.ready)
        self.ready.clear()
        return taken

    def done(self, key: str) -> None:
        """The step is made; what waited for it alone becomes ready."""
        self.open.discard(key)
        for dependant in self.needed_by[key]:
            self.unmet[dependant] -= 1
            if not self.unmet[dependant] and dependant in self.open:
                self.ready.append(dependant)

    def fail(self, key: str) -> list[str]:
        """The step failed; the steps that need it, directly or not, each once: they will never be ready."""
        self.open.discard(key)
        found, waiting = [], deque(self.needed_by[key])
        while waiting:
            dependant = waiting.popleft()
            if dependant in self.open:
                self.open.discard(dependant)
                found.append(dependant)
                waiting.extend(self.needed_by[dependant])
        return found


def run(
    plan: Wanted,
    store: Store,
    *,
    launcher: Launcher | None = None,
    workers: int | None = None,
    devices: int = 1,
    retry_failed: bool = False,
    tell: Callable[[Event], None] = lambda event: None,
) -> Outcome:
    """Make what is missing of `plan`.

    `launcher`: where; default this machine, with `workers` and `devices` as `Local` takes them. `devices` share each
    training. `retry_failed`: try the steps again, too, that would fail in the same way. `tell` hears every event.
    Returns what was made and what failed; HarnessError, before anything is made, for devices that are not there or
    cannot share a batch.
    """
    store.open()
    steps = {key: _on(step, devices) for key, step in plan.missing(store).items()}
    launcher = launcher or Local(store, workers=workers, devices=devices)
    try:
        return _Run(steps, store, launcher, tell).run(retry_failed=retry_failed)
    finally:
        launcher.close()


class _Run:
    """A run at work."""

    def __init__(self, steps: dict[str, Step], store: Store, launcher: Launcher, tell: Callable[[Event], None]) -> None:
        self.steps, self.store, self.launcher, self.tell = steps, store, launcher, tell
        self.graph = Graph(steps)
        self.outcome = Outcome()
        self.running: dict[str, tuple[int, int]] = {}
        """Steps given to the launcher: tenure when it was given, workers lost without taking the lease."""
        self.begun: dict[str, tuple[int, int, str]] = {}
        """Steps that a worker has begun, with their last progress."""

    def run(self, *, retry_failed: bool) -> Outcome:
        self._settle_old_failures(retry_failed=retry_failed)
        looked = time.monotonic()
        while self.graph.open:
            self._start(self.graph.take())
            assert self.running, f"nothing can run, yet {sorted(self.graph.open)} wait"
            for ended in self.launcher.poll(LOOK):
                self._ended(ended)
            if time.monotonic() - looked >= LOOK:
                self._look()
                looked = time.monotonic()
        return self.outcome

    def _settle_old_failures(self, *, retry_failed: bool) -> None:
        """Forget the failures that are tried again; a step that would fail in the same way has failed already.

        A step is tried again, whatever happened to it, when one of its inputs is made anew.
        """
        for key, step in self.steps.items():
            if (record := self.store.failure(step.kind, key)) is None:
                continue
            fresh = any(needed.key in self.steps for needed in _inputs(step))
            if retry_failed or fresh or record.kind in TRIED_AGAIN:
                self.store.forget(step.kind, key)
            elif key in self.graph.open:
                note = f"failed before: {record.message}"
                self._fail(key, record.model_copy(update={"message": note, "hint": AGAIN}))

    def _start(self, keys: Iterable[str]) -> None:
        jobs = []
        for key in keys:
            if key not in self.graph.open:
                continue
            step = self.steps[key]
            task = task_of(step)
            lost = self.running.get(key, (0, 0))[1]
            self.running[key] = self.store.tenure(step.kind, key).number, lost
            jobs.append(Job(key, step.kind, task.model_dump_json(), task.resources))
        self.launcher.start(jobs)

    def _ended(self, ended: Ended) -> None:
        """Ask the store what became of a step whose worker ended."""
        key = ended.id
        if key not in self.running:
            return
        step = self.steps[key]
        if self.store.has(step.kind, key):
            self._begin(key)
            del self.running[key]
            self.outcome.made.append(step)
            self.graph.done(key)
            self.tell(Event(step, "done"))
        elif (record := self.store.failure(step.kind, key)) is not None:
            self._fail(key, record)
        else:
            self._lost(key, ended)

    def _lost(self, key: str, ended: Ended) -> None:
        """The worker said nothing: start another one. The lease counts its tries, unless it never came so far."""
        tenure, lost = self.running[key]
        step = self.steps[key]
        lost = lost + 1 if self.store.tenure(step.kind, key).number == tenure else 0
        if lost >= TRIES:
            message = f"{TRIES} workers ended before they began ({ended.why}: {ended.detail})"
            self._fail(key, Failure(kind="lost", message=message, label=step.label))
            return
        self.running[key] = tenure, lost
        self._start([key])

    def _fail(self, key: str, record: Failure) -> None:
        self._begin(key)
        self.running.pop(key, None)
        self.outcome.failed[key] = record
        self.tell(Event(self.steps[key], "failed", note=record.message))
        for dependant in self.graph.fail(key):
            self.outcome.failed[dependant] = INPUT_FAILED

    def _begin(self, key: str) -> None:
        if key not in self.begun:
            self.begun[key] = 0, 0, ""
            self.tell(Event(self.steps[key], "start"))

    def _look(self) -> None:
        """What the running steps say; the workers of leases that no longer beat are ended."""
        silent = []
        for kind, key in self.store.leased():
            if key not in self.running:
                continue
            record = self.store.tenure(kind, key).record
            if record is None or not record.held:
                continue
            self._begin(key)
            news = record.done, record.total, record.note
            if news != self.begun[key]:
                self.begun[key] = news
                self.tell(Event(self.steps[key], "progress", *news))
            if self.store.is_gone(kind, key):
                silent.append(key)
        if silent:
            self.launcher.cancel(silent)


def _inputs(step: Step) -> Iterable[Step]:
    """The inputs of a step, each once, those that are made."""
    return {needed.key: needed for needed in step.inputs.values() if not needed.external}.values()


def _on(step: Step, devices: int) -> Step:
    """The same step, and the same key, on so many devices; only a training can use more than one."""
    on = getattr(step.spec, "on", None)
    return replace(step, spec=on(devices)) if on and devices > 1 else step
