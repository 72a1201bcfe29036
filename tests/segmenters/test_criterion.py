"""The set loss against the criterion of transformers, and what it does where that one fails."""

import numpy as np
import pytest
import torch
from torch import nn

from harness.segmenters.criterion import Layer, LossWeights, Points, SetCriterion, sample_points

POINTS = 64


def lattice(*shape, device=None):
    """Points that are the same for every mask, so that implementations that draw in another order compare."""
    count = shape[-2]
    values = torch.from_numpy(np.random.default_rng(count).random((count, 2), dtype=np.float32))
    return values.expand(*shape[:-2], count, 2).clone()


def case(seed, counts=(3, 1), queries=6, classes=5):
    generator = torch.Generator().manual_seed(seed)
    layers = [
        Layer(
            torch.randn(len(counts), queries, classes + 1, generator=generator, requires_grad=True),
            torch.randn(len(counts), queries, 8, 16, generator=generator, requires_grad=True),
        )
        for _ in range(2)
    ]
    kinds = [torch.randint(classes, (n,), generator=generator) for n in counts]
    masks = [torch.rand(n, 32, 64, generator=generator) > 0.7 for n in counts]
    return layers, kinds, masks


@pytest.mark.parametrize("seed", range(5))
def test_losses_and_gradients_equal_those_of_transformers(monkeypatch, seed):
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerConfig, Mask2FormerLoss

    layers, kinds, masks = case(seed)
    monkeypatch.setattr(torch, "rand", lattice)
    config = Mask2FormerConfig(num_labels=5, train_num_points=POINTS)
    weights = {"loss_cross_entropy": 2.0, "loss_mask": 5.0, "loss_dice": 5.0}
    theirs = Mask2FormerLoss(config, weights)
    auxiliary = [{"class_queries_logits": layers[0].classes, "masks_queries_logits": layers[0].masks}]
    floats = [mask.float() for mask in masks]
    reference = theirs(layers[1].masks, layers[1].classes, floats, kinds, auxiliary_predictions=auxiliary)
    total = sum(value * next(w for k, w in weights.items() if name.startswith(k)) for name, value in reference.items())
    wanted = torch.autograd.grad(total.sum(), [t for layer in layers for t in layer])

    ours = SetCriterion(num_classes=5, weights=LossWeights(), points=Points(POINTS))(layers, kinds, masks)
    found = torch.autograd.grad(sum(ours.values()), [t for layer in layers for t in layer])
    assert sum(ours.values()).item() == pytest.approx(total.sum().item(), rel=1e-5)
    for ours_grad, theirs_grad in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours_grad, theirs_grad, rtol=1e-4, atol=1e-6)


def test_images_without_targets_train_the_no_object_class_alone():
    layers, _, _ = case(0, counts=(2, 2))
    empty = [torch.zeros(0, dtype=torch.int64)] * 2, [torch.zeros(0, 32, 64, dtype=torch.bool)] * 2
    losses = SetCriterion(num_classes=5, points=Points(POINTS))(layers, *empty)
    sum(losses.values()).backward()
    assert losses["mask"].item() == losses["dice"].item() == 0.0
    assert losses["class"].item() > 0
    assert layers[0].classes.grad.abs().sum() > 0
    assert layers[0].masks.grad.abs().sum() == 0


def test_more_targets_than_queries_leaves_some_unmatched_and_uncounted():
    layers, kinds, masks = case(0, counts=(9,), queries=4)
    criterion = SetCriterion(num_classes=5, points=Points(POINTS))
    matching = criterion.match(layers, kinds, masks)
    assert ((matching.queries >= 0).sum(1) == 4).all()
    assert torch.isfinite(sum(criterion.losses(layers, kinds, masks, matching).values()))


def test_the_right_query_is_matched():
    masks = torch.zeros(2, 8, 16, dtype=torch.bool)
    masks[0, :, :8], masks[1, :, 8:] = True, True
    mask_logits = torch.stack([masks[1], ~masks[0] & ~masks[1], masks[0]]).float()[None] * 20 - 10
    class_logits = torch.zeros(1, 3, 6)
    class_logits[0, 2, 4] = class_logits[0, 0, 1] = 9.0
    criterion = SetCriterion(num_classes=5, points=Points(POINTS))
    matching = criterion.match([Layer(class_logits, mask_logits)], [torch.tensor([4, 1])], [masks])
    assert matching.queries.tolist() == [[2, 0]]


def test_extra_cost_can_overrule():
    layers, kinds, masks = case(1, counts=(1,), queries=3)
    far = [[torch.tensor([[1e6], [0.0], [1e6]])]] * 2
    matching = SetCriterion(num_classes=5, points=Points(POINTS)).match(layers, kinds, masks, far)
    assert matching.queries.tolist() == [[1], [1]]


def test_points_are_read_at_pixel_centres():
    maps = torch.arange(8.0).view(1, 1, 2, 4)
    centres = torch.tensor([[[0.125, 0.25], [0.875, 0.75]]])
    assert sample_points(maps, centres).tolist() == [[[0.0, 7.0]]]


def test_no_object_has_its_weight():
    criterion = SetCriterion(num_classes=3, weights=LossWeights(no_object=0.1))
    reference = nn.functional.cross_entropy(torch.zeros(4, 4), torch.tensor([3, 3, 3, 0]), torch.tensor([1, 1, 1, 0.1]))
    layer = Layer(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4, 4))
    losses = criterion([layer], [torch.tensor([0])], [torch.ones(1, 8, 8, dtype=torch.bool)])
    assert losses["class"].item() == pytest.approx(2 * reference.item())
