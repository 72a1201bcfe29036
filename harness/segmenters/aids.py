"""Two aids help networks that start from random weights and have few steps; both are off in the published settings.

Position in the mask features lets a query tell apart objects that look alike; a class for every cell teaches the
features long before queries and targets agree on who is who.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.data.labels import Label, LabelSet
from harness.segmenters.network import Sample

WAVES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Periods per side of the position waves."""


class Aids(nn.Module):
    """`located`: add projected position waves to mask features; `semantic_weight` > 0: a class loss on every cell."""

    def __init__(self, *, hidden: int, num_classes: int, located: bool, semantic_weight: float) -> None:
        super().__init__()
        self.semantic_weight = semantic_weight
        self.place = nn.Conv2d(4 * len(WAVES), hidden, 1) if located else None
        self.semantic = nn.Conv2d(hidden, num_classes + 1, 1) if semantic_weight else None

    def place_as_in(self, checkpoint: str) -> list[str]:
        """Take the projection of the waves from a whole network that was learnt with one; otherwise it starts anew.
        Return the names of the tensors that were taken.
        """
        if self.place is None:
            return []
        from harness.segmenters.pretrained import named_tensors

        prefix = "aids.place."
        found = {
            name.removeprefix(prefix): value for name, value in named_tensors(checkpoint).items() if prefix in name
        }
        if found:
            self.place.load_state_dict(found)
        return [f"place.{name}" for name in found]

    def locate(self, features: Tensor) -> Tensor:
        """Add their position to mask features [B, C, h, w]."""
        return features if self.place is None else features + self.place(waves(features))

    def losses(self, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the weighted cross entropy of the cells with `labels` (int64 [B, H, W]) at their middles; empty when
        off.
        """
        if self.semantic is None:
            return {}
        logits = self.semantic(features).float()
        wanted = F.interpolate(labels[:, None].float(), size=logits.shape[-2:], mode="nearest-exact")[:, 0].long()
        return {"semantic": self.semantic_weight * F.cross_entropy(logits, wanted)}


def waves(features: Tensor) -> Tensor:
    """Sines and cosines of the cells' coordinates: [1, 4 * len(WAVES), h, w]."""
    height, width = features.shape[-2:]
    found = []
    for axis, side in ((0, height), (1, width)):
        place = (torch.arange(side, device=features.device) + 0.5) / side
        for number in WAVES:
            angle = 2 * math.pi * number * place
            for wave in (angle.sin(), angle.cos()):
                found.append(wave[:, None].expand(height, width) if axis == 0 else wave.expand(height, width))
    return torch.stack(found)[None].to(features.dtype)


def label_maps(
    samples: Sequence[Sample], labels: LabelSet, classes: Sequence[Label], padded: tuple[int, int]
) -> Tensor:
    """Return the class index of every pixel, int64 [B, *padded]; len(classes) where it is none of them."""
    table = np.full(256, len(classes), dtype=np.int64)
    table[[label.id for label in classes]] = np.arange(len(classes))
    maps = [table[labels.label_of(s.ids)] for s in samples]
    height, width = maps[0].shape
    stacked = torch.from_numpy(np.stack(maps))
    return F.pad(stacked, (0, padded[1] - width, 0, padded[0] - height), value=len(classes))
