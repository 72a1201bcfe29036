"""A training order says which tiny checkpoint is trained, for how long, on what, and where the result goes."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import HarnessError
from harness.weights import TINY


@dataclass(frozen=True, kw_only=True)
class TrainingOrder:
    """One training to be done."""

    part: str
    minutes: float
    steps: int | None
    device: str
    seed: int
    crops: int
    scale: int
    before: Path | None
    workers: int
    out: Path


def need(out: Path, name: str) -> Path:
    """Return the folder of a part that another one builds on: in `out`, else a copy of the shipped one."""
    folder = out / name
    if not folder.is_dir():
        if not (TINY / name).is_dir():
            raise HarnessError(f"{out} has no {name}, and none is shipped", hint="train it first, or `everything`")
        shutil.copytree(TINY / name, folder)
    return folder
