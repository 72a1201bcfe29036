"""What can be wrong with data, weights and disk of a training: one clear message each."""

import numpy as np
import pytest
import toy

from harness.core.config import parse
from harness.core.errors import HarnessError
from harness.core.progress import silent
from harness.data import png
from harness.data.cityscapes import CITYSCAPES
from harness.data.tree import Tree
from harness.segmenters import checkpoint
from harness.segmenters.mask2former.adapter import Mask2Former
from harness.segmenters.mask2former.options import Model as Mask2FormerModel
from harness.segmenters.oneformer.adapter import OneFormer
from harness.segmenters.oneformer.options import Model
from harness.segmenters.options import Backbone
from harness.stages import train
from harness.weights import tensors


@pytest.fixture
def root(tmp_path):
    return toy.tree(tmp_path / "tree", train=2, val=1)


def fit(root, out):
    part = toy.part("mask2former", iterations=1)
    train.run(train.TrainSpec(segmenter=part, backbone="convnext", seed=0), {"dataset": Tree(root)}, out, silent)


@pytest.mark.parametrize("number", [99, 34, 64003, 900])
def test_a_class_id_outside_the_label_set_names_file_and_id(root, tmp_path, number):
    path = Tree(root).frames("train")[0].instance_ids
    ids = np.full((64, 128), 7, np.uint16)
    ids[3, 4] = number
    png.write(path, ids)
    with pytest.raises(HarnessError, match=rf"{path.name}: instance id {number} is of no label of cityscapes"):
        fit(root, tmp_path / "out")
    assert not (tmp_path / "out" / checkpoint.CONFIG).exists()


def test_an_empty_image_is_named(root, tmp_path):
    path = Tree(root).frames("train")[0].image
    path.write_bytes(b"")
    with pytest.raises(HarnessError, match=rf"{path.name}: the file is empty"):
        fit(root, tmp_path / "out")


def test_an_image_of_another_size_than_its_labels_is_named(root, tmp_path):
    path = Tree(root).frames("train")[0].image
    png.write(path, np.zeros((32, 64, 3), np.uint8))
    with pytest.raises(HarnessError, match=rf"{path.name}: \(32, 64\) pixels, but its labels have \(64, 128\)"):
        fit(root, tmp_path / "out")


def test_too_little_disk_is_told_before_the_first_step(root, tmp_path, monkeypatch):
    usage = tensors.shutil._ntuple_diskusage(10, 10, 2**10)
    monkeypatch.setattr(tensors.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(HarnessError, match=r"too little disk: the state of this training needs \d+ MiB, 0 MiB"):
        fit(root, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def made(adapter, model, settings, folder, backbone="convnext"):
    chosen = parse(Backbone, toy.BACKBONES[backbone], "toy")
    network = adapter.build(chosen, parse(model, settings, "toy"), CITYSCAPES)
    network.model.save_pretrained(folder)
    return network


@pytest.mark.parametrize("what", ["other network", "other backbone", "other width"])
def test_a_checkpoint_of_another_architecture_names_the_first_tensors(tmp_path, what):
    if what == "other network":
        made(Mask2Former, Mask2FormerModel, toy.MASK2FORMER, tmp_path)
        words = "of another architecture: expected oneformer, found mask2former"
    else:
        backbone = "swin" if what == "other backbone" else "convnext"
        made(OneFormer, Model, toy.ONEFORMER, tmp_path, backbone)
        config = (tmp_path / "config.json").read_text()
        changed = config.replace('"hidden_dim": 64', '"hidden_dim": 128').replace('"mask_dim": 64', '"mask_dim": 128')
        if what == "other backbone":
            changed = changed.replace('"embed_dim": 16', '"embed_dim": 32')
        (tmp_path / "config.json").write_text(changed)
        words = r"tensors differ\); first: model\.\S+: expected shape \(\S+.*\), found \("
    family = "swin" if what == "other backbone" else "convnext"
    chosen = Backbone(label="x", family=family, checkpoint=str(tmp_path))
    with pytest.raises(HarnessError, match=words):
        OneFormer.build(chosen, parse(Model, toy.ONEFORMER, "toy"), CITYSCAPES)


def test_a_trained_segmenter_of_other_sizes_names_the_first_tensors(root, tmp_path):
    fit(root, tmp_path / "out")
    path = tmp_path / "out" / checkpoint.CONFIG
    path.write_text(path.read_text().replace('"num_queries": 12', '"num_queries": 13'))
    with pytest.raises(HarnessError, match=r"queries\S*: expected shape \(13, 64\), found \(12, 64\)"):
        checkpoint.load(tmp_path / "out")
