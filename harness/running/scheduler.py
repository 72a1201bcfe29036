"""The scheduler makes the missing artifacts of a plan: it decides which step comes next, and records what became of it.

Same command again = resume: whole artifacts are left alone, half-made ones go on where they stopped. A step that
fails is recorded, what needs it fails with it, and everything else still runs. Nothing here knows where steps run
(launcher.py) or what they do (harness/stages).
"""

import contextlib
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from harness.core.errors import HarnessError
from harness.core.failures import Failure
from harness.core.resources import Resources
from harness.core.store import Store
from harness.planning.plan import Plan, Step
from harness.running.graph import Graph
from harness.running.launcher import Ended, Job, Launcher, PullLauncher
from harness.running.local import Local
from harness.running.monitor import Monitor
from harness.running.task import task_of
from harness.running.watch import Event, RunResult, Tell, Watcher

__all__ = ["Event", "RunResult", "heal", "run"]

LOOK = 1.0
"""Seconds between two looks at what the running steps say of themselves."""
TRIES = 3
"""Workers in a row that may end without a word, before they have taken a lease."""


class Wanted(Protocol):
    """This holds what a run needs of a plan: the steps that are not in the store, inputs first."""

    def missing(self, store: Store) -> dict[str, Step]: ...


def run(
    plan: Wanted,
    store: Store,
    *,
    launcher: Launcher | None = None,
    workers: int | None = None,
    devices: int = 1,
    resources: Mapping[str, Resources] | None = None,
    retry_failed: bool = False,
    tell: Tell = lambda event: None,
) -> RunResult:
    """Make what is missing of `plan`.

    `launcher`: where; default this machine, with `workers` and `devices` as `Local` takes them. `devices` share each
    training. `resources`: what steps need, by kind; default what their stages say. `retry_failed`: try the steps again,
    too, that would fail in the same way. `tell` hears every event. Returns what was made and what failed; HarnessError,
    before anything is made, for devices that are not there or cannot share a batch.

    An artifact that turns out not to be as it was made is set aside, and made again with all that needs it.
    """
    store.open()
    steps = _steps(plan, store, devices)
    launcher = launcher or Local(store, workers=workers, devices=devices)

    def make(steps: dict[str, Step]) -> RunResult:
        needs = resources or {}
        if isinstance(launcher, PullLauncher):
            return Monitor(steps, store, launcher, tell, needs).run(retry_failed=retry_failed)
        return _Push(steps, store, launcher, tell, needs).run(retry_failed=retry_failed)

    try:
        outcome, tried = make(steps), set(steps)
        for _ in range(TRIES):
            if not _set_aside(outcome, store, tell, steps):
                break
            steps = _made_possible(_steps(plan, store, devices), outcome, tried)
            again, tried = make(steps), tried | set(steps)
            failed = {key: record for key, record in outcome.failed.items() if key not in steps}
            outcome = RunResult(made=outcome.made + again.made, failed={**failed, **again.failed})
        return outcome
    finally:
        launcher.close()


def submit(
    plan: Wanted,
    store: Store,
    launcher: Launcher,
    *,
    devices: int = 1,
    resources: Mapping[str, Resources] | None = None,
    retry_failed: bool = False,
) -> None:
    """Start workers that make what is missing of `plan`, and leave them alone; HarnessError for a launcher whose
    workers need somebody to tell them what to do."""
    if not isinstance(launcher, PullLauncher):
        raise HarnessError(f"launcher {launcher.name!r}: its steps end with this command", hint="leave out --detach")
    store.open()
    monitor = Monitor(_steps(plan, store, devices), store, launcher, lambda event: None, resources or {})
    monitor.old_failures(retry_failed=retry_failed)
    monitor.enlist()


def heal(plan: Plan, store: Store, tell: Tell = lambda event: None) -> None:
    """Set aside the last steps of rows that are not as they were made, so that they are missing.

    No step reads them, and a report refuses them.
    """
    for final in {final.key: final for row in plan.rows for final in row.finals.values()}.values():
        if not store.has(final.kind, final.key):
            continue
        try:
            store.intact(final.kind, final.key)
        except HarnessError as error:
            store.set_aside(final.kind, final.key)
            tell(Event(final, "set aside", note=error.message))


