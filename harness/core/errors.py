"""This module defines HarnessError, the one class of error that users see.

Anything a user can cause (a bad file, key, path, name) is raised as `HarnessError`; the command line prints it
without a traceback and exits with 2. Our own mistakes stay ordinary exceptions, so that they are noticed.
"""

import difflib
from collections.abc import Iterable

LISTED = 40
"""A hint names no more than so many; a data set has thousands of frames."""


class HarnessError(Exception):
    """The input is bad: `message` names file, key or cell and expected against found; `hint` says what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class NotBuiltError(HarnessError):
    """A row needs something that this version lacks: the row says so, and the others run."""


class UnknownNameError(HarnessError, KeyError):
    """A mapping has no such key; the error is a KeyError too, as mappings require."""


def near(name: str, known: Iterable[str]) -> str:
    """Return a hint for an unknown `name`: the nearest known names, or the first `LISTED` of all."""
    every = sorted(known)
    close = difflib.get_close_matches(name, every, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(repr(c) for c in close)}?"
    more = [f"and {len(every) - LISTED} more"] if len(every) > LISTED else []
    return f"known: {', '.join(every[:LISTED] + more) or 'none'}"
