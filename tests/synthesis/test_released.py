"""The recipe `released` against what the authors' scripts do, told again here in Pillow, OpenCV and plain Python."""

import math
import random

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.core.config import Strict, merge, parse, read_toml
from harness.core.paths import CONFIGS
from harness.core.progress import silent
from harness.data import png
from harness.data.cityscapes import CITYSCAPES
from harness.data.mix import Mix, stream
from harness.data.png import read_image
from harness.data.tree import Tree
from harness.generators.base import GENERATORS, Generator, GeneratorPart
from harness.stages.synthesize import SynthesisSpec, run
from harness.synthesis.integrate import as_polygons, draw_window, shows_all, without_specks
from harness.synthesis.manifest import read_manifest
from harness.synthesis.recipe import Recipe
from harness.synthesis.select import Box


class NoOptions(Strict):
    """None."""


class Noise(Generator[NoOptions]):
    """A generator that paints noise, at a side of its own."""

    Options = NoOptions

    def __init__(self, options, *, device):
        pass

    def edit(self, crops, masks, prompts, seeds):
        return [np.random.default_rng(s).integers(0, 256, (40, 40, 3), dtype=np.uint8) for s in seeds]


def released(**changed):
    path = CONFIGS / "recipes" / "released.toml"
    return parse(Recipe, merge(read_toml(path), changed), path)


def synthesised(folder, monkeypatch, pictures, *, top_k=3, recipe=None):
    """A tree of `pictures` (ids [H, W]) under noise, its synthesis and the entries of that."""
    monkeypatch.setitem(GENERATORS.entries, "noise", "test_released:Noise")
    for number, ids in enumerate(pictures):
        image = np.random.default_rng(number).integers(0, 256, (*ids.shape, 3), dtype=np.uint8)
        Tree(folder / "tree").write_frame("train", "aa", f"aa_{number:06d}_000019", image, ids)
    part = GeneratorPart(label="noise", adapter="noise")
    spec = SynthesisSpec(generator=part, recipe=recipe or released(), top_k=top_k)
    run(spec, {"dataset": Tree(folder / "tree")}, folder / "out", silent)
    return read_manifest(folder / "out")


