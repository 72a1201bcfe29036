"""A forecast says how much of a run is done and how long the rest takes.

A step counts by the minutes that the plan gives to its stage: with twenty evaluations left, a run is nearly done. Where
the plan knows none, a step counts by the mean of those that this run has made. Nothing here prints.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.planning.plan import Step
from harness.running.watch import Event

NAMED = 2
"""Running steps that a line names; of the others it gives the number."""


@dataclass
class _Running:
    """This holds a step that is being made. `kept`: the part of it that was there before this run."""

    step: Step
    since: float
    done: int = 0
    total: int = 0
    note: str = ""
    kept: float = 0.0

    @property
    def part(self) -> float:
        """Return how much of it is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else self.kept


class Forecast:
    """Receives the events of a run and estimates how long the rest takes.

    `steps`: those to be made; `minutes`: by stage, None where the plan knows nothing; `clock`: seconds.
    """

    def __init__(
        self,
        steps: Mapping[str, Step],
        minutes: Mapping[str, float | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.minutes, self.clock = minutes, clock
        self.began = clock()
        self.open = {key: step.kind for key, step in steps.items()}
        self.known = set(steps)
        self.running: dict[str, _Running] = {}
        self.failed: dict[str, dict[str, str]] = {}
        """By the reason, stage of each step that failed, or that needs one."""
        self.made: list[tuple[str, float]] = []
        """Stage of each step that was made, and the part of it that was there before this run."""
        self.lasted: dict[str, list[float]] = {}
        """By stage, minutes that the steps took which this run made from their beginning."""

    def hear(self, event: Event) -> None:
        """Take note of an event."""
        key, now = event.step.key, self.clock()
        if event.what == "set aside":  # it is made again, and so is what failed for this reason
            self.open |= {key: event.step.kind} | self.failed.pop(event.note, {})
            self.known.add(key)
        elif event.what == "start":
            self.running[key] = _Running(event.step, now)
        elif event.what == "progress":
            running = self.running[key]
            running.done, running.total, running.note = event.done, event.total, event.note
            if event.total:
                running.kept = min(event.first / event.total, running.part)
        else:
            running = self.running.pop(key)
            gone = {one: self.open.pop(one) for one in (key, *event.dependants) if one in self.open}
            if event.what == "failed":
                self.failed.setdefault(event.note, {}).update(gone)
            else:
                self.made.append((event.step.kind, running.kept))
                if not running.kept:
                    self.lasted.setdefault(event.step.kind, []).append((now - running.since) / 60)

    @property
    def total(self) -> int:
        """Return the number of steps."""
        return len(self.known)

    @property
    def ended(self) -> int:
        """Return the number of steps that were made, that failed, or that need one that failed."""
        return self.total - len(self.open)

    def share(self) -> float | None:
        """Return how much of the work is done, 0 to 1; None where nothing is known of a stage to come."""
        work = self._work()
        if work is None:
            return None
        kept, made, left = work
        whole = kept + made + left
        return (kept + made) / whole if whole else 1.0

    def left(self) -> float | None:
        """Return the seconds that the rest takes when it goes on as fast; None where that is not known yet."""
        work = self._work()
        if work is None or not work[1]:
            return None
        _, made, left = work
        return (self.clock() - self.began) * left / made

    def line(self) -> str:
        """Return one line that says where the run stands."""
        share, left = self.share(), self.left()
        parts = [f"{duration(self.clock() - self.began)}  {self.ended} of {self.total} steps"]
        parts += [f"{share:.0%} of the work"] if share is not None else []
        parts += [f"about {duration(left)} left"] if left is not None else []
        running = sorted(self.running.values(), key=lambda one: one.since)
        named = [_told(one) for one in running[:NAMED]]
        more = [f"{len(running) - NAMED} more"] if len(running) > NAMED else []
        return f"{', '.join(parts)}: {'; '.join(named + more) or 'nothing runs yet'}"

    def _work(self) -> tuple[float, float, float] | None:
        """Return the minutes of work that were there before this run, that it has done, and that are left."""
        kept = made = left = 0.0
        for kind, before in self.made:
            weight = self._weight(kind) or 0.0
            kept, made = kept + weight * before, made + weight * (1 - before)
        for key, kind in self.open.items():
            weight_of_open = self._weight(kind)
            if weight_of_open is None:
                return None
            running = self.running.get(key)
            part, before = (running.part, running.kept) if running else (0.0, 0.0)
            kept += weight_of_open * min(part, before)
            made += weight_of_open * max(0.0, part - before)
            left += weight_of_open * (1 - part)
        return kept, made, left

    def _weight(self, kind: str) -> float | None:
        if (known := self.minutes.get(kind)) is not None:
            return known
        lasted = self.lasted.get(kind)
        return sum(lasted) / len(lasted) if lasted else None


def duration(seconds: float) -> str:
    """Return minutes and seconds, with hours where there are any: 0:07, 12:30, 1:00:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _told(one: _Running) -> str:
    progress = f" {one.done} of {one.total}" if one.total else ""
    note = f", {one.note}" if one.note else ""
    return f"{one.step.kind} {one.step.label}{progress}{note}"
