"""This module computes multi-scale deformable attention (Zhu et al., 2021, eq. 3) in plain torch, for the pixel
decoders of transformers.

Same sums as transformers' own function, in an order that torch is quicker at: a level is added up before the next one
is sampled, with the queries, which are many, innermost. Nothing is compiled.
"""

from collections.abc import Sequence
from types import ModuleType

import torch.nn.functional as F
from torch import Tensor


def attend(value: Tensor, shapes: Sequence[tuple[int, int]], places: Tensor, weights: Tensor) -> Tensor:
    """Return what each query finds where it looks: [B, Q, M * D].

    `value` [B, sum of h * w, M, D] of all levels, `shapes` (h, w) of each, `places` [B, Q, M, levels, points, 2] (x, y
    in 0..1), `weights` [B, Q, M, levels, points].
    """
    batch, _, heads, width = value.shape
    grids = (2 * places - 1).permute(3, 0, 2, 4, 1, 5).flatten(1, 2)
    shares = weights.permute(3, 0, 2, 4, 1).flatten(1, 2)[:, :, None].contiguous()
    levels = value.split([h * w for h, w in shapes], dim=1)
    found: Tensor | None = None
    for level, size, grid, share in zip(levels, shapes, grids, shares, strict=True):
        maps = level.permute(0, 2, 3, 1).reshape(batch * heads, width, *size)
        seen = F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        summed = (seen * share).sum(2)
        found = summed if found is None else found + summed
    assert found is not None, "a pixel decoder has levels"
    return found.view(batch, heads * width, -1).transpose(1, 2)


def install(models: ModuleType) -> None:
    """Put `attend` in the place of the function of `models`, a module of transformers that holds a pixel decoder."""
    name = "multi_scale_deformable_attention"
    assert name in vars(models), models.__name__
    setattr(models, name, attend)
