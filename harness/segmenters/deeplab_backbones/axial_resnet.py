"""This module builds residual networks of convolutions or axial attention: stem, stages, blocks.

As Google's DeepLab2 arranges them: a block begins with the activation of the raw sum before it, a stage strides in its
first block on the first operation that sees neighbours, and the last norm of every branch starts at zero.
"""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recomputed

from harness.segmenters.deeplab_backbones.axial_attention import AxialAttention2d
from harness.segmenters.deeplab_backbones.layers import (
    ACTIVATIONS,
    Activation,
    ConvNorm,
    DropPath,
    NormLayer,
    SqueezeExcite,
    norm_layer,
)
from harness.segmenters.deeplab_backbones.options import AxialResNetOptions


class Maps(NamedTuple):
    """Activated or raw maps of the stem (stride 2, or 4 where it pools) and of the stages that end at 4, 8, 16 and 32
    (or the output stride).
    """

    stem: Tensor
    res2: Tensor
    res3: Tensor
    res4: Tensor
    res5: Tensor


class AxialResNet(nn.Module):
    """Maps [B, 3, H, W] to the raw sums after the stem and each stage; `activated` gives what decoders see.

    `channels`: of the five maps. `recompute`: blocks are computed again in the backward pass instead of being kept.
    """

    def __init__(self, options: AxialResNetOptions) -> None:
        super().__init__()
        self.options = options
        self.recompute = False
        self.activation = ACTIVATIONS[options.activation]
        norm = norm_layer(eps=options.norm_eps, momentum=options.norm_momentum)
        self.stem, channels = _stem(options, norm, self.activation)
        self.channels = [channels]
        self.stages = nn.ModuleDict()
        for number in range(1 if options.kind == "wide_resnet" else 2, 6):
            blocks = []
            for plan in plans(options, number):
                blocks.append(Block(channels, plan, options, norm))
                channels = plan.filters[-1]
            self.stages[f"stage{number}"] = nn.Sequential(*blocks)
            if number > 1:
                self.channels.append(channels)

    def forward(self, images: Tensor) -> Maps:
        x = self.stem(images)
        if self.options.pool:
            x = F.max_pool2d(self.activation(x), 3, stride=2, padding=1)
        found = [x]
        for name, blocks in self.stages.items():
            for block in blocks.children():
                x = self._run(block, x)
            if name != "stage1":
                found.append(x)
        return Maps(*found)

    def activated(self, maps: Maps) -> Maps:
        """Return the maps after the activation."""
        return Maps(*(self.activation(x) for x in maps))

    def _run(self, block: nn.Module, x: Tensor) -> Tensor:
        if not (self.recompute and self.training):
            return block(x)

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), _statistics_kept(block)

        return recomputed(block, x, use_reentrant=False, context_fn=contexts)


class BlockPlan(NamedTuple):
    """One block: its channels and how it sees neighbours.

    `filters`: outputs of its convolutions, (3 x 3, 3 x 3) or (1 x 1, 3 x 3 or attention, 1 x 1). `dilations`: of the
    3 x 3 convolutions. `base`: the stage's base number of channels, from which attention takes its depths.
    """

    filters: tuple[int, ...]
    dilations: tuple[int, ...]
    base: int
    stride: int
    axial: bool
    switchable: bool
    drop_path: float


