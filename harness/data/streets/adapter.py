"""streets as a data set: what a part of configs/datasets says of it, and how it gets into the store."""

from typing import Any, Literal

from pydantic import Field

from harness.core.progress import Report
from harness.data.base import DatasetPart
from harness.data.cityscapes import CITYSCAPES
from harness.data.labels import LabelSet
from harness.data.streets import STREETS_VERSION
from harness.data.tree import Tree


class StreetsPart(DatasetPart):
    """What decides the scenes. `counts`: frames of each split; `size`: height and width in pixels."""

    seed: int = Field(default=0, ge=0)
    size: tuple[int, int] = (256, 512)
    counts: dict[Literal["train", "val"], int] = {}
    zoom: float = Field(default=1.0, gt=0, le=4)
    """Factor on the focal length: less street, larger."""
    featured: int = Field(default=0, ge=0, le=8)
    """Thing classes of which each frame shows one instance in good view, among thin traffic; 0: traffic as it comes."""
    familiar: float = Field(default=0.0, ge=0, le=1)
    """Share of the val split's lights, bodies and colours that are those of the train split."""


class Streets(Tree):
    """A drawn tree with the labels of Cityscapes."""

    Part = StreetsPart
    found = False
    VERSION = STREETS_VERSION
    part: StreetsPart

    @property
    def labels(self) -> LabelSet:
        """Known before the tree is drawn."""
        return CITYSCAPES

    def make(self, report: Report) -> dict[str, Any]:
        """Draw the scenes; facts: frames per split."""
        from harness.data.streets import render
        from harness.data.streets.street import Style

        part = self.part
        style = Style(zoom=part.zoom, featured=part.featured, familiar=part.familiar)
        render(self.root, seed=part.seed, counts=part.counts, size=part.size, style=style, report=report)
        return {"frames": part.counts}
