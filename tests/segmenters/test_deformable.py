"""Deformable attention; the oracle is transformers' own function, in a module that ours is never installed in."""

import subprocess
import sys

import torch
from transformers.models.deformable_detr import modeling_deformable_detr as untouched

from harness.segmenters.deformable import attend

SHAPES = [(3, 5), (6, 10), (12, 20)]


def drawn(batch: int, heads: int, queries: int, points: int, *, seed: int) -> tuple[torch.Tensor, ...]:
    source = torch.Generator().manual_seed(seed)
    value = torch.randn(batch, sum(h * w for h, w in SHAPES), heads, 8, generator=source, dtype=torch.float64)
    places = (
        1.4 * torch.rand(batch, queries, heads, len(SHAPES), points, 2, generator=source, dtype=torch.float64) - 0.2
    )
    weights = torch.rand(batch, queries, heads, len(SHAPES), points, generator=source, dtype=torch.float64)
    return tuple(tensor.requires_grad_() for tensor in (value, places, weights))


def test_values_and_gradients_are_those_of_transformers():
    oracle = untouched.MultiScaleDeformableAttention()
    for seed, sizes in enumerate([(1, 1, 1, 1), (2, 4, 7, 4), (3, 2, 300, 3)]):
        value, places, weights = drawn(*sizes, seed=seed)
        theirs = oracle(value, None, SHAPES, None, places, weights, 64)
        ours = attend(value, SHAPES, places, weights)
        assert torch.allclose(ours, theirs, atol=1e-12), "places outside the maps are among them"
        upstream = torch.randn(theirs.shape, dtype=torch.float64)
        for found, expected in zip(
            torch.autograd.grad(ours, (value, places, weights), upstream),
            torch.autograd.grad(theirs, (value, places, weights), upstream),
            strict=True,
        ):
            assert torch.allclose(found, expected, atol=1e-12)


def test_both_networks_run_it():
    code = (
        "from transformers.models.oneformer import modeling_oneformer as one\n"
        "from transformers.models.mask2former import modeling_mask2former as two\n"
        "import harness.segmenters.oneformer.network, harness.segmenters.mask2former.network\n"
        "from harness.segmenters.deformable import attend\n"
        "assert one.multi_scale_deformable_attention is two.multi_scale_deformable_attention is attend\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
