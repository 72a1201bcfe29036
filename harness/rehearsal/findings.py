"""A finding is one line of what a rehearsal prints."""

from dataclasses import dataclass
from typing import Literal

State = Literal["fine", "stand-in", "missing", "broken", "left out", "unknown"]
"""stand-in: not there, a random network was taken. unknown: not measured on this machine, which stops nothing."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """`about` is the kind of thing, `name` which one, `said` what was seen, `remedy` what to do if it stops a run."""

    about: str
    name: str
    state: State
    said: str
    remedy: str = ""

    @property
    def stops(self) -> bool:
        """Whether the plan can't run because of it."""
        return self.state in ("missing", "broken")
