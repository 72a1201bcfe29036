"""MaX- and kMaX-DeepLab share these losses: one match of masks and slots, and for every prediction a PQ-style loss, a
cross entropy over slots and a contrast of pixels.

As DeepLab2 has them (max_deeplab_loss.py): a slot and a mask are matched by dice x class probability on the last
prediction, and all predictions are compared by that match. A slot without a mask learns "no object" as far as it lies
on void. Means are taken over the values that are not zero.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from harness.segmenters.deeplab_backbones.layers import resized
from harness.segmenters.kmax.options import Model
from harness.segmenters.kmax.transformer import Clusters
from harness.segmenters.panoptic_deeplab.losses import mean_of_nonzero

POSITIVE, NEGATIVE = 0.75, 0.25
"""Weights of the class term of slots with and without a mask."""
FLOOR = 1e-5
NOBODY = -1


class Truth(NamedTuple):
    """An image at the size of the predictions, flattened: `owner` int64 [P], the mask of each pixel or NOBODY; `known`
    bool [P], False on void; `classes` int64 [n], the class of each mask. Every mask has a pixel.
    """

    owner: Tensor
    known: Tensor
    classes: Tensor

    @property
    def areas(self) -> Tensor:
        """Pixels of each mask, [n]."""
        return torch.bincount(self.owner[self.owner >= 0], minlength=len(self.classes)).float()


class Match(NamedTuple):
    """For the matched masks, [m] each: `masks`, `slots`, and their dice and class probability."""

    masks: Tensor
    slots: Tensor
    dice: Tensor
    chance: Tensor


def truth(owner: Tensor, known: Tensor, classes: Tensor) -> Truth:
    """Make the truth of owners [h, w], without the masks that have no pixel left at this size."""
    present = torch.bincount(owner[owner >= 0], minlength=len(classes)) > 0
    numbers = torch.where(present, present.cumsum(0) - 1, NOBODY)
    renumbered = F.pad(numbers, (0, 1), value=NOBODY)[owner.flatten()]
    return Truth(renumbered, known.flatten(), classes[present])


def losses(found: Sequence[Clusters], truths: Sequence[Truth], options: Model) -> dict[str, Tensor]:
    """Weighted losses of all predictions, the last of which is matched: class, dice, mask and contrast, each a sum over
    predictions of a mean over images.
    """
    size = (found[-1].masks.shape[-2], found[-1].masks.shape[-1])
    totals: dict[str, list[Tensor]] = {"class": [], "dice": [], "mask": [], "contrast": []}
    last = found[-1].masks.detach().float().flatten(2).softmax(1)
    matches = [match(*each) for each in zip(found[-1].classes.detach(), last, truths, strict=True)]
    weights = [_class_weights(*each) for each in zip(last, truths, matches, strict=True)]
    for clusters in found:
        masks = resized(clusters.masks.float(), size, align_corners=True).flatten(2)
        embedding = resized(clusters.embedding.float(), size, align_corners=True).flatten(2)
        for number, (each, matched) in enumerate(zip(truths, matches, strict=True)):
            totals["class"].append(class_loss(clusters.classes[number], each, matched, weights[number]))
            totals["dice"].append(dice_loss(masks[number], each, matched))
            totals["mask"].append(mask_loss(masks[number], each, matched))
            totals["contrast"].append(contrast_loss(embedding[number], each, options))
    scales = {
        "class": options.pq_weight,
        "dice": options.pq_weight,
        "mask": options.mask_weight,
        "contrast": options.contrast_weight,
    }
    return {name: scales[name] * torch.stack(values).sum() / len(truths) for name, values in totals.items()}


@torch.no_grad()
def match(classes: Tensor, chances: Tensor, truth: Truth) -> Match:
    """Return each mask's slot, by the largest sum of dice x class probability.

    `classes` logits [slots, K + 1]; `chances` [slots, P], over slots one in sum.
    """
    inside = _by_owner(chances, truth)
    # What a slot has of known pixels; those of void count neither way.
    sizes = (chances * truth.known).sum(1)
    dice = 2 * inside / (sizes + truth.areas[:, None] + 2 * FLOOR)
    likely = classes.float().softmax(-1)[:, truth.classes].T
    masks, slots = linear_sum_assignment(-(dice * likely).nan_to_num().cpu().numpy())
    masks, slots = (torch.from_numpy(part).to(chances.device) for part in (masks, slots))
    return Match(masks, slots, dice[masks, slots], likely[masks, slots])


def class_loss(classes: Tensor, truth: Truth, matched: Match, weights: Tensor) -> Tensor:
    """Weighted cross entropy of the slots' classes [slots, K + 1]; "none" is the last."""
    wanted = classes.new_full((len(classes),), classes.shape[1] - 1, dtype=torch.int64)
    wanted[matched.slots] = truth.classes[matched.masks]
    return mean_of_nonzero((F.cross_entropy(classes.float(), wanted, reduction="none") * weights)[None])


