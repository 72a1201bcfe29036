"""This module writes as BibTeX what a result stands on: the harness, the method, the data, and the parts and metrics of
a suite.

The entries are in references.bib; their field `used` names the parts that each is about, and is not printed.
"""

import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from harness.planning.plan import NONE, Plan

FILE = Path(__file__).with_name("references.bib")
EVERYTHING = "everything"

_ENTRY = re.compile(r"^@\w+\{([^,]+),\n.*?^\}$", re.MULTILINE | re.DOTALL)
_USED = re.compile(r"^  used = \{(.*)\},\n", re.MULTILINE)


class Reference(NamedTuple):
    """An entry: its key, its BibTeX, and the parts that it is about."""

    key: str
    text: str
    used: frozenset[str]


class Cited(NamedTuple):
    """This holds what is to be cited, and the parts of which no entry is known."""

    references: list[Reference]
    unknown: list[str]


def references() -> list[Reference]:
    """Return every entry."""
    found = []
    for entry in _ENTRY.finditer(FILE.read_text(encoding="utf-8")):
        used = _USED.search(entry[0])
        found.append(Reference(entry[1], _USED.sub("", entry[0]), frozenset(used[1].split() if used else ())))
    return found


def cited(plan: Plan | None = None) -> Cited:
    """Return the entries of a suite's parts, or all of them."""
    every = references()
    if plan is None:
        return Cited(every, [])
    parts = _parts(plan)
    known = {part for one in every for part in one.used}
    return Cited(
        [one for one in every if one.used & {EVERYTHING, *parts}],
        [part for part in sorted(parts) if part not in known and not part.startswith(("kinds/", "mixes/"))],
    )


def _parts(plan: Plan) -> Collection[str]:
    found = {f"datasets/{plan.profile.dataset}", f"kinds/{plan.suite.kind}"}
    for row in plan.rows:
        if row.generator.adapter != NONE:
            found.add(f"generators/{row.arm.generator}")
        if row.arm.segmenter:
            found.add(f"segmenters/{row.arm.segmenter}")
        if row.arm.mix.kind != "concat":
            found.add(f"mixes/{row.arm.mix.kind}")
    return found
