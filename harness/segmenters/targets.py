"""The targets of a mask classifier are one class index and one mask for each instance or stuff class.

Our own, because the processors of transformers count the objects of a whole batch and fail on crops without things.
Group regions (a thing class without a number) are never a target instance, and what is ignored never a target at all.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from harness.data.labels import Label, LabelSet

Task = Literal["instance", "semantic", "panoptic"]


class Targets(NamedTuple):
    """`classes` int64 [n]: indices into the class list, ascending; `masks` bool [n, H, W], none empty."""

    classes: np.ndarray
    masks: np.ndarray


def targets(ids: np.ndarray, task: Task, labels: LabelSet, classes: Sequence[Label], *, min_pixels: int = 1) -> Targets:
    """Return what is to be found in `ids` (int [H, W], in the encoding of `labels`) of some `classes` of them.

    instance: every numbered object of a thing class. semantic: one mask per class, group regions included (the
    benchmark counts their pixels). panoptic: the objects, and one mask per stuff class; group regions are left out.
    Objects that show fewer than `min_pixels` are left out too (their pixels still count for the semantic task).
    """
    of_label = labels.label_of(ids)
    found: list[tuple[int, np.ndarray]] = []
    for index, label in enumerate(classes):
        here = of_label == label.id
        if not here.any():
            continue
        if task == "semantic" or (task == "panoptic" and not label.is_thing):
            found.append((index, here))
        elif label.is_thing:
            numbers, areas = np.unique(ids[here], return_counts=True)
            found += [
                (index, ids == number)
                for number, area in zip(numbers, areas, strict=True)
                if labels.is_instance(number) and area >= min_pixels
            ]
    masks = np.stack([mask for _, mask in found]) if found else np.zeros((0, *ids.shape), dtype=bool)
    return Targets(np.array([index for index, _ in found], dtype=np.int64), masks)
