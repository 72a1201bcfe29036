"""Two processes on one batch: the losses of one, a share each, one that writes, one that tells of a failure."""

import json
import os

import pytest
import torch
import toy
from torch import nn

from harness.core.errors import HarnessError
from harness.core.progress import silent
from harness.data.cityscapes import CITYSCAPES
from harness.data.mix import Mix, Stream
from harness.data.tree import Tree
from harness.segmenters import processes
from harness.segmenters.checkpoint import CONFIG, STATE, WEIGHTS, load, read
from harness.segmenters.options import Training
from harness.segmenters.training import LOG, train
from harness.stages import train as stage


class Plain(nn.Module):
    """A network whose loss is a mean over images: nothing in it depends on who shares the batch."""

    backbone_prefix = "backbone."
    filled: frozenset[str] = frozenset()

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)
        self.seen = []

    def collate(self, samples):
        self.seen.append([sample.name for sample in samples])
        images = torch.stack([torch.from_numpy(sample.image.copy()) for sample in samples])
        return {"pixels": images.permute(0, 3, 1, 2) / 255.0}

    def forward(self, batch):
        features = self.backbone(batch["pixels"]).relu().mean((2, 3))
        return {"colour": (self.head(features) - batch["pixels"].mean((2, 3))).square().mean()}


def go(task, report):
    """Train a Plain in a folder of this process; told: who writes, and what each saw."""
    root, out, changes = task
    network = Plain()
    training = Training.model_validate_json(json.dumps(toy.TRAINING | changes))
    stream = Stream(labels=CITYSCAPES, real=tuple(Tree(root).frames("train")), synthetic=(), mix=Mix(), seed=0)
    train(network, stream, None, training, out=out, report=report)
    (root.parent / f"seen{os.environ.get('RANK', '')}.json").write_text(json.dumps(network.seen))


CHANGES = {"iterations": 5, "batch_size": 4, "log_every": 1, "learning_rate": 0.05, "grad_clip": 0.5}


def test_two_processes_have_the_losses_of_one_and_a_share_each(tmp_path):
    root, told = toy.tree(tmp_path / "tree"), []
    go((root, tmp_path / "one", CHANGES), silent)
    processes.run(2, go, (root, tmp_path / "two", CHANGES), lambda *progress: told.append(progress))
    one, two = ([json.loads(x) for x in (tmp_path / name / LOG).read_text().splitlines()] for name in ("one", "two"))
    assert [row["step"] for row in two] == [1, 2, 3, 4, 5]
    assert [row["loss"] for row in two] == pytest.approx([row["loss"] for row in one], abs=1e-5)
    assert one[0]["loss"] > 2e-5
    assert len({row["loss"] for row in one}) == 5
    whole, *shares = (json.loads((tmp_path / f"seen{who}.json").read_text()) for who in ("", "0", "1"))
    for step in range(5):
        assert [len(share[step]) for share in shares] == [2, 2]
        assert sorted(shares[0][step] + shares[1][step]) == sorted(whole[step])
    assert [progress[0] for progress in told] == [0, 1, 2, 3, 4, 5]


def test_a_batch_that_cannot_be_shared_is_told_by_the_process_that_asked(tmp_path):
    root = toy.tree(tmp_path / "tree")
    with pytest.raises(HarnessError, match="3 images at a time cannot be shared by 2 devices"):
        processes.run(2, go, (root, tmp_path / "out", CHANGES | {"batch_size": 3}), silent)


def apart(task, report):
    """The stage's training, each process in a folder of its own."""
    spec, inputs, out = task
    stage._train((spec, inputs, out / os.environ["RANK"]), report)


def test_the_first_process_alone_writes(tmp_path):
    part = toy.part("mask2former", iterations=2, checkpoint_every=1, log_every=1)
    spec = stage.TrainSpec(segmenter=part, backbone="convnext", seed=0)
    processes.run(2, apart, (spec, {"dataset": Tree(toy.tree(tmp_path / "tree"))}, tmp_path / "out"), silent)
    first, second = ([p.name for p in (tmp_path / "out" / rank).rglob("*") if p.is_file()] for rank in "01")
    assert {LOG, CONFIG, WEIGHTS} <= set(first)
    assert STATE not in first
    assert second == []


def test_the_stage_trains_on_two_devices_under_the_same_key(tmp_path):
    root = toy.tree(tmp_path / "tree")
    spec = stage.TrainSpec(segmenter=toy.part("mask2former", iterations=2), backbone="convnext", seed=0, devices=2)
    facts = stage.run(spec, {"dataset": Tree(root)}, tmp_path / "out", silent)
    assert facts["images_seen"] == 4
    assert read(tmp_path / "out").facts == facts
    network = load(tmp_path / "out")
    assert all(torch.isfinite(value).all() for value in network.state_dict().values() if value.is_floating_point())
    keys = [s.decisive() for s in (spec, spec.model_copy(update={"devices": 1}))]
    assert keys[0] == keys[1]
    assert "devices" not in keys[0]
