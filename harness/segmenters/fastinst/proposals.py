"""Instance activation-guided queries are the pixels of the 1/16 map that look most like objects (FastInst, section
3)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Proposals(NamedTuple):
    """Queries picked from the map: content and position [B, Q, C], location [B, Q, 2] (x, y in 0..1), and the logits
    [B, K + 1, h, w] they were picked by.
    """

    content: Tensor
    position: Tensor
    location: Tensor
    logits: Tensor


class QueryProposal(nn.Module):
    """Classifies every pixel and picks `count` of them, local maxima of a class (at least `floor`) first."""

    def __init__(self, hidden: int, count: int, num_classes: int, floor: float) -> None:
        super().__init__()
        self.count, self.floor = count, floor
        self.head = nn.Sequential(
            nn.Conv2d(hidden, hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden, num_classes + 1, 1)
        )

    def forward(self, features: Tensor, positions: Tensor) -> Proposals:
        """`features` [B, C, h, w], `positions` [1, C, h, w]."""
        logits = self.head(features)
        indices = pick(logits.detach().float().softmax(1)[:, :-1], self.count, self.floor)

        def gather(maps: Tensor) -> Tensor:
            rows = maps.flatten(2).transpose(1, 2).expand(len(features), -1, -1)
            return rows.gather(1, indices[..., None].expand(-1, -1, rows.shape[2]))

        return Proposals(gather(features), gather(positions), gather(_grid(features)), logits)


def pick(chances: Tensor, count: int, floor: float) -> Tensor:
    """Flat indices [B, Q] of the best pixels of [B, K, h, w], Q = min(count, h * w); peaks come before all others.

    A pixel stands for its best class alone; it is a peak where it has at least `floor` of that class and
    none of its eight neighbours has more.
    """
    best, kind = chances.max(1, keepdim=True)
    own = torch.zeros_like(chances).scatter(1, kind, best)
    peak = (own >= F.max_pool2d(own, 3, stride=1, padding=1)) & (own >= floor)
    worth = (own + peak.to(own)).flatten(2).max(1).values
    return worth.topk(min(count, worth.shape[1]), dim=1).indices


def _grid(features: Tensor) -> Tensor:
    """Coordinates (x, y) of the cells from 0 to 1, both ends included: [1, 2, h, w]."""
    height, width = features.shape[-2:]
    y, x = (torch.linspace(0, 1, n, device=features.device) for n in (height, width))
    return torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)])[None]
