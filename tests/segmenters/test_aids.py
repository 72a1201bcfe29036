"""Positions in the mask features and the class of every cell."""

import numpy as np
import pytest
import torch

from harness.data.cityscapes import CITYSCAPES
from harness.segmenters.aids import WAVES, Aids, label_maps, waves
from harness.segmenters.network import Sample


def aids(*, located=False, semantic_weight=0.0):
    return Aids(hidden=8, num_classes=19, located=located, semantic_weight=semantic_weight)


def test_as_published_there_are_none():
    off, features = aids(), torch.randn(1, 8, 4, 6)
    assert list(off.parameters()) == []
    assert off.locate(features) is features
    assert off.losses(features, None) == {}


def test_no_two_cells_have_the_same_waves():
    found = waves(torch.zeros(1, 8, 16, 32))
    assert found.shape == (1, 4 * len(WAVES), 16, 32)
    cells = found[0].flatten(1).T
    apart = torch.cdist(cells, cells) + torch.eye(len(cells))
    assert apart.min() > 0.1


def test_waves_depend_on_the_share_of_the_side():
    small, large = waves(torch.zeros(1, 1, 1, 3)), waves(torch.zeros(1, 1, 3, 9))
    torch.testing.assert_close(small[..., 0, 1], large[..., 1, 4])


def test_the_class_loss_is_the_cross_entropy_of_cell_middles():
    on = aids(semantic_weight=5.0)
    torch.nn.init.zeros_(on.semantic.weight)
    with torch.no_grad():
        on.semantic.bias[:] = 0.0
        on.semantic.bias[3] = 20.0
    labels = torch.full((1, 16, 24), 3)
    assert on.losses(torch.zeros(1, 8, 4, 6), labels)["semantic"].item() == pytest.approx(0, abs=1e-4)
    assert on.losses(torch.zeros(1, 8, 4, 6), labels * 0)["semantic"].item() == pytest.approx(100, rel=1e-3)


def test_label_maps_know_groups_void_and_the_class_list():
    ids = np.array([[7, 26, 26001], [0, 29000, 24003]], dtype=np.int32)
    sample = Sample(name="x", image=np.zeros((2, 3, 3), np.uint8), ids=ids, seed=0)
    every = label_maps([sample], CITYSCAPES, CITYSCAPES.evaluated, (3, 4))[0]
    names = [label.name for label in CITYSCAPES.evaluated] + ["-"]
    assert [[names[k] for k in row] for row in every.tolist()] == [
        ["road", "car", "car", "-"],
        ["-", "-", "person", "-"],
        ["-"] * 4,
    ]
    things = label_maps([sample], CITYSCAPES, CITYSCAPES.things, (2, 3))[0]
    assert things[0, 0] == len(CITYSCAPES.things)
    assert CITYSCAPES.things[things[0, 2]].name == "car"
