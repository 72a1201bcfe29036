"""The command rehearse: what is missing is named with its remedy before anything is tried; the rest is run."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from test_plugins import tree

from harness.cli import main
from harness.core.config import parse
from harness.core.paths import CONFIGS
from harness.core.store import Store
from harness.data.base import open_dataset
from harness.data.cityscapes import CITYSCAPES
from harness.data.mix import Mix, stream
from harness.generators.base import GeneratorPart
from harness.planning import demands
from harness.planning.plan import make_plan
from harness.planning.suite import load_part
from harness.rehearsal import checks, memory, stand_ins
from harness.rehearsal.stand_ins import stable_diffusion
from harness.segmenters.base import SegmenterPart

SEGMENTER = """
label = "Small"
adapter = "mask2former"

[backbones.small]
label = "Swin (small)"
family = "swin"
weights = "./weights/small_swin"
config = { embed_dim = 16, depths = [1, 1, 1, 1], num_heads = [2, 2, 2, 2], window_size = 4 }

[model]
task = "instance"
hidden = 32
queries = 8
encoder_layers = 1
decoder_layers = 2
heads = 2
encoder_feedforward = 64
decoder_feedforward = 64

[training]
iterations = 90000
batch_size = 4
crop = [360, 720]
short_sides = [1024]
learning_rate = 1e-4
precision = "bf16"

[inference]
topk = 30
"""
GENERATOR = """
label = "Small GLIGEN"
adapter = "gligen"

[options]
checkpoint = "nobody/small-gligen"
size = 64
steps = 50
guidance_scale = 7.5
precision = "fp16"
variant = ""
scheduler = "ddim"
"""
LOCAL = ("--set", "generators.small.options.checkpoint=./weights/small_gligen")
SUITE = """
title = "Small"
question = "Does it run?"

