"""This module completes names on the command line, where argcomplete is installed and the shell asks for it.

The shell learns of it by `eval "$(register-python-argcomplete harness)"`. Nothing here is imported otherwise.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from typing import Any

KINDS = {
    "suite": "suites",
    "profile": "profiles",
    "generator": "generators",
    "segmenter": "segmenters",
    "recipe": "recipes",
    "data": "datasets",
}
"""Argument to the kind of parts whose names it takes."""

LISTS = ("added", "only", "without")
"""Arguments that take names with commas between them."""


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell and end the process, if it is the shell that asks."""
    import argcomplete

    for one in _parsers(parser):
        for action in one._actions:
            completer = _completer(action.dest)
            if completer and not action.choices:
                action.completer = completer  # type: ignore[attr-defined]  # where argcomplete looks for it
    argcomplete.autocomplete(parser, always_complete_options=False)


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from _parsers(one)


def _completer(name: str) -> Callable[..., Iterable[str]] | None:
    from harness.planning.suite import names

    if name in KINDS:
        return lambda **_: names(KINDS[name])
    if name in LISTS:
        return _of_list
    if name == "set":
        return lambda **_: [
            f"{kind}.{one}." for kind in ("generators", "segmenters", "recipes", "datasets") for one in names(kind)
        ]
    return None


def _of_list(prefix: str, **_: Any) -> list[str]:
    """Return names after the last comma of what stands there already."""
    from harness.planning.suite import names

    begun, comma, _rest = prefix.rpartition(",")
    taken = begun.split(",")
    known = [name for kind in ("generators", "segmenters", "recipes") for name in names(kind)]
    return [f"{begun}{comma}{name}" for name in known if name not in taken]
