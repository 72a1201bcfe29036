"""The work list of a synthesis: frame by frame, instance by instance, variant by variant.

Everything about an item that can be known before a generator runs is decided here, from the seed and the item's name
alone. Not here: batches, resume, files.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.core.errors import HarnessError
from harness.core.seeds import derive
from harness.data.base import Frame
from harness.data.labels import LabelSet
from harness.generators.base import Prompt
from harness.synthesis.prompts import draw_prompt
from harness.synthesis.recipe import Recipe
from harness.synthesis.select import Box, Instance, cut, cut_mask, select, square_round


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A frame in memory: image uint8 [H, W, 3], ids int32 [H, W]."""

    frame: Frame
    image: np.ndarray
    ids: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Item:
    """One image to be made: `fault` says why it can't be, and is empty otherwise."""

    picture: Picture
    instance: Instance
    variant: int
    seed: int
    prompt: Prompt | None
    square: Box
    real: np.ndarray
    mask: np.ndarray
    fault: str

    @property
    def name(self) -> str:
        """Frame name of the result: three parts, as Cityscapes' own scripts demand."""
        city, sequence, number = self.picture.frame.name.split("_")
        return f"{city}-{self.instance.id}-{self.variant}_{sequence}_{number}"

    @property
    def key(self) -> tuple[str, int, int]:
        """What the draws made for this item depend on, beside the seed."""
        return self.picture.frame.name, self.instance.id, self.variant


def load(frame: Frame) -> Picture:
    """The frame's image and ids; HarnessError when they can't be read or differ in size."""
    image, ids = frame.read_image(), frame.read_ids().astype(np.int32)
    if image.shape[:2] != ids.shape:
        raise HarnessError(f"{frame.instance_ids}: {_size(ids)} pixels, and its image has {_size(image)}")
    return Picture(frame=frame, image=image, ids=ids)


def items_of(
    picture: Picture, labels: LabelSet, *, recipe: Recipe, seed: int, top_k: int, variants: int
) -> Iterator[Item]:
    """The items of one frame: its largest instances, largest first, each `variants` times with the same prompt."""
    frame = picture.frame.name
    for instance in select(picture.ids, labels, top_k=top_k, candidates=recipe.candidates):
        square = square_round(instance.box, picture.ids.shape, recipe.border)
        mask = cut_mask(picture.ids, instance.id, square, recipe.mask_bits)
        real = cut(picture.image, square, recipe.border)
        prompt = draw_prompt(
            instance.label,
            phrases=recipe.prompts,
            template=recipe.template,
            seed=seed,
            frame=frame,
            instance=instance.id,
        )
        fault = "" if mask.any() or recipe.empty_mask == "paint" else "empty mask"
        if prompt is None:
            fault = f"the recipe has no prompts for class {instance.label.name!r}"
        for variant in range(variants):
            yield Item(
                picture=picture,
                instance=instance,
                variant=variant,
                seed=derive(seed, "edit", frame, instance.id, variant),
                prompt=prompt,
                square=square,
                real=real,
                mask=mask,
                fault=fault,
            )


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"
