"""The weights that mini segmenters start from: what is kept of a network is what a later training begins with."""

import re

import pytest
import torch
from safetensors.torch import load_file

from harness.core.config import parse
from harness.core.errors import HarnessError
from harness.data.cityscapes import CITYSCAPES
from harness.planning.suite import load_part
from harness.segmenters.base import SegmenterPart
from harness.tiny_training import segmenter
from harness.tiny_training.loop import TimeBudget
from harness.tiny_training.segmenter import STARTS, save, scenes, train_start


def part_of(name, **backbone):
    data, path = load_part("segmenters", name, "mini")
    for known in data["backbones"].values():
        known.pop("weights", None), known.pop("checkpoint", None)
        known |= backbone
    return parse(SegmenterPart, data, path)


def trained(name, root, state, steps, batch=1):
    network, _ = train_start(
        STARTS[name],
        root,
        seed=0,
        batch=batch,
        budget=TimeBudget(minutes=1, steps=steps),
        state=state,
        device="cpu",
    )
    return network


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return scenes(tmp_path_factory.mktemp("pool"), seed=5, count=3)


def state_of(network, keep=lambda name: True):
    return {name: value for name, value in network.state_dict().items() if keep(name)}


def test_a_whole_network_begins_where_another_ended_but_for_its_class_head(root, tmp_path):
    network = trained("oneformer_convnext", root, tmp_path / "state.pt", 1)
    save(network, STARTS["oneformer_convnext"], tmp_path / "kept")
    part = part_of("oneformer", checkpoint=str(tmp_path / "kept"))
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        found.append(part.build("convnext", CITYSCAPES))
    body = state_of(found[0].model, lambda name: "class_embed" not in name)
    for name, value in body.items():
        assert value.dtype == torch.float32 or not value.is_floating_point(), name
        assert torch.equal(value, network.model.state_dict()[name].half().to(value.dtype)), name
    first, second = (net.model.model.transformer_module.decoder.class_embed.weight for net in found)
    assert not torch.equal(first, second), "the head is drawn by each training"
    assert not torch.equal(first, network.model.model.transformer_module.decoder.class_embed.weight)


@pytest.mark.parametrize("name", ["panoptic_deeplab", "axial_l", "kmax"])
def test_a_network_of_the_deeplab_line_begins_where_another_ended_but_for_its_class_heads(name, root, tmp_path):
    start = STARTS[name]
    network = trained(name, root, tmp_path / "state.pt", 1, batch=2)
    save(network, start, tmp_path / "kept")
    part = part_of(start.segmenter, checkpoint=str(tmp_path / "kept"))
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        found.append(part.build(start.backbone, CITYSCAPES))
    learnt, first, second = (net.state_dict() for net in (network, *found))
    anew = {name for name in learnt if re.fullmatch(network.class_heads, name)}
    assert anew and not anew & set(load_file(tmp_path / "kept/model.safetensors"))
    for name, value in first.items():
        if name in anew:
            assert value.dim() == 1 or not torch.equal(value, second[name]), "the head is drawn by each training"
        else:
            assert torch.equal(value, learnt[name].half().to(value.dtype)), name


def test_weights_too_large_for_half_precision_are_not_kept(root, tmp_path):
    network = trained("panoptic_deeplab", root, tmp_path / "state.pt", 1, batch=2)
    network.backbone.stem[0].norm.running_var.fill_(1e6)
    with pytest.raises(HarnessError, match=r"too large for half precision: backbone.stem.0.norm.running_var"):
        save(network, STARTS["panoptic_deeplab"], tmp_path / "kept")
    assert not (tmp_path / "kept/model.safetensors").exists()


def test_a_backbone_alone_serves_both_networks_on_a_resnet(root, tmp_path):
    network = trained("resnet", root, tmp_path / "state.pt", 1)
    save(network, STARTS["resnet"], tmp_path / "kept")
    learnt = network.model.model.pixel_level_module.encoder.state_dict()
    sizes = part_of("mask2former").chosen("resnet50").config
    given = {"weights": str(tmp_path / "kept"), "config": sizes}
    parts = [part_of(name, **given) for name in ("mask2former", "fastinst")]
    mask2former, fastinst = (part.build("resnet50", CITYSCAPES) for part in parts)
    for other in (mask2former.model.model.pixel_level_module.encoder, fastinst.backbone):
        found = other.state_dict()
        shared = [name for name in found if name in learnt and found[name].is_floating_point()]
        assert len(shared) > 20
        assert all(torch.equal(found[name], learnt[name].half().float()) for name in shared)


def test_a_killed_pretraining_ends_with_the_same_weights(root, tmp_path, monkeypatch):
    monkeypatch.setattr("harness.tiny_training.loop._SAVE_EVERY", 0.0)
    monkeypatch.setattr("harness.tiny_training.loop._LOG_EVERY", 1)
    whole = trained("resnet", root, tmp_path / "whole.pt", 3)
    plain = segmenter.Loader.batch

    def dying(loader, step, part):
        if step == 2:
            raise KeyboardInterrupt
        return plain(loader, step, part)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(segmenter.Loader, "batch", dying)
        trained("resnet", root, tmp_path / "broken.pt", 3)
    resumed = trained("resnet", root, tmp_path / "broken.pt", 3)
    ours, theirs = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
