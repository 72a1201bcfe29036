"""The set loss of the mask classifiers matches predictions to targets, then compares classes and masks at sampled
points.

Mask2Former (Cheng et al., CVPR 2022, sections 3.2 and 3.3), as Mask2Former, OneFormer and FastInst use it. All decoder
layers go through it at once: one round trip to the assignment solver, and an image without targets is no special case.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from harness.segmenters.options import SetLoss


class Layer(NamedTuple):
    """One layer's predictions: class logits [B, Q, K + 1] (last = no object) and mask logits [B, Q, h, w]."""

    classes: Tensor
    masks: Tensor


class LossWeights(NamedTuple):
    """Weights of the losses and of the matching costs alike; `no_object` is the class weight of an unmatched query."""

    classes: float = 2.0
    mask: float = 5.0
    dice: float = 5.0
    no_object: float = 0.1


@dataclass(frozen=True)
class Points:
    """PointRend sampling: `count` points a mask, `importance` of them the most uncertain of `oversample` * count random
    ones. A count of 0 compares every cell of the mask map instead: for maps so small that points would miss objects.
    """

    count: int = 12544
    oversample: float = 3.0
    importance: float = 0.75


class Matching(NamedTuple):
    """This says which query each target got: `queries` int64 [L, T] (-1: none), `images` int64 [T], targets in the
    order of the batch."""

    queries: Tensor
    images: Tensor


DEFAULT_WEIGHTS, DEFAULT_POINTS = LossWeights(), Points()


