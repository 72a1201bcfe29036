"""The watcher follows the steps of a run in the store: it reports events and keeps what became of each step."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.core.errors import HarnessError
from harness.core.failures import INPUT_FAILED, TRIED_AGAIN, Failure
from harness.core.store import Store
from harness.planning.plan import Step

AGAIN = "it would fail in the same way; after a change of the code, --retry-failed tries it again"


class Event(NamedTuple):
    """This holds what happened to a step: "start", "progress", "done", "failed" or "set aside".

    `note`: of progress what the stage reports, of "done" its warnings, a line each, else the reason. `first`: how much
    was done before its worker took it. `dependants`: keys of what failed with it.
    """

    step: Step
    what: str
    done: int = 0
    total: int = 0
    note: str = ""
    first: int = 0
    dependants: tuple[str, ...] = ()


Tell = Callable[[Event], None]


@dataclass(kw_only=True)
class RunResult:
    """This holds what a run did: steps made now, and steps that failed with their records."""

    made: list[Step] = field(default_factory=list)
    failed: dict[str, Failure] = field(default_factory=dict)


class Watcher:
    """Follows the steps of a run, inputs first, and keeps what has become of them."""

    def __init__(self, steps: dict[str, Step], store: Store, tell: Tell) -> None:
        self.steps, self.store, self.tell = steps, store, tell
        self.outcome = RunResult()
        self.begun: dict[str, tuple[int, int, str]] = {}
        """Steps that a worker has begun, with their last progress."""

    def old_failures(self, *, retry_failed: bool) -> dict[str, Failure]:
        """Forget the failures that are tried again; return the others, whose steps would fail in the same way.

        A step is tried again, whatever happened to it, when one of its inputs is made anew.
        """
        kept = {}
        for kind, key in self.store.failures():
            if key not in self.steps or (record := self.store.failure(kind, key)) is None:
                continue
            fresh = any(needed.key in self.steps for needed in self.steps[key].inputs.values())
            if retry_failed or fresh or record.kind in TRIED_AGAIN:
                self.store.forget(kind, key)
            else:
                note = f"failed before: {record.message}"
                kept[key] = record.model_copy(update={"message": note, "hint": AGAIN})
        return kept

    def begin(self, key: str) -> None:
        """Record that a worker has begun the step, or that it ended before that was seen."""
        if key not in self.begun:
            self.begun[key] = 0, 0, ""
            self.tell(Event(self.steps[key], "start"))

    def made(self, key: str) -> None:
        """Record that the step is made."""
        self.begin(key)
        step = self.steps[key]
        self.outcome.made.append(step)
        self.tell(Event(step, "done", note="\n".join(self._warnings(step))))

    def _warnings(self, step: Step) -> list[str]:
        try:
            return list(map(str, self.store.manifest(step.kind, step.key).get("warnings", [])))
        except HarnessError:
            return []  # whoever reads the artifact refuses it

    def failed(self, key: str, record: Failure, dependants: Collection[str]) -> None:
        """Record that the step failed, and with it the steps that need it."""
        self.begin(key)
        self.outcome.failed[key] = record
        self.tell(Event(self.steps[key], "failed", note=record.message, dependants=tuple(dependants)))
        self.outcome.failed.update(dict.fromkeys(dependants, INPUT_FAILED))

    def look(self, keys: Collection[str], over: Mapping[str, int] | None = None) -> list[str]:
        """Report the progress of those of `keys` that are held; return those whose holders are silent for too long.

        `over`: numbers of tenures up to which a dead holder is an earlier worker's, not that of the one at work.
        """
        silent = []
        for kind, key in self.store.leased():
            if key not in keys:
                continue
            number, record = self.store.tenure(kind, key)
            if record is None or not record.held:
                continue
            gone = self.store.is_gone(kind, key)
            if gone and over is not None and number <= over[key]:
                continue
            self.begin(key)
            news = record.done, record.total, record.note
            if news != self.begun[key]:
                self.begun[key] = news
                self.tell(Event(self.steps[key], "progress", *news, first=record.first))
            if gone:
                silent.append(key)
        return silent
