"""First weights: queries that differ, maps that are not near zero, published weights left alone."""

import pytest
import torch
import toy

from harness.core.config import parse
from harness.data.cityscapes import CITYSCAPES
from harness.segmenters.mask2former.adapter import Mask2Former
from harness.segmenters.mask2former.options import Model as MaskModel
from harness.segmenters.network import Sample
from harness.segmenters.oneformer.adapter import OneFormer
from harness.segmenters.oneformer.options import Model
from harness.segmenters.options import Backbone


def oneformer(backbone=None, **model):
    torch.manual_seed(0)
    chosen = backbone or parse(Backbone, toy.BACKBONES["convnext"], "toy")
    return OneFormer.build(chosen, parse(Model, toy.ONEFORMER | model, "toy"), CITYSCAPES)


def mask2former(backbone=None):
    torch.manual_seed(0)
    chosen = backbone or parse(Backbone, toy.BACKBONES["convnext"], "toy")
    return Mask2Former.build(chosen, parse(MaskModel, toy.MASK2FORMER, "toy"), CITYSCAPES)


@pytest.mark.parametrize("build", [oneformer, mask2former])
def test_queries_and_levels_start_apart(build):
    module = build().model.model
    assert module.transformer_module.queries_embedder.weight.std().item() == pytest.approx(1.0, abs=0.1)
    assert module.transformer_module.level_embed.weight.std().item() == pytest.approx(1.0, abs=0.2)
    assert module.pixel_level_module.decoder.level_embed.std().item() == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("build", [oneformer, mask2former])
def test_published_weights_are_not_drawn_anew(build, tmp_path):
    network = build()
    network.model.save_pretrained(tmp_path)
    loaded = build(Backbone(label="x", family="convnext", checkpoint=str(tmp_path)))
    ours, theirs = network.model.state_dict(), loaded.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_one_batch_is_learned_in_sixty_steps():
    network = oneformer(tasks=["panoptic"], text_contrastive=False, points=0)
    samples = [Sample(name=str(n), image=image, ids=ids, seed=n) for n in range(2) for image, ids in [toy.scene(n)]]
    batch = network.collate(samples)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1.5e-3)
    losses = []
    for _ in range(60):
        found = network(batch)
        sum(found.values()).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(found["class"].item())
    assert losses[-1] < 0.4 * losses[0]