def street(seed, size=(128, 256)):
    """Things of all kinds over road, some of them a few pixels small, some in front of others."""
    rng = np.random.default_rng(seed)
    ids = np.full(size, 7, np.int32)
    for identity in rng.permutation([24000, 24001, 26000, 26001, 32000, 29000, 33767, 33001, 25003]):
        h, w = rng.integers(1, 50, 2)
        y, x = rng.integers(0, size[0] - h), rng.integers(0, size[1] - w)
        ids[y : y + h, x : x + w] = identity
        if rng.random() < 0.5:
            ids[y + h // 3 : y + h // 2, x + w // 3 : x + w // 2] = 7  # a hole
    return ids


def scripts_make(tree, out, entry):
    """Training image and ids of one entry as the scripts make them from its generated square and its window."""
    (frame,) = [f for f in Tree(tree).frames("train") if f.name == entry.source]
    ids = Image.fromarray(png.read_ids(frame.instance_ids))
    x0, y0, x1, y1 = entry.square
    alone = np.where(np.array(ids) == entry.instance, np.array(ids), 0)
    mask = np.array(Image.fromarray(alone).crop(entry.square)).astype(np.uint8)  # 32000 becomes 0 here
    mask[mask != 0] = 255
    painted = Image.open(out / entry.generated).resize((x1 - x0, y1 - y0), resample=Image.NEAREST)
    frame_image = Image.open(frame.image)
    apart = np.abs(np.array(painted).astype(int) - np.array(frame_image.crop(entry.square)).astype(int))
    darker = math.ceil(apart[mask == 0].mean())
    darkened = Image.fromarray(np.abs(np.array(painted).astype(int) - darker).astype(np.uint8))
    frame_image.paste(darkened, entry.square, mask=Image.fromarray(mask))
    image = np.array(frame_image.crop(entry.window).resize(frame_image.size, resample=Image.NEAREST))
    labels = np.array(ids.crop(entry.window).resize(ids.size, resample=Image.NEAREST))
    for identity in np.unique(labels[labels >= 24000]):
        contours, _ = cv2.findContours(
            (labels == identity).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
        )
        if sum(map(len, contours)) < 4:
            labels[labels == identity] = 0
    return image, labels


def test_every_training_image_is_the_one_that_the_scripts_make(tmp_path, monkeypatch):
    entries = synthesised(tmp_path, monkeypatch, [street(seed) for seed in range(6)])
    made = [entry for entry in entries if entry.status == "made"]
    assert len(made) > 30 and {"motorcycle", "caravan"} <= {entry.class_name for entry in made}
    for entry in made:
        image, labels = scripts_make(tmp_path / "tree", tmp_path / "out", entry)
        assert np.array_equal(read_image(tmp_path / "out" / entry.file), image)
        assert np.array_equal(png.read_ids(tmp_path / "out" / entry.labels), labels)
        (frame,) = [f for f in Tree(tmp_path / "out").frames("train") if f.name == entry.name]
        assert np.array_equal(png.read_labels(frame.label_ids), np.where(labels < 1000, labels, labels // 1000))


def test_an_instance_with_an_empty_mask_makes_focused_crops_of_the_real_frame(tmp_path, monkeypatch):
    ids = np.full((128, 256), 7, np.int32)
    ids[40:80, 60:120] = 32000
    entries = synthesised(tmp_path, monkeypatch, [ids])
    assert [(entry.status, entry.instance) for entry in entries] == [("made", 32000)] * 2
    image = Image.open(next((tmp_path / "tree" / "leftImg8bit").rglob("*.png")))
    for entry in entries:
        assert not np.array(Image.open(tmp_path / "out" / entry.mask)).any()
        real = np.array(image.crop(entry.window).resize((256, 128), resample=Image.NEAREST))
        assert np.array_equal(read_image(tmp_path / "out" / entry.file), real)
        assert 32000 in png.read_ids(tmp_path / "out" / entry.labels)


class Told:
    """A source of draws that are known beforehand; keeps the ranges that it was asked for."""

    def __init__(self, normals):
        self.normals, self.ranges = iter(normals), []

    def normal(self, mean, std):
        assert (mean, std) == (3, 1)
        return next(self.normals)

    def integers(self, low, high, *, endpoint):
        assert endpoint
        self.ranges.append((low, high))
        return low


@settings(max_examples=400, deadline=None)
@given(st.integers(8, 200), st.integers(0, 2**32))
def test_windows_follow_the_law_of_the_scripts(height, seed):
    width, rng = 2 * height, random.Random(seed)
    x0, y0 = rng.randrange(width), rng.randrange(height)
    box = Box(x0, y0, rng.randint(x0 + 1, width), rng.randint(y0 + 1, height))
    normals = [rng.normalvariate(3, 1) for _ in range(500)] + [0.0]
    told = Told(normals)
    found = draw_window(box, (height, width), mean=3, std=1, rounding="up", sides="up", generator=told)

    # find_bbox of inpainted_integration.py.
    wide = box.width > 2 * box.height
    area = box.width * math.ceil(box.width / 2) if wide else box.height * 2 * box.height
    zoom = next(z for z in (max(1, math.ceil(n)) for n in normals) if area * z <= width * height)
    h = math.ceil((zoom * area / 2) ** 0.5)
    w = 2 * h
    places = [
        [p for p in range(max(0, low - side), low + 1) if p + side >= high and p + side <= end]
        for low, high, side, end in ((box.x0, box.x1, w, width), (box.y0, box.y1, h, height))
    ]
    assert (found.zoom, found.box.width, found.box.height) == (zoom, w, h)
    assert told.ranges == [(p[0], p[-1]) for p in places]
    assert all(p == list(range(p[0], p[-1] + 1)) for p in places)


def test_no_window_shows_less_than_four_pixels_of_an_instance(tmp_path, monkeypatch):
    ids = np.full((128, 256), 7, np.int32)
    ids[20:100, 40:200] = 26000  # windows are the frame or little less: nothing grows much
    ids[60, 228:238] = 24001  # ten pixels in a row, at which windows of twice the area end
    without = synthesised(tmp_path / "a", monkeypatch, [ids] * 16, top_k=1, recipe=released(least_visible=0))
    entries = synthesised(tmp_path / "b", monkeypatch, [ids] * 16, top_k=1)

    def least(entry):
        shown = Image.fromarray(ids).crop(entry.window).resize((256, 128), resample=Image.NEAREST)
        values, counts = np.unique(np.array(shown), return_counts=True)
        return counts[values >= 24000].min()

    assert min(map(least, without)) < 4 <= min(map(least, entries))
    assert {e.status for e in entries} == {"made"}
    kept = [a.window for a, b in zip(without, entries, strict=True) if a.window == b.window]
    assert len(kept) == sum(least(entry) >= 4 for entry in without), "only such windows are drawn again"
    assert shows_all(ids, CITYSCAPES, Box(0, 0, 256, 128), 10) and not shows_all(
        ids, CITYSCAPES, Box(0, 0, 256, 128), 11
    )


def test_where_no_window_will_do_the_image_is_not_made(tmp_path, monkeypatch):
    ids = np.full((64, 128), 7, np.int32)
    ids[:, :] = 26000
    ids[5, 5:7] = 24001  # the scripts would draw for ever
    ids[0:20, 60:80] = 25001
    entries = synthesised(tmp_path, monkeypatch, [ids], top_k=2)
    assert [e.status for e in entries] == ["skipped", "skipped", "made", "made"]
    assert entries[0].reason == "in 200 windows some instance showed fewer than 4 pixels"


@pytest.mark.parametrize(
    ("rows", "corners"), [(["#"], 1), (["####"], 2), (["#", "#"], 2), (["##", "#."], 3), (["##", "##"], 4)]
)
def test_what_makes_no_polygon_is_erased(rows, corners):
    ids = np.full((9, 9), 7, np.int32)
    for y, row in enumerate(rows, 3):
        for x, cell in enumerate(row, 2):
            ids[y, x] = 24001 if cell == "#" else 7
    assert (24001 in without_specks(ids, CITYSCAPES, 4)) == (corners >= 4)
    ids[0:3, 7:9] = 24001  # another part has corners enough
    assert np.array_equal(without_specks(ids, CITYSCAPES, 4), ids) and without_specks(ids, CITYSCAPES, 0) is ids


def test_segmenters_of_polygons_see_filled_outlines_and_the_others_ids(tmp_path, monkeypatch):
    ids = np.full((128, 256), 7, np.int32)
    ids[20:100, 40:200] = 26001
    ids[40:50, 60:70] = 24001
    ids[100:104, 10:20], ids[100:104, 230:240] = 33001, 33001
    entries = synthesised(tmp_path, monkeypatch, [ids], top_k=1)
    seen = {
        reads: stream(Tree(tmp_path / "tree"), tmp_path / "out", Mix(), 0, reads=reads) for reads in ("ids", "outlines")
    }
    assert seen["ids"].real == seen["outlines"].real
    for plain, drawn, entry in zip(seen["ids"].synthetic, seen["outlines"].synthetic, entries, strict=True):
        labels = png.read_ids(plain.instance_ids)
        assert np.array_equal(labels, png.read_ids(tmp_path / "out" / entry.labels)) and 24001 in labels
        expected = labels.copy()
        for identity in np.unique(labels[labels >= 24000]):  # one polygon each, later ones over earlier ones
            contours, _ = cv2.findContours(
                (labels == identity).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
            )
            cv2.fillPoly(expected, [np.array([point for c in contours for point in c])], int(identity))
        assert np.array_equal(png.read_ids(drawn.instance_ids), expected) and 24001 not in expected
        assert np.array_equal(as_polygons(labels, CITYSCAPES), expected)


def test_the_number_of_instances_is_the_one_counted_by_hand(tmp_path, monkeypatch):
    """Instances of the training set, as the paper's Table I counts them: in real frames and in focused crops."""
    alone = np.full((128, 256), 7, np.int32)
    for number, y in enumerate((10, 60, 110)):
        alone[y : y + 4, 20 + 100 * number : 28 + 100 * number][:, :8] = 24000 + number
    # Boxes of 4 x 8 give windows of at most sqrt(9) x 4 = 12 rows and 24 columns: each shows its own instance alone.
    whole = np.full((128, 256), 7, np.int32)
    whole[:, 0:2], whole[:, 254:256] = 26001, 26001  # a box of the frame's size: its window is the frame
    whole[50, 100:150] = 25001  # one row: two corners; a slot of its own, in whose enlarged windows it has four
    whole[20:24, 20:28] = 24001
    entries = synthesised(tmp_path, monkeypatch, [alone, whole])
    assert {entry.status for entry in entries} == {"made"} and len(entries) == 12
    assert max(entry.zoom for entry in entries) <= 9, "the seed draws no larger one"
    counted = {"real": 0, "made": 0}
    for name, root in (("real", tmp_path / "tree"), ("made", tmp_path / "out")):
        for frame in Tree(root).frames("train"):
            counted[name] += (np.unique(png.read_ids(frame.instance_ids)) >= 24000).sum()
    # Real: 3 + 3. Crops: `alone` 3 x 2 of one each; `whole`: 2 of the frame with two each (the row is erased there), 2
    # of the row alone and 2 of the person alone.
    assert counted == {"real": 6, "made": 6 + 2 * 2 + 2 + 2}
