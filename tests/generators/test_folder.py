"""A folder gives what lies in it, for the frames and instances that its names say, and refuses what does not fit."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sets import FRUIT

from harness.core.config import parse, read_toml
from harness.core.errors import HarnessError
from harness.core.paths import CONFIGS
from harness.core.progress import silent
from harness.data import png
from harness.data.cityscapes import CITYSCAPES
from harness.data.coco_panoptic import panoptic
from harness.data.mix import Mix, source_name, stream
from harness.data.tree import Tree
from harness.generators.base import GeneratorPart
from harness.stages import images, synthesize
from harness.stages.images import ImagesSpec
from harness.stages.synthesize import SynthesisSpec
from harness.synthesis.manifest import WHOLE, read_manifest
from harness.synthesis.recipe import Recipe

SIZE = (48, 96)
NAMES = tuple(f"aa_{number:06d}_000019" for number in range(3))


def scene(number):
    """Road and sky with a large car, a small car, a person and a group of cars."""
    rng = np.random.default_rng(number)
    ids = np.full(SIZE, 7, np.int32)
    ids[:12] = 23
    ids[10:40, 4:40] = 26001
    ids[20:28, 44 + number : 54 + number] = 26002
    ids[14:40, 64:74] = 24000
    ids[40:46, 80:96] = 26
    return rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8), ids


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for number, name in enumerate(NAMES):
        Tree(root).write_frame("train", "aa", name, *scene(number))
    return root


def part(folder, **options):
    extra = {key: options.pop(key) for key in ("window", "placement") if key in options}
    content = {"label": "mine", "adapter": "folder", **extra, "options": {"folder": str(folder), **options}}
    return parse(GeneratorPart, content, "mine.toml")


def painted(path, size=20, colour=(255, 0, 0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size, size, 3), colour, np.uint8)).save(path)


def repainted(data, part_, out, **options):
    recipe = parse(Recipe, read_toml(CONFIGS / "recipes" / "corrected.toml"), "corrected")
    facts = synthesize.run(
        SynthesisSpec(generator=part_, recipe=recipe, **options), {"dataset": Tree(data)}, out, silent
    )
    return facts, read_manifest(out)


def joined(data, part_, out, **options):
    facts = images.run(ImagesSpec(generator=part_, **options), {"dataset": Tree(data)}, out, silent)
    return facts, read_manifest(out)


# crops


def test_crops_go_where_their_names_say_and_nowhere_else(data, tmp_path):
    """The smallest instance of a frame too, which the recipe would not choose, and as many variants as there are."""
    mine = tmp_path / "mine"
    painted(mine / f"{NAMES[0]}_26002_9.png", colour=(255, 0, 0))
    painted(mine / f"{NAMES[0]}_26002_10.png", colour=(0, 255, 0))
    painted(mine / f"{NAMES[2]}_24000_0.png", size=7, colour=(0, 0, 255))
    crops = part(mine, crops="{source}_{instance}_{variant}.png", window="frame")
    facts, entries = repainted(data, crops, tmp_path / "out", top_k=1, variants=5)
    assert [(e.source, e.instance, e.variant) for e in entries] == [
        (NAMES[0], 26002, 0),
        (NAMES[0], 26002, 1),
        (NAMES[2], 24000, 0),
    ]
    assert facts["images"] == 3 and facts["frames"] == 3
    for entry, colour in zip(entries, ((255, 0, 0), (0, 255, 0), (0, 0, 255)), strict=True):
        image, ids = scene(NAMES.index(entry.source))
        inside = ids == entry.instance
        written = png.read_image(tmp_path / "out" / entry.file)
        assert (written[inside] == colour).all() and np.array_equal(written[~inside], image[~inside])
        assert np.array_equal(png.read_ids(tmp_path / "out" / entry.labels), ids)
        assert entry.prompt == f"a photo of a {entry.class_name}"


def test_a_crop_of_an_instance_that_the_frame_has_not_is_refused_before_anything_is_written(data, tmp_path):
    painted(tmp_path / "mine" / f"{NAMES[0]}_26007.png")
    crops = part(tmp_path / "mine", crops="{source}_{instance}.png")
    with pytest.raises(HarnessError, match=r"has no instance 26007.*") as told:
        repainted(data, crops, tmp_path / "out")
    assert f"{NAMES[0]}_26007.png" in told.value.message and "26001" in told.value.hint
    assert not Tree(tmp_path / "out").root.joinpath("leftImg8bit").exists()


def test_crops_of_classes_without_phrases_are_taken_too(tmp_path):
    root = tmp_path / "fruit"
    ids = np.full(SIZE, 5, np.int32)
    ids[10:30, 10:30] = 256
    ids[10:30, 40:60] = 8 * 256 + 3
    Tree.create(root, FRUIT).write_frame("train", "aa", NAMES[0], scene(0)[0], ids)
    painted(tmp_path / "mine" / f"{NAMES[0]}_{8 * 256 + 3}.png")
    crops = part(tmp_path / "mine", crops="{source}_{instance}.png")
    _, entries = repainted(root, crops, tmp_path / "out")
    assert [(e.status, e.class_name) for e in entries] == [("made", "nut")]


# whole images


def invert(data, mine, pattern="{}_inverted.png"):
    for frame in Tree(data).frames("train"):
        path = mine / pattern.format(frame.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 - frame.read_image()).save(path)
    return mine


def shifted(ids):
    """Labels that are not the source's."""
    return np.roll(ids, 5, axis=1)


