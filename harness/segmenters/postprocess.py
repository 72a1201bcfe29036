"""Post-processing turns class and mask logits into predictions by the formulas of Mask2Former and OneFormer.

Our own, because the post-processing of transformers reuses segment ids after it joins stuff, leaves out the 0.5 test of
a mask and resizes every mask to 384 x 384 on the way.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.data.labels import Label
from harness.data.prediction import Instance, Segment


class ImageView(NamedTuple):
    """This says how an image of `size` was shown to the network: resized to `shown`, padded to `padded` (height,
    width)."""

    size: tuple[int, int]
    shown: tuple[int, int]
    padded: tuple[int, int]

    def full_size(self, masks: Tensor) -> Tensor:
        """Mask logits [Q, h, w] at the size of the image, the padding cut off. float32 [Q, H, W]."""
        masks = F.interpolate(masks[None].float(), size=self.padded, mode="bilinear", align_corners=False)
        masks = masks[..., : self.shown[0], : self.shown[1]]
        if self.shown != self.size:
            masks = F.interpolate(masks, size=self.size, mode="bilinear", align_corners=False)
        return masks[0]


def instances(
    classes: Tensor, masks: Tensor, labels: Sequence[Label], *, topk: int, min_score: float = 0.0
) -> list[Instance]:
    """Return the `topk` best (query, class) pairs that are things. Score: class probability times mean probability
    inside the mask.

    `classes` logits [Q, K + 1], `masks` logits [Q, H, W]. Masks may overlap; empty ones and scores below `min_score`
    are left out.
    """
    chances = classes.float().softmax(-1)[:, :-1]
    best = chances.flatten().topk(min(topk, chances.numel()))
    queries, kinds = best.indices // len(labels), best.indices % len(labels)
    thing = torch.tensor([label.is_thing for label in labels], device=classes.device)
    keep = thing[kinds] & (best.values >= min_score)  # a mean probability is at most 1, so these can't pass later
    queries, kinds, scores = queries[keep], kinds[keep], best.values[keep]
    logits = masks[queries]
    inside = logits > 0
    area = inside.flatten(1).sum(1)
    scores = scores * (logits.sigmoid() * inside).flatten(1).sum(1) / area.clamp(min=1)
    order = torch.argsort(scores, descending=True, stable=True).tolist()
    values, sizes, found, classified = scores.tolist(), area.tolist(), inside.cpu().numpy(), kinds.tolist()
    return [
        Instance(found[i], labels[classified[i]].id, values[i])
        for i in order
        if sizes[i] > 0 and values[i] >= min_score
    ]


def votes(classes: Tensor, masks: Tensor) -> Tensor:
    """Return what the label of a pixel is elected by: for each class the sum over queries of p(class) * p(mask), [K, H,
    W]."""
    return torch.einsum("qk,qhw->khw", classes.float().softmax(-1)[:, :-1], masks.sigmoid())


def elected(votes: Tensor, labels: Sequence[Label]) -> np.ndarray:
    """Label ids uint8 [H, W]: the class with most votes."""
    ids = np.array([label.id for label in labels], dtype=np.uint8)
    return ids[votes.argmax(0).cpu().numpy()]


def panoptic(
    classes: Tensor, masks: Tensor, labels: Sequence[Label], *, object_threshold: float, overlap_threshold: float
) -> tuple[np.ndarray, tuple[Segment, ...]]:
    """Return a panoptic map (int32 [H, W], 0 = void) and its segments, ids 1, 2, ... each used once.

    Queries whose best class is an object with more than `object_threshold` compete for pixels by score * probability.
    One stays if it wins at least `overlap_threshold` of the pixels where its mask is >= 0.5. Stuff of one class is one
    segment.
    """
    scores, kinds = classes.float().softmax(-1).max(-1)
    keep = (kinds < len(labels)) & (scores > object_threshold)
    panorama = np.zeros(masks.shape[-2:], dtype=np.int32)
    if not keep.any():
        return panorama, ()
    chances = masks[keep].sigmoid()
    winner = (scores[keep, None, None] * chances).argmax(0)
    found: list[Segment] = []
    stuff: dict[int, int] = {}
    for number, kind in enumerate(kinds[keep].tolist()):
        own = chances[number] >= 0.5
        won = winner == number
        visible = won & own
        area, total, shown = won.sum().item(), own.sum().item(), visible.sum().item()
        if not (area and total and shown) or area / total < overlap_threshold:
            continue
        label = labels[kind]
        if not label.is_thing and kind in stuff:
            segment = stuff[kind]
        else:
            segment = len(found) + 1
            found.append(Segment(segment, label.id))
            if not label.is_thing:
                stuff[kind] = segment
        panorama[visible.cpu().numpy()] = segment
    return panorama, tuple(found)
