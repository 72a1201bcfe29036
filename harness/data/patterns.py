"""A pattern names the parts of file paths: `{source}_{variant}.png` says of each file which frame it belongs to.

Patterns are written by users in parts and on the command line. Not here: what is done with a file that was found.
"""

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from harness.core.errors import HarnessError, near

_LAST = r"[^\W_]++[^_/]*?"
"""The last part of a frame name: all letters and digits, and no more of what follows them than there must be."""

FIELDS: Mapping[str, str] = {
    "source": rf"[^_/]+_[^_/]+_{_LAST}",
    "city": r"[^_/]+",
    "sequence": r"[^_/]+",
    "frame": _LAST,
    "instance": r"[0-9]+",
    "variant": r"[^/]+?",
}
"""What may stand in braces, and what it matches. `source` is the name of a frame, <city>_<sequence>_<frame>; its three
parts may stand alone. `instance` is an id of a label map, `variant` tells files apart that have all else in common."""

PARTS: Mapping[str, str] = {name: r"[^/]+?" for name in ("city", "sequence", "frame")}
"""The same for the files of a data set of others, whose parts may hold underscores: their folders divide them."""

_PIECE = re.compile(r"\{([^{}]*)\}|(\*\*/)|(\*)")


def expression(pattern: str, known: Mapping[str, str] = FIELDS) -> re.Pattern[str]:
    """Return the regular expression of a pattern; ValueError for a field that there is not.

    `*` matches anything within a name, `**/` any folders or none. A field that stands twice means the same text.
    """
    found, place = "", 0
    seen: set[str] = set()
    for piece in _PIECE.finditer(pattern):
        found += re.escape(pattern[place : piece.start()])
        place = piece.end()
        name = piece[1]
        if name is None:
            found += "(?:[^/]+/)*" if piece[2] else "[^/]*"
        elif name not in known:
            raise ValueError(f"no field {{{name}}}: {near(name, known)}")
        else:
            found += f"(?P={name})" if name in seen else f"(?P<{name}>{known[name]})"
            seen.add(name)
    return re.compile(found + re.escape(pattern[place:]))


@lru_cache
def fields_of(pattern: str) -> frozenset[str]:
    """Return the fields that a pattern has."""
    return frozenset(expression(pattern).groupindex)


def _checked(pattern: str, known: Mapping[str, str] = FIELDS) -> str:
    if pattern:
        expression(pattern, known)
        if pattern.startswith("/") or ".." in pattern.split("/"):
            raise ValueError("expected a path below the folder")
    return pattern


PathPattern = Annotated[str, AfterValidator(_checked)]
"""A field of a part that holds a pattern; empty: none."""

PartsPattern = Annotated[str, AfterValidator(lambda pattern: _checked(pattern, PARTS))]
"""The same of the files of a data set of others."""


def fields_in(pattern: str) -> frozenset[str]:
    """Return the fields that a pattern of the files of a data set of others has."""
    return frozenset(expression(pattern, PARTS).groupindex)


def source_of(fields: Mapping[str, str]) -> str:
    """Return the frame name that the fields of a file say; empty where they say none."""
    if "source" in fields:
        return fields["source"]
    parts = [fields.get(name, "") for name in ("city", "sequence", "frame")]
    return "_".join(parts) if all(parts) else ""


def tells_source(pattern: str) -> bool:
    """Return whether the files of a pattern say which frame they belong to."""
    fields = fields_of(pattern)
    return "source" in fields or {"city", "sequence", "frame"} <= fields


def matches(folder: Path, pattern: str, known: Mapping[str, str] = FIELDS) -> dict[Path, dict[str, str]]:
    """Return the files below `folder` that a pattern matches, in the order of their names, with the fields of each.

    HarnessError when the folder is not there, or no file matches.
    """
    if not folder.is_dir():
        raise HarnessError(f"{folder}: no such folder")
    wanted = expression(pattern, known)
    every = files_below(folder)
    found = {folder / name: hit.groupdict() for name in every if (hit := wanted.fullmatch(name))}
    if not found:
        seen = f"it holds {len(every)} files, such as {every[0]}" if every else "it holds no file"
        raise HarnessError(f"{folder}: no file is of the pattern {pattern!r}: {seen}")
    return found


def files_below(folder: Path) -> list[str]:
    """Return the files below a folder but hidden ones, sorted, as paths relative to it with slashes."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name).relative_to(folder).as_posix() for name in files if not name.startswith(".")]
    return sorted(found)
