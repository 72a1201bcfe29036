"""This module turns slots into predictions: a mask-wise panoptic map (kMaX-DeepLab, section 3.3) and instances."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from harness.data.labels import Label
from harness.data.prediction import Instance, Segment
from harness.segmenters.kmax.options import Inference


def panoptic(
    classes: Tensor, chances: Tensor, labels: Sequence[Label], inference: Inference
) -> tuple[np.ndarray, tuple[Segment, ...]]:
    """Return the panoptic map (int32 [H, W], 0 = void) and its segments, ids 1, 2, ...

    `classes` probabilities [slots, K] without "none"; `chances` [slots, H, W], over slots one in sum. Slots take pixels
    by falling class probability; one that finds too little of its mask free is left out. Stuff of one class is one
    segment.
    """
    scores, kinds = classes.max(1)
    taken = torch.full(chances.shape[1:], -1, dtype=torch.int64, device=chances.device)
    names: dict[int, int] = {}
    """Segment number of a stuff class, by class, and of a thing, by -1 - slot."""
    owners: list[int] = []
    for slot in torch.argsort(scores, descending=True, stable=True).tolist():
        kind = int(kinds[slot])
        thing = labels[kind].is_thing
        if scores[slot] < (inference.thing_threshold if thing else inference.stuff_threshold):
            continue
        mask = chances[slot] > inference.pixel_threshold
        free = mask & (taken < 0)
        if free.sum() > mask.sum() * inference.overlap_threshold:
            name = -1 - slot if thing else kind
            if name not in names:
                names[name] = len(owners)
                owners.append(kind)
            taken[free] = names[name]
    areas = torch.bincount(taken[taken >= 0], minlength=len(owners)).tolist()
    segments: list[Segment] = []
    numbers = np.zeros(len(owners) + 1, np.int32)
    for owner, (kind, area) in enumerate(zip(owners, areas, strict=True)):
        if area >= max(inference.thing_area if labels[kind].is_thing else inference.stuff_area, 1):
            segments.append(Segment(len(segments) + 1, labels[kind].id))
            numbers[owner] = len(segments)
    return numbers[taken.cpu().numpy()], tuple(segments)


def instances(classes: Tensor, chances: Tensor, labels: Sequence[Label], inference: Inference) -> list[Instance]:
    """Return the `topk` best (slot, class) pairs that are things, by falling class probability x mean chance in the
    mask.
    """
    best = classes.flatten().topk(min(inference.topk, classes.numel()))
    things = [label.is_thing for label in labels]
    masks = chances > inference.pixel_threshold
    areas = masks.flatten(1).sum(1)
    sure = (chances * masks).flatten(1).sum(1) / areas.clamp(min=1)
    found: list[Instance] = []
    for score, place in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        slot, kind = divmod(place, len(labels))
        score *= float(sure[slot])
        if things[kind] and areas[slot] > 0 and score >= inference.min_score:
            found.append(Instance(masks[slot].cpu().numpy(), labels[kind].id, score))
    return sorted(found, key=lambda each: -each.score)
