"""What several commands share: arguments that are checked, and where text goes."""

import argparse
import sys
from typing import Any

WIDTH_OF_A_FILE = 200
FORMATS = ("console", "markdown", "csv", "json", "latex", "html")


def count(text: str) -> int:
    """A whole number of at least 1."""
    return _at_least(1, text)


def natural(text: str) -> int:
    """A whole number of at least 0."""
    return _at_least(0, text)


def _at_least(low: int, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if value < low:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least {low}, found {text!r}")
    return value


def console(*, stderr: bool = False) -> Any:
    """Where text goes: a terminal's width, or a fixed one in a file."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else WIDTH_OF_A_FILE)