def with_ids(data, mine):
    for frame in Tree(data).frames("train"):
        png.write(mine / f"{frame.name}_ids.png", shifted(frame.read_ids()))
    return {"labels": "ids", "label_files": "{source}_ids.png"}


def with_polygons(data, mine):
    """Each run of a row is a polygon of its own (of a group, since it would count as an instance)."""
    for frame in Tree(data).frames("train"):
        ids, objects = shifted(frame.read_ids()), []
        for value in sorted(set(ids.ravel().tolist())):
            name = CITYSCAPES.by_id[CITYSCAPES.label_of(value)].name
            y, x = np.nonzero(ids == value)
            whole = value in (24000, 26001, 26002)
            if whole:
                corners = [[x.min(), y.min()], [x.max(), y.min()], [x.max(), y.max()], [x.min(), y.max()]]
                objects.append({"label": name, "polygon": np.array(corners).tolist()})
            else:
                objects += [
                    {"label": f"{name}group" if name == "car" else name, "polygon": [[int(a), int(b)]] * 2}
                    for a, b in zip(x, y, strict=True)
                ]
        content = {"imgHeight": SIZE[0], "imgWidth": SIZE[1], "objects": objects}
        (mine / f"{frame.name}.json").write_text(json.dumps(content))
    return {"labels": "polygons", "label_files": "{source}.json"}


def with_panoptic(data, mine):
    annotations = []
    for frame in Tree(data).frames("train"):
        picture, segments = panoptic(shifted(frame.read_ids()), CITYSCAPES)
        png.write(mine / "p" / f"{frame.name}.png", picture)
        annotations.append({"file_name": f"{frame.name}.png", "segments_info": segments})
    (mine / "p.json").write_text(json.dumps({"annotations": annotations}))
    return {"labels": "panoptic", "label_files": "p/{source}.png", "segments": "p.json"}


@pytest.mark.parametrize("annotate", [with_ids, with_polygons, with_panoptic], ids=lambda one: one.__name__)
def test_images_join_with_labels_of_their_own(annotate, data, tmp_path):
    mine = invert(data, tmp_path / "mine")
    given = part(mine, images="{source}_inverted.png", **annotate(data, mine))
    facts, entries = joined(data, given, tmp_path / "out")
    assert facts == {"frames": 3, "sources": 3, "images": 3}
    made = Tree(tmp_path / "out").frames("train")
    assert [source_name(frame) for frame in made] == [entry.source for entry in entries] == [*NAMES]
    for number, frame in enumerate(made):
        image, ids = scene(number)
        assert np.array_equal(frame.read_image(), 255 - image)
        found, expected = frame.read_ids(), shifted(ids)
        assert np.array_equal(CITYSCAPES.label_of(found), CITYSCAPES.label_of(expected))
        # Polygons and panoptic files number instances anew: the same regions, whatever they are called.
        pairs = {tuple(pair) for pair in np.stack([found.ravel(), expected.ravel()], 1).tolist()}
        assert len({one for one, _ in pairs}) == len({other for _, other in pairs}) == len(pairs)


