"""This module builds the decoders and heads of Panoptic-DeepLab (Cheng et al., CVPR 2020, section 3.1)."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.core.errors import HarnessError
from harness.segmenters.deeplab_backbones.layers import (
    Activation,
    ConvNorm,
    NormLayer,
    SeparableConv,
    resized,
    truncated_normal_,
)

Convolution = Literal["separable", "double"]


class Pyramid(NamedTuple):
    """Sizes of an `AtrousPyramid`; `window`: cells that image pooling averages, None for the whole map."""

    kind: Literal["atrous", "separable", "projection"]
    channels: int
    rates: tuple[int, int, int]
    window: tuple[int, int] | None
    dropout: float


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling: a 1 x 1, three dilated 3 x 3 convolutions and image pooling, joined by a 1 x 1.

    As a "projection" it is the last 1 x 1 convolution alone.
    """

    def __init__(self, inputs: int, pyramid: Pyramid, *, norm: NormLayer, align_corners: bool) -> None:
        super().__init__()
        self.window, self.align_corners = pyramid.window, align_corners
        outputs = pyramid.channels
        self.branches, self.pooled = nn.ModuleList(), None
        self.dropout = nn.Dropout(0.0 if pyramid.kind == "projection" else pyramid.dropout)
        if pyramid.kind != "projection":
            self.branches.append(ConvNorm(inputs, outputs, 1, norm=norm, activation=F.relu))
            kind = SeparableConv if pyramid.kind == "separable" else ConvNorm
            for rate in pyramid.rates:
                self.branches.append(kind(inputs, outputs, 3, norm=norm, activation=F.relu, dilation=rate))
            self.pooled = ConvNorm(inputs, outputs, 1, norm=norm, activation=F.relu)
            inputs = 5 * outputs
        self.project = ConvNorm(inputs, outputs, 1, norm=norm, activation=F.relu)

    def forward(self, x: Tensor) -> Tensor:
        if self.pooled is not None:
            size = (x.shape[-2], x.shape[-1])
            means = self._means(x)
            if self.training and means[:, 0].numel() < 2:
                raise HarnessError(
                    "Panoptic-DeepLab: the batch norm of image pooling sees one value a channel: one image at a time",
                    hint="training.batch_size / training.accumulate must give each device two images or more; or "
                    'model.aspp = "projection"',
                )
            image = resized(self.pooled(means), size, align_corners=self.align_corners)
            x = torch.cat([*(branch(x) for branch in self.branches), image.expand(-1, -1, *size)], 1)
        return self.dropout(self.project(x))

    def _means(self, x: Tensor) -> Tensor:
        """Return the mean of the map, or of each place of the window in a larger map."""
        if self.window is None:
            return x.mean((2, 3), keepdim=True)
        window = (min(self.window[0], x.shape[-2]), min(self.window[1], x.shape[-1]))
        return F.avg_pool2d(x, window, stride=1)


class Decoder(nn.Module):
    """Decodes the coarsest map to stride 4, with the help of the finer ones: [B, channels, H / 4, W / 4].

    `inputs`: channels of the coarsest map and of the `low_level` ones, coarse to fine; `projected`: what the latter are
    projected to.
    """

    def __init__(
        self,
        inputs: int,
        low_level: Sequence[int],
        *,
        projected: Sequence[int],
        channels: int,
        pyramid: Pyramid,
        kind: Convolution,
        norm: NormLayer,
        align_corners: bool,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.pyramid = AtrousPyramid(inputs, pyramid, norm=norm, align_corners=align_corners)
        self.projections, self.fusions = nn.ModuleList(), nn.ModuleList()
        current = pyramid.channels
        for found, narrow in zip(low_level, projected, strict=True):
            self.projections.append(ConvNorm(found, narrow, 1, norm=norm, activation=F.relu))
            self.fusions.append(convolution(kind, current + narrow, channels, middle=channels, norm=norm))
            current = channels

    def forward(self, coarsest: Tensor, low_level: Sequence[Tensor]) -> Tensor:
        x: Tensor = self.pyramid(coarsest)
        for low, project, fuse in zip(low_level, self.projections, self.fusions, strict=True):
            x = resized(x, (low.shape[-2], low.shape[-1]), align_corners=self.align_corners)
            x = fuse(torch.cat([x, project(low)], 1))
        return x


class Head(nn.Module):
    """Convolutions and a linear prediction for every cell, [B, outputs, H, W]."""

    def __init__(
        self,
        inputs: int,
        channels: int,
        outputs: int,
        *,
        kind: Convolution,
        norm: NormLayer,
        activation: Activation = F.relu,
    ) -> None:
        super().__init__()
        self.layers = convolution(kind, inputs, channels, middle=inputs, norm=norm, activation=activation)
        self.predict = nn.Conv2d(channels, outputs, 1)
        truncated_normal_(self.predict.weight, 0.01)
        assert self.predict.bias is not None
        nn.init.zeros_(self.predict.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.predict(self.layers(x))


def convolution(
    kind: Convolution,
    inputs: int,
    outputs: int,
    *,
    middle: int,
    norm: NormLayer,
    activation: Activation = F.relu,
) -> nn.Module:
    """Return a 5 x 5 separable convolution, or two of 3 x 3 (`middle` channels between) that see as far."""
    if kind == "separable":
        return SeparableConv(inputs, outputs, 5, norm=norm, activation=activation)
    return nn.Sequential(
        ConvNorm(inputs, middle, 3, norm=norm, activation=activation),
        ConvNorm(middle, outputs, 3, norm=norm, activation=activation),
    )
