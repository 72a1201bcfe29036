"""A generator without a network: the masked pixels move towards the colour that the prompt names."""

import numpy as np
from pydantic import Field

from harness.core.config import Strict
from harness.generators.base import Generator, Prompt

COLOURS = {"red": (200, 30, 30), "green": (30, 140, 50), "white": (235, 235, 235), "black": (25, 25, 25)}


class TintOptions(Strict):
    """What a TOML may set under [options]."""

    strength: float = Field(default=0.6, ge=0, le=1)
    """Share of the new colour."""


class Tint(Generator[TintOptions]):
    """Mixes every masked pixel with one colour per crop; a prompt without a colour gets a random one."""

    Options = TintOptions

    def __init__(self, options: TintOptions, *, device: str) -> None:
        """`device` plays no part here; a network would move to it."""
        self.strength = options.strength

    def edit(
        self, crops: list[np.ndarray], masks: list[np.ndarray], prompts: list[Prompt], seeds: list[int]
    ) -> list[np.ndarray]:
        """Each crop (uint8 [S, S, 3]) with its masked pixels (bool [S, S]) tinted."""
        return [self._tinted(*item) for item in zip(crops, masks, prompts, seeds, strict=True)]

    def _tinted(self, crop: np.ndarray, mask: np.ndarray, prompt: Prompt, seed: int) -> np.ndarray:
        named = [COLOURS[word] for word in prompt.text.split() if word in COLOURS]
        colour = named[0] if named else np.random.default_rng(seed).integers(0, 256, 3)
        result = crop.copy()
        mixed = (1 - self.strength) * crop[mask] + self.strength * np.asarray(colour)
        result[mask] = np.rint(mixed).astype(np.uint8)
        return result