def test_images_may_have_the_labels_of_their_frames_and_several_variants(data, tmp_path):
    mine = invert(data, tmp_path / "mine")
    Image.fromarray(scene(1)[0]).save(mine / f"{NAMES[1]}_same.png")
    facts, entries = joined(data, part(mine, images="{source}_{variant}.png", labels="source"), tmp_path / "out")
    assert facts["images"] == 4 and {entry.instance for entry in entries} == {WHOLE}
    assert [entry.variant for entry in entries if entry.source == NAMES[1]] == [0, 1]
    frames = stream(Tree(data), tmp_path / "out", Mix(kind="probability"), 0)
    assert len(frames.synthetic) == 4 and {source_name(frame) for frame in frames.synthetic} == set(NAMES)
    for frame in frames.synthetic:
        assert np.array_equal(frame.read_ids(), scene(NAMES.index(source_name(frame)))[1])


def test_a_tree_of_a_synthesis_is_taken_as_it_is(data, tmp_path):
    tree = Tree(tmp_path / "mine")
    tree.write_frame("train", "aa", "aa-26001-1_000002_000019", *scene(7))
    tree.write_frame("train", "aa", "aa_000000_000019", *scene(8))
    _, entries = joined(data, part(tmp_path / "mine"), tmp_path / "out")
    assert [entry.source for entry in entries] == [NAMES[0], NAMES[2]]
    first, second = Tree(tmp_path / "out").frames("train")
    assert np.array_equal(first.read_image(), scene(8)[0]) and np.array_equal(second.read_image(), scene(7)[0])


def test_a_run_that_was_stopped_goes_on_and_ends_alike(data, tmp_path):
    class Enough(BaseException):
        pass

    def report(done, total, note=""):
        if done == 2:
            raise Enough

    spec = ImagesSpec(generator=part(invert(data, tmp_path / "mine"), images="{source}_{variant}.png", labels="source"))
    with pytest.raises(Enough):
        images.run(spec, {"dataset": Tree(data)}, tmp_path / "out", report)
    images.run(spec, {"dataset": Tree(data)}, tmp_path / "out", silent)
    images.run(spec, {"dataset": Tree(data)}, tmp_path / "whole", silent)

    def content(root: Path):
        return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    assert content(tmp_path / "out") == content(tmp_path / "whole")


# what is refused


def small(data, mine):
    painted(mine / f"{NAMES[0]}_x.png", size=30)


def unknown(data, mine):
    painted(mine / "bb_000000_000019_x.png", size=30)


