"""Mask2Former: both tasks, both answers, checkpoints."""

import numpy as np
import pytest
import torch
import toy

from harness.core.config import parse
from harness.core.errors import HarnessError
from harness.data.cityscapes import CITYSCAPES
from harness.segmenters.mask2former.adapter import Mask2Former
from harness.segmenters.mask2former.options import Inference, Model
from harness.segmenters.network import Sample
from harness.segmenters.options import Backbone


def build(backbone="convnext", **model):
    torch.manual_seed(0)
    chosen = parse(Backbone, toy.BACKBONES[backbone], "toy")
    return Mask2Former.build(chosen, parse(Model, toy.MASK2FORMER | model, "toy"), CITYSCAPES)


def sample(number=0, things=3):
    image, ids = toy.scene(number, things=things)
    return Sample(name=str(number), image=image, ids=ids, seed=number)


@pytest.mark.parametrize("backbone", ["swin", "convnext"])
@pytest.mark.parametrize("task", ["instance", "panoptic"])
def test_a_step_reaches_every_parameter(backbone, task):
    network = build(backbone, task=task, located=True, semantic_weight=1.0)
    losses = network(network.collate([sample(1), sample(2)]))
    assert set(losses) == {"class", "mask", "dice", "semantic"}
    sum(losses.values()).backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None]
    assert [name for name in idle if not name.endswith(("swin.layernorm.weight", "swin.layernorm.bias"))] == []


@pytest.mark.parametrize("task", ["instance", "panoptic"])
def test_crops_without_things_or_with_void_alone_train(task):
    network = build(task=task)
    void = Sample(name="void", image=np.zeros((64, 128, 3), np.uint8), ids=np.zeros((64, 128), np.int32), seed=0)
    assert torch.isfinite(sum(network(network.collate([sample(things=0), void])).values()))


def test_the_instance_task_answers_instances_alone_and_panoptic_everything():
    image = toy.scene(0, size=(60, 100))[0]
    alone = build(task="instance").eval().predict([image], Inference(topk=5))[0]
    assert (alone.semantic, alone.panoptic) == (None, None)
    whole = build(task="panoptic").eval().predict([image], Inference(topk=5, short_side=32))[0]
    assert whole.semantic.shape == whole.panoptic.shape == (60, 100)
    assert all(instance.mask.shape == (60, 100) for instance in whole.instances)


def test_a_public_checkpoint_loads_and_its_class_head_is_made_anew(tmp_path):
    build(task="panoptic").model.save_pretrained(tmp_path)
    chosen = Backbone(label="x", family="convnext", checkpoint=str(tmp_path))
    loaded = Mask2Former.build(chosen, parse(Model, toy.MASK2FORMER | {"task": "instance"}, "toy"), CITYSCAPES)
    assert loaded.model.class_predictor.out_features == 9
    assert torch.isfinite(sum(loaded(loaded.collate([sample()])).values()))


def test_a_backbone_of_transformers_needs_its_family():
    with pytest.raises(HarnessError, match="backbone plain: `family` is missing"):
        Mask2Former.build(Backbone(label="plain"), Model(), CITYSCAPES)


def test_a_checkpoint_that_is_not_there_says_how_to_get_it(tmp_path):
    missing = Backbone(label="x", family="swin", checkpoint=str(tmp_path / "nowhere"))
    with pytest.raises(HarnessError, match="nowhere") as error:
        Mask2Former.build(missing, parse(Model, toy.MASK2FORMER, "toy"), CITYSCAPES)
    assert "a hub id owner/name" in error.value.hint
