"""Stage dataset: the street scenes as a Cityscapes tree. (Cityscapes itself is not made but found: see
`fingerprint`.)"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from harness.core.config import Specification
from harness.core.progress import Report
from harness.data.cityscapes import frames
from harness.data.streets import STREETS_VERSION

VERSION = STREETS_VERSION


class DatasetSpec(Specification):
    """A part of configs/datasets. `counts`: frames per split; `size`: height and width. Both only for streets."""

    NOT_IN_KEY: ClassVar[dict[str, Any]] = {"label": True}

    label: str
    adapter: Literal["streets", "cityscapes"]
    seed: int = Field(default=0, ge=0)
    size: tuple[int, int] = (256, 512)
    counts: dict[Literal["train", "val"], int] = {}
    zoom: float = Field(default=1.0, gt=0, le=4)
    """Factor on the focal length: less street, larger."""
    featured: int = Field(default=0, ge=0, le=8)
    """Thing classes of which each frame shows one instance in good view, among thin traffic; 0: traffic as it comes."""
    familiar: float = Field(default=0.0, ge=0, le=1)
    """Share of the val split's lights, bodies and colours that are those of the train split."""


def run(spec: DatasetSpec, inputs: Mapping[str, Path], out: Path, report: Report) -> dict[str, Any]:
    """Draw the scenes of `spec` into `out`; facts: frames per split."""
    from harness.data.streets import render
    from harness.data.streets.street import Style

    style = Style(zoom=spec.zoom, featured=spec.featured, familiar=spec.familiar)
    render(out, seed=spec.seed, counts=spec.counts, size=spec.size, style=style, report=report)
    return {"frames": spec.counts}


def fingerprint(root: Path) -> str:
    """What identifies a tree found on disk: names and sizes of the images and labels of train and val."""
    digest = hashlib.sha256()
    for split in ("train", "val"):
        for frame in frames(root, split):
            for path in (frame.image, frame.instance_ids, frame.label_ids):
                digest.update(f"{path.relative_to(root)}\0{path.stat().st_size}\n".encode())
    return digest.hexdigest()