def plans(options: AxialResNetOptions, stage: int) -> list[BlockPlan]:
    """Return the blocks of a stage (1 to 5). Strides are those that the stage has before anything is dilated."""
    wide = options.kind == "wide_resnet"
    halves = not (stage == 1 or (stage == 2 and options.pool))
    end = 2**stage
    start = end // 2 if halves else end
    base = round(16 * end * (options.stem_width if stage == 1 else options.width))
    count = 3 if stage == 1 else int(options.blocks[stage - 2] * options.layers)
    found = []
    for number in range(count):
        current = start if number == 0 else end
        dilation = max(1, current // options.output_stride)
        second = max(1, end // options.output_stride) if number == 0 else dilation
        if stage == 5 and options.multi_grid is not None:
            dilation = second = max(1, end // options.output_stride) * options.multi_grid[number]
        axial = current >= options.axial_from > 0
        basic = wide and end < 32 and not axial
        if axial:
            filters: tuple[int, ...] = (base * options.expansion, base, 4 * base)
        elif basic:
            filters = (4 * base, 4 * base)
        else:
            filters = (base, 2 * base, 4 * base) if wide else (base, base, 4 * base)
        depth = (math.log2(current) - 1) / 4
        found.append(
            BlockPlan(
                filters=filters,
                dilations=(dilation, second) if basic else (dilation,),
                base=base,
                stride=2 if number == 0 and halves and start < options.output_stride else 1,
                axial=axial,
                switchable=end >= options.sac_from > 0,
                drop_path=options.drop_path * depth if current >= options.drop_path_from else 0.0,
            )
        )
    return found


class Block(nn.Module):
    """A residual block: the raw sum [B, inputs, H, W] in, the next one out."""

    def __init__(self, inputs: int, plan: BlockPlan, options: AxialResNetOptions, norm: NormLayer) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[options.activation]
        self.stride, outputs = plan.stride, plan.filters[-1]
        self.shortcut = (
            ConvNorm(inputs, outputs, 1, norm=norm, activation=None, stride=plan.stride) if inputs != outputs else None
        )
        layers = list(self._layers(inputs, plan, options, norm))
        assert isinstance(layers[-1], ConvNorm)
        nn.init.zeros_(layers[-1].norm.weight)
        self.branch = nn.Sequential(*layers)
        self.squeeze_excite = SqueezeExcite(outputs) if options.squeeze_excite else None
        self.drop_path = DropPath(plan.drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(x)
        shortcut = x[:, :, :: self.stride, :: self.stride] if self.shortcut is None else self.shortcut(x)
        x = self.branch(x)
        if self.squeeze_excite is not None:
            x = self.squeeze_excite(x)
        return self.drop_path(x) + shortcut

    def _layers(
        self, inputs: int, plan: BlockPlan, options: AxialResNetOptions, norm: NormLayer
    ) -> Iterator[nn.Module]:
        activation = self.activation
        if len(plan.filters) == 2:
            for number, (outputs, dilation) in enumerate(zip(plan.filters, plan.dilations, strict=True)):
                yield ConvNorm(
                    inputs,
                    outputs,
                    3,
                    norm=norm,
                    activation=None if number else activation,
                    stride=1 if number else plan.stride,
                    dilation=dilation,
                    switchable=plan.switchable,
                )
                inputs = outputs
            return
        narrow, middle, outputs = plan.filters
        yield ConvNorm(inputs, narrow, 1, norm=norm, activation=activation)
        if plan.axial:
            value = plan.base * options.value_expansion
            yield ActivatedAttention(
                AxialAttention2d(
                    narrow,
                    key=plan.base * options.key_expansion,
                    value=value,
                    heads=options.heads,
                    span=options.span,
                    distances=options.distances,
                    norm=norm,
                    stride=plan.stride,
                ),
                activation,
            )
            middle = value
        else:
            yield ConvNorm(
                narrow,
                middle,
                3,
                norm=norm,
                activation=activation,
                stride=plan.stride,
                dilation=plan.dilations[0],
                switchable=plan.switchable,
            )
        yield ConvNorm(middle, outputs, 1, norm=norm, activation=None)


class ActivatedAttention(nn.Module):
    """Applies attention and an activation, in the place of a convolution."""

    def __init__(self, attention: AxialAttention2d, activation: Activation) -> None:
        super().__init__()
        self.attention, self.activation = attention, activation

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.attention(x))


def _stem(options: AxialResNetOptions, norm: NormLayer, activation: Activation) -> tuple[nn.Module, int]:
    """Return the stem (its last norm is not activated) and its channels."""
    narrow, wide = round(64 * options.stem_width), round(128 * options.stem_width)
    if options.kind != "resnet_beta":
        kernel = 7 if options.kind == "resnet" else 3
        return nn.Sequential(ConvNorm(3, narrow, kernel, norm=norm, activation=None, stride=2)), narrow
    layers = (
        ConvNorm(3, narrow, 3, norm=norm, activation=activation, stride=2),
        ConvNorm(narrow, narrow, 3, norm=norm, activation=activation),
        ConvNorm(narrow, wide, 3, norm=norm, activation=None),
    )
    return nn.Sequential(*layers), wide


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Running statistics of batch norms stay as they are inside: a batch that is computed again counts once."""
    norms = [module for module in block.modules() if isinstance(module, nn.modules.batchnorm._NormBase)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
