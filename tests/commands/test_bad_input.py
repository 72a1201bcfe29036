"""A walk through bad input with the real command line: exit code 2, one clear message, nothing half-written."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.core.paths import SUITES
from harness.core.store import Store
from harness.data import png
from harness.data.tree import Tree
from harness.planning.plan import make_plan

KIB = 1024


def harness(*arguments: object, room: int | None = None) -> subprocess.CompletedProcess:
    """Run the command line. `room`: the largest file in bytes that it and its children may write."""
    environment = {k: v for k, v in os.environ.items() if k not in ("CITYSCAPES_DATASET", "HARNESS_STORE")}

    def limit() -> None:
        if room is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *map(str, arguments)],
        capture_output=True, text=True, env=environment, timeout=500, preexec_fn=limit,
    )  # fmt: skip


def refused(done: subprocess.CompletedProcess, *words: str) -> None:
    """One message that has all `words`, exit code 2, and nothing else."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert all(word in done.stderr for word in words), done.stderr
    assert done.stderr.count("error:") == 1, done.stderr


@pytest.fixture
def tree(tmp_path) -> Path:
    """Two small frames with a car each, in train and val."""
    ids = np.full((64, 128), 7, np.int32)
    ids[20:50, 30:90] = 26000
    for split in ("train", "val"):
        for number in range(2):
            image = np.random.default_rng(number).integers(0, 256, (64, 128, 3), dtype=np.uint8)
            Tree(tmp_path / "tree").write_frame(split, "aa", f"aa_{number:06d}_000019", image, ids)
    return tmp_path / "tree"


def listing(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


BROKEN = {
    "truncated image": (lambda f: f.image.write_bytes(f.image.read_bytes()[:900]), "_leftImg8bit.png: truncated"),
    "truncated ids": (lambda f: f.instance_ids.write_bytes(f.instance_ids.read_bytes()[:60]), "truncated"),
    "8-bit ids": (lambda f: Image.fromarray(png.read_labels(f.label_ids)).save(f.instance_ids), "expected 16-bit grey"),
    "no ids": (lambda f: f.instance_ids.unlink(), "the image has no labels"),
    "no labels": (lambda f: f.label_ids.unlink(), "the image has no labels"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_tree(tree, tmp_path, what):
    breaking, words = BROKEN[what]
    breaking(Tree(tree).frames("train")[1])
    before = listing(tmp_path)
    done = harness("synthesize", "--dataset", tree, "--generator", "focus", "--output", tmp_path / "out")
    refused(done, "aa_000001_000019", words)
    assert listing(tmp_path) == before


def test_broken_ground_truth_is_named_by_evaluate(tree, tmp_path):
    (tmp_path / "semantic").mkdir()
    for frame in Tree(tree).frames("val"):
        shutil.copy(frame.label_ids, tmp_path / "semantic" / f"{frame.name}_pred_labelIds.png")
    whole = harness("evaluate", "--data-root", tree, "--semantic", tmp_path / "semantic", "--workers", 1)
    assert whole.returncode == 0, whole.stderr
    broken = Tree(tree).frames("val")[1].instance_ids
    broken.write_bytes(broken.read_bytes()[:50])
    done = harness("evaluate", "--data-root", tree, "--semantic", tmp_path / "semantic", "--workers", 1)
    refused(done, broken.name)


def test_a_missing_root(tmp_path):
    refused(harness("plan", "table1", "--profile", "paper"), "--data-root", "CITYSCAPES_DATASET")
    gone = tmp_path / "gone"
    done = harness("run", "table1", "--profile", "paper", "--data-root", gone, "--store", tmp_path / "store")
    refused(done, f"{gone}: no such folder")
    assert listing(tmp_path) == []


def test_an_unlabelled_image_stops_a_suite_before_it_starts(tree, tmp_path):
    Tree(tree).frames("train")[0].instance_ids.unlink()
    before = listing(tmp_path)
    done = harness("run", "table1", "--profile", "paper", "--data-root", tree, "--store", tmp_path / "store")
    refused(done, "aa_000000_000019", "the image has no labels")
    assert listing(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--generator", "foucs"], ["unknown generator 'foucs'", "'focus'"]),
        (["--generator", "difinpainting"], ["unknown generator 'difinpainting'", "'diff_inpainting'"]),
        (["--generator", "focus", "--recipe", "corected"], ["unknown recipe 'corected'", "'corrected'"]),
        (["--generator", "focus", "--top-k", "0"], ["--top-k", "at least 1", "'0'"]),
        (["--generator", "focus", "--variants", "-2"], ["--variants", "at least 1", "'-2'"]),
        (["--generator", "focus", "--split", "trian"], ["no split 'trian'", "'train'"]),
    ],
)
def test_wrong_names_and_numbers(tree, tmp_path, arguments, words):
    before = listing(tmp_path)
    refused(harness("synthesize", "--dataset", tree, "--output", tmp_path / "out", *arguments), *words)
    assert listing(tmp_path) == before


def suite(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


QUALITY = 'title = "t"\nquestion = "q"\nkind = "image_quality"\n[[rows]]\nmethod = "m"\ngenerator = "focus"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (QUALITY.replace("question", "qestion"), ["mine.toml", "'qestion'", "'question'"]),
        (QUALITY.replace('"focus"', '"fokus"'), ["unknown generator 'fokus'", "'focus'"]),
        (QUALITY.replace('"image_quality"', '"quality"'), ["mine.toml", "kind", "'image_quality'"]),
        (QUALITY.replace('"t"', "7"), ["mine.toml", "title", "string"]),
        (QUALITY + "[rows", ["mine.toml", "TOML"]),
        (QUALITY + "[table]\ncolums = []", ["[table]", "'colums'", "'columns'"]),
        (QUALITY + '[table]\ncolumns = ["method", "FDI"]', ["[table]", "'FDI'", "'FID'"]),
        (QUALITY + '[table]\ndifference = ["AP"]', ["[table]", "difference", "'AP'"]),
        ('title = "t\n', ["mine.toml", "TOML"]),
    ],
)
def test_a_suite_with_a_mistake(tmp_path, text, words):
    refused(harness("run", suite(tmp_path, text), "--profile", "smoke", "--store", tmp_path / "store"), *words)
    assert listing(tmp_path) == ["mine.toml"]


def test_a_negative_budget_is_told_with_file_and_key(tmp_path):
    root = tmp_path / "repository"
    shutil.copytree(SUITES, root / "suites")
    shutil.copytree(SUITES.parent / "configs", root / "configs")
    path = root / "configs" / "segmenters" / "oneformer.toml"
    profile = root / "configs" / "profiles" / "smoke.toml"
    program = (
        "import sys; from pathlib import Path; import harness.core.paths as p; r = Path(sys.argv.pop(1))\n"
        "p.CONFIGS, p.SUITES = r / 'configs', r / 'suites'\n"
        "from harness.cli import main; main()"
    )

    def plan() -> subprocess.CompletedProcess:
        command = [sys.executable, "-c", program, root, "plan", "table1", "--profile", "smoke"]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=100)

    assert plan().returncode == 0
    text = path.read_text()
    path.write_text(text.replace("iterations = 60\n", "iterations = -5\n"))
    refused(plan(), "oneformer.toml, training", "iterations", "-5")
    path.write_text(text)
    profile.write_text(profile.read_text().replace("frames = 4", "frames = -4"))
    refused(plan(), "smoke.toml", "synthesis.frames", "-4")