def dice_loss(masks: Tensor, truth: Truth, matched: Match) -> Tensor:
    """1 - dice of the matched masks on labelled pixels, weighted by their class probability; mask logits [slots, P]."""
    chances = masks.softmax(0) * (truth.owner >= 0)
    inside = _by_owner(chances, truth)[matched.masks, matched.slots]
    areas = chances.sum(1)[matched.slots] + truth.areas[matched.masks]
    apart = 1 - (2 * inside + 1) / (areas + 1)
    return (apart * matched.chance.clamp(min=FLOOR)).sum() * POSITIVE / len(masks)


def mask_loss(masks: Tensor, truth: Truth, matched: Match) -> Tensor:
    """Cross entropy of the slot of every pixel that has one; mask logits [slots, P]."""
    slot = torch.full((len(truth.classes) + 1,), NOBODY, device=masks.device)
    slot[matched.masks] = matched.slots
    return mean_of_nonzero(F.cross_entropy(masks[None], slot[truth.owner][None], ignore_index=NOBODY, reduction="none"))


def contrast_loss(embedding: Tensor, truth: Truth, options: Model) -> Tensor:
    """Pull pixels of one mask together, push all others apart (CMT-DeepLab, Yu et al., CVPR 2022, section 3.3).

    `embedding` [C, P] of length one.
    """
    chosen = sampled(truth, options)
    if len(chosen) < 2:
        return embedding.sum() * 0
    owner, drawn = truth.owner[chosen], embedding[:, chosen]
    alike = (owner[:, None] == owner[None]).float()
    similarity = drawn.T @ drawn / options.contrast_temperature
    return mean_of_nonzero(-(alike / alike.sum(1, keepdim=True) * similarity.log_softmax(1)).sum(1)[None])


def sampled(truth: Truth, options: Model) -> Tensor:
    """`samples` pixels with a mask, int64, none twice; each with chance ~ area ** -sample_temperature of its mask."""
    owned = truth.owner >= 0
    count = min(options.samples, int(owned.sum()))
    if count == 0:
        return truth.owner[:0]
    rarity = -options.sample_temperature * truth.areas.log()[truth.owner.clamp(min=0)]
    # The largest of logarithms with Gumbel noise are a sample without replacement.
    noise = -torch.log(-torch.log(torch.rand_like(rarity).clamp(1e-9, 1 - 1e-7)))
    return torch.where(owned, rarity + noise, -torch.inf).topk(count, sorted=False).indices


def _class_weights(chances: Tensor, truth: Truth, matched: Match) -> Tensor:
    """Of each slot's class term, [slots]: the dice of its mask, or how much of it lies on void."""
    weights = NEGATIVE * ((chances * ~truth.known).sum(1) / (chances.sum(1) + FLOOR)).clamp(min=FLOOR)
    weights[matched.slots] = POSITIVE * matched.dice.clamp(min=FLOOR)
    return weights


def _by_owner(chances: Tensor, truth: Truth) -> Tensor:
    """Sums of [slots, P] over the pixels of each mask, [n, slots]."""
    owned = truth.owner >= 0
    sums = chances.new_zeros(len(truth.classes), len(chances))
    return sums.index_add(0, truth.owner[owned], chances[:, owned].T)
