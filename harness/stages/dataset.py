"""Stage dataset: the street scenes as a Cityscapes tree. (Cityscapes itself is not made but found: see
`fingerprint`.)"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from harness.config import Strict
from harness.data.cityscapes import frames
from harness.data.streets import STREETS_VERSION
from harness.progress import Report

VERSION = STREETS_VERSION


class DatasetSpec(Strict):
    """A part of configs/datasets. `counts`: frames per split; `size`: height and width. Both only for streets."""

    NOT_IN_KEY: ClassVar = {"label": True}

    label: str
    adapter: Literal["streets", "cityscapes"]
    seed: int = Field(default=0, ge=0)
    size: tuple[int, int] = (256, 512)
    counts: dict[Literal["train", "val"], int] = {}


def run(spec: DatasetSpec, inputs: Mapping[str, Path], out: Path, report: Report) -> dict[str, Any]:
    """Draw the scenes of `spec` into `out`; facts: frames per split."""
    from harness.data.streets import render

    render(out, seed=spec.seed, counts=spec.counts, size=spec.size, report=report)
    return {"frames": spec.counts}


def fingerprint(root: Path) -> str:
    """What identifies a tree found on disk: names and sizes of the images and labels of train and val."""
    digest = hashlib.sha256()
    for split in ("train", "val"):
        for frame in frames(root, split):
            for path in (frame.image, frame.instance_ids, frame.label_ids):
                digest.update(f"{path.relative_to(root)}\0{path.stat().st_size}\n".encode())
    return digest.hexdigest()
