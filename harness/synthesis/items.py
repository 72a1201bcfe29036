"""The work list of a synthesis goes frame by frame, instance by instance, variant by variant.

Everything about an item that can be known before a generator runs is decided here, from the seed and the item's name
alone. Not here: batches, resume, files.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.core.errors import HarnessError, near
from harness.core.seeds import derive
from harness.data.base import Frame
from harness.data.labels import LabelSet
from harness.generators.base import Prompt
from harness.synthesis.prompts import draw_prompt, plain_prompt
from harness.synthesis.recipe import Recipe
from harness.synthesis.select import AnnotatedInstance, Box, cut, cut_mask, select, square_round


@dataclass(frozen=True, kw_only=True)
class LoadedFrame:
    """A frame in memory: image uint8 [H, W, 3], ids int32 [H, W]."""

    frame: Frame
    image: np.ndarray
    ids: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Item:
    """One image to be made: `fault` says why it can't be, and is empty otherwise."""

    picture: LoadedFrame
    instance: AnnotatedInstance
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
        """Return what the draws made for this item depend on, beside the seed."""
        return self.picture.frame.name, self.instance.id, self.variant


def load(frame: Frame) -> LoadedFrame:
    """Return the frame's image and ids; HarnessError when they can't be read or differ in size."""
    image, ids = frame.read_image(), frame.read_ids().astype(np.int32)
    if image.shape[:2] != ids.shape:
        raise HarnessError(f"{frame.instance_ids}: {_size(ids)} pixels, and its image has {_size(image)}")
    return LoadedFrame(frame=frame, image=image, ids=ids)


def items_of(
    picture: LoadedFrame,
    labels: LabelSet,
    *,
    recipe: Recipe,
    seed: int,
    top_k: int,
    variants: int,
    ready: Mapping[int, Sequence[Path]] | None = None,
) -> Iterator[Item]:
    """Yield the items of one frame: its largest instances, largest first, each `variants` times with the same prompt.

    With `ready` (instance to the files of its variants) these instances and variants, whatever their size. Nobody knows
    what was asked for when they were painted, so the prompt says the class alone. HarnessError for an instance that the
    frame has not.
    """
    frame = picture.frame.name
    chosen = (
        select(picture.ids, labels, top_k=top_k, candidates=recipe.candidates)
        if ready is None
        else _ready(picture, labels, ready)
    )
    for instance in chosen:
        square = square_round(instance.box, picture.ids.shape, recipe.border)
        mask = cut_mask(picture.ids, instance.id, square, recipe.mask_bits)
        real = cut(picture.image, square, recipe.border)
        prompt = (
            draw_prompt(
                instance.label,
                phrases=recipe.prompts,
                template=recipe.template,
                seed=seed,
                frame=frame,
                instance=instance.id,
            )
            if ready is None
            else plain_prompt(instance.label, recipe.template)
        )
        fault = "" if mask.any() or recipe.empty_mask == "paint" else "empty mask"
        if prompt is None:
            fault = f"the recipe has no prompts for class {instance.label.name!r}"
        for variant in range(variants if ready is None else len(ready[instance.id])):
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


def _ready(picture: LoadedFrame, labels: LabelSet, ready: Mapping[int, Sequence[Path]]) -> list[AnnotatedInstance]:
    """Return the instances that there are files for, largest first."""
    there = {one.id: one for one in select(picture.ids, labels, top_k=None, candidates="instances")}
    for wanted, files in ready.items():
        if wanted not in there:
            raise HarnessError(
                f"{files[0]}: the frame {picture.frame.name} has no instance {wanted}",
                hint=near(str(wanted), map(str, there)),
            )
    return [one for one in there.values() if one.id in ready]


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"
