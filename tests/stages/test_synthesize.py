"""The stage as a whole: what lies in its tree, that nothing else changes, that a broken run ends like a whole one."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cityscapesscripts.helpers.csHelpers import getCsFileInfo
from cityscapesscripts.preparation.createPanopticImgs import convert2panoptic
from PIL import Image

from harness.core.config import Strict, merge, parse, read_toml
from harness.core.errors import HarnessError
from harness.core.paths import CONFIGS
from harness.core.progress import silent
from harness.core.seeds import derive
from harness.data import png
from harness.data.png import read_image
from harness.data.tree import Tree
from harness.generators.base import GENERATORS, Generator, GeneratorPart
from harness.inference.repaint_tree import synthesize
from harness.stages.synthesize import SynthesisSpec, run
from harness.synthesis.integrate import focus, match_colour
from harness.synthesis.manifest import read_manifest
from harness.synthesis.recipe import Recipe
from harness.synthesis.select import Box
from harness.synthesis.sheet import choose

SIZE = (64, 128)


class NoiseOptions(Strict):
    """`short`: how many images it owes."""

    side: int = 40
    short: int = 0


class Noise(Generator[NoiseOptions]):
    """A generator that paints everything anew, at a size of its own, and counts its calls."""

    Options = NoiseOptions

    calls = 0

    def __init__(self, options, *, device):
        self.options, Noise.calls, Noise.device = options, 0, device

    def edit(self, crops, masks, prompts, seeds):
        Noise.calls += 1
        side = self.options.side
        images = [np.random.default_rng(s).integers(0, 256, (side, side, 3), dtype=np.uint8) for s in seeds]
        return images[self.options.short :]


@pytest.fixture(autouse=True)
def noise(monkeypatch):
    monkeypatch.setitem(GENERATORS.entries, "noise", "test_synthesize:Noise")


def scene(seed, size=SIZE):
    """Noise with things side by side over road; by size: 32000, a caravan, a bicycle past 32767, a car, a person."""
    rng = np.random.default_rng(seed)
    height, width = size
    ids = np.full(size, 7, np.int32)
    ids[: height // 3] = 11
    things = [(24000, 0.1), (26001, 0.2), (33767, 0.3), (32000, 0.5), (29000, 0.4), (26, 0.7)]
    slot = width // len(things)
    for place, index in enumerate(rng.permutation(len(things))):
        identity, share = things[index]
        h = round(share * height)
        y = rng.integers(0, height - h + 1)
        ids[y : y + h, place * slot + 1 : (place + 1) * slot] = identity
    return rng.integers(0, 256, (*size, 3), dtype=np.uint8), ids


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Five small frames in two cities."""
    root = tmp_path_factory.mktemp("tree")
    for index in range(5):
        city = "aa" if index < 3 else "bb"
        Tree(root).write_frame("train", city, f"{city}_{index:06d}_000019", *scene(index))
    return root


def recipe(name="corrected", **changed):
    path = CONFIGS / "recipes" / f"{name}.toml"
    return parse(Recipe, merge(read_toml(path), changed), path)


def spec_of(adapter="noise", *, recipe_=None, part=None, **options):
    generator = GeneratorPart(label="gen", adapter=adapter, **{"batch_size": 4, **(part or {})})
    return SynthesisSpec(generator=generator, recipe=recipe_ or recipe(), **options)


def made(tree, out, spec):
    """Entries of a finished synthesis and their facts."""
    facts = run(spec, {"dataset": Tree(tree)}, out, silent)
    return read_manifest(out), facts


def digests(root, *, without=()):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name not in without
    }


def source(tree, name):
    (frame,) = [f for f in Tree(tree).frames("train") if f.name == name]
    return read_image(frame.image), png.read_ids(frame.instance_ids)


def test_composites_equal_the_original_outside_the_pasted_mask(tree, tmp_path):
    entries, _ = made(tree, tmp_path / "out", spec_of(frames=True))
    assert {entry.status for entry in entries} == {"made"} and len(entries) == 5 * 3 * 2
    for entry in entries:
        image, ids = source(tree, entry.source)
        composite = read_image(tmp_path / "out" / entry.composite)
        inside = ids == entry.instance
        assert np.array_equal(composite[~inside], image[~inside])
        assert not np.array_equal(composite[inside], image[inside])
    kept = Tree(tmp_path / "out" / "frames").frames("train")
    assert len(kept) == len(entries)
    for frame, entry in zip(kept, sorted(entries, key=lambda e: e.name), strict=True):
        assert np.array_equal(png.read_ids(frame.instance_ids), source(tree, entry.source)[1])


