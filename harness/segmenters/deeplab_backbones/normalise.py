"""This module normalises images as the DeepLab line does."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Normalisation = Literal["inception", "imagenet"]
_SCALES = {
    "inception": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}


def deeplab_pixels(images: Sequence[np.ndarray], *, normalisation: Normalisation, stride: int, corners: bool) -> Tensor:
    """Return images uint8 [H, W, 3] of one size as float32 [B, 3, H', W'], padded with 0 at the right and the bottom.

    To multiples of `stride`, and with `corners` one pixel more: the corners of all maps then lie on those of the image.
    """
    stack = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
    mean, deviation = (torch.tensor(values)[:, None, None] for values in _SCALES[normalisation])
    height, width = (-(size - corners) % stride for size in stack.shape[-2:])
    return F.pad((stack - mean) / deviation, (0, width, 0, height))