def test_a_store_that_cannot_be_written(tmp_path):
    (tmp_path / "store").write_text("a file in place of the folder")
    done = harness("run", "ablation", "--profile", "smoke", "--store", tmp_path / "store")
    refused(done, "store", "can't be written", "--store")
    if Path("/proc/self").is_dir():  # a place where not even root may write
        refused(harness("run", "ablation", "--profile", "smoke", "--store", "/proc/store"), "/proc/store", "--store")
    assert listing(tmp_path) == ["store"]


def test_an_output_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / "table.md"
    done = harness("report", "table1", "--format", "markdown", "--output", target, "--store", tmp_path / "store")
    refused(done, f"{target}: cannot be written")
    assert listing(tmp_path) == ["file"]


@pytest.mark.parametrize("text", ["{", "", "[1]"])
def test_a_corrupt_manifest_in_the_store(tmp_path, text):
    plan = make_plan("table1", "smoke")
    store = Store(tmp_path / "store")
    store.open()
    store.partial("dataset", plan.dataset.key).mkdir(parents=True)
    folder = store.commit("dataset", plan.dataset.key, {})
    (folder / "manifest.json").write_text(text)
    done = harness("report", "table1", "--profile", "smoke", "--store", store.root)
    refused(done, f"{folder}/manifest.json", "manifest", f"remove {folder}")


def test_a_corrupt_baseline(tmp_path):
    (tmp_path / "b.json").write_text('{"format": 1, "suite": ')
    done = harness("check", "table1", "--baseline", tmp_path / "b.json", "--store", tmp_path / "store")
    refused(done, "b.json", "not a readable baseline")


def test_a_full_disk_stops_a_run_with_one_message_and_more_room_lets_it_go_on(tmp_path):
    small = suite(tmp_path, QUALITY)
    full = harness("run", small, "--profile", "smoke", "--store", tmp_path / "store", room=16 * KIB)
    assert full.returncode == 2, full.stderr
    assert "Traceback" not in full.stderr
    assert full.stderr.count("cannot be written: File too large") >= 1
    assert not list((tmp_path / "store" / "artifacts").rglob("manifest.json"))
    assert all(size <= 16 * KIB for size in (p.stat().st_size for p in tmp_path.rglob("*") if p.is_file()))
    plan = make_plan(str(small), "smoke")
    record = json.loads((tmp_path / "store" / "failed" / f"dataset-{plan.dataset.key}.json").read_text())
    assert record["kind"] == "disk" and record["traceback"] == ""


def test_a_full_disk_stops_a_synthesis_with_one_message(tree, tmp_path):
    out = tmp_path / "out"
    arguments = ("synthesize", "--dataset", tree, "--generator", "focus", "--output", out)
    refused(harness(*arguments, room=4 * KIB), "cannot be written: File too large")
    assert not out.exists()
    assert harness(*arguments).returncode == 0
    assert len(Tree(out).frames("train")) == 4
