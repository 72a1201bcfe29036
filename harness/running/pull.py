"""A pull worker looks for work itself: any step of a run whose inputs are there and that nobody holds.

Many of them, on many machines, need nothing but the store: the leases see to it that a step is made once. A worker
takes the steps that need what its machine gives, and leaves when there is none for a while.
"""

import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from harness.core.resources import Resources
from harness.core.store import Store
from harness.running.runfile import read_run
from harness.running.signals import Signals
from harness.running.task import Task
from harness.running.view import View
from harness.running.worker import Site, attempt

LOOK = 2.0
"""Seconds between two looks at what others have made."""
NEIGHBOURS = 64
"""Among so many ready steps a worker chooses its own, so that workers do not all try the same one."""


def pull(run: Path, store: Store, resources: Resources, site: Site, signals: Signals, *, idle: float) -> bool:
    """Make steps of the run that need `resources` until none is left, or none was ready for `idle` seconds; False when
    told to end."""
    return _Puller(read_run(run), store, resources, site, signals, idle).run()


@dataclass
class _Puller:
    tasks: dict[str, Task]
    store: Store
    resources: Resources
    site: Site
    signals: Signals
    idle: float
    ready: dict[str, Task] = field(default_factory=dict)
    looked: float = float("-inf")

    def run(self) -> bool:
        self.view = View(self.tasks, self.store)
        own = {key for key, task in self.tasks.items() if task.resources == self.resources}
        self._release_earlier()
        worked = time.monotonic()
        while not self.signals.asked:
            self._look(own)
            if not own & self.view.graph.open:
                return True
            if self._make_one():
                worked = time.monotonic()
            elif time.monotonic() - worked > self.idle:
                return True
            else:
                self.signals.wait(LOOK)
        return False

    def _look(self, own: set[str]) -> None:
        if self.ready and time.monotonic() - self.looked < LOOK:
            return
        made, failed = self.view.refresh()
        for key in (*made, *failed):
            self.ready.pop(key, None)
        self.ready |= {key: self.tasks[key] for key in self.view.graph.take() if key in own}
        self.looked = time.monotonic()

    def _make_one(self) -> bool:
        """Make a step that nobody holds; False when all that are ready are held."""
        keys = list(self.ready)
        start = uuid.uuid4().int % min(len(keys), NEIGHBOURS) if keys else 0
        for key in keys[start:] + keys[:start]:
            if self.signals.asked:
                return False
            task = self.ready[key]
            if self.store.has(task.kind, key):
                del self.ready[key]
                self.view.graph.done(key)
                continue
            outcome = attempt(task, self.store, self.site, self.signals)
            if outcome is None:
                continue
            if outcome in ("made", "failed"):
                del self.ready[key]
            self.looked = float("-inf")
            return True
        return False

    def _release_earlier(self) -> None:
        """Give back what an earlier life of this very job held: a job is started again only when its processes are
        gone."""
        job = self.site.holder.job
        if job:
            self.store.release(lambda record: record.job == job)
