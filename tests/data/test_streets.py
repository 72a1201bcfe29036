"""Street scenes: deterministic, valid Cityscapes, near its numbers, a narrow train split, captions that are true."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from harness.core.errors import HarnessError
from harness.data import png
from harness.data.cityscapes import CITYSCAPES
from harness.data.png import read_image
from harness.data.streets import DOMAINS, draw_scene, pool_crops, render
from harness.data.streets.layout import plan_scene
from harness.data.streets.order import painters_order
from harness.data.streets.palette import COLOURS
from harness.data.streets.scene import thing_ids
from harness.data.streets.street import Style
from harness.data.streets.thing import CLASSES, LABELS
from harness.data.tree import Tree

SCENES = 48
SIZE = (256, 512)


@pytest.fixture(scope="module")
def scenes():
    return {domain: [draw_scene(seed, domain, SIZE) for seed in range(SCENES)] for domain in ("train", "val")}


@pytest.fixture(scope="module")
def crops():
    return list(pool_crops(5, 64))


def shares(scenes):
    """Share of pixels by label id, and per label in how many frames it has an instance."""
    pixels, present, counts = np.zeros(64), np.zeros(64), []
    for scene in scenes:
        pixels += np.bincount(CITYSCAPES.label_of(scene.instance_ids).ravel(), minlength=64)
        ids = np.unique(scene.instance_ids)
        ids = ids[ids >= 1000]
        counts.append(len(ids))
        present[np.unique(ids // 1000)] += 1
    return pixels / pixels.sum(), present / len(scenes), np.array(counts)


def test_the_same_seed_draws_the_same_bits_and_domains_never_meet():
    first, again = draw_scene(3, "val"), draw_scene(3, "val")
    assert np.array_equal(first.image, again.image) and np.array_equal(first.instance_ids, again.instance_ids)
    others = [draw_scene(4, "val"), *(draw_scene(3, domain) for domain in DOMAINS if domain != "val")]
    assert all(not np.array_equal(first.instance_ids, other.instance_ids) for other in others)


@pytest.mark.parametrize("size", [(256, 512), (128, 256), (96, 192), (512, 1024), (1024, 2048)])
def test_a_scene_has_the_asked_size_and_types(size):
    scene = draw_scene(1, "train", size)
    assert scene.image.shape == (*size, 3) and scene.image.dtype == np.uint8
    assert scene.instance_ids.shape == size and scene.instance_ids.dtype == np.int32


def test_ids_are_cityscapes_ids_of_planned_things(scenes):
    for domain, drawn in scenes.items():
        for seed, scene in enumerate(drawn):
            ids = set(np.unique(scene.instance_ids).tolist())
            planned = set(thing_ids(plan_scene(seed, domain, SIZE)))
            assert {i for i in ids if i >= 24 and i not in planned} == set()
            assert all((i if i < 1000 else i // 1000) in CITYSCAPES.by_id for i in ids)


def test_instances_are_numbered_per_class_without_gaps():
    for seed in range(8):
        ids = sorted(i for i in thing_ids(plan_scene(seed, "val", SIZE)) if i >= 1000)
        assert len(ids) == len(set(ids))
        for label in {i // 1000 for i in ids}:
            assert [i % 1000 for i in ids if i // 1000 == label] == list(range(sum(i // 1000 == label for i in ids)))


def test_all_evaluated_classes_and_groups_and_borders_appear(scenes):
    for drawn in scenes.values():
        ids = np.concatenate([np.unique(scene.instance_ids) for scene in drawn])
        labels = set(CITYSCAPES.label_of(ids).tolist())
        assert {label.id for label in CITYSCAPES.evaluated} <= labels
        assert {1, 2, 3, 4} <= labels  # ego vehicle, rectification border, out of roi, static
        assert {1, 2, 3, 4} <= CITYSCAPES.ignored
        assert {24, 26, 33} <= set(ids[ids < 1000].tolist())  # group regions


def test_a_rider_sits_on_a_two_wheeler():
    for seed in range(20):
        things = plan_scene(seed, "val", SIZE).things
        for k, thing in enumerate(things):
            if thing.name == "rider":
                assert things[k - 1].name in ("bicycle", "motorcycle")
                assert (things[k - 1].x, things[k - 1].z) == (thing.x, thing.z)


def test_statistics_lie_near_cityscapes(scenes):
    for drawn in scenes.values():
        share, present, counts = shares(drawn)
        assert counts.min() >= 1 and 12 <= np.median(counts) <= 28 and counts.max() >= 26
        bands = {"road": (0.24, 0.40), "building": (0.14, 0.28), "vegetation": (0.07, 0.17), "car": (0.07, 0.17),
                 "sky": (0.015, 0.06), "sidewalk": (0.03, 0.06), "person": (0.005, 0.015),
                 "pole": (0.008, 0.022)}  # fmt: skip
        for label in CITYSCAPES.evaluated:
            low, high = bands.get(label.name, (0.0005, 0.05))
            assert low < share[label.id] < high, (label.name, share[label.id])
        for name, low in {
            "truck": 0.1,
            "bus": 0.1,
            "train": 0.1,
            "motorcycle": 0.25,
            "bicycle": 0.25,
            "rider": 0.25,
        }.items():
            assert low < present[LABELS[name]] < 0.75, (name, present[LABELS[name]])


def test_sizes_run_from_tiny_to_large(scenes):
    areas = np.concatenate([
        counts[ids >= 1000]
        for ids, counts in (np.unique(scene.instance_ids, return_counts=True) for scene in scenes["val"])
    ])  # fmt: skip
    total = SIZE[0] * SIZE[1]
    assert np.percentile(areas, 10) < 0.0002 * total
    assert np.percentile(areas, 90) > 0.01 * total


def hues(scenes, label):
    """Distribution of chromatic hues (8 bins, and grey) over the pixels of a class."""
    from cv2 import COLOR_RGB2HSV, cvtColor

    bins = np.zeros(9)
    for scene in scenes:
        inside = CITYSCAPES.label_of(scene.instance_ids) == label
        h, s, v = cvtColor(scene.image, COLOR_RGB2HSV)[inside].T
        coloured = (s > 110) & (v > 50)
        bins[:8] += np.bincount(h[coloured] * 8 // 180, minlength=8)
        bins[8] += np.count_nonzero(~coloured)
    return bins / bins.sum()


def test_train_is_narrower_than_val(scenes):
    def entropy(p):
        p = p[p > 0]
        return float(-(p * np.log(p)).sum())

    assert entropy(hues(scenes["train"], LABELS["car"])) < entropy(hues(scenes["val"], LABELS["car"])) - 0.1
    for name in ("car", "truck", "bus"):  # Cityscapes' red, absent from the train split
        assert hues(scenes["train"], LABELS[name])[[0, 7]].sum() < hues(scenes["val"], LABELS[name])[[0, 7]].sum()
    plans = {domain: [plan_scene(seed, domain, SIZE) for seed in range(SCENES)] for domain in scenes}
    assert len({plan.light.name for plan in plans["train"]}) == 1 < 4 <= len({plan.light.name for plan in plans["val"]})
    for name in LABELS:
        kinds = {d: {t.kind for p in plans[d] for t in p.things if t.name == name} for d in plans}
        colours = {d: {t.colour for p in plans[d] for t in p.things if t.name == name} for d in plans}
        assert len(colours["train"]) < len(colours["val"]) and len(kinds["train"]) <= len(kinds["val"])


def test_asked_for_colours_are_in_val_and_not_in_train():
    asked = {"bus": {"red", "green"}, "truck": {"red", "green"}, "car": {"red", "white"}, "train": {"red", "black"},
             "motorcycle": {"black", "white"}, "bicycle": {"white", "black"}}  # fmt: skip
    seen = {domain: {name: set() for name in LABELS} for domain in DOMAINS}
    for domain in DOMAINS:
        for seed in range(80):
            for thing in plan_scene(seed, domain, SIZE).things:
                seen[domain][thing.name].add(thing.colour)
    for name, colours in asked.items():
        assert colours <= seen["val"][name] and colours <= seen["pool"][name]
        assert not colours & seen["train"][name]


def test_crops_cover_the_classes_evenly_and_carry_true_captions(crops):
    assert [crop.label_id for crop in crops[:8]] == sorted(CLASSES)
    for crop in crops:
        assert crop.image.shape == (64, 64, 3) and crop.mask.shape == (64, 64) and crop.mask.dtype == bool
        assert crop.mask.mean() > 0.08
        name = CLASSES[crop.label_id]
        if name == "person":
            assert crop.prompt == f"a photo of a {crop.kind}" and crop.kind in ("woman", "man")
        elif name == "rider":
            assert crop.prompt == f"a photo of a {crop.kind} rider" and crop.kind in ("female", "male")
        else:
            article = "an" if crop.colour == "orange" else "a"
            assert crop.prompt == f"a photo of {article} {crop.colour} {name}"


def test_masked_pixels_show_the_captions_colour(crops):
    """Under any light the named colour's channel leads: a share of the mask is on the colour's side of grey."""
    tests = {
        "red": lambda r, g, b: r > 1.6 * np.maximum(g, b), "green": lambda r, g, b: g > 1.25 * np.maximum(r, b),
        "blue": lambda r, g, b: b > 1.35 * np.maximum(r, g * 0.95),
        "yellow": lambda r, g, b: (r > 1.5 * b) & (g > 1.3 * b),
        "white": lambda r, g, b: np.minimum(np.minimum(r, g), b) > 105,
        "black": lambda r, g, b: np.maximum(np.maximum(r, g), b) < 85,
    }  # fmt: skip
    checked = 0
    for crop in crops:
        if CLASSES[crop.label_id] in ("person", "rider") or crop.colour not in tests:
            continue
        r, g, b = crop.image[crop.mask].astype(float).T
        assert tests[crop.colour](r, g, b).mean() > 0.08, crop.prompt
        checked += 1
    assert checked >= 20


def test_a_crop_depends_on_its_seed_and_index_alone():
    whole = list(pool_crops(9, 6))
    later = list(pool_crops(9, 2, start=4))
    for a, b in zip(whole[4:], later, strict=True):
        assert np.array_equal(a.image, b.image) and np.array_equal(a.mask, b.mask) and a.prompt == b.prompt


def test_colours_have_names_that_prompts_ask_for():
    assert {"white", "black", "red", "green"} <= set(COLOURS)


def test_painters_order_puts_the_lane_before_the_long_tram():
    tram, car, far = (-8.0, -5.5, 5.0, 27.0), (-4.4, -2.4, 9.0, 14.0), (-8.0, -6.0, 40.0, 44.0)
    assert painters_order(np.array([car, tram, far])) == [2, 1, 0]
    assert painters_order(np.array([tram, tram])) == [0, 1]
    assert painters_order(np.zeros((0, 4))) == []


def test_unknown_domain_and_small_size_are_told():
    with pytest.raises(HarnessError, match="domain 'vall'"):
        draw_scene(0, "vall")
    with pytest.raises(HarnessError, match="too small"):
        draw_scene(0, "val", (16, 16))


COUNTS = {"train": 4, "val": 2}
SMALL = (64, 128)


def tree(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_render_writes_a_tree_that_resumes_bit_for_bit(tmp_path):
    seen = []
    render(tmp_path / "a", seed=1, counts=COUNTS, size=SMALL, report=lambda *step: seen.append(step))
    assert seen[-1][:2] == (6, 6)
    whole = tree(tmp_path / "a")
    assert {frame.city for frame in Tree(tmp_path / "a").frames("train")} != {
        frame.city for frame in Tree(tmp_path / "a").frames("val")
    }

    def stop(done, total, note=""):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render(tmp_path / "b", seed=1, counts=COUNTS, size=SMALL, report=stop)
    half = Tree(tmp_path / "b").frames("train")
    half[0].label_ids.unlink()
    half[1].image.with_name("." + half[1].image.name + ".part").write_bytes(b"half")
    before = half[2].image.stat().st_mtime_ns
    assert render(tmp_path / "b", seed=1, counts=COUNTS, size=SMALL) == {"train": 2, "val": 2}
    assert half[2].image.stat().st_mtime_ns == before
    left = {path: data for path, data in tree(tmp_path / "b").items() if not path.endswith(".part")}
    assert left == whole


def test_rendered_frames_are_the_drawn_scenes(tmp_path):
    from harness.core.seeds import derive

    render(tmp_path, seed=2, counts={"val": 1}, size=SMALL)
    frame, scene = Tree(tmp_path).frames("val")[0], draw_scene(derive(2, "render", 0), "val", SMALL)
    assert np.array_equal(read_image(frame.image), scene.image)
    assert np.array_equal(png.read_ids(frame.instance_ids), scene.instance_ids)


def test_panoptic_equals_the_official_conversion(tmp_path, caplog):
    from cityscapesscripts.preparation.createPanopticImgs import convert2panoptic

    caplog.set_level(logging.ERROR)
    render(tmp_path, seed=7, counts={"val": 3}, size=(128, 256))
    (tmp_path / "official").mkdir()
    convert2panoptic(
        cityscapesPath=str(tmp_path / "gtFine"),
        outputFolder=str(tmp_path / "official"),
        useTrainId=False,
        setNames=["val"],
    )
    name = "cityscapes_panoptic_val"
    ours = json.loads((tmp_path / "gtFine" / f"{name}.json").read_text())
    official = json.loads((tmp_path / "official" / f"{name}.json").read_text())
    assert sorted(ours["annotations"], key=lambda a: a["image_id"]) == sorted(
        official["annotations"], key=lambda a: a["image_id"]
    )
    assert ours["categories"] == official["categories"]
    for annotation in official["annotations"]:
        a, b = (
            np.asarray(Image.open(base / name / annotation["file_name"]))
            for base in (tmp_path / "gtFine", tmp_path / "official")
        )
        assert np.array_equal(a, b)


def test_bad_counts_are_told(tmp_path):
    with pytest.raises(HarnessError, match="is -1, expected 0 or more"):
        render(tmp_path, seed=0, counts={"val": -1})
    with pytest.raises(HarnessError, match="split 'test'"):
        render(tmp_path, seed=0, counts={"test": 1})
    assert not list(tmp_path.iterdir())


def test_small_things_are_left_out_and_riders_keep_their_cycles():
    style = Style(zoom=2.1, featured=4, least=0.3)
    for seed in range(30):
        plan = plan_scene(seed, "val", (96, 192), style=style)
        for k, thing in enumerate(plan.things):
            tall = plan.camera.focal * thing.size[2] / thing.z
            ridden = k + 1 < len(plan.things) and plan.things[k + 1].name == "rider"
            assert tall >= 0.3 * 96 or ridden
            if thing.name == "rider":
                assert plan.things[k - 1].name in ("bicycle", "motorcycle")
                assert (plan.things[k - 1].x, plan.things[k - 1].z) == (thing.x, thing.z)
        everything = plan_scene(seed, "val", (96, 192), style=replace(style, least=0.0)).things
        assert set(plan.things) <= set(everything)


def test_lights_and_colours_are_made_familiar_each_by_itself():
    def lights(**style):
        return {plan_scene(seed, "val", (96, 192), style=Style(**style)).light.name for seed in range(40)}

    def colours(**style):
        plans = [plan_scene(seed, "val", (96, 192), style=Style(**style)) for seed in range(40)]
        return {thing.colour for plan in plans for thing in plan.things if thing.name == "car"}

    assert lights(familiar_light=1.0) == {"overcast"} and len(lights(familiar=1.0)) > 2
    assert colours(familiar=1.0) <= {"silver", "grey", "blue"} and "red" in colours(familiar_light=1.0)