class _Push(Watcher):
    """A run that gives every step that is ready to the launcher, as a job of its own."""

    def __init__(
        self,
        steps: dict[str, Step],
        store: Store,
        launcher: Launcher,
        tell: Tell,
        resources: Mapping[str, Resources],
    ) -> None:
        super().__init__(steps, store, tell)
        self.launcher, self.resources = launcher, resources
        self.graph = Graph({key: [i.key for i in step.inputs.values()] for key, step in steps.items()})
        self.running: dict[str, tuple[int, int]] = {}
        """Steps given to the launcher: tenure when it was given, workers lost without taking the lease."""

    def run(self, *, retry_failed: bool) -> RunResult:
        """Until every step is made or has failed."""
        for key, record in self.old_failures(retry_failed=retry_failed).items():
            if key in self.graph.open:
                self.failed(key, record, self.graph.fail(key))
        looked = time.monotonic()
        while self.graph.open:
            self._start(self.graph.take())
            assert self.running, f"nothing can run, yet {sorted(self.graph.open)} wait"
            for ended in self.launcher.poll(LOOK):
                self._ended(ended)
            if time.monotonic() - looked >= LOOK:
                given = {key: tenure for key, (tenure, _) in self.running.items()}
                if silent := self.look(given, given):
                    self.launcher.cancel(silent)
                looked = time.monotonic()
        return self.outcome

    def _start(self, keys: Iterable[str]) -> None:
        jobs = []
        for key in keys:
            if key not in self.graph.open:
                continue
            step = self.steps[key]
            task = task_of(step, self.resources.get(step.kind))
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
            del self.running[key]
            self.made(key)
            self.graph.done(key)
        elif (record := self.store.failure(step.kind, key)) is not None:
            del self.running[key]
            self.failed(key, record, self.graph.fail(key))
        else:
            self._lost(key, ended)

    def _lost(self, key: str, ended: Ended) -> None:
        """The worker said nothing: start another one. The lease counts its tries, unless it never came so far."""
        tenure, lost = self.running[key]
        step = self.steps[key]
        lost = lost + 1 if self.store.tenure(step.kind, key).number == tenure else 0
        if lost < TRIES:
            self.running[key] = tenure, lost
            self._start([key])
            return
        del self.running[key]
        message = f"{TRIES} workers ended before they began ({ended.why}: {ended.detail})"
        self.failed(key, Failure(kind="lost", message=message, label=step.label), self.graph.fail(key))


def _set_aside(outcome: RunResult, store: Store, tell: Tell, steps: Mapping[str, Step]) -> bool:
    """Set the damaged artifacts aside that steps refused; return whether there were any."""
    damaged = {}
    for key, record in outcome.failed.items():
        for needed in steps[key].inputs.values() if record.damaged and key in steps else ():
            if record.damaged == f"{needed.kind}/{needed.key}":
                damaged[needed.key] = needed, record.message
    for needed, message in damaged.values():
        with contextlib.suppress(HarnessError):
            store.intact(needed.kind, needed.key)
            continue  # another runner has made it again
        store.set_aside(needed.kind, needed.key)
        tell(Event(needed, "set aside", note=message))
    return bool(damaged)


def _made_possible(missing: Mapping[str, Step], outcome: RunResult, tried: Collection[str]) -> dict[str, Step]:
    """Return the steps that were not tried, those that refused what was damaged, and those that need these alone."""
    found: dict[str, Step] = {}
    for key, step in missing.items():
        needed = [one.key for one in step.inputs.values() if one.key in missing]
        again = key not in tried or (key in outcome.failed and outcome.failed[key].kind == "damaged") or needed
        if again and all(one in found for one in needed):
            found[key] = step
    return found


def _steps(plan: Wanted, store: Store, devices: int) -> dict[str, Step]:
    return {key: _on(step, devices) for key, step in plan.missing(store).items()}


def _on(step: Step, devices: int) -> Step:
    """Return the same step, and the same key, on so many devices; only a training can use more than one."""
    on = getattr(step.spec, "on", None)
    return replace(step, spec=on(devices)) if on and devices > 1 else step
