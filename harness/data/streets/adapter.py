"""The adapter offers the drawn streets as a data set: it parses the part (configs/datasets) and writes the tree into
the store."""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from harness.core.progress import Report
from harness.data.base import DatasetPart, Frame
from harness.data.cityscapes import CITYSCAPES
from harness.data.labels import LabelSet
from harness.data.streets import STREETS_VERSION
from harness.data.streets.cities import frame_name
from harness.data.tree import Tree

if TYPE_CHECKING:
    from harness.data.streets.street import StreetPlan, Style


class StreetsPart(DatasetPart):
    """This holds what decides the scenes. `counts`: frames of each split; `size`: height and width in pixels."""

    seed: int = Field(default=0, ge=0)
    size: tuple[int, int] = (256, 512)
    counts: dict[Literal["train", "val"], int] = {}
    zoom: float = Field(default=1.0, gt=0, le=4)
    """Factor on the focal length: less street, larger."""
    featured: int = Field(default=0, ge=0, le=8)
    """Thing classes of which each frame shows one instance in good view, among thin traffic; 0: traffic as it comes."""
    least: float = Field(default=0.0, ge=0, lt=1)
    """Share of the frame's height: what would be less tall is left out, hidden or not."""
    familiar: float = Field(default=0.0, ge=0, le=1)
    """Share of the val split's bodies and colours that are those of the train split."""
    familiar_light: float = Field(default=0.0, ge=0, le=1)
    """The same of its lights."""


class Streets(Tree):
    """The data set of drawn streets: a tree with the labels of Cityscapes."""

    Part = StreetsPart
    found = False
    VERSION = STREETS_VERSION
    part: StreetsPart

    @property
    def labels(self) -> LabelSet:
        """The labels of Cityscapes; they are known before the tree is drawn."""
        return CITYSCAPES

    def names(self, split: str) -> list[str]:
        """Return the names of the frames of a split, which are known before the tree is drawn."""
        count = self.part.counts.get(split, 0)  # type: ignore[call-overload]  # of a split that it has not: none
        return [frame_name(split, index, count)[1] for index in range(count)]

    def plan_of(self, frame: Frame) -> "StreetPlan":
        """Return the scene that a frame of this data set was drawn from."""
        from harness.data.streets.layout import plan_scene
        from harness.data.streets.render_tree import frame_seed

        index = int(frame.name.split("_")[1])
        return plan_scene(frame_seed(self.part.seed, index), frame.split, self.part.size, style=self._style)

    @property
    def _style(self) -> "Style":
        from harness.data.streets.street import Style

        given = self.part.model_dump(include=set(Style.__dataclass_fields__))
        return Style(**given)

    def make(self, report: Report) -> dict[str, Any]:
        """Draw the scenes; facts: frames per split."""
        from harness.data.streets import render

        part = self.part
        render(
            self.root,
            seed=part.seed,
            counts={str(split): n for split, n in part.counts.items()},
            size=part.size,
            style=self._style,
            report=report,
        )
        return {"frames": part.counts}
