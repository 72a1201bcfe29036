"""What a plan of days takes and lacks: disk and hours by hand, checkpoints that are here or not, no word to the hub."""

import json
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from test_plugins import tree

from harness.cli import main
from harness.core.errors import HarnessError
from harness.core.store import Store
from harness.data.tree import Tree
from harness.planning import demands as subject
from harness.planning.changes import Changes, parse_setting
from harness.planning.demands import demands, known_speeds, sentences
from harness.planning.plan import Plan, chain, make_plan
from harness.weights.checkpoints import Need

SWIN = "microsoft/swin-large-patch4-window12-384"


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch) -> None:
    """No checkpoint, no figures of a GPU, no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(subject, "results_folder", lambda: tmp_path / "results")
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network was asked"))


@pytest.fixture
def plan(tmp_path) -> Plan:
    suite = tmp_path / "one.toml"
    suite.write_text(
        'title = "t"\nquestion = "q"\n[[rows]]\nmethod = "m"\ngenerator = ["none", "gligen", "focus"]\n'
        'segmenter = "oneformer"\nbackbone = "swin"\n'
    )
    return make_plan(str(suite), "paper", data_root=tree(tmp_path / "tree"))


def cached(hub: Path, name: str, size: int) -> None:
    folder = hub / f"models--{name.replace('/', '--')}"
    (folder / "snapshots" / "c0").mkdir(parents=True)
    (folder / "snapshots" / "c0" / "model.safetensors").write_bytes(bytes(size))
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("c0")


def test_what_is_missing_is_named_with_what_brings_it(plan, tmp_path):
    found = demands(plan, Store(tmp_path / "store"))
    assert set(found.missing) == {"oneformer-swin", "gligen"}
    text = "\n".join(sentences(found, Store(tmp_path / "store")))
    assert f"missing: oneformer-swin reads {SWIN}\n  where there is a network: hf download {SWIN}" in text
    assert "GPU hours: not measured for 4 steps" in text  # three trainings and GLIGEN; the focused crop needs no GPU
    assert "without the weights of oneformer-swin" in text


def test_a_checkpoint_in_the_cache_is_found_and_its_size_counted_for_every_training(plan, tmp_path):
    store = Store(tmp_path / "store")
    before = demands(plan, store)
    cached(tmp_path / "hub", SWIN, 1000)
    after = demands(plan, store)
    assert set(after.missing) == {"gligen"} and not after.unsized
    assert after.disk - before.disk == 3 * 1000 + 7 * 1000  # three networks stay, one trains


def test_hours_are_those_of_the_measured_speeds(plan, tmp_path):
    folder = tmp_path / "results" / "gpu" / "some-gpu"
    folder.mkdir(parents=True)
    speed = {"part": "oneformer", "backbone": "swin", "crop": [500, 1000], "precision": "bf16", "images_a_second": 4.0}
    (folder / "training.json").write_text(json.dumps({"rows": [speed, speed | {"precision": "fp32"}]}))
    paint = {"part": "gligen", "precision": "bf16", "seconds_a_crop": 3.0}
    (folder / "synthesis.json").write_text(json.dumps({"rows": [paint, paint | {"precision": "bf16, compiled"}]}))
    found = demands(plan, Store(tmp_path / "store"))
    steps = {step.key: step for row in plan.rows for final in row.finals.values() for step in chain(final)}
    training = next(step.spec.segmenter.training for step in steps.values() if step.kind == "train")
    pixels = training.iterations * training.batch_size * training.crop[0] * training.crop[1]
    crops = next(s.spec for s in steps.values() if s.kind == "synthesize" and s.label == "gligen")
    hours = 3 * pixels / 2e6 / 3600 + 2 * crops.top_k * crops.variants * 3.0 / 3600  # 2 frames; 2 megapixels a second
    assert found.hours == pytest.approx(hours) and found.unmeasured == 0
    assert any("by the speeds of some-gpu" in line for line in sentences(found, Store(tmp_path / "store")))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"rows": 3}'])
def test_figures_that_cannot_be_read_are_no_speeds(tmp_path, text):
    folder = tmp_path / "results" / "gpu" / "some-gpu"
    folder.mkdir(parents=True)
    for name in ("training", "synthesis"):
        (folder / f"{name}.json").write_text(text)
    found = known_speeds(Store(tmp_path / "store"))
    assert not found.seconds_a_crop and not found.megapixels_a_second


def test_too_little_disk_is_said(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(subject, "free", lambda store: (tmp_path, 1))
    text = "\n".join(sentences(demands(plan, Store(tmp_path)), Store(tmp_path)))
    assert "too little, make room or choose another disk with --store" in text


def test_a_need_is_the_first_of_its_names_that_is_here(tmp_path):
    (tmp_path / "weights").mkdir()
    need = Need(names=("owner/name", str(tmp_path / "weights")))
    assert need.found == tmp_path / "weights" and need.remedy.endswith("hf download owner/name")
    cached(tmp_path / "hub", "owner/name", 1)
    assert need.found.name == "c0"
    assert Need(names=("./no/such/folder",)).found is None


def small(tmp_path, *changes: str, frames: int = 4) -> Plan:
    """A plan of seconds on a tree of the user's own."""
    root = tmp_path / "own"
    for split in ("train", "val"):
        for number in range(frames):
            Tree(root).write_frame(
                split, "aa", f"aa_0_{number}", np.zeros((64, 128, 3), np.uint8), np.full((64, 128), 7)
            )
    suite = tmp_path / "small.toml"
    suite.write_text(
        'title = "t"\nquestion = "q"\n[[rows]]\nmethod = "m"\ngenerator = "focus"\n'
        'segmenter = "oneformer"\nbackbone = "convnext"\n'
    )
    settings = ('profiles.smoke.dataset="cityscapes"', *changes)
    return make_plan(str(suite), "smoke", data_root=root, changes=Changes(settings=tuple(map(parse_setting, settings))))


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_id_of_no_label_is_told_before_anything_is_made(tmp_path, split):
    store = Store(tmp_path / "store")
    subject.refuse(small(tmp_path), store)
    ids = np.full((64, 128), 7)
    ids[9, 9] = 99
    image = np.zeros((64, 128, 3), np.uint8)
    frame = Tree(tmp_path / "own").write_frame(split, "aa", "aa_0_9", image, ids)
    plan = make_plan(str(tmp_path / "small.toml"), "smoke", data_root=tmp_path / "own", changes=small(tmp_path).changes)
    with pytest.raises(HarnessError) as refused:
        subject.refuse(plan, store)
    assert refused.value.message == f"{frame.instance_ids}: instance id 99 is of no label of cityscapes"


