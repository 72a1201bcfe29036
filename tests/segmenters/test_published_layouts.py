"""Published layouts: backbones and whole models from folders and offline caches, under old and new names."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import published
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from harness.cli import _run
from harness.core.config import parse
from harness.core.errors import HarnessError
from harness.data.cityscapes import CITYSCAPES
from harness.inference import predictor
from harness.planning.suite import load_part
from harness.segmenters.backbones import pixels, pretrained_backbone
from harness.segmenters.base import SegmenterPart
from harness.segmenters.options import Backbone

LAYOUTS = list(itertools.product(("new", "old"), ("safetensors", "bin")))
HUB = {"swin": "microsoft/swin-x", "convnext": "facebook/convnext-x", "resnet": "microsoft/resnet-x"}


def named() -> set[tuple[str, str]]:
    """Family and hub id of the weights that the parts name under the profile `paper`."""
    parts = [parse(SegmenterPart, *load_part("segmenters", name, "paper")) for name in PARTS]
    every = [backbone for part in parts for backbone in part.backbones.values()]
    return {(str(backbone.family), backbone.weights) for backbone in every if backbone.weights}


PARTS = ("fastinst", "mask2former", "oneformer")


def wanted() -> list[tuple[str, str]]:
    """What the parts name, and one of transformers for every family."""
    return sorted(named() | set(HUB.items()))


def start(family: str, weights: Path | str) -> Backbone:
    config = {"hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "layer_type": "basic"}
    named = str(weights).startswith("timm/") or "timm" in Path(weights).name
    return Backbone(label="x", family=family, weights=str(weights), config=config if named else {})


def alone(program: str, home: Path) -> subprocess.CompletedProcess:
    """A process of its own, whose hub library has the cache `home` and no network."""
    kept = {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | kept, check=False
    )


@pytest.mark.parametrize(("names", "file"), LAYOUTS)
@pytest.mark.parametrize("family", published.FAMILIES)
def test_a_backbone_comes_from_a_folder(tmp_path, family, names, file):
    theirs = published.classifier(tmp_path / "weights", family, names=names, file=file).state_dict()
    found = pretrained_backbone(start(family, tmp_path / "weights")).state_dict()
    anew = {name for name in found if "hidden_states_norms" in name}
    assert len(anew) == (0 if family == "resnet" else 8)
    for name in found.keys() - anew:
        value = theirs[name if name in theirs else f"{family}.{name}"]
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize("file", ["safetensors", "bin"])
def test_a_folder_of_timm_gives_the_features_of_torchvision(tmp_path, file):
    theirs = published.timm(tmp_path / "timm", file=file)
    ours = pretrained_backbone(start("resnet", tmp_path / "timm")).eval()
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        stem = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(image))))
        expected = theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(stem))))
        assert torch.allclose(ours(image).feature_maps[-1], expected, atol=1e-5)


def test_backbones_come_from_a_complete_cache_without_network(tmp_path):
    home = tmp_path / "home"
    assert named(), "the parts name some"
    for family, hub_id in wanted():
        if hub_id.startswith("timm/"):
            published.timm(tmp_path / "it")
        else:
            published.classifier(tmp_path / "it", family, names="old", file="bin")
        published.cached(tmp_path / "it", home, hub_id)
    program = (
        "import sys, torch; sys.path.insert(0, 'tests/segmenters')\n"
        "from harness.segmenters.backbones import pretrained_backbone\n"
        "from test_published_layouts import start, wanted\n"
        "for family, name in wanted():\n"
        "    found = pretrained_backbone(start(family, name)).eval()\n"
        "    print(name, [map.shape[-1] for map in found(torch.zeros(1, 3, 64, 64)).feature_maps])"
    )
    done = alone(program, home)
    assert done.stdout.splitlines() == [f"{name} [16, 8, 4, 2]" for _, name in wanted()], done.stderr[-2000:]


def test_an_absent_backbone_is_told_with_the_command_that_brings_it(tmp_path):
    program = (
        "import sys; sys.path.insert(0, 'tests/segmenters')\n"
        "from harness.core.errors import HarnessError\n"
        "from harness.segmenters.backbones import pretrained_backbone\n"
        "from test_published_layouts import start\n"
        "for name in ('microsoft/resnet-50', 'timm/resnet50.tv_in1k'):\n"
        "    try: pretrained_backbone(start('resnet', name))\n"
        "    except HarnessError as error: print(error.message, '|', error.hint)"
    )
    done = alone(program, tmp_path)
    for line, name in zip(done.stdout.splitlines(), ("microsoft/resnet-50", "timm/resnet50.tv_in1k"), strict=True):
        assert line.startswith(f"the checkpoint {name!r} can't be read: ") and f"hf download {name}" in line
        assert "cache" in line, "the reason is that it is not there, and no network is asked"


def broken(folder: Path, how: str) -> None:
    weights = folder / "model.safetensors"
    found = load_file(weights)
    if how == "missing":
        del found["swin.encoder.layers.0.blocks.0.mlp.fc1.weight"]
        save_file(found, weights, metadata={"format": "pt"})
    elif how == "shape":
        found["swin.encoder.layers.0.blocks.0.mlp.fc1.weight"] = torch.zeros(3, 3)
        save_file(found, weights, metadata={"format": "pt"})
    elif how == "corrupt":
        weights.write_bytes(weights.read_bytes()[:200])
    elif how == "pointer":
        weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    elif how == "pickle":
        weights.unlink()
        torch.save({"x": Path("x")}, folder / "pytorch_model.bin")
    elif how == "json":
        (folder / "config.json").write_text("{")
    elif how == "absent":
        weights.unlink()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing", r"another architecture.*fc1\.weight: missing"),
        ("shape", r"fc1\.weight: expected shape \(64, 16\), found \(3, 3\)"),
        ("corrupt", r"model\.safetensors: a safetensors file that is damaged"),
        ("pointer", r"model\.safetensors: a Git LFS pointer"),
        ("pickle", "it holds more than tensors"),
        ("json", r"config\.json: not readable as JSON"),
        ("absent", "can't be read"),
        ("family", "expected resnet, found swin"),
    ],
)
def test_a_broken_backbone_is_one_clear_error(tmp_path, how, words):
    published.classifier(tmp_path / "weights", "swin")
    broken(tmp_path / "weights", how)
    with pytest.raises(HarnessError, match=words) as error:
        pretrained_backbone(start("resnet" if how == "family" else "swin", tmp_path / "weights"))
    assert "weights_only" not in str(error.value) and "trust" not in str(error.value)


class Case(NamedTuple):
    """A whole checkpoint, and how `predict` is asked for it."""

    name: str
    segmenter: str
    backbone: str
    tasks: tuple[str, ...]


ALL = ("instance", "semantic", "panoptic")
CASES = [
    *(Case(f"oneformer-{names}-{file}", "oneformer", "swin", ALL) for names, file in LAYOUTS),
    Case("oneformer-text", "oneformer", "swin", ALL),
    *(Case(f"mask2former-instance-{n}-{f}", "mask2former", "swin", ("instance",)) for n, f in LAYOUTS),
    *(Case(f"mask2former-panoptic-{n}-{f}", "mask2former", "swin", ALL) for n, f in LAYOUTS),
]
PANOPTIC = [49406.0, 518.0, 10549.0, 533.0, 1072.0, 24755.0, 49407.0]
"""CLIP's tokens of "the task is panoptic", between start and end."""
BY_HAND = """
import json, sys, torch
from transformers import Mask2FormerForUniversalSegmentation, OneFormerForUniversalSegmentation
torch.set_num_threads(1)
root, inputs = sys.argv[1], torch.load(sys.argv[2])
assert not any(name.startswith("harness") for name in sys.modules)
for name in sys.argv[3:]:
    kind = OneFormerForUniversalSegmentation if name.startswith("oneformer") else Mask2FormerForUniversalSegmentation
    extra = {"is_training": False} if kind is OneFormerForUniversalSegmentation else {}
    model = kind.from_pretrained(f"{root}/{name}", **extra).eval()
    given = {"pixel_values": inputs["pixels"]}
    if kind is OneFormerForUniversalSegmentation:
        given["task_inputs"] = inputs["task"]
    with torch.no_grad():
        found = model(**given)
    torch.save([found.class_queries_logits, found.masks_queries_logits], f"{root}/{name}.pt")
"""


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(image).save(path)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory, photo):
    """Folders of all cases, and beside each the logits of transformers alone."""
    root = tmp_path_factory.mktemp("whole")
    for case in CASES:
        _, *layout = case.name.split("-")
        if case.segmenter == "oneformer":
            how = {"text": True} if layout == ["text"] else {"names": layout[0], "file": layout[1]}
            published.oneformer(root / case.name, **how)
        else:
            classes = len(CITYSCAPES.things if layout[0] == "instance" else CITYSCAPES.evaluated)
            published.mask2former(root / case.name, classes=classes, names=layout[1], file=layout[2])
    task = torch.zeros(1, 77)
    task[0, : len(PANOPTIC)] = torch.tensor(PANOPTIC)
    torch.save({"pixels": pixels([np.asarray(Image.open(photo))]), "task": task}, root / "inputs.pt")
    done = subprocess.run(
        [sys.executable, "-c", BY_HAND, str(root), str(root / "inputs.pt"), *(case.name for case in CASES)],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return root


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_logits_of_a_public_checkpoint_are_those_of_transformers(whole, case):
    torch.set_num_threads(1)
    network = predictor.load(str(whole / case.name), case.segmenter, case.backbone).network
    inputs = torch.load(whole / "inputs.pt")
    with torch.no_grad():
        features = network._features(inputs["pixels"])
        if case.segmenter == "oneformer":
            decoded = network._decode(features, network._task_tokens(["panoptic"]))
            found = decoded.prediction_class, decoded.prediction_masks
        else:
            found = network._layers(features)[-1]
    for ours, theirs in zip(found, torch.load(whole / f"{case.name}.pt"), strict=True):
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() < 1e-5
        assert theirs.std() > 1e-3, "logits that are all alike would prove nothing"


@pytest.mark.parametrize("name", ["oneformer-old-bin", "mask2former-instance-old-bin", "mask2former-panoptic-old-bin"])
def test_predict_answers_from_a_public_folder(whole, photo, tmp_path, name, capsys):
    case = next(case for case in CASES if case.name == name)
    arguments = ["predict", str(photo), "--checkpoint", str(whole / name), "--output", str(tmp_path)]
    assert _run([*arguments, "--segmenter", case.segmenter, "--backbone", case.backbone]) == 0
    told = capsys.readouterr().err
    assert "MISSING" not in told and "Loading weights" not in told, "transformers' own reports are not the user's"
    assert tuple(json.loads((tmp_path / "entries" / "photo.json").read_text())["tasks"]) == case.tasks


def test_predict_answers_from_a_complete_cache_without_network(whole, photo, tmp_path):
    """By the names of the hub, as the pages print the command; one that is not there says how to get it."""
    hub = {
        "shi-labs/oneformer_cityscapes_swin_large": ("oneformer-old-bin", "oneformer"),
        "facebook/mask2former-swin-large-cityscapes-instance": ("mask2former-instance-old-bin", "mask2former"),
        "facebook/mask2former-swin-large-cityscapes-panoptic": ("mask2former-panoptic-old-bin", "mask2former"),
    }
    for hub_id, (name, _) in hub.items():
        shutil.copytree(whole / name, tmp_path / name)
        published.cached(tmp_path / name, tmp_path / "home", hub_id)
    asked = [[hub_id, segmenter] for hub_id, (_, segmenter) in hub.items()] + [["shi-labs/absent", "oneformer"]]
    program = (
        "from harness.cli import _run\n"
        f"for number, (name, segmenter) in enumerate({asked!r}):\n"
        f"    given = ['predict', {str(photo)!r}, '--output', {str(tmp_path)!r} + f'/{{number}}']\n"
        "    print(_run([*given, '--backbone', 'swin', '--checkpoint', name, '--segmenter', segmenter]))"
    )
    done = alone(program, tmp_path / "home")
    assert done.stdout.split() == ["0", "0", "0", "2"], done.stderr[-2000:]
    assert "'shi-labs/absent' can't be read" in done.stderr and "hf download shi-labs/absent" in done.stderr


def test_a_checkpoint_of_another_backbone_is_told(whole):
    with pytest.raises(HarnessError, match="expected a backbone of the family convnext, found swin"):
        predictor.load(str(whole / "oneformer-new-bin"), "oneformer", "convnext")


def test_code_that_a_configuration_names_is_never_run(tmp_path, photo, capsys):
    folder = tmp_path / "evil"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "evilnet", "auto_map": {"AutoConfig": "evil.Evil"}}')
    (folder / "evil.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')\nfrom transformers import PretrainedConfig\n"
        "class Evil(PretrainedConfig):\n    model_type = 'evilnet'\n"
    )
    for segmenter, backbone in (("oneformer", "swin"), ("mask2former", "resnet50")):
        arguments = ["predict", str(photo), "--checkpoint", str(folder), "--output", str(tmp_path / "out")]
        assert _run([*arguments, "--segmenter", segmenter, "--backbone", backbone]) == 2
        assert f"expected {segmenter}, found evilnet" in capsys.readouterr().err
    with pytest.raises(HarnessError, match="expected a backbone of transformers, found evilnet"):
        pretrained_backbone(Backbone(label="x", weights=str(folder)))
    assert not (tmp_path / "ran").exists()
