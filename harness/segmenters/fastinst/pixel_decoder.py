"""PPM-FPN is a feature pyramid whose coarsest level is pooled over the whole image (FastInst, section 3.1)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

POOLS = (1, 2, 3, 6)


class PixelDecoder(nn.Module):
    """Turns maps of strides 8, 16, 32 (published; or 4 to 32) into maps of `hidden` channels, coarsest first."""

    def __init__(self, channels: Sequence[int], hidden: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(_normed(width, hidden, size=1) for width in channels)
        self.output = nn.ModuleList(_normed(hidden, hidden, size=3) for _ in channels)
        self.pooling = PyramidPooling(hidden)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """`maps` in the order of their strides, finest first."""
        found: list[Tensor] = []
        for lateral, output, features in zip(self.lateral[::-1], self.output[::-1], maps[::-1], strict=True):
            sideways = lateral(features)
            if found:
                mixed = sideways + F.interpolate(
                    found[-1], size=sideways.shape[-2:], mode="bilinear", align_corners=False
                )
            else:
                mixed = self.pooling(sideways)
            found.append(F.relu(output(mixed)))
        return found


class PyramidPooling(nn.Module):
    """Averages over grids of 1, 2, 3 and 6 cells a side, joined to the map."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(nn.Conv2d(hidden, hidden // len(POOLS), 1) for _ in POOLS)
        self.bottleneck = nn.Conv2d(hidden + len(POOLS) * (hidden // len(POOLS)), hidden, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Turn [B, hidden, h, w] into the same shape."""
        size = features.shape[-2:]
        priors = [
            F.interpolate(F.relu(stage(F.adaptive_avg_pool2d(features, side))), size=size, mode="bilinear")
            for side, stage in zip(POOLS, self.stages, strict=True)
        ]
        return F.relu(self.bottleneck(torch.cat([*priors, features], dim=1)))


def _normed(inputs: int, outputs: int, *, size: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)
    nn.init.kaiming_uniform_(conv.weight, a=1)
    return nn.Sequential(conv, nn.GroupNorm(32, outputs))
