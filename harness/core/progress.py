"""Long work reports its progress by a callback `report(done, total, note)`; the command line draws it.

The callback may raise `Stopped` when the work is to end early. Work that keeps a state saves it then and lets the
exception pass; other work needs no line for it.
"""

from collections.abc import Callable

Report = Callable[[int, int, str], None]


class Stopped(BaseException):
    """The step must stop now and go on later; this is no failure, so `except Exception` does not catch it."""


def silent(done: int, total: int, note: str = "") -> None:
    """Ignore the progress; the callback of callers who show none."""
