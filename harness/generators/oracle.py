"""The oracle paints what the prompt asks for without error; it works on frames of streets alone.

The program that drew the frame draws it again, with the chosen instance in the colour and figure that the prompt asks
for. What it gains is the most that any generator can gain in its place, and shows whether a table can see a gain.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.core.config import Strict
from harness.core.errors import HarnessError
from harness.data.base import Dataset, Frame
from harness.data.streets.adapter import Streets
from harness.generators.base import Generator, Place, Prompt

if TYPE_CHECKING:
    from harness.data.streets.street import StreetPlan


class OracleOptions(Strict):
    """This generator has no options."""


class _Scene(NamedTuple):
    frame: Frame
    plan: "StreetPlan"
    image: np.ndarray


class Oracle(Generator[OracleOptions]):
    """Paints by drawing the scene again; the mask plays no part, since paste cuts the silhouette out anyway."""

    Options = OracleOptions

    def __init__(self, options: OracleOptions, *, device: str) -> None:
        """`device` plays no part."""
        self._latest: _Scene | None = None

    @classmethod
    def unfit(cls, dataset: Dataset) -> str:
        """Return that only streets can be drawn again; empty for a data set of streets."""
        return "" if isinstance(dataset, Streets) else "can only paint frames that streets drew"

    def edit(
        self, crops: list[np.ndarray], masks: list[np.ndarray], prompts: list[Prompt], seeds: list[int]
    ) -> list[np.ndarray]:
        """Raise HarnessError: a crop alone does not say which scene it was cut from."""
        raise HarnessError(
            "the oracle can't paint a crop whose scene it does not know",
            hint="it takes part in syntheses from a data set of streets",
        )

    def edit_placed(
        self,
        crops: list[np.ndarray],
        masks: list[np.ndarray],
        prompts: list[Prompt],
        seeds: list[int],
        places: list[Place],
    ) -> list[np.ndarray]:
        """Return each crop with its part of the scene drawn anew, the instance painted as the prompt asks.

        HarnessError when the frame is of another data set, or is not what streets draws there.
        """
        rows = zip(crops, prompts, seeds, places, strict=True)
        return [self._painted(crop, prompt, seed, place) for crop, prompt, seed, place in rows]

    def _painted(self, crop: np.ndarray, prompt: Prompt, seed: int, place: Place) -> np.ndarray:
        from harness.data.streets.repaint import repainted
        from harness.data.streets.scene import draw_plan

        plan = repainted(self._scene(place).plan, place.instance, words=prompt.text.lower().split(), seed=seed)
        x0, y0, x1, y1 = place.square
        area = draw_plan(plan).image[y0:y1, x0:x1]
        result = crop.copy()
        result[: area.shape[0], : area.shape[1]] = area
        return result

    def _scene(self, place: Place) -> _Scene:
        """Return the scene of the frame as it was drawn; that of the latest frame is kept."""
        from harness.data.streets.scene import draw_plan

        if self._latest is None or self._latest.frame != place.frame:
            if not isinstance(place.dataset, Streets):
                raise HarnessError(
                    f"the oracle can't draw {place.frame.name} again: {place.dataset.part.label} is no data set of "
                    "streets",
                    hint="only what harness/data/streets drew can be drawn again",
                )
            plan = place.dataset.plan_of(place.frame)
            image = draw_plan(plan).image
            if not np.array_equal(image, place.frame.read_image()):
                raise HarnessError(
                    f"{place.frame.image}: not the scene that {place.dataset.part.label} draws there",
                    hint="another version of streets drew it, or somebody changed it: draw the data set again",
                )
            self._latest = _Scene(place.frame, plan, image)
        return self._latest
