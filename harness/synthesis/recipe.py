"""A recipe holds every choice on which the paper, the released scripts and common sense differ, as one field each.

`configs/recipes/corrected.toml` is the paper's algorithm done right, `released.toml` what the authors' scripts do, bug
for bug. No code asks which of the two it is; it asks for a field. Not here: what both share (select.py, integrate.py).
"""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from harness.core.config import Grown
from harness.core.errors import HarnessError, near
from harness.data.labels import LabelSet
from harness.synthesis.filters import Filters
from harness.synthesis.prompts import PROMPTS
from harness.synthesis.quality import Quality

Filter = Literal["nearest", "area", "bilinear", "bicubic", "lanczos"]


class Recipe(Grown):
    """This says how instances are selected, cropped, prompted, pasted and focused."""

    LATER = frozenset({"empty_mask", "side_rounding", "least_visible", "least_vertices"})

    label: str

    candidates: Literal["evaluated", "instances"]
    """Phase 1: instances of the eight evaluated classes; or of all classes with instances, caravan and trailer too."""
    border: Literal["shift", "pad"]
    """Where a square crosses the frame's border: moved inside it; or only its low side moved and the rest black."""
    mask_bits: Literal[8, 16]
    """Width of the integer in which the id mask is tested against 0; in 8 bits multiples of 256 (32000) vanish."""
    empty_mask: Literal["skip", "paint"] = "skip"
    """An instance whose mask has vanished: it makes nothing; or it is painted like any other, which changes no pixel of
    the frame, so that its training image is a focused crop of the real one."""

    template: str = "a photo of {}"
    """Phase 2: the sentence round one of the class's phrases."""
    prompts: dict[str, list[str]] = Field(default_factory=lambda: {name: list(PROMPTS[name]) for name in PROMPTS})
    """The phrases of each class, by class name; one is drawn per instance. A class without any is skipped."""

    paste_filter: Filter
    """Phase 3: how the generated square is resized to the side of the crop."""
    colour: Literal["none", "darken", "match"]
    """The generated square before the paste: as it is; darkened by its mean distance to the real crop outside the mask,
    then the absolute value taken; or each channel shifted so that its mean outside the mask is the real crop's."""
    zoom_mean: float = Field(default=3.0, gt=0)
    zoom_std: float = Field(default=1.0, ge=0)
    """lambda ~ N(mean, std), at least 1, drawn again until the window fits the frame. So that even an object as large
    as the frame finds its window, 1 has to be within three standard deviations below the mean."""
    zoom_rounding: Literal["none", "up"]
    """lambda as drawn, or rounded up to a whole number."""
    side_rounding: Literal["nearest", "up"] = "nearest"
    """The window's height in whole pixels: rounded; or rounded up, and S counted of a box with whole sides, too."""
    least_visible: int = Field(default=0, ge=0)
    """A window is drawn again while it shows an instance by fewer pixels than this, counted at the frame's size."""
    focus_filter: Filter = "lanczos"
    """How the image in the window is resized to the frame's size; labels always take the nearest pixel."""
    least_vertices: int = Field(default=0, ge=0)
    """An instance of the result whose outlines have fewer corners than this is erased: its pixels become unlabelled."""
    annotation: Literal["ids", "polygons"]
    """What segmenters that are taught by polygons see: the instance ids, as all others do; or each instance redrawn as
    one filled outline, in the order of ids."""

    quality: Quality = Quality()
    """Thresholds on plain pixel change; none by default."""
    filters: Filters = Filters()
    """Thresholds that need a network, or SSIM; none by default."""

    @field_validator("template")
    @classmethod
    def _has_one_place(cls, template: str) -> str:
        if template.count("{}") != 1:
            raise ValueError("expected a sentence with one {} for the phrase")
        return template

    @model_validator(mode="after")
    def _ends(self) -> "Recipe":
        if self.zoom_mean > 1 + 3 * self.zoom_std:
            raise ValueError(f"zoom_mean: expected at most 1 + 3 zoom_std = {1 + 3 * self.zoom_std}")
        return self

    def check(self, labels: LabelSet) -> None:
        """Raise HarnessError for phrases of a class that `labels` has not, or that has no instances.

        The phrases that stand here when a recipe names none are those for Cityscapes; other data sets may lack a class.
        """
        things = [label.name for label in labels.labels if label.is_thing]
        for name, phrases in self.prompts.items():
            if name not in things and list(PROMPTS.get(name, ())) != phrases:
                raise HarnessError(
                    f"recipe {self.label!r}, prompts: {labels.name} has no class {name!r} with instances",
                    hint=near(name, things),
                )
