"""Steps for tests of the engine: streets are drawn, frame by frame, and nothing is trained."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from harness.core.store import Store
from harness.data.streets.adapter import StreetsPart
from harness.planning.plan import Step, make_step

COUNT = 200
"""Frames of a drawing: it takes some seconds, longer than what passes between two reports of progress."""


class Steps:
    """The part of a plan that the runner sees."""

    def __init__(self, *steps: Step) -> None:
        self.steps = steps

    def missing(self, store: Store) -> dict[str, Step]:
        return {step.key: step for step in self.steps if not store.has(step.kind, step.key)}


def drawing(count: int = COUNT, seed: int = 5, after: Iterable[Step] = ()) -> Step:
    """So many frames; `after`: steps that must be made before, which decide nothing else."""
    spec = StreetsPart(label="s", adapter="streets", seed=seed, size=(64, 128), counts={"train": count})
    return make_step("dataset", f"streets {count}", spec, {f"input {k}": step for k, step in enumerate(after)})


def fingerprint(folder: Path) -> str:
    """A hash of all files but those that say when and where they were made."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json"):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def fingerprints(steps: Iterable[Step], store: Store) -> list[str]:
    """Those of the artifacts of these steps."""
    return [fingerprint(store.path(step.kind, step.key)) for step in steps]


def grid(count: int = 60) -> list[Step]:
    """Four drawings, and four more that need two of them each."""
    roots = [drawing(count, seed) for seed in range(4)]
    return roots + [drawing(count, 10 + seed, after=(roots[seed], roots[(seed + 1) % 4])) for seed in range(4)]
