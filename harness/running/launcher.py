"""Where steps run: what every launcher does.

A launcher starts jobs and tells when they end. What it tells is a hint: whether a step is made, only the store knows.
Not here: which step comes next (scheduler.py), how a step is made (worker.py).
"""

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple, Protocol

from harness.core.resources import Resources


class Job(NamedTuple):
    """A worker to be started. `given` is what it reads from its standard input: a task."""

    id: str
    kind: str
    given: str
    resources: Resources


Why = Literal["exited", "lost", "cancelled"]


class Ended(NamedTuple):
    """A worker that runs no more. `lost`: it ended by itself without a word."""

    id: str
    why: Why
    detail: str = ""


class Launcher(Protocol):
    """Runs jobs side by side, as many as its machines take; the others wait in the order in which they came."""

    name: str

    def start(self, jobs: Sequence[Job]) -> None:
        """Take jobs; returns at once."""

    def poll(self, seconds: float) -> list[Ended]:
        """What ended since the last call; waits at most so long for something to end."""
        ...

    def cancel(self, ids: Collection[str]) -> None:
        """End these jobs; `poll` tells when they are gone."""

    def close(self) -> None:
        """End all jobs, within 5 seconds, and leave no process behind."""
