"""The losses of Panoptic-DeepLab are computed at the size of the crop: each is a mean over an image, then over the
batch.

A mean is taken over the pixels whose loss is not zero, as in DeepLab2.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.data.labels import IGNORE


def semantic_loss(logits: Tensor, classes: Tensor, weights: Tensor, hardest: float) -> Tensor:
    """Weighted cross entropy of the `hardest` share of each image's pixels.

    logits [B, K, H, W], classes int64 [B, H, W] with IGNORE, weights float [B, H, W].
    """
    losses = F.cross_entropy(logits.float(), classes, ignore_index=IGNORE, reduction="none") * weights
    losses = losses.flatten(1)
    if hardest < 1:
        losses = losses.topk(round(hardest * losses.shape[1]), sorted=False).values
    return mean_of_nonzero(losses)


def heatmap_loss(found: Tensor, heatmap: Tensor, weights: Tensor) -> Tensor:
    """Squared differences of heatmaps [B, H, W]."""
    return mean_of_nonzero(((found.float() - heatmap).square() * weights).flatten(1))


def offset_loss(found: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """Absolute differences of offsets [B, 2, H, W] in pixels, the mean of both axes; weights [B, H, W]."""
    return mean_of_nonzero(((found.float() - offsets).abs().mean(1) * weights).flatten(1))


def mean_of_nonzero(losses: Tensor) -> Tensor:
    """Return the mean over the batch of each image's mean over losses that are not zero; losses [B, N]."""
    counts = torch.count_nonzero(losses.detach(), 1).clamp(min=1)
    return (losses.sum(1) / counts).mean()