def truncated(data, mine):
    path = mine / f"{NAMES[0]}_x.png"
    invert(data, mine, "{}_x.png")
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (small, "30 x 30 pixels, but its labels .* have 96 x 48"),
        (unknown, "its frame bb_000000_000019 is none of split train"),
        (truncated, "truncated or not a readable image"),
    ],
)
def test_images_that_do_not_fit_their_frames_are_refused(spoil, message, data, tmp_path):
    spoil(data, tmp_path / "mine")
    with pytest.raises(HarnessError, match=message):
        joined(data, part(tmp_path / "mine", images="{source}_{variant}.png", labels="source"), tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.jsonl").exists()


def test_labels_of_another_size_and_without_a_label_are_refused(data, tmp_path):
    mine = invert(data, tmp_path / "mine")
    given = {"images": "{source}_inverted.png", "labels": "ids", "label_files": "{source}_ids.png"}
    for name in NAMES:
        png.write(mine / f"{name}_ids.png", np.full(SIZE, 64000, np.uint16))
    with pytest.raises(HarnessError, match="id 64000 is of no label of cityscapes"):
        joined(data, part(mine, **given), tmp_path / "out")
    png.write(mine / f"{NAMES[0]}_ids.png", np.zeros((4, 4), np.uint16))
    with pytest.raises(HarnessError, match=r"96 x 48 pixels, but its labels .* have 4 x 4"):
        _ = part(mine, **given).stock
    (mine / f"{NAMES[0]}_ids.png").unlink()
    with pytest.raises(HarnessError, match=r"no file of the pattern .* annotates it"):
        _ = part(mine, **given).stock


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crops": "{source}.png"}, "name the id of the instance"),
        ({"images": "{variant}.png", "labels": "source"}, "must name the frame"),
        ({"images": "{source}.png"}, "images and labels belong together"),
        ({"images": "{source}.png", "labels": "ids"}, "label_files belong to"),
        ({"images": "{source}_{variant}.png", "labels": "ids", "label_files": "{source}.png"}, "lacks variant"),
        ({"images": "{source}.png", "labels": "panoptic", "label_files": "{source}.p.png"}, "segments, a JSON"),
        ({"images": "{source}.png", "crops": "{source}_{instance}.png"}, "expected one of them"),
        ({"images": "../{source}.png", "labels": "source"}, "below the folder"),
        ({"images": "{sauce}.png", "labels": "source"}, "did you mean 'source'"),
        ({"count": 4, "crops": "{source}_{instance}.png"}, "3 files, and the part says that there are 4"),
        ({"crops": "*{source}_{instance}.png"}, "stands for the same thing"),
        ({"images": "{source}_{variant}.png", "labels": "polygons", "label_files": "{source}_{variant}.png"}, None),
    ],
)
def test_options_that_make_no_sense_are_refused_when_the_part_is_read_or_planned(options, message, tmp_path):
    for name in NAMES:
        painted(tmp_path / f"{name}_26001.png")
    if "*" in str(options):
        painted(tmp_path / f"x{NAMES[0]}_26001.png")
        painted(tmp_path / f"xx{NAMES[0]}_26001.png")
    if message is None:
        assert part(tmp_path, **options).stock.text.startswith("3 images of 3 frames")
        return
    with pytest.raises(HarnessError, match=message):
        _ = part(tmp_path, **options).stock


def test_crops_are_square(tmp_path):
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(tmp_path / f"{NAMES[0]}_26001.png")
    with pytest.raises(HarnessError, match="expected a square crop, found 5 x 4"):
        _ = part(tmp_path, crops="{source}_{instance}.png").stock


# the key


def test_the_key_follows_what_the_files_hold_and_not_where_they_lie(data, tmp_path):
    def key(folder, **options):
        one = part(folder, **options)
        return one.fingerprint, json.dumps(ImagesSpec(generator=one).decisive(), sort_keys=True)

    mine, there = invert(data, tmp_path / "mine"), invert(data, tmp_path / "there", "sub/{}_b.png")
    options = {"images": "{source}_{variant}.png", "labels": "source"}
    first = key(mine, **options)
    assert first == key(there, images="sub/{source}_b.png", labels="source", count=3)
    image = scene(2)[0]
    image[0, 0, 0] ^= 1
    Image.fromarray(255 - image).save(mine / f"{NAMES[2]}_inverted.png")
    changed = key(mine, **options)
    assert changed[0] != first[0] and changed[1] == first[1]
    Image.fromarray(image).save(mine / f"{NAMES[2]}_more.png")
    assert key(mine, **options)[0] not in (first[0], changed[0])


def test_large_files_that_differ_in_one_pixel_have_other_keys(tmp_path):
    """The blocks that are read of a large PNG hold its checksum."""
    pixels = np.random.default_rng(0).integers(0, 256, (1400, 1400, 3), dtype=np.uint8)
    path = tmp_path / f"{NAMES[0]}_26001.png"
    keys = set()
    for value in (0, 1):
        pixels[701, 333] = value
        Image.fromarray(pixels).save(path)
        assert path.stat().st_size > 4 * 2**20
        keys.add(part(tmp_path, crops="{source}_{instance}.png").fingerprint)
    assert len(keys) == 2


def test_files_that_change_between_plan_and_run_are_told(data, tmp_path):
    mine = invert(data, tmp_path / "mine")
    given = part(mine, images="{source}_{variant}.png", labels="source")
    spec = ImagesSpec(generator=given, weights=given.fingerprint)
    painted(mine / f"{NAMES[0]}_new.png")
    with pytest.raises(HarnessError, match="changed since this run was planned"):
        images.run(spec, {"dataset": Tree(data)}, tmp_path / "out", silent)
    assert not (tmp_path / "out" / "leftImg8bit").exists()
