"""The DeepLab line is built of these layers: convolutions with norm, switchable atrous convolution, squeeze and
excitation, drop path.

Convolutions pad both sides alike, whatever their stride, so that maps stay aligned with the corners of the image.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Callable[[Tensor], Tensor]
NormLayer = Callable[[int], nn.BatchNorm2d]
"""A new batch norm for a number of channels."""

ACTIVATIONS: dict[str, Activation] = {"relu": F.relu, "gelu": F.gelu}


def norm_layer(*, eps: float, momentum: float) -> NormLayer:
    """Batch norms with these settings."""
    return lambda channels: nn.BatchNorm2d(channels, eps=eps, momentum=momentum)


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm, activation (none when it is None). [B, inputs, H, W] -> [B, outputs, ...].

    `switchable`: the convolution is a SwitchableConv.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        norm: NormLayer,
        activation: Activation | None,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        switchable: bool = False,
    ) -> None:
        super().__init__()
        self.conv: SwitchableConv | nn.Conv2d
        if switchable:
            self.conv = SwitchableConv(inputs, outputs, kernel, stride=stride, dilation=dilation)
        else:
            self.conv = plain_conv(inputs, outputs, kernel, stride=stride, dilation=dilation, groups=groups)
        self.norm = norm(outputs)
        self.activation = activation

    @property
    def kernel(self) -> Tensor:
        """The weights of the convolution."""
        return self.conv.conv.weight if isinstance(self.conv, SwitchableConv) else self.conv.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        return x if self.activation is None else self.activation(x)


class SeparableConv(nn.Module):
    """A depthwise and a pointwise convolution, each with norm and activation."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, norm: NormLayer, activation: Activation, dilation: int = 1
    ) -> None:
        super().__init__()
        self.depthwise = ConvNorm(
            inputs, inputs, kernel, norm=norm, activation=activation, dilation=dilation, groups=inputs
        )
        self.pointwise = ConvNorm(inputs, outputs, 1, norm=norm, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))


class SwitchableConv(nn.Module):
    """Switchable atrous convolution (DetectoRS, Qiao et al., CVPR 2021) as SWideRNet has it.

    y = S * conv(x, 3 r) + (1 - S) * conv(x, r): one kernel at two dilations, S a linear function of the 5 x 5 average
    of x. A global context is added before and after. With a stride there is no switch. All additions start at zero.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.before = GlobalContext(inputs)
        self.conv = plain_conv(inputs, outputs, kernel, stride=stride, dilation=dilation)
        self.switch = _zero_conv(inputs, 1) if stride == 1 else None
        self.after = GlobalContext(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        y = self.conv(x)
        if self.switch is not None:
            switch = self.switch(F.avg_pool2d(x, 5, stride=1, padding=2, count_include_pad=False))
            dilation = 3 * self.conv.dilation[0]
            padding = dilation * (self.conv.kernel_size[0] // 2)
            y = y + switch * (F.conv2d(x, self.conv.weight, padding=padding, dilation=dilation) - y)
        return self.after(y)


class GlobalContext(nn.Module):
    """Adds a linear function of the image's mean to every pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _zero_conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x.mean((2, 3), keepdim=True))


class SqueezeExcite(nn.Module):
    """Scales channels by a hard sigmoid of one linear layer on the image's mean (Lee and Park, CVPR 2020)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _zero_conv(channels, channels)
        he_normal_(self.conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.conv(x.mean((2, 3), keepdim=True)))


class DropPath(nn.Module):
    """Leaves a residual branch out of a `share` of the images of a training batch, and scales the others up."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.share == 0:
            return x
        kept = torch.rand(len(x), *[1] * (x.dim() - 1), device=x.device) >= self.share
        return x * kept.to(x.dtype) / (1 - self.share)


@torch.no_grad()
def move_statistics(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    """Let the running statistics follow those of a batch of `count` values, as the norm itself would."""
    assert norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None
    assert norm.momentum is not None
    norm.running_mean.lerp_(mean.to(norm.running_mean), norm.momentum)
    norm.running_var.lerp_((variance * count / max(count - 1, 1)).to(norm.running_var), norm.momentum)
    norm.num_batches_tracked.add_(1)


def plain_conv(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Conv2d:
    """Return a convolution without bias that pads by its reach; weights from `he_normal_`."""
    reach = dilation * (kernel // 2)
    conv = nn.Conv2d(
        inputs, outputs, kernel, stride=stride, padding=reach, dilation=dilation, groups=groups, bias=False
    )
    he_normal_(conv.weight)
    return conv


def he_normal_(weight: Tensor) -> None:
    """Keras' he_normal: N(0, 2 / fan-in) cut at two standard deviations and widened to keep its variance."""
    truncated_normal_(weight, math.sqrt(2 / weight[0].numel()) / 0.87962566103423978)


def truncated_normal_(weight: Tensor, deviation: float) -> None:
    """Keras' TruncatedNormal: N(0, deviation^2) cut at two standard deviations."""
    nn.init.trunc_normal_(weight, std=deviation, a=-2 * deviation, b=2 * deviation)


def resized(x: Tensor, size: tuple[int, int], *, align_corners: bool) -> Tensor:
    """`x` [B, C, H, W] at `size`, bilinearly."""
    if tuple(x.shape[-2:]) == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


def _zero_conv(inputs: int, outputs: int) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, 1)
    for weights in conv.parameters():
        nn.init.zeros_(weights)
    return conv
