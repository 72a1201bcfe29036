"""A painter runs a batch of a diffusion generator: it checks rows, encodes texts once, and lets a batch that is too
large for memory be halved.

What is painted is the adapter's: diff_inpainting, blended, gligen, inpainting.
"""

import functools
from abc import abstractmethod
from typing import ClassVar, TypeVar

import numpy as np

from harness.core.environment import checked_device
from harness.core.errors import HarnessError
from harness.core.shortage import Halving
from harness.generators import diffusion
from harness.generators.base import Generator, Prompt
from harness.weights import checkpoints

remembered = functools.lru_cache(256)
"""Keeps what was found for the last 256 texts; the paper has 20 in all."""


OptionsT = TypeVar("OptionsT", bound=diffusion.CheckpointOptions)


class Painter(Generator[OptionsT]):
    """This holds what all adapters over diffusers do alike. A subclass sets `name` and `Options`, loads its model in
    `_load` and paints rows that fit together in `_paint`."""

    name: ClassVar[str]

    def __init__(self, options: OptionsT, *, device: str) -> None:
        """HarnessError for a device that isn't there, and for all that `_load` refuses."""
        self.options, self.device = options, checked_device(device)
        self._halving: Halving[np.ndarray] = Halving(
            f"generator {self.name!r}", "crops", hint="lower `size`, or precision, or free memory"
        )
        self._load()

    @classmethod
    def parts_of(cls, options: OptionsT) -> tuple[str, ...]:
        """Return the components that a checkpoint is made of."""
        return diffusion.PARTS

    @classmethod
    def fingerprint(cls, options: OptionsT) -> str:
        """Return what the checkpoint adds to a content key; torch-free and quick."""
        return checkpoints.fingerprint(options.checkpoint, cls.parts_of(options), options.revision)

    @classmethod
    def needs(cls, options: OptionsT) -> tuple[checkpoints.Need, ...]:
        """Return the checkpoint with its fallbacks."""
        names = (options.checkpoint, *getattr(options, "fallbacks", ()))
        return (checkpoints.Need(names=names, revision=options.revision),)

    def edit(
        self, crops: list[np.ndarray], masks: list[np.ndarray], prompts: list[Prompt], seeds: list[int]
    ) -> list[np.ndarray]:
        """Repaint each crop inside its mask (see `Generator.edit`); results have the side `size` of the options."""
        check_rows(crops, masks, prompts, seeds)

        def paint(rows: range) -> list[np.ndarray]:
            part = slice(rows.start, rows.stop)
            return self._paint(crops[part], masks[part], prompts[part], seeds[part])

        return self._halving(len(crops), paint)

    @abstractmethod
    def _load(self) -> None:
        """Make the model of the options ready on the device."""

    @abstractmethod
    def _paint(
        self, crops: list[np.ndarray], masks: list[np.ndarray], prompts: list[Prompt], seeds: list[int]
    ) -> list[np.ndarray]:
        """`edit` for as many rows as fit into memory."""


def check_rows(crops: list[np.ndarray], masks: list[np.ndarray], prompts: list[Prompt], seeds: list[int]) -> None:
    """Raise HarnessError unless all four have one length and every mask has the size of its crop."""
    if not len(crops) == len(masks) == len(prompts) == len(seeds):
        counts = f"{len(crops)} crops, {len(masks)} masks, {len(prompts)} prompts, {len(seeds)} seeds"
        raise HarnessError(f"a batch needs as many of each: {counts}")
    for row, (crop, mask) in enumerate(zip(crops, masks, strict=True)):
        if crop.shape[:2] != mask.shape or crop.shape[0] != crop.shape[1]:
            found = f"crop {crop.shape[1]}x{crop.shape[0]}, mask {mask.shape[1]}x{mask.shape[0]}"
            raise HarnessError(f"row {row} ({prompts[row].text!r}): {found}; expected two squares of one size")
