"""How long work says where it is: a callback `report(done, total, note)`; the command line draws it."""

from collections.abc import Callable

Report = Callable[[int, int, str], None]


def silent(done: int, total: int, note: str = "") -> None:
    """A `Report` for callers who don't look."""
