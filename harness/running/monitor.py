"""The monitor watches a run whose workers look for work themselves: it starts as many as there is work for, and reports
what happens.

The workers need nothing of it: when it is gone they go on, and the same command watches again. It only helps: it starts
workers that are missing, and takes leases back from workers that the cluster says are gone.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.failures import Failure
from harness.core.resources import Resources
from harness.core.store import Store
from harness.planning.plan import Step
from harness.running.launcher import Job, PullLauncher
from harness.running.runfile import write_run
from harness.running.task import Task, task_of
from harness.running.view import View
from harness.running.watch import RunResult, Tell, Watcher

LOOK = 2.0
"""Seconds between two looks at the store."""
TRIES = 3
"""Workers in a row that may end without having begun a step."""
UNREADABLE = Failure(kind="error", message="it failed, and its record is gone")


class Monitor(Watcher):
    """Watches a run on a launcher whose workers look for steps themselves."""

    def __init__(
        self,
        steps: dict[str, Step],
        store: Store,
        launcher: PullLauncher,
        tell: Tell,
        resources: Mapping[str, Resources],
    ) -> None:
        super().__init__(steps, store, tell)
        self.launcher = launcher
        self.tasks = {key: task_of(step, resources.get(step.kind)) for key, step in steps.items()}
        self.view = View(self.tasks, store)
        self.workers: dict[str, Resources] = {}
        self.count = 0
        self.active: set[str] = set()
        """Steps that are ready or at work."""
        self.fruitless = 0
        self.seen = 0
        """How much had happened when the last worker ended."""

    def run(self, *, retry_failed: bool) -> RunResult:
        """Watch the run until every step is made or has failed."""
        kept = self.old_failures(retry_failed=retry_failed)
        path = self.enlist()
        while self.view.graph.open:
            made, failed = self.view.refresh()
            for key in sorted(made):
                self.made(key)
            for key, dependants in failed.items():
                record = kept.get(key) or self.store.failure(self.steps[key].kind, key)
                self.failed(key, record or UNREADABLE, dependants)
            self._fill(path)
            self._listen()
            self.look(self.active)
        return self.outcome

    def enlist(self) -> Path:
        """Write the run for the workers, and start those that it needs now."""
        path = write_run(self.tasks.values(), self.store)
        for resources in _distinct(self.tasks):
            self.workers |= dict.fromkeys(self.launcher.attach(path.name, resources), resources)
        self.view.refresh()
        self._fill(path)
        return path

    def _fill(self, path: Path) -> None:
        """Start workers for the steps that are ready and have none."""
        graph = self.view.graph
        self.active = (self.active | set(graph.take())) & graph.open
        wanted = Counter(_text(self.tasks[key].resources) for key in self.active)
        have = Counter(map(_text, self.workers.values()))
        jobs = []
        for resources in _distinct(self.tasks):
            text = _text(resources)
            for _ in range(min(wanted[text], self.launcher.limit) - have[text]):
                self.count += 1
                jobs.append(Job(f"worker {self.count}", "", str(path), resources))
        if jobs:
            self.launcher.start(jobs)
            self.workers |= {job.id: job.resources for job in jobs}

    def _listen(self) -> None:
        all_ended = self.launcher.poll(LOOK)
        if gone := {ended.detail for ended in all_ended if ended.detail}:
            self.store.release(lambda record: record.job in gone)
        for ended in all_ended:
            if ended.why != "requeued":
                self.workers.pop(ended.id, None)
            happened = len(self.begun) + len(self.outcome.made) + len(self.outcome.failed)
            self.fruitless = self.fruitless + 1 if happened == self.seen and self.active else 0
            self.seen = happened
            if self.fruitless >= TRIES and not self.workers:
                raise HarnessError(
                    f"{self.fruitless} workers of {self.launcher.name} ended, and none began a step",
                    hint=f"see what they said in {self.store.root / 'logs'}",
                )


def _distinct(tasks: Mapping[str, Task]) -> list[Resources]:
    return list({_text(task.resources): task.resources for task in tasks.values()}.values())


def _text(resources: Resources) -> str:
    return resources.model_dump_json()
