"""FastInst against the numbers of its authors' code, whose checkpoint of drawn tensors is read by name.

The golden file holds names, shapes and answers; tensors, images and points are drawn here as they were drawn for it.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.core.errors import HarnessError
from harness.data.cityscapes import CITYSCAPES
from harness.segmenters import resnet
from harness.segmenters.backbones import pixels
from harness.segmenters.fastinst import convert
from harness.segmenters.fastinst.adapter import FastInst
from harness.segmenters.fastinst.options import Inference, Model
from harness.segmenters.options import Backbone
from harness.weights.tensors import read_tensors

GOLDEN = json.loads((Path(__file__).parent / "golden_fastinst.json").read_text(encoding="utf-8"))
SIZE = (96, 160)
OBJECTS = [(0, 0, 20, 30, 40), (0, 3, 10, 60, 50), (0, 5, 50, 90, 20), (1, 1, 30, 5, 64), (1, 2, 60, 100, 30)]
RESNET50 = Backbone(label="R50", family="resnet")


def drawn(name: str, shape: list[int]) -> torch.Tensor:
    rng = np.random.RandomState(zlib.crc32(name.encode()))
    values = rng.standard_normal(shape).astype(np.float32)
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "running_var":
        values = 1 + np.float32(0.2) * np.abs(values)
    elif len(shape) == 1:
        values = values * np.float32(0.1) + np.float32(leaf == "weight")
    elif len(shape) in (2, 4) and shape[0] > 1:
        values = values * np.float32(((2 if len(shape) == 4 else 1) / np.prod(shape[1:])) ** 0.5)
    return torch.from_numpy(values)


def points(*shape, device=None):
    """In the place of torch.rand: one table of points for every mask and every image."""
    table = np.random.RandomState(shape[-2]).uniform(size=shape[-2:]).astype(np.float32)
    return torch.from_numpy(table).expand(*shape).clone()


@pytest.fixture(scope="module")
def theirs():
    return {name: drawn(name, shape) for name, shape in GOLDEN["names"].items()}


@pytest.fixture(scope="module")
def network(theirs, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "fastinst.pth"
    extra = {"criterion.empty_weight": torch.ones(9), "sem_seg_head.predictor.criterion.empty_weight": torch.ones(9)}
    torch.save({"model": theirs | extra, "iteration": 1}, path)
    backbone = RESNET50.model_copy(update={"checkpoint": str(path)})
    return FastInst.build(backbone, Model(queries=40, points=256), CITYSCAPES)


@pytest.fixture(scope="module")
def images():
    return list(np.random.RandomState(7).randint(0, 256, (2, *SIZE, 3)).astype(np.uint8))


def targets():
    classes, masks = [[], []], [[], []]
    for image, kind, top, left, side in OBJECTS:
        mask = torch.zeros(SIZE, dtype=torch.bool)
        mask[top : top + side // 2, left : left + side] = True
        classes[image].append(kind)
        masks[image].append(mask)
    return {"classes": [torch.tensor(c) for c in classes], "masks": [torch.stack(m) for m in masks]}


def close(found, expected):
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-4, atol=1e-4)


def test_the_forward_pass_is_theirs(network, images):
    network.eval()
    with torch.no_grad():
        decoded = network.decoder(network._maps(pixels(images)))
    close(decoded.layers[-1].classes.flatten(), GOLDEN["logits"])
    close(decoded.layers[-1].masks.flatten()[::17], GOLDEN["masks"])
    close(decoded.proposal_logits.flatten()[::3], GOLDEN["proposals"])


def test_the_losses_are_theirs(network, images, monkeypatch):
    network.train()
    monkeypatch.setattr(torch, "rand", points)
    with torch.no_grad():
        losses = network({"pixels": pixels(images), **targets()})
    close([losses[name] for name in sorted(losses)], [GOLDEN["losses"][name] for name in sorted(losses)])


def test_the_answers_are_theirs(network, images):
    answers = network.eval().predict(images, Inference())
    for answer, expected in zip(answers, GOLDEN["scores"], strict=True):
        close([instance.score for instance in answer.instances], expected)


def test_weights_come_back_under_the_names_they_came_with(network, theirs):
    back = convert.exported(network)
    assert back.keys() == theirs.keys()
    assert all(torch.equal(back[name], theirs[name]) for name in theirs)


def test_a_checkpoint_with_other_classes_leaves_the_class_heads_anew(network, theirs):
    heads = [name for name, shape in GOLDEN["names"].items() if shape and shape[0] == 9]
    changed = theirs | {name: drawn(name, [81, *GOLDEN["names"][name][1:]]) for name in heads}
    before = {name: value.clone() for name, value in network.state_dict().items()}
    left = convert.fill(network, changed, source="coco.pth")
    assert sorted(convert.detectron2_name(name) for name in left) == sorted(heads)
    assert len(heads) == 10
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("sem_seg_head.predictor.meta_pos_embed"), r"1 tensors differ\).*meta_pos_embed: missing"),
        (lambda t: t.update(more=torch.zeros(1)), "more: not expected"),
        (
            lambda t: t.update({"backbone.stem.conv1.weight": torch.zeros(64, 3, 3, 3)}),
            r"backbone.stem.conv1.weight: expected shape \(64, 3, 7, 7\), found \(64, 3, 3, 3\)",
        ),
    ],
)
def test_a_checkpoint_of_another_architecture_names_the_tensors(network, theirs, change, message):
    changed = dict(theirs)
    change(changed)
    with pytest.raises(HarnessError, match=message):
        convert.fill(network, changed, source="other.pth")


def test_torchvision_names_are_those_of_torchvision(network):
    import torchvision

    with torch.device("meta"):
        wanted = torchvision.models.resnet50().state_dict()
    ours = {resnet.torchvision_name(name) for name in network.backbone.state_dict()}
    assert ours == {name for name in wanted if not name.startswith("fc.") and "num_batches" not in name}


@pytest.mark.parametrize("kind", ["absent", "text", "pickle", "list"])
def test_a_file_that_is_no_checkpoint_is_one_clear_error(tmp_path, kind):
    path = tmp_path / "weights.pth"
    if kind == "text":
        path.write_text("not a checkpoint")
    elif kind == "pickle":
        torch.save({"model": Path("x")}, path)
    elif kind == "list":
        torch.save({"model": {"a": 1}}, path)
    with pytest.raises(HarnessError, match=r"weights\.pth"):
        read_tensors(path)


def test_weights_of_torchvision_give_the_features_of_torchvision(tmp_path):
    import torchvision

    from harness.segmenters.fastinst.backbone import build

    torch.manual_seed(0)
    theirs = torchvision.models.resnet18().eval()
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    config = {"hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "layer_type": "basic"}
    weights = str(tmp_path / "resnet18.pth")
    ours = build(Backbone(label="R18", family="resnet", config=config, weights=weights)).eval()
    image = torch.randn(1, 3, 64, 96)
    stem = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(image))))
    expected = theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(stem))))
    close(ours(image).feature_maps[-1].detach(), expected.detach())


def test_weights_that_are_not_at_hand_say_how_to_get_them(monkeypatch):
    import huggingface_hub

    def offline(*_):
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(HarnessError, match="timm/resnet50") as error:
        FastInst.build(RESNET50.model_copy(update={"weights": "timm/resnet50.tv_in1k"}), Model(queries=40), CITYSCAPES)
    assert "hf download" in error.value.hint
