"""Control arms are generators that paint nothing new.

`Identity` hands the real pixels back; with the parts focus, duplicate and copy_paste it tells the zoom, the mere
repetition and the new context apart from generated appearance. `Recolor` is classical colour augmentation in the mask.
"""

import numpy as np
from pydantic import Field

from harness.core.config import Strict
from harness.generators.base import Generator, Prompt


class IdentityOptions(Strict):
    """This generator has no options."""


class Identity(Generator[IdentityOptions]):
    """Returns every crop as it is."""

    Options = IdentityOptions

    def __init__(self, options: IdentityOptions, *, device: str) -> None:
        """Nothing to set up."""

    def edit(
        self, crops: list[np.ndarray], masks: list[np.ndarray], prompts: list[Prompt], seeds: list[int]
    ) -> list[np.ndarray]:
        """Return copies of the crops."""
        return [crop.copy() for crop in crops]


class RecolorOptions(Strict):
    """Largest shift up or down, as a share of the full range (hue: of the circle, and it wraps)."""

    hue: float = Field(default=0.5, ge=0, le=0.5)
    saturation: float = Field(default=0.4, ge=0, le=1)
    value: float = Field(default=0.25, ge=0, le=1)


class Recolor(Generator[RecolorOptions]):
    """Shifts hue, saturation and value of the masked pixels by one random step each; the prompt is ignored."""

    Options = RecolorOptions

    def __init__(self, options: RecolorOptions, *, device: str) -> None:
        """`device` plays no part."""
        self.limits = np.array([options.hue, options.saturation, options.value])

    def edit(
        self, crops: list[np.ndarray], masks: list[np.ndarray], prompts: list[Prompt], seeds: list[int]
    ) -> list[np.ndarray]:
        """Shift the masked pixels of each crop by a step drawn from its seed; all other pixels are untouched."""
        return [
            _shifted(crop, mask, np.random.default_rng(seed).uniform(-self.limits, self.limits))
            for crop, mask, seed in zip(crops, masks, seeds, strict=True)
        ]


def _shifted(crop: np.ndarray, mask: np.ndarray, step: np.ndarray) -> np.ndarray:
    """`crop` with `step` (shares of hue, saturation, value) added inside the mask, in HSV."""
    import cv2

    result = crop.copy()
    if mask.any():
        hsv = cv2.cvtColor((crop[mask][:, None] / 255).astype(np.float32), cv2.COLOR_RGB2HSV)  # hue in 0..360
        hsv[..., 0] = (hsv[..., 0] + 360 * step[0]) % 360
        hsv[..., 1:] = np.clip(hsv[..., 1:] + step[1:], 0, 1)
        result[mask] = np.rint(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[:, 0] * 255).astype(np.uint8)
    return result
