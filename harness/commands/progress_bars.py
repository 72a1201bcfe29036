"""The progress view prints one line per finished step and draws a bar per running step and one for the run.

Without a terminal only the lines are printed, so that a log stays readable.
"""

import time
from contextlib import AbstractContextManager
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from harness.core.progress import Report
from harness.running.scheduler import Event


class RunView(AbstractContextManager["RunView"]):
    """Hears the events of a run and draws them."""

    def __init__(self, console: Console, total: int) -> None:
        self.console = console
        self.progress = _bars(console)
        self.whole = self.progress.add_task("[bold]all steps", total=total)
        self.tasks: dict[str, tuple[TaskID, float]] = {}

    def __enter__(self) -> "RunView":
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def __call__(self, event: Event) -> None:
        """Draw one event."""
        step = event.step
        name = f"{step.kind} {escape(step.label)}"
        if event.what == "start":
            self.tasks[step.key] = self.progress.add_task(name, total=None), time.monotonic()
            return
        task, started = self.tasks[step.key]
        if event.what == "progress":
            description = f"{name} [dim]{escape(event.note)}" if event.note else name
            self.progress.update(task, completed=event.done, total=event.total or None, description=description)
            return
        self.progress.remove_task(task)
        self.progress.advance(self.whole)
        seconds = f"{time.monotonic() - started:6.1f} s"
        if event.what == "done":
            self.console.print(f"[green]done  [/] {seconds}  {name}", highlight=False, markup=True)
        else:
            self.console.print(
                f"[red]failed[/] {seconds}  {name}: {escape(event.note)}", highlight=False, soft_wrap=True, markup=True
            )


class Bar(AbstractContextManager[Report]):
    """One progress bar for one piece of work: `with Bar(console, "evaluate") as report: ...`."""

    def __init__(self, console: Console, name: str) -> None:
        self.progress = _bars(console)
        self.name = name

    def __enter__(self) -> Report:
        self.progress.start()
        task = self.progress.add_task(escape(self.name), total=None)

        def report(done: int, total: int, note: str = "") -> None:
            self.progress.update(
                task, completed=done, total=total or None, description=f"{escape(self.name)} [dim]{escape(note)}"
            )

        return report

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