def test_labels_of_focused_crops_equal_the_cropped_original_labels(tree, tmp_path):
    entries, _ = made(tree, tmp_path / "out", spec_of())
    for entry in entries:
        _, ids = source(tree, entry.source)
        box = Box(*entry.window)
        cropped = Image.fromarray(ids[box.slices]).resize(SIZE[::-1], Image.Resampling.NEAREST)
        written = png.read_ids(tmp_path / "out" / entry.labels)
        assert np.array_equal(written, np.asarray(cropped))
        (frame,) = [f for f in Tree(tmp_path / "out").frames("train") if f.name == entry.name]
        assert np.array_equal(png.read_labels(frame.label_ids), np.where(written < 1000, written, written // 1000))
        assert box.contains(Box(*entry.box)) and box.width == 2 * box.height


def test_focused_images_are_the_window_of_the_composite(tree, tmp_path):
    entries, _ = made(tree, tmp_path / "out", spec_of(frames=True))
    for entry in entries[:8]:
        composite = read_image(tmp_path / "out" / entry.composite)
        expected, _ = focus(composite, np.zeros(SIZE, np.int32), Box(*entry.window), "lanczos")
        assert np.array_equal(read_image(tmp_path / "out" / entry.file), expected)


def test_instance_32000_is_edited_by_the_corrected_recipe_at_full_size(tmp_path):
    image, ids = scene(3, (1024, 2048))
    Tree(tmp_path / "tree").write_frame("train", "aa", "aa_000000_000019", image, ids)
    entries, facts = made(tmp_path / "tree", tmp_path / "out", spec_of("recolor", frames=True, variants=1))
    assert [entry.instance for entry in entries] == [32000, 33767, 26001] and facts["skipped"] == 0
    for entry in entries:
        composite, inside = read_image(tmp_path / "out" / entry.composite), ids == entry.instance
        assert np.array_equal(composite[~inside], image[~inside])
        assert (composite[inside] != image[inside]).any(axis=1).mean() > 0.9
        cropped = Image.fromarray(ids[Box(*entry.window).slices]).resize((2048, 1024), Image.Resampling.NEAREST)
        assert np.array_equal(png.read_ids(tmp_path / "out" / entry.labels), np.asarray(cropped))


def test_a_recipe_may_lose_32000_and_spend_slots_on_caravans(tree, tmp_path):
    entries, facts = made(tree, tmp_path / "out", spec_of(recipe_=recipe("released", empty_mask="skip")))
    assert {entry.instance for entry in entries} == {32000, 29000, 33767}
    lost = [entry for entry in entries if entry.instance == 32000]
    assert {(e.status, e.reason) for e in lost} == {("skipped", "empty mask")} and len(lost) == 10
    assert facts["skipped"] == 10 and facts["reasons"] == {"empty mask": 10} and facts["images"] == 20
    assert all(e.zoom == int(e.zoom) for e in entries if e.status == "made")


def test_the_released_recipe_pads_darkens_and_takes_the_nearest(tmp_path):
    image, ids = scene(0)
    ids[ids >= 24000] = 7
    ids[50:, 118:] = 26007  # in the lower right corner, taller than wide
    Tree(tmp_path / "tree").write_frame("train", "aa", "aa_000000_000019", image, ids)
    asked = spec_of(recipe_=recipe("released", annotation="ids"), frames=True)
    entries, _ = made(tmp_path / "tree", tmp_path / "out", asked)
    entry = next(e for e in entries if e.instance == 26007 and e.variant == 1)
    square = Box(*entry.square)
    assert square == Box(116, 50, 130, 64)
    files = (entry.real, entry.mask, entry.generated)
    real, mask, painted = (np.array(Image.open(tmp_path / "out" / file)) for file in files)
    assert not real[:, 12:].any() and np.array_equal(real[:, :12], image[50:64, 116:])
    nearest = np.array(Image.fromarray(painted).resize((14, 14), Image.Resampling.NEAREST))
    expected = match_colour(nearest, real, mask > 0, "darken")
    composite = read_image(tmp_path / "out" / entry.composite)
    assert np.array_equal(composite[50:, 118:], expected[:, 2:12])


def test_prompts_and_seeds_are_per_item(tree, tmp_path):
    entries, _ = made(tree, tmp_path / "out", spec_of())
    by_instance = {}
    for entry in entries:
        by_instance.setdefault((entry.source, entry.instance), []).append(entry)
    assert all(len({e.prompt for e in group}) == 1 and len(group) == 2 for group in by_instance.values())
    assert len({e.seed for e in entries}) == len(entries)
    assert len({e.window for e in entries}) > len(by_instance)
    assert entries[0].seed == derive(0, "edit", entries[0].source, entries[0].instance, 0)
    assert {e.prompt for e in entries if e.phrase == "motorcycle"} <= {
        "a photo of a black motorcycle",
        "a photo of a white motorcycle",
    }


def test_windows_and_prompts_are_the_same_for_every_generator(tree, tmp_path):
    drawn = [made(tree, tmp_path / name, spec_of(name))[0] for name in ("identity", "recolor", "noise")]
    for entries in zip(*drawn, strict=True):
        assert len({(e.window, e.prompt, e.square, e.name) for e in entries}) == 1


def test_focus_control_changes_nothing_but_the_window(tree, tmp_path):
    entries, _ = made(tree, tmp_path / "out", spec_of("identity", frames=True))
    for entry in entries:
        assert np.array_equal(read_image(tmp_path / "out" / entry.composite), source(tree, entry.source)[0])


def test_duplicate_control_repeats_whole_frames(tree, tmp_path):
    entries, _ = made(tree, tmp_path / "out", spec_of("identity", part={"window": "frame"}))
    assert len(entries) == 30
    for entry in entries:
        image, ids = source(tree, entry.source)
        assert entry.window == (0, 0, 128, 64) and entry.zoom is None
        assert np.array_equal(read_image(tmp_path / "out" / entry.file), image)
        assert np.array_equal(png.read_ids(tmp_path / "out" / entry.labels), ids)


def test_copy_paste_lands_in_another_frame_under_a_free_id(tree, tmp_path):
    entries, _ = made(tree, tmp_path / "out", spec_of("identity", part={"placement": "other_frame"}, frames=True))
    assert len({entry.target for entry in entries}) == 5
    for entry in entries:
        assert entry.target != entry.source
        (image, ids), (target, target_ids) = source(tree, entry.source), source(tree, entry.target)
        inside = ids == entry.instance
        composite = read_image(tmp_path / "out" / entry.composite)
        assert np.array_equal(composite, np.where(inside[..., None], image, target))
        written = png.read_ids((tmp_path / "out" / "frames").joinpath(*Path(entry.labels).parts))
        assert np.array_equal(written, np.where(inside, entry.target_id, target_ids))
        assert entry.target_id not in target_ids and entry.target_id // 1000 == entry.label_id
        assert entry.target_id in png.read_ids(tmp_path / "out" / entry.labels)


def test_copy_paste_needs_another_frame(tree, tmp_path):
    with pytest.raises(HarnessError, match=r"not one image .*: 6 x no other frame to paste into"):
        made(tree, tmp_path / "out", spec_of("identity", part={"placement": "other_frame"}, limit=1))


def test_the_result_is_a_cityscapes_tree_for_the_official_scripts(tree, tmp_path):
    out = tmp_path / "out"
    entries, _ = made(tree, out, spec_of())
    for frame in Tree(out).frames("train"):
        assert getCsFileInfo(str(frame.instance_ids)).city.split("-")[0] == frame.city
    ours = Tree(out).write_panoptic("train")
    (tmp_path / "official").mkdir()
    convert2panoptic(str(out / "gtFine"), str(tmp_path / "official"), setNames=["train"])
    official = json.loads((tmp_path / "official" / "cityscapes_panoptic_train.json").read_text())
    assert json.loads(ours.read_text()) == official and len(official["images"]) == len(entries)


def test_real_and_generated_squares_can_be_paired(tree, tmp_path):
    entries, _ = made(tree, tmp_path / "out", spec_of())
    for entry in entries:
        real, generated = (np.array(Image.open(tmp_path / "out" / path)) for path in entry.pair)
        mask = np.array(Image.open(tmp_path / "out" / entry.mask))
        side = entry.square[2] - entry.square[0]
        assert real.shape == (side, side, 3) and mask.shape == (side, side) and generated.shape == (40, 40, 3)
        assert set(np.unique(mask)) <= {0, 255} and (mask > 0).sum() == entry.area
        noise = np.random.default_rng(entry.seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        assert np.array_equal(generated, noise)


def test_sheet_shows_every_class(tree, tmp_path):
    entries, _ = made(tree, tmp_path / "out", spec_of())
    chosen = choose(entries, 4)
    assert len(chosen) == 4 and {e.class_name for e in chosen} == {"bicycle", "car", "motorcycle"}
    assert len(choose(entries, 16)) == 15 and all(e.variant == 0 for e in choose(entries, 16))
    sheet = Image.open(tmp_path / "out" / "samples.png")
    assert sheet.size[0] > 1500 and sheet.size[1] > 8 * 128
    real = Image.open(tmp_path / "out" / choose(entries, 16)[0].real).resize((128, 128), Image.Resampling.NEAREST)
    assert np.array_equal(np.array(sheet.crop((10, 84, 138, 212))), np.array(real))


def test_two_runs_are_identical_and_the_source_is_untouched(tree, tmp_path):
    before = digests(tree)
    for name in ("one", "two"):
        made(tree, tmp_path / name, spec_of())
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert digests(tree) == before


def test_another_seed_gives_another_synthesis(tree, tmp_path):
    a, b = (made(tree, tmp_path / str(seed), spec_of(seed=seed))[0] for seed in (0, 1))
    assert [e.instance for e in a] == [e.instance for e in b]
    assert [e.window for e in a] != [e.window for e in b] and [e.prompt for e in a] != [e.prompt for e in b]


@pytest.mark.parametrize("adapter", ["recolor", "noise"])
def test_the_batch_size_changes_nothing(tree, tmp_path, adapter):
    for size in (1, 4, 7, 100):
        made(tree, tmp_path / str(size), spec_of(adapter, part={"batch_size": size}))
    trees = [digests(tmp_path / str(size), without=("synthesis.json",)) for size in (1, 4, 7, 100)]
    assert all(tree == trees[0] for tree in trees)


@pytest.mark.parametrize("stop_at", [1, 2, 5, 8])
def test_a_run_that_broke_off_ends_bit_for_bit_like_a_whole_one(tree, tmp_path, monkeypatch, stop_at):
    spec = spec_of()
    made(tree, tmp_path / "whole", spec)
    calls = Noise.calls
    original = Noise.edit

    def breaking(self, *arguments):
        if Noise.calls == stop_at - 1:
            raise RuntimeError("stopped")
        return original(self, *arguments)

    monkeypatch.setattr(Noise, "edit", breaking)
    with pytest.raises(RuntimeError):
        made(tree, tmp_path / "broken", spec)
    assert not (tmp_path / "broken" / "manifest.jsonl").exists()
    monkeypatch.setattr(Noise, "edit", original)
    made(tree, tmp_path / "broken", spec)
    assert Noise.calls <= calls - max(0, stop_at - 2)  # at most two batches are done again
    assert digests(tmp_path / "broken") == digests(tmp_path / "whole")


def test_kill_9_then_the_same_call_gives_the_same_files(tree, tmp_path):
    spec = spec_of(frames=True)
    made(tree, tmp_path / "whole", spec)
    program = f"""
import os, sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_synthesize as t
from pathlib import Path
t.GENERATORS.entries["noise"] = "test_synthesize:Noise"
calls, edit = 0, t.Noise.edit
def killed(self, *a):
    global calls
    calls += 1
    if calls == 4: os.kill(os.getpid(), 9)
    return edit(self, *a)
t.Noise.edit = killed
t.run(t.spec_of(frames=True), {{"dataset": t.Tree(Path({str(tree)!r}))}}, Path({str(tmp_path / "killed")!r}), t.silent)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert list((tmp_path / "killed" / "batches").iterdir())
    made(tree, tmp_path / "killed", spec)
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["cut record", "empty record", "foreign record", "deleted image", "cut image"])
def test_damage_to_half_a_synthesis_is_said_and_its_batch_made_again(tree, tmp_path, monkeypatch, caplog, damage):
    spec, out, edit = spec_of(), tmp_path / "parts", Noise.edit
    made(tree, tmp_path / "whole", spec)

    def breaking(self, *arguments):
        if Noise.calls == 6:
            raise RuntimeError("stopped")
        return edit(self, *arguments)

    monkeypatch.setattr(Noise, "edit", breaking)
    with pytest.raises(RuntimeError):
        made(tree, out, spec)
    monkeypatch.setattr(Noise, "edit", edit)
    record = out / "batches" / "000001.json"
    assert record.is_file() and (out / "batches" / "000002.json").is_file()
    image = out / next(entry["file"] for entry in json.loads(record.read_text())["entries"] if entry["file"])
    damaged = image if "image" in damage else record
    whole = damaged.read_bytes()
    if damage == "deleted image":
        damaged.unlink()
    else:
        text = {"empty": b"", "foreign": b'{"frame": "many"}', "cut": whole[: len(whole) // 2]}
        damaged.write_bytes(text[damage.split()[0]])
    made(tree, out, spec)
    assert f"{damaged} is damaged or gone: the work goes on with batch 1" in caplog.text
    assert digests(out) == digests(tmp_path / "whole")


@pytest.mark.parametrize("cut", [True, False])
def test_a_finished_synthesis_that_lost_an_image_is_not_called_whole(tree, tmp_path, cut):
    spec = spec_of()
    made(tree, tmp_path, spec)
    image = sorted(tmp_path.glob("leftImg8bit/*/*/*.png"))[1]
    image.write_bytes(image.read_bytes()[:100]) if cut else image.unlink()
    with pytest.raises(HarnessError, match=f"{image.name}: damaged or gone"):
        made(tree, tmp_path, spec)


def test_a_finished_run_does_nothing_again(tree, tmp_path):
    _, first = made(tree, tmp_path / "out", spec_of())
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    Noise.calls = 0
    _, second = made(tree, tmp_path / "out", spec_of())
    assert first == second and Noise.calls == 0
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}


def test_items_that_cannot_be_made_are_counted_and_the_others_go_on(tree, tmp_path):
    without = recipe(prompts={"car": [], "motorcycle": ["a moped"]})
    entries, facts = made(tree, tmp_path / "out", spec_of(recipe_=without))
    assert {e.class_name for e in entries if e.status == "made"} == {"motorcycle"}
    assert facts["reasons"].keys() == {
        "the recipe has no prompts for class 'bicycle'",
        "the recipe has no prompts for class 'car'",
    }
    assert facts["images"] == 10 and facts["skipped"] == 20 and facts["classes"] == {"motorcycle": 10}
    assert len(Tree(tmp_path / "out").frames("train")) == 10


def test_quality_filters_are_off_by_default_and_counted(tree, tmp_path):
    asked = spec_of("recolor", recipe_=recipe(quality={"least_change": 30.0}))
    entries, facts = made(tree, tmp_path / "out", asked)
    refused = [e for e in entries if e.status == "filtered"]
    assert 0 < len(refused) == facts["filtered"] < len(entries)
    assert {e.reason for e in refused} == {"changed too little inside the mask"}
    assert all(e.file is None and (tmp_path / "out" / e.generated).exists() for e in refused)
    assert len(Tree(tmp_path / "out").frames("train")) == facts["images"] == len(entries) - len(refused)


def test_filters_refuse_on_their_own_measure_and_note_it(tree, tmp_path):
    asked = spec_of("recolor", recipe_=recipe(filters={"ssim": 0.9}, prompts={"car": [], "motorcycle": ["a moped"]}))
    entries, facts = made(tree, tmp_path / "out", asked)
    judged = [e for e in entries if e.class_name == "motorcycle"]
    assert [e.status == "filtered" for e in judged] == [e.judgement["ssim"] < 0.9 for e in judged]
    assert {e.reason for e in judged if e.status == "filtered"} == {"SSIM below the threshold"}
    assert 0 < facts["filtered"] < len(judged) and facts["skipped"] == len(entries) - len(judged)
    assert all(e.judgement == {} for e in entries if e.status == "skipped")


@pytest.mark.parametrize(("found", "device"), [([], "cpu"), (["0"], "cuda"), (["3", "5"], "cuda")])
def test_a_gpu_is_used_where_there_is_one(tree, tmp_path, monkeypatch, found, device):
    monkeypatch.setattr("harness.stages.synthesize.gpus", lambda: found)
    made(tree, tmp_path / "out", spec_of(limit=1))
    assert Noise.device == device


def test_limit_takes_the_first_frames(tree, tmp_path):
    entries, facts = made(tree, tmp_path / "out", spec_of(limit=2, top_k=1, variants=3))
    assert [e.source for e in entries] == ["aa_000000_000019"] * 3 + ["aa_000001_000019"] * 3
    assert facts["frames"] == 2 and facts["instances"] == 2 and facts["images"] == 6


def test_progress_ends_at_its_total(tree, tmp_path):
    said = []
    run(spec_of(), {"dataset": Tree(tree)}, tmp_path / "out", lambda *event: said.append(event))
    assert said[0][0] == 0 and said[-1][:2] == (5, 5)
    assert [event[0] for event in said] == sorted(event[0] for event in said)


def test_a_generator_that_breaks_its_contract_is_named(tree, tmp_path):
    with pytest.raises(HarnessError, match="'gen' returned 3 images for 4 crops"):
        made(tree, tmp_path / "out", spec_of(part={"options": {"short": 1}}))


def test_an_output_inside_the_source_is_refused(tree, tmp_path):
    before = digests(tree)
    link = tmp_path / "link"
    link.symlink_to(tree)
    for out in (tree, tree / "new", link / "new" / "deeper", tree / ".." / tree.name):
        with pytest.raises(HarnessError, match="lies in the source tree"):
            made(tree, out, spec_of())
        with pytest.raises(HarnessError, match="lies in the source tree"):
            synthesize(Tree(tree), out, generator="focus")
    assert digests(tree) == before


def test_an_output_with_something_else_in_it_is_refused(tree, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    for call in (lambda: made(tree, out, spec_of()), lambda: synthesize(Tree(tree), out, generator="focus")):
        with pytest.raises(HarnessError, match="exists and is no synthesis"):
            call()
    assert [path.name for path in tmp_path.iterdir()] == ["out"] and len(list(out.iterdir())) == 1
    made(tree, tmp_path / "other", spec_of())
    with pytest.raises(HarnessError, match="holds another synthesis"):
        made(tree, tmp_path / "other", spec_of(seed=1))


def test_synthesize_makes_the_same_tree_as_the_stage_and_appears_whole(tree, tmp_path):
    (tmp_path / "alone").mkdir()  # an empty folder is as good as none
    facts = synthesize(Tree(tree), tmp_path / "alone", generator="focus", limit=3, frames=True)
    assert facts["images"] == 18 and facts["classes"].keys() == {"bicycle", "car", "motorcycle"}
    path = CONFIGS / "generators" / "focus.toml"
    part = parse(GeneratorPart, read_toml(path), path)
    made(tree, tmp_path / "stage", SynthesisSpec(generator=part, recipe=recipe(), limit=3, frames=True))
    alone = digests(tmp_path / "alone", without=("contents.json", "manifest.json"))
    assert alone == digests(tmp_path / "stage")
    assert synthesize(Tree(tree), tmp_path / "alone", generator="focus", limit=3, frames=True) == facts
    with pytest.raises(HarnessError, match="holds another synthesis"):
        synthesize(Tree(tree), tmp_path / "alone", generator="recolor", limit=3, frames=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone", "stage"]


@pytest.mark.parametrize("how", ["gone", "other pixels"])
@pytest.mark.parametrize(
    "file", ["leftImg8bit/*/*/*.png", "gtFine/*/*/*_instanceIds.png", "gtFine/*/*/*_labelIds.png", "samples.png",
             "crops/mask/*/*.png", "manifest.jsonl", "contents.json"],
)  # fmt: skip
def test_a_tree_of_which_a_file_changed_is_not_called_whole(tree, tmp_path, file, how):
    out = tmp_path / "out"
    synthesize(Tree(tree), out, generator="focus", limit=2)
    (out / "notes.txt").write_text("mine")
    synthesize(Tree(tree), out, generator="focus", limit=2)  # what somebody put there is no damage
    path = sorted(out.glob(file))[-1]
    if how == "gone":
        path.unlink()
    elif path.suffix == ".png":
        pixels = np.array(Image.open(path))
        Image.fromarray(255 - pixels if pixels.dtype == np.uint8 else pixels + 1).save(path)
    else:
        path.write_text(path.read_text().replace("3", "4"))
    with pytest.raises(HarnessError, match=f"not as it was made: {path.relative_to(out)}") as error:
        synthesize(Tree(tree), out, generator="focus", limit=2)
    assert error.value.hint == f"remove {out}, and it is made again"


def test_a_tree_made_from_other_pixels_of_equal_size_is_another_synthesis(tmp_path):
    image, ids = scene(0)
    frame = Tree(tmp_path / "tree").write_frame("train", "aa", "aa_000000_000019", image, ids)
    synthesize(Tree(tmp_path / "tree"), tmp_path / "out", generator="focus")
    content = bytearray(frame.image.read_bytes())
    content[-8 - 12] ^= 1  # a bit of the pixels' checksum: the file keeps its size
    frame.image.write_bytes(content)
    with pytest.raises(HarnessError, match="holds another synthesis"):
        synthesize(Tree(tmp_path / "tree"), tmp_path / "out", generator="focus")


def broken(tmp_path, breaking):
    root = tmp_path / "tree"
    written = Tree(root).write_frame("train", "aa", "aa_000000_000019", *scene(0))
    breaking(written)
    return root


BROKEN = {
    "truncated": (lambda f: f.image.write_bytes(f.image.read_bytes()[:900]), "_leftImg8bit.png: truncated"),
    "8-bit": (lambda f: Image.fromarray(png.read_labels(f.label_ids)).save(f.instance_ids), "expected 16-bit grey"),
    "unlabelled": (lambda f: f.instance_ids.unlink(), "the image has no labels"),
    "sizes": (lambda f: Image.new("RGB", (30, 20)).save(f.image), "128 x 64 pixels, and its image has 30 x 20"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_tree_is_one_message_and_leaves_nothing(tmp_path, what):
    breaking, message = BROKEN[what]
    root = broken(tmp_path, breaking)
    with pytest.raises(HarnessError, match=message):
        synthesize(Tree(root), tmp_path / "out", generator="focus")
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


def test_wrong_names_and_places_are_one_message_and_leave_nothing(tree, tmp_path):
    with pytest.raises(HarnessError, match="no such folder"):
        synthesize(Tree(tmp_path / "nowhere"), tmp_path / "out", generator="focus")
    with pytest.raises(HarnessError, match="unknown generator 'focsu'") as error:
        synthesize(Tree(tree), tmp_path / "out", generator="focsu")
    assert "'focus'" in error.value.hint
    with pytest.raises(HarnessError, match="unknown recipe 'correct'"):
        synthesize(Tree(tree), tmp_path / "out", generator="focus", recipe="correct")
    with pytest.raises(HarnessError, match="paints nothing"):
        synthesize(Tree(tree), tmp_path / "out", generator="none")
    with pytest.raises(HarnessError, match="no split 'val'"):
        synthesize(Tree(tree), tmp_path / "out", generator="focus", split="val")
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="cannot be written"):
        synthesize(Tree(tree), tmp_path / "file" / "out", generator="focus")
    with pytest.raises(HarnessError, match="exists and is no synthesis"):
        synthesize(Tree(tree), tmp_path / "file", generator="focus")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_frames_without_instances_are_an_error_that_says_so(tmp_path):
    image, ids = scene(0)
    Tree(tmp_path / "tree").write_frame("train", "aa", "aa_000000_000019", image, np.where(ids < 1000, ids, 7))
    with pytest.raises(HarnessError, match="no frame has an instance"):
        synthesize(Tree(tmp_path / "tree"), tmp_path / "out", generator="focus")


def test_an_unfinished_folder_has_no_manifest(tmp_path):
    with pytest.raises(HarnessError, match="holds no finished synthesis"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.jsonl").write_text('{"status": "made"}\n')
    with pytest.raises(HarnessError, match="not a manifest of this version"):
        read_manifest(tmp_path)