[[rows]]
method = "m"
generator = ["none", "small"]
segmenter = "small"
backbone = "small"
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tree(tmp_path_factory.mktemp("rehearsal") / "tree")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder with parts and a suite of its own, without a checkpoint and without a network."""
    for path, text in (
        ("configs/segmenters/small.toml", SEGMENTER),
        ("configs/generators/small.toml", GENERATOR),
        ("small.toml", SUITE),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def ended(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["rehearse", *arguments])
    assert isinstance(end.value.code, int)
    return end.value.code


def rehearsed(here: Path, data: Path, capsys, *more: str) -> tuple[int, dict]:
    """Exit code, and what is found by what it is about and its name."""
    code = ended("small.toml", "--profile", "paper", "--data-root", str(data), "--store", "store", "--json", *more)
    printed = json.loads(capsys.readouterr().out)
    assert printed["runs"] == (code == 0)
    return code, {(one["about"], one["name"]): one for one in printed["findings"]}


def swin(folder: Path, *, embed: int = 16) -> None:
    from transformers import SwinConfig, SwinModel

    config = SwinConfig(embed_dim=embed, depths=[1, 1, 1, 1], num_heads=[2, 2, 2, 2], window_size=4, image_size=64)
    SwinModel(config, add_pooling_layer=False).save_pretrained(folder)


def test_what_is_not_here_is_named_with_what_brings_it_and_nothing_is_tried(here, data, capsys):
    code, found = rehearsed(here, data, capsys)
    assert code == 2
    reads = {
        "generator small": ("nobody/small-gligen", "hf download nobody/small-gligen"),
        "segmenter small-small": ("./weights/small_swin", "put it at ./weights/small_swin"),
    }
    for name, (path, remedy) in reads.items():
        finding = found["checkpoint", name]
        assert finding["state"] == "missing" and path in finding["said"]
        assert remedy in finding["remedy"]
    assert found["network", "segmenter small-small"]["said"].endswith("M parameters")
    assert found["data", "train"]["said"].startswith("2 frames of 1 cities")
    assert "expected 2975 of 18" in found["data", "benchmark"]["said"]
    assert not {about for about, _ in found} & {"memory", "synthesize", "train", "predict", "time"}
    assert not (here / "store" / "rehearsal").exists()


def test_checkpoints_are_looked_at_by_their_headers(here, data, capsys):
    stable_diffusion(here / "weights" / "small_gligen", channels=9, gated=True)
    swin(here / "weights" / "small_swin")
    unet = here / "weights" / "small_gligen" / "unet" / "diffusion_pytorch_model.safetensors"
    whole = unet.read_bytes()
    unet.write_bytes(whole[: len(whole) // 2])
    code, found = rehearsed(here, data, capsys, *LOCAL)
    assert code == 2 and found["checkpoint", "generator small"]["state"] == "broken"
    assert "./weights/small_gligen" in found["checkpoint", "generator small"]["remedy"]
    assert ("checkpoint", "segmenter small-small") not in found

    unet.write_bytes(whole)
    shutil.rmtree(here / "weights" / "small_swin")
    swin(here / "weights" / "small_swin", embed=24)
    code, found = rehearsed(here, data, capsys, *LOCAL)
    assert code == 2 and ("checkpoint", "generator small") not in found
    finding = found["checkpoint", "segmenter small-small"]
    assert finding["state"] == "broken" and "expected shape" in finding["said"]


def test_a_text_to_image_model_is_no_gligen(here, data, capsys):
    stable_diffusion(here / "weights" / "small_gligen", channels=4)
    swin(here / "weights" / "small_swin")
    code, found = rehearsed(here, data, capsys, *LOCAL)
    assert code == 2 and "4 channels" in found["checkpoint", "generator small"]["said"]


def test_too_little_disk_stops_the_plan(here, data, capsys, monkeypatch):
    monkeypatch.setattr(demands, "free", lambda store: (here, 1))
    code, found = rehearsed(here, data, capsys, "--stand-in")
    assert code == 2 and found["disk", "store"]["state"] == "broken"
    assert "--store" in found["disk", "store"]["remedy"]


def test_labels_that_are_not_there_are_named(here, data, capsys, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(data, broken)
    gone = next(broken.glob("gtFine/train/*/*_instanceIds.png"))
    gone.unlink()
    assert ended("small.toml", "--profile", "paper", "--data-root", str(broken), "--store", "store") == 2
    assert gone.name in capsys.readouterr().err


def test_a_label_map_that_cannot_be_read_is_named(here, data, capsys, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(data, broken)
    gone = next(broken.glob("gtFine/val/*/*_instanceIds.png"))
    gone.write_bytes(gone.read_bytes()[:100])
    code, found = rehearsed(here, broken, capsys, "--stand-in")
    assert code == 2 and found["data", "val"]["state"] == "broken" and gone.name in found["data", "val"]["said"]


def test_data_that_a_profile_draws_is_not_rehearsed(capsys):
    assert ended("table1", "--profile", "smoke") == 2
    assert "draws its own data" in capsys.readouterr().err


@pytest.mark.slow
def test_every_part_runs_for_short_with_stand_ins(here, data, capsys):
    code, found = rehearsed(here, data, capsys, "--stand-in")
    assert code == 0, found
    for about, name in (
        ("checkpoint", "generator small"),
        ("checkpoint", "segmenter small-small"),
        ("synthesize", "generator small"),
        ("train", "segmenter small-small"),
        ("predict", "segmenter small-small"),
        ("evaluate", "segmenter small-small"),
    ):
        assert found[about, name]["state"] == "stand-in", (about, name)
    assert "GB at 4 x 360 x 720" in found["memory", "segmenter small-small"]["said"]
    assert found["time", "GPU hours"]["said"] == "not measured for 3 steps"
    assert not (here / "store" / "rehearsal").exists()
    assert demands.known_speeds(Store(here / "store")).parameters["small-small"] > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in (CONFIGS / "generators").glob("*.toml")))
def test_every_shipped_generator_has_a_stand_in(name, tmp_path):
    content, path = load_part("generators", name, "paper")
    if content["adapter"] == "none" or not (part := parse(GeneratorPart, content, path)).needs:
        return
    placed = stand_ins.generator(part, tmp_path)
    for need in placed.needs:
        assert need.found is not None and tmp_path in (need.found, *need.found.parents)


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONFIGS / "segmenters").glob("*.toml")))
def test_every_shipped_backbone_has_a_stand_in(name):
    """One that names no weights is built at random anyway."""
    part = parse(SegmenterPart, *load_part("segmenters", name, "paper"))
    if part.adapter == "detectron2":  # its checkpoint is detectron2's
        return
    for backbone in part.backbones:
        if part.needs(backbone):
            with torch.device("meta"):
                network = part.kind.build(stand_ins.backbone(part.chosen(backbone)), part.model, CITYSCAPES)
            assert checks.counted(network)[""] > 2e7


def test_packages_are_those_that_the_installed_harness_asks_for(monkeypatch):
    asked = [
        "numpy>=1",
        "pydantic>=999",
        'torch>=2; extra == "run"',
        'absent-thing>=1; extra == "run"',
        'x; extra == "docs"',
    ]
    monkeypatch.setattr(checks.metadata, "requires", lambda name: asked)
    (finding,) = checks.packages()
    assert finding.state == "missing" and "absent-thing is not installed" in finding.said
    assert "pydantic" in finding.said and "expected >=999" in finding.said
    assert "numpy" not in finding.said and "torch" not in finding.said and "; x " not in finding.said

    def gone(name):
        raise checks.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(checks.metadata, "requires", gone)
    (finding,) = checks.packages()
    assert finding.state == "unknown" and not finding.stops


CONTROLS = """
title = "Controls"
question = "Do they run?"
kind = "image_quality"