def test_fewer_frames_than_the_profile_takes_are_told_before_anything_is_made(tmp_path):
    with pytest.raises(HarnessError, match="'smoke' takes the first 4 train frames, and there are 3") as refused:
        subject.refuse(small(tmp_path, frames=3), Store(tmp_path / "store"))
    setting = refused.value.hint.rpartition("--set ")[2]
    subject.refuse(small(tmp_path, setting, frames=3), Store(tmp_path / "store"))


def test_a_local_checkpoint_that_is_not_there_is_told_by_plan(tmp_path, capsys):
    small(tmp_path)
    options = ("--profile", "smoke", "--data-root", tmp_path / "own", "--store", tmp_path / "store")
    settings = ("--set", 'profiles.smoke.dataset="cityscapes"')
    settings += ("--set", "segmenters.oneformer.backbones.convnext.checkpoint=./nowhere")
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, ("plan", tmp_path / "small.toml", *options, *settings))))
    assert ended.value.code == 0
    assert "missing: oneformer-convnext reads ./nowhere\n  put it at ./nowhere" in capsys.readouterr().out


def test_weights_of_image_metrics_are_told_like_checkpoints(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    store = Store(tmp_path / "store")
    plan = make_plan("ablation", "paper", data_root=tree(tmp_path / "tree"))
    text = "\n".join(sentences(demands(plan, store), store))
    assert "missing: image quality reads " in text and "clip.load('ViT-B/32'" in text and "fid_weights" in text
    assert "lpips.weights" not in text, "it is optional"
    cache = tmp_path / ".cache" / "clip"
    cache.mkdir(parents=True)
    (cache / "ViT-B-32.pt").write_bytes(b"other weights")  # its hash is looked at by the rehearsal and by the run
    again = make_plan("ablation", "paper", data_root=tree(tmp_path / "tree"))
    assert "clip.load" not in "\n".join(sentences(demands(again, store), store))
