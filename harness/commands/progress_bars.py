"""The progress view prints one line per finished step. On a terminal it draws a bar per running step and one for the
run; anywhere else it prints a line every half minute, so that a log tells where the work is and stays readable.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from harness.core.progress import Report
from harness.running.forecast import Forecast, duration
from harness.running.scheduler import Event

PAUSE = 30.0
"""Seconds between two lines where there is no terminal."""


class Lines(AbstractContextManager["Lines"]):
    """Prints what `line()` says, every half minute."""

    def __init__(self, console: Console, line: Callable[[], str]) -> None:
        self.console, self.line = console, line
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._print, daemon=True)

    def __enter__(self) -> "Lines":
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()
        self.thread.join()

    def _print(self) -> None:
        while not self.ended.wait(PAUSE):
            with contextlib.suppress(OSError, ValueError):  # nobody reads it: the work goes on
                self.console.print(self.line(), soft_wrap=True, markup=False)


class RunView(AbstractContextManager["RunView"]):
    """Receives the events of a run and draws its progress."""

    def __init__(self, console: Console, forecast: Forecast) -> None:
        self.console, self.forecast = console, forecast
        self.lock = threading.Lock()
        self.progress = _bars(console)
        self.whole = self.progress.add_task("[bold]all steps", total=1.0, count=self._count, left=self._left)
        self.lines = None if console.is_terminal else Lines(console, self._line)
        self.tasks: dict[str, tuple[TaskID, float]] = {}

    def __enter__(self) -> "RunView":
        self.progress.start()
        if self.lines:
            self.lines.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.lines:
            self.lines.__exit__(kind, error, trace)
        self.progress.stop()

    def __call__(self, event: Event) -> None:
        """Draw one event."""
        with self.lock:
            self.forecast.hear(event)
            done = self.forecast.share()
            if done is None:
                done = self.forecast.ended / self.forecast.total
        self.progress.update(self.whole, completed=done)
        step = event.step
        name = f"{step.kind} {escape(step.label)}"
        if event.what == "set aside":
            self.console.print(f"set aside  {name}: {escape(event.note)}", highlight=False, soft_wrap=True, markup=True)
            return
        if event.what == "start":
            self.tasks[step.key] = self.progress.add_task(name, total=None), time.monotonic()
            return
        task, started = self.tasks[step.key]
        if event.what == "progress":
            description = f"{name} [dim]{escape(event.note)}" if event.note else name
            self.progress.update(task, completed=event.done, total=event.total or None, description=description)
            return
        self.progress.remove_task(task)
        seconds = f"{time.monotonic() - started:6.1f} s"
        if event.what == "done":
            self.console.print(f"[green]done  [/] {seconds}  {name}", highlight=False, soft_wrap=True, markup=True)
            for warning in event.note.splitlines():
                self.console.print(f"  {warning}", highlight=False, soft_wrap=True, markup=False)
        else:
            self.console.print(
                f"[red]failed[/] {seconds}  {name}: {escape(event.note)}", highlight=False, soft_wrap=True, markup=True
            )

    def _line(self) -> str:
        with self.lock:
            return self.forecast.line()

    def _count(self) -> str:
        return f"{self.forecast.ended}/{self.forecast.total}"

    def _left(self) -> float | None:
        with self.lock:
            return self.forecast.left()


class Bar(AbstractContextManager[Report]):
    """One progress bar for one piece of work: `with Bar(console, "evaluate") as report: ...`."""

    def __init__(self, console: Console, name: str) -> None:
        self.progress = _bars(console)
        self.name = name
        self.lines = None if console.is_terminal else Lines(console, self._line)
        self.began = time.monotonic()
        self.news = (0, 0, "")

    def __enter__(self) -> Report:
        self.began = time.monotonic()
        self.progress.start()
        if self.lines:
            self.lines.__enter__()
        task = self.progress.add_task(escape(self.name), total=None)

        def report(done: int, total: int, note: str = "") -> None:
            self.news = done, total, note
            self.progress.update(
                task, completed=done, total=total or None, description=f"{escape(self.name)} [dim]{escape(note)}"
            )

        return report

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.lines:
            self.lines.__exit__(kind, error, trace)
        self.progress.stop()

    def _line(self) -> str:
        seconds = time.monotonic() - self.began
        done, total, note = self.news
        parts = [f"{duration(seconds)}  {self.name}" + (f" {done} of {total}" if total else "")]
        parts += [f"about {duration(seconds * (total - done) / done)} left"] if 0 < done <= total else []
        return ", ".join([*parts, *([note] if note else [])])


class _Count(ProgressColumn):
    """How many of how many."""

    def render(self, task: Task) -> Text:
        if "count" in task.fields:
            return Text(task.fields["count"]())
        return Text(f"{task.completed:.0f}/{task.total:.0f}" if task.total is not None else "")


class _Left(ProgressColumn):
    """Time since the beginning, and how long the rest takes: by a task's own speed unless it knows better."""

    def render(self, task: Task) -> Text:
        left = task.fields["left"]() if "left" in task.fields else task.time_remaining
        text = duration(task.elapsed or 0.0)
        return Text(text if left is None else f"{text}, {duration(left)} left")


def _bars(console: Console) -> Progress:
    # The name gives way where a terminal is narrow; numbers do not.
    return Progress(
        TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        BarColumn(bar_width=16),
        _Count(table_column=Column(no_wrap=True)),
        _Left(table_column=Column(no_wrap=True)),
        console=console,
        transient=True,
        expand=True,
        disable=not console.is_terminal,
    )