[[rows]]
method = "Control"
generator = ["focus", "duplicate", "recolor", "copy_paste"]
"""


def test_controls_and_image_metrics_run_for_short(here, data, capsys, monkeypatch):
    """One that pastes into other frames has another frame; metrics without their public networks take small ones."""
    monkeypatch.setenv("HOME", str(here / "home"))
    (here / "small.toml").write_text(CONTROLS)
    code, found = rehearsed(here, data, capsys)
    assert code == 2
    for name in ("clip", "features"):
        finding = found["checkpoint", f"metric {name}"]
        assert finding["state"] == "missing" and "are not there" in finding["said"] and finding["remedy"]
    assert found["checkpoint", "metric lpips"]["state"] == "left out"
    code, found = rehearsed(here, data, capsys, "--stand-in")
    assert code == 0, found
    for name in ("focus", "duplicate", "recolor", "copy_paste"):
        assert found["synthesize", f"generator {name}"]["state"] == "fine"
        assert found["assess", f"metrics of {name}"]["state"] == "stand-in"


def test_memory_is_extrapolated_for_networks_that_refuse_one_image(data):
    """Pooling whose norm needs two images takes more than one convolution, and is measured."""
    found = {}
    for aspp in ("projection", "atrous"):
        part = parse(SegmenterPart, *load_part("segmenters", "panoptic_deeplab", "mini"))
        model = part.model.model_copy(update={"aspp": aspp})
        network = part.kind.build(stand_ins.backbone(part.chosen("swidernet")), model, CITYSCAPES)
        dataset = open_dataset(make_plan("table1", "paper", data_root=data).dataset.spec, data)
        found[aspp] = memory.of_training(network, stream(dataset, None, Mix(), 0), part.training)
        assert found[aspp].saved > found[aspp].state > 0
    assert found["atrous"].saved > found["projection"].saved


def test_memory_counts_less_where_activations_are_computed_again(data):
    part = parse(SegmenterPart, *load_part("segmenters", "panoptic_deeplab", "mini"))
    dataset = open_dataset(make_plan("table1", "paper", data_root=data).dataset.spec, data)
    found = {}
    for again in (False, True):
        network = part.kind.build(stand_ins.backbone(part.chosen("swidernet")), part.model, CITYSCAPES)
        training = part.training.model_copy(update={"gradient_checkpointing": again})
        found[again] = memory.of_training(network, stream(dataset, None, Mix(), 0), training)
    assert found[True].state == found[False].state
    assert found[True].saved < 0.9 * found[False].saved
