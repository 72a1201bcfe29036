"""A batch holds crops as tensors: pixels, and targets grown to their padded size."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from harness.data.labels import Label, LabelSet
from harness.segmenters.aids import label_maps
from harness.segmenters.backbones import pixels
from harness.segmenters.network import Sample
from harness.segmenters.targets import Targets, Task, targets


def crop_batch(
    samples: Sequence[Sample],
    tasks: Task | Sequence[Task],
    labels: LabelSet,
    classes: Sequence[Label],
    *,
    min_pixels: int,
    with_labels: bool = False,
) -> dict[str, Any]:
    """`pixels`, the targets of `mask_targets` and, `with_labels`, the class of every pixel (aids.label_maps)."""
    inputs = pixels([sample.image for sample in samples])
    padded = (inputs.shape[-2], inputs.shape[-1])
    batch = {"pixels": inputs, **mask_targets(samples, tasks, labels, classes, padded=padded, min_pixels=min_pixels)}
    return batch | ({"labels": label_maps(samples, labels, classes, padded)} if with_labels else {})


def mask_targets(
    samples: Sequence[Sample],
    tasks: Task | Sequence[Task],
    labels: LabelSet,
    classes: Sequence[Label],
    *,
    padded: tuple[int, int],
    min_pixels: int,
) -> dict[str, Any]:
    """`classes` (int64 [n] per crop) and `masks` (bool [n, *padded]); `tasks`: one for all or one per crop."""
    asked = [tasks] * len(samples) if isinstance(tasks, str) else tasks
    found: list[Targets] = [
        targets(s.ids, task, labels, classes, min_pixels=min_pixels) for s, task in zip(samples, asked, strict=True)
    ]
    height, width = samples[0].ids.shape
    grown = (0, padded[1] - width, 0, padded[0] - height)
    return {
        "classes": [torch.from_numpy(target.classes) for target in found],
        "masks": [F.pad(torch.from_numpy(target.masks), grown) for target in found],
    }
