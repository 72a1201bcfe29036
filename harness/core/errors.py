"""Users see one class of error.

Anything a user can cause (a bad file, key, path, name) is raised as `HarnessError`; the command line prints it
without a traceback and exits with 2. Our own mistakes stay ordinary exceptions, so that they are noticed.
"""

import difflib
from collections.abc import Iterable


class HarnessError(Exception):
    """Bad input: `message` names file, key or cell and expected against found; `hint` says what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class NotBuiltError(HarnessError):
    """Something a row needs is not in this version: the row says so, and the others run."""


def near(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown `name`: the nearest known names, or all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(repr(c) for c in close)}?"
    return f"known: {', '.join(known) or 'none'}"