class SetCriterion(nn.Module):
    """Computes the weighted losses `class`, `mask`, `dice`, each summed over layers."""

    class_weight: Tensor

    def __init__(
        self, *, num_classes: int, weights: LossWeights = DEFAULT_WEIGHTS, points: Points = DEFAULT_POINTS
    ) -> None:
        super().__init__()
        self.num_classes, self.weights, self.points = num_classes, weights, points
        class_weight = torch.ones(num_classes + 1)
        class_weight[-1] = weights.no_object
        self.register_buffer("class_weight", class_weight, persistent=False)

    @classmethod
    def of(cls, options: SetLoss, *, num_classes: int) -> "SetCriterion":
        """Return the loss that a segmenter's options ask for."""
        weights = LossWeights(options.class_weight, options.mask_weight, options.dice_weight, options.no_object_weight)
        return cls(num_classes=num_classes, weights=weights, points=Points(options.points))

    def forward(self, layers: Sequence[Layer], classes: Sequence[Tensor], masks: Sequence[Tensor]) -> dict[str, Tensor]:
        """Losses of `layers` against per-image targets: `classes` int64 [n] and `masks` bool [n, H, W]."""
        return self.losses(layers, classes, masks, self.match(layers, classes, masks))

    def counts(self, classes: Sequence[Tensor], queries: int) -> dict[str, float | Tensor]:
        """Return the normaliser of each loss for targets like those of `forward` and so many queries an image."""
        matched = sum(min(len(each), queries) for each in classes)
        masks = mean_over_ranks(float(sum(map(len, classes))), self.class_weight.device)
        free = len(classes) * queries - matched
        return {"class": matched + self.weights.no_object * free, "mask": masks, "dice": masks}

    @torch.no_grad()
    def match(
        self,
        layers: Sequence[Layer],
        classes: Sequence[Tensor],
        masks: Sequence[Tensor],
        extra_cost: Sequence[Sequence[Tensor]] | None = None,
    ) -> Matching:
        """Return the cheapest one-to-one assignment per layer and image; `extra_cost[l][b]` [Q, n] is added to the
        cost.
        """
        device, points = layers[0].masks.device, self._matching_points(layers[0].masks, len(classes))
        wanted = [sample_points(m[None].float(), points[b : b + 1])[0] for b, m in enumerate(masks)]
        costs: list[Tensor] = []
        for number, layer in enumerate(layers):
            seen = sample_points(layer.masks.float(), points) if self.points.count else layer.masks.float().flatten(2)
            chances = layer.classes.float().softmax(-1)
            for b, target in enumerate(wanted):
                cost = -self.weights.classes * chances[b][:, classes[b]]
                cost = cost + self.weights.mask * _pairwise_bce(seen[b], target)
                cost = cost + self.weights.dice * _pairwise_dice(seen[b], target)
                costs.append(cost + extra_cost[number][b] if extra_cost else cost)
        flat = torch.cat([cost.flatten() for cost in costs]).nan_to_num(nan=1e9, posinf=1e9, neginf=-1e9).cpu()
        pieces = [p.view(c.shape).numpy() for p, c in zip(flat.split([c.numel() for c in costs]), costs, strict=True)]
        queries = torch.full((len(layers), sum(map(len, classes))), -1, dtype=torch.int64)
        starts = torch.tensor([0, *map(len, classes)]).cumsum(0)
        for number, piece in enumerate(pieces):
            depth, b = divmod(number, len(classes))
            rows, columns = linear_sum_assignment(piece)
            queries[depth, starts[b] + torch.from_numpy(columns)] = torch.from_numpy(rows)
        images = torch.repeat_interleave(torch.arange(len(classes)), torch.tensor([len(c) for c in classes]))
        return Matching(queries.to(device), images.to(device))

    def losses(
        self, layers: Sequence[Layer], classes: Sequence[Tensor], masks: Sequence[Tensor], matching: Matching
    ) -> dict[str, Tensor]:
        """Losses for a given matching."""
        found = {"class": self.weights.classes * self._class_loss(layers, classes, matching)}
        bce, dice = self._mask_losses(layers, masks, matching)
        return found | {"mask": self.weights.mask * bce, "dice": self.weights.dice * dice}

    def _class_loss(self, layers: Sequence[Layer], classes: Sequence[Tensor], matching: Matching) -> Tensor:
        every = torch.cat(list(classes))
        total = layers[0].classes.new_zeros((), dtype=torch.float32)
        for layer, queries in zip(layers, matching.queries, strict=True):
            wanted = torch.full(layer.classes.shape[:2], self.num_classes, dtype=torch.int64, device=every.device)
            kept = queries >= 0
            wanted[matching.images[kept], queries[kept]] = every[kept]
            total = total + F.cross_entropy(layer.classes.float().flatten(0, 1), wanted.flatten(), self.class_weight)
        return total

    def _mask_losses(
        self, layers: Sequence[Layer], masks: Sequence[Tensor], matching: Matching
    ) -> tuple[Tensor, Tensor]:
        count, depth = matching.images.numel(), len(layers)
        everywhere = mean_over_ranks(float(count), layers[0].masks.device)  # all ask, those without targets too
        if count == 0:
            nothing = torch.stack([layer.masks.float().sum() for layer in layers]).sum() * 0.0
            return nothing, nothing
        queries = matching.queries.clamp(min=0)
        logits = torch.stack([layer.masks[matching.images, q] for layer, q in zip(layers, queries, strict=True)], dim=1)
        logits = logits.flatten(0, 1)[:, None].float()  # [T * L, 1, h, w]
        target = torch.cat([m[:, None] for m in masks]).float()
        if self.points.count == 0:
            values = logits.flatten(1)
            labels = F.interpolate(target, size=logits.shape[-2:], mode="area").flatten(1).repeat_interleave(depth, 0)
        else:
            with torch.no_grad():
                points = self._uncertain_points(logits)
                labels = sample_points(target, points.view(count, -1, 2)).view(count * depth, -1)
            values = sample_points(logits, points)[:, 0]
        matched = (matching.queries.T >= 0).flatten().float()
        share = matched / everywhere
        bce = F.binary_cross_entropy_with_logits(values, labels, reduction="none").mean(1)
        chances = values.sigmoid()
        dice = 1 - (2 * (chances * labels).sum(1) + 1) / (chances.sum(1) + labels.sum(1) + 1)
        return (bce * share).sum(), (dice * share).sum()

    def _matching_points(self, like: Tensor, images: int) -> Tensor:
        """Points [B, P, 2] at which predictions and targets are compared to be matched."""
        if self.points.count:
            return torch.rand(images, self.points.count, 2, device=like.device)
        height, width = like.shape[-2:]
        y, x = ((torch.arange(n, device=like.device) + 0.5) / n for n in (height, width))
        grid = torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)], dim=-1)
        return grid.reshape(1, -1, 2).expand(images, -1, -1)

    def _uncertain_points(self, logits: Tensor) -> Tensor:
        count = self.points.count
        candidates = torch.rand(len(logits), int(count * self.points.oversample), 2, device=logits.device)
        uncertainty = -sample_points(logits, candidates)[:, 0].abs()
        hard = int(self.points.importance * count)
        best = uncertainty.topk(hard, dim=1).indices
        chosen = candidates.gather(1, best[..., None].expand(-1, -1, 2))
        free = torch.rand(len(logits), count - hard, 2, device=logits.device)
        return torch.cat([chosen, free], dim=1)


def sample_points(maps: Tensor, points: Tensor) -> Tensor:
    """`maps` [N, C, h, w] read bilinearly at `points` [N, P, 2] (x, y in 0..1, pixel areas as cells): [N, C, P]."""
    if maps.shape[1] == 0:
        return maps.new_zeros((maps.shape[0], 0, points.shape[1]))
    return F.grid_sample(maps, 2 * points[:, :, None] - 1, align_corners=False)[..., 0]


def mean_over_ranks(value: float, device: torch.device) -> float | Tensor:
    """The mean of a count over all processes, at least 1: the normaliser of the mask losses."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return max(value, 1.0)
    total = torch.tensor(value, device=device)
    torch.distributed.all_reduce(total)
    return (total / torch.distributed.get_world_size()).clamp(min=1.0)


def _pairwise_bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean binary cross entropy of every [Q, P] row of logits with every [n, P] row of targets: [Q, n]."""
    return (F.softplus(logits).sum(1, keepdim=True) - logits @ targets.T) / logits.shape[1]


def _pairwise_dice(logits: Tensor, targets: Tensor) -> Tensor:
    chances = logits.sigmoid()
    return 1 - (2 * chances @ targets.T + 1) / (chances.sum(1, keepdim=True) + targets.sum(1) + 1)
