"""Stage train: what it writes, what decides its key, resume."""

import json

import pytest
import torch
import toy

from harness.core.errors import HarnessError
from harness.core.progress import silent
from harness.data.cityscapes import CITYSCAPES
from harness.data.tree import Tree
from harness.segmenters import checkpoint
from harness.stages.train import TrainSpec, run


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return toy.tree(tmp_path_factory.mktemp("tree"))


def spec(seed=0, backbone="convnext", **training):
    return TrainSpec(segmenter=toy.part(**training), backbone=backbone, seed=seed)


def key(one):
    return json.dumps(one.model_dump(mode="json", exclude=TrainSpec.NOT_IN_KEY), sort_keys=True)


def test_the_key_holds_what_decides_the_weights_and_nothing_else():
    assert key(spec()) != key(spec(seed=1))
    assert key(spec()) != key(spec(iterations=5))
    assert key(spec()) != key(spec(backbone="swin"))
    other = TrainSpec(segmenter=toy.part(inference={"topk": 3}), backbone="convnext", seed=0)
    assert key(other) == key(spec())
    assert "toy Swin" not in key(spec()), "another backbone of the part does not matter"
    assert TrainSpec.model_validate_json(spec().model_dump_json()) == spec()


def test_budget_frames_and_files(root, tmp_path):
    facts = run(spec(), {"dataset": Tree(root), "synthesis": root}, tmp_path, silent)
    assert facts["images_seen"] == 8
    assert (facts["real_images"], facts["synthetic_images"]) == (6, 6)
    assert {p.name for p in tmp_path.iterdir()} == {"config.json", "model.safetensors", "log.jsonl", "harness"}
    assert run(spec(), {"dataset": Tree(root)}, tmp_path, silent) == facts, "a finished training is not done again"


@pytest.mark.parametrize("damage", ["deleted", "cut", "emptied"])
def test_a_training_that_lost_its_weights_is_done_again_and_says_so(root, tmp_path, caplog, damage):
    facts = run(spec(), {"dataset": Tree(root)}, tmp_path, silent)
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    weights.unlink() if damage == "deleted" else weights.write_bytes(whole[:-1] if damage == "cut" else b"")
    assert run(spec(), {"dataset": Tree(root)}, tmp_path, silent) == facts
    assert weights.read_bytes() == whole
    assert f"{weights} is damaged or gone" in caplog.text


@pytest.mark.parametrize(
    ("adapter", "model", "seen"),
    [
        ("oneformer", {}, "instanceIds"),
        ("mask2former", {"task": "panoptic"}, "instanceIds"),
        ("mask2former", {"task": "instance"}, "outlineIds"),
        ("fastinst", {}, "outlineIds"),
    ],
)
def test_segmenters_of_polygons_are_taught_by_those_of_a_synthesis(root, tmp_path, monkeypatch, adapter, model, seen):
    """As in the released scripts: OneFormer's panoptic images come from ids, detectron2's instances from polygons."""
    synthesis = toy.tree(tmp_path / "synthesis", train=2, val=1)
    first = Tree(synthesis).frames("train")[0]
    first.outline_ids.write_bytes(first.instance_ids.read_bytes())
    part = toy.part(adapter, model=model)
    built = part.kind.build(part.backbones["resnet"], part.model, CITYSCAPES)
    taught = []

    def fit(self, frames, *_, **__):
        taught.append(frames)
        raise KeyboardInterrupt

    monkeypatch.setattr(type(built), "fit", fit)
    one = TrainSpec(segmenter=part, backbone="resnet", seed=0)
    with pytest.raises(KeyboardInterrupt):
        run(one, {"dataset": Tree(root), "synthesis": synthesis}, tmp_path / "out", silent)
    with_outlines, without = (frame.instance_ids.name for frame in taught[0].synthetic)
    assert with_outlines.endswith(f"{seen}.png") and without.endswith("instanceIds.png")
    assert all(frame.instance_ids.name.endswith("instanceIds.png") for frame in taught[0].real)


def test_interrupted_and_resumed_is_bit_identical(root, tmp_path):
    def stop(done, total, note):
        if done == 3:
            raise KeyboardInterrupt

    inputs = {"dataset": Tree(root)}
    run(spec(), inputs, tmp_path / "whole", silent)
    with pytest.raises(KeyboardInterrupt):
        run(spec(), inputs, tmp_path / "parts", stop)
    run(spec(), inputs, tmp_path / "parts", silent)
    for name in ("model.safetensors", "config.json", "log.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_seeds_give_other_weights(root, tmp_path):
    for seed in (0, 1):
        run(spec(seed=seed, iterations=1), {"dataset": Tree(root)}, tmp_path / str(seed), silent)
    first, second = (checkpoint.load(tmp_path / str(seed)).state_dict() for seed in (0, 1))
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_a_checkpoint_of_another_architecture_names_tensors(root, tmp_path):
    for backbone in ("swin", "convnext"):
        run(spec(backbone=backbone, iterations=1), {"dataset": Tree(root)}, tmp_path / backbone, silent)
    (tmp_path / "swin" / "model.safetensors").replace(tmp_path / "convnext" / "model.safetensors")
    with pytest.raises(HarnessError, match=r"another architecture.*encoder\."):
        checkpoint.load(tmp_path / "convnext")


def test_an_unknown_backbone_names_the_known_ones():
    with pytest.raises(HarnessError, match="unknown backbone 'swim'") as error:
        spec(backbone="swim")
    assert "swin" in error.value.hint
