"""The pixel decoder of kMaX-DeepLab goes from stride 32 to 4 or 2 by residual blocks, with skips from the backbone."""

from collections.abc import Sequence

from torch import Tensor, nn

from harness.segmenters.deeplab_backbones.axial_resnet import Block, BlockPlan, Maps
from harness.segmenters.deeplab_backbones.layers import ACTIVATIONS, ConvNorm, NormLayer, resized
from harness.segmenters.deeplab_backbones.options import AxialResNetOptions

DILATION = 2
"""Of the convolutions, as DeepLab2 has it (its PyTorch sibling does not dilate them)."""


class PixelDecoder(nn.Module):
    """Raw maps of the backbone -> the raw maps of its stages, coarse to fine; `channels` of each is 4 times its base.

    The first two stages are axial blocks, the others bottlenecks. Each map of the backbone is normalised by channel.
    """

    def __init__(
        self,
        inputs: Sequence[int],
        bases: Sequence[int],
        blocks: Sequence[int],
        options: AxialResNetOptions,
        norm: NormLayer,
    ) -> None:
        """`inputs`: channels of the backbone's maps, coarse to fine; `options`: of the backbone, for attention."""
        super().__init__()
        self.channels = [4 * base for base in bases]
        self.norms = nn.ModuleList(ChannelNorm(channels) for channels in inputs)
        self.stages, self.fusions = nn.ModuleList(), nn.ModuleList()
        current = inputs[0]
        for number, (base, count) in enumerate(zip(bases, blocks, strict=True)):
            if number:
                self.fusions.append(Fusion(current, inputs[number], base, options, norm))
                current = base
            stage = []
            for _ in range(count):
                stage.append(Block(current, _plan(base, options, axial=number < 2), options, norm))
                current = 4 * base
            self.stages.append(nn.Sequential(*stage))

    def forward(self, maps: Maps) -> list[Tensor]:
        normed = [norm(x) for norm, x in zip(self.norms, reversed(maps), strict=False)]
        x = normed[0]
        found = []
        for number, stage in enumerate(self.stages):
            if number:
                x = self.fusions[number - 1](x, normed[number])
            x = stage(x)
            found.append(x)
        return found


class Fusion(nn.Module):
    """The sum of a coarse and a fine map at the size of the fine one, each by activation, 1 x 1 convolution and norm;
    a map that has the channels already is taken as it is.
    """

    def __init__(self, coarse: int, fine: int, outputs: int, options: AxialResNetOptions, norm: NormLayer) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[options.activation]
        self.coarse, self.fine = (
            ConvNorm(channels, outputs, 1, norm=norm, activation=None) if channels != outputs else None
            for channels in (coarse, fine)
        )

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        size = (fine.shape[-2], fine.shape[-1])
        if self.coarse is not None:
            coarse = self.coarse(self.activation(coarse))
        if self.fine is not None:
            fine = self.fine(self.activation(fine))
        return resized(coarse, size, align_corners=True) + fine


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel of [B, C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _plan(base: int, options: AxialResNetOptions, *, axial: bool) -> BlockPlan:
    return BlockPlan(
        filters=(base * options.expansion if axial else base, base, 4 * base),
        dilations=(DILATION,),
        base=base,
        stride=1,
        axial=axial,
        switchable=False,
        drop_path=0.0,
    )
