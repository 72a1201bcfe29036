"""A painter runs a batch of a diffusion generator: it checks rows, encodes texts once, and halves a batch that is too
large for memory.

What is painted is the adapter's: diff_inpainting, blended, gligen, inpainting.
"""

import functools
import logging
from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, TypeVar

import numpy as np

from harness.core.environment import checked_device
from harness.core.errors import HarnessError
from harness.generators import diffusion
from harness.generators.base import Generator, Prompt
from harness.weights import checkpoints

_log = logging.getLogger(__name__)

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
        self._halving = Halving(self.name)
        self._load()

    @classmethod
    def parts_of(cls, options: OptionsT) -> tuple[str, ...]:
        """The components that a checkpoint is made of."""
        return diffusion.PARTS

    @classmethod
    def fingerprint(cls, options: OptionsT) -> str:
        """Return what the checkpoint adds to a content key; torch-free and quick."""
        return checkpoints.fingerprint(options.checkpoint, cls.parts_of(options), options.revision)

    @classmethod
    def needs(cls, options: OptionsT) -> tuple[checkpoints.Need, ...]:
        """The checkpoint with its fallbacks."""
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
    """HarnessError unless all four have one length and every mask has the size of its crop."""
    if not len(crops) == len(masks) == len(prompts) == len(seeds):
        counts = f"{len(crops)} crops, {len(masks)} masks, {len(prompts)} prompts, {len(seeds)} seeds"
        raise HarnessError(f"a batch needs as many of each: {counts}")
    for row, (crop, mask) in enumerate(zip(crops, masks, strict=True)):
        if crop.shape[:2] != mask.shape or crop.shape[0] != crop.shape[1]:
            found = f"crop {crop.shape[1]}x{crop.shape[0]}, mask {mask.shape[1]}x{mask.shape[0]}"
            raise HarnessError(f"row {row} ({prompts[row].text!r}): {found}; expected two squares of one size")


class Halving:
    """Runs batches, in halves once memory has run out, and says so. `paint(rows)` makes the images of those row
    numbers."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.most: int | None = None
        """Rows that went through after memory ran out; none as long as it never did."""

    def __call__(self, count: int, paint: Callable[[range], list[np.ndarray]]) -> list[np.ndarray]:
        """Images of rows 0..count-1 in order."""
        step = min(self.most or count, count)
        return [
            image
            for start in range(0, count, max(step, 1))
            for image in self._part(range(start, min(start + step, count)), paint)
        ]

    def _part(self, rows: range, paint: Callable[[range], list[np.ndarray]]) -> list[np.ndarray]:
        try:
            return paint(rows)
        except (RuntimeError, MemoryError) as error:
            if not _memory_ended(error):
                raise
            if len(rows) == 1:
                raise HarnessError(
                    f"generator {self.name!r}: memory ran out on a single crop",
                    hint="lower `size`, or precision, or free memory",
                ) from None
        _free_memory()
        self.most = len(rows) // 2
        _log.warning(
            "generator %s: memory ran out on %d crops, going on with %d at a time", self.name, len(rows), self.most
        )
        return self(len(rows), lambda part: paint(rows[part.start : part.stop]))


def _memory_ended(error: Exception) -> bool:
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _free_memory() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
