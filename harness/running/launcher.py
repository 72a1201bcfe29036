"""A launcher decides where steps run; this protocol says what every launcher does.

A launcher starts jobs and tells when they end. What it tells is a hint: whether a step is made, only the store knows.
Not here: which step comes next (scheduler.py), how a step is made (worker.py).
"""

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from harness.core.resources import Resources


class Job(NamedTuple):
    """A worker to be started.

    `given`: the task that it is to make, as JSON; of a worker that looks for work itself, the file of the run.
    """

    id: str
    kind: str
    given: str
    resources: Resources


Why = Literal["exited", "lost", "cancelled", "requeued"]


class Ended(NamedTuple):
    """A worker that runs no more. `lost`: it ended by itself without a word; `requeued`: it will run again."""

    id: str
    why: Why
    detail: str = ""


class Launcher(Protocol):
    """Runs jobs side by side, as many as its machines take; the others wait in the order in which they came."""

    name: str

    def start(self, jobs: Sequence[Job]) -> None:
        """Take jobs; returns at once."""

    def poll(self, seconds: float) -> list[Ended]:
        """Return what ended since the last call; waits at most so long for something to end."""
        ...

    def cancel(self, ids: Collection[str]) -> None:
        """End these jobs; `poll` tells when they are gone."""

    def close(self) -> None:
        """End all jobs, within 5 seconds, and leave no process behind."""


@runtime_checkable
class PullLauncher(Launcher, Protocol):
    """Starts workers that look for work themselves, and that go on without the process that started them."""

    limit: int
    """Workers of one kind at a time."""

    def attach(self, run: str, resources: Resources) -> list[str]:
        """Ids of workers that are there already for this run and these resources."""
        ...
