"""`harness synthesize` as a user calls it, on drawn streets: small ones always, at Cityscapes' own size when slow."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data import png
from harness.data.cityscapes import CITYSCAPES
from harness.data.png import read_image
from harness.data.streets import render
from harness.data.streets.street import Style
from harness.data.tree import Tree

WITH_MOTORCYCLES = 0
"""A seed whose first two frames have instance 32000 as their largest."""


def streets(root: Path, size: tuple[int, int]) -> Path:
    render(root, seed=WITH_MOTORCYCLES, counts={"train": 2}, size=size, style=Style(zoom=1.7, featured=3))
    return root


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    return streets(tmp_path_factory.mktemp("small"), (128, 256))


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Path:
    return streets(tmp_path_factory.mktemp("full"), (1024, 2048))


def digests(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*.*")}


def command(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *map(str, arguments)], capture_output=True, text=True, timeout=600
    )


def holds_the_bars(tree: Path, out: Path, generator: str, recipe: str) -> None:
    """Run the command on `tree` and check every line of its manifest against the source's pixels."""
    before = digests(tree)
    options = ("--generator", generator, "--recipe", recipe, "--seed", 0, "--output", out, "--frames")
    done = command("synthesize", "--dataset", tree, *options)
    assert done.returncode == 0, done.stderr
    assert digests(tree) == before

    sources = {
        frame.name: (read_image(frame.image), png.read_ids(frame.instance_ids)) for frame in Tree(tree).frames("train")
    }
    entries = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert {entry["source"] for entry in entries} == set(sources)
    made = [entry for entry in entries if entry["status"] == "made"]
    assert sorted(entry["name"] for entry in made) == [frame.name for frame in Tree(out).frames("train")]
    for entry in made:
        complete(entry, out)
        image, ids = sources[entry["source"]]
        inside = ids == entry["instance"]
        composite = read_image(out / entry["composite"])
        assert np.array_equal(composite[~inside], image[~inside])
        unpasted = generator == "focus" or (recipe == "released" and entry["instance"] == 32000)
        assert np.array_equal(composite[inside], image[inside]) == unpasted
        if recipe == "corrected":
            labels_are_the_cropped_ones(entry, out, ids)
    motorcycles = [entry for entry in entries if entry["instance"] == 32000]
    assert len(motorcycles) == 4
    assert {(entry["status"], entry["reason"]) for entry in motorcycles} == {("made", "")}
    assert len(made) == len(entries) == 12


def complete(entry: dict, out: Path) -> None:
    """A line says where the crop comes from and where it lies."""
    assert all(entry[key] for key in ("source", "instance", "class_name", "prompt"))
    assert entry["class_name"] in entry["prompt"] or entry["class_name"] in ("person", "rider")
    assert entry["label_id"] == entry["instance"] // 1000 and entry["seed"] >= 0
    left, top, right, bottom = entry["box"]
    x0, y0, x1, y1 = entry["window"]
    assert x0 <= left < right <= x1 and y0 <= top < bottom <= y1
    assert all((out / entry[key]).is_file() for key in ("file", "labels", "composite", "real", "mask", "generated"))


def labels_are_the_cropped_ones(entry: dict, out: Path, ids: np.ndarray) -> None:
    x0, y0, x1, y1 = entry["window"]
    cropped = Image.fromarray(ids[y0:y1, x0:x1]).resize(ids.shape[::-1], Image.Resampling.NEAREST)
    written = png.read_ids(out / entry["labels"])
    assert np.array_equal(written, np.asarray(cropped))
    beside = out / entry["labels"].replace("instanceIds", "labelIds")
    assert np.array_equal(png.read_labels(beside), CITYSCAPES.label_of(written))


@pytest.mark.parametrize(("generator", "recipe"), [("recolor", "corrected"), ("focus", "released")])
def test_the_command_holds_the_bars_on_small_frames(small, tmp_path, generator, recipe):
    holds_the_bars(small, tmp_path / "out", generator, recipe)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["corrected", "released"])
@pytest.mark.parametrize("generator", ["diff_inpainting", "recolor", "focus"])
def test_the_command_holds_the_bars_at_the_size_of_cityscapes(full, tmp_path, generator, recipe):
    holds_the_bars(full, tmp_path / "out", generator, recipe)
