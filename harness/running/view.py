"""The view shows the state of a run's steps in the store, for a process that does not make them all itself."""

import os

from harness.core.store import Store
from harness.running.graph import Graph
from harness.running.task import Task


class View:
    """This holds what the store says of the steps of a run: made, failed, or open."""

    def __init__(self, tasks: dict[str, Task], store: Store) -> None:
        self.tasks, self.store = tasks, store
        self.kinds = sorted({task.kind for task in tasks.values()})
        self.graph = Graph({key: [i.key for i in task.inputs.values()] for key, task in tasks.items()})

    def refresh(self) -> tuple[set[str], dict[str, list[str]]]:
        """Return the steps that were made since the last look, and those that failed, with all that need them.

        Folders are listed, not each step asked for: on a network file system that also shows at once what other
        machines did.
        """
        made = {key for kind in self.kinds for key in self._there(kind)}
        for key in sorted(made):
            self.graph.done(key)
        there = {key for _, key in self.store.failures()} & self.graph.open
        return made, {key: self.graph.fail(key) for key in sorted(there)}

    def _there(self, kind: str) -> list[str]:
        folder = self.store.root / "artifacts" / kind
        return [name for name in os.listdir(folder) if name in self.graph.open] if folder.is_dir() else []
