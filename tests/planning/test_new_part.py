"""A part is made of a folder whatever its files are called, or not at all."""

import shutil

import numpy as np
import pytest
from PIL import Image

from harness.core.config import read_toml
from harness.core.errors import HarnessError
from harness.core.paths import CONFIGS
from harness.core.store import Store
from harness.data import png, prediction_files
from harness.data.base import open_dataset
from harness.data.prediction import Instance, Prediction
from harness.data.tree import Tree
from harness.planning import suite
from harness.planning.changes import Changes
from harness.planning.new_part import new_generator, new_segmenter
from harness.planning.plan import make_plan
from harness.planning.suite import load_dataset_part
from harness.results.collect import rows

STREETS = open_dataset(load_dataset_part("streets", "mini"), None)
FRAMES = sorted(STREETS.names("train"))[:4]


@pytest.fixture(autouse=True)
def configs(tmp_path, monkeypatch):
    monkeypatch.setattr(suite, "CONFIGS", tmp_path / "configs")
    (tmp_path / "configs" / "generators").mkdir(parents=True)
    return tmp_path / "configs" / "generators"


def filled(folder, pattern, **fields):
    for frame in FRAMES:
        path = folder / pattern.format(frame, frame.split("_")[0], **fields)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 9, np.uint8)).save(path)
    return folder


def made(folder, name="mine", options=None, **more):
    return new_generator(folder, name, dataset=STREETS, options=options or {}, **more)


GUESSED = {
    "{}.png": {"images": "**/{source}.png", "labels": "source"},
    "{}_night.png": {"images": "**/{source}_night.png", "labels": "source"},
    "{}_leftImg8bit_0.jpg": {"images": "**/{source}_leftImg8bit_0.jpg", "labels": "source"},
    "a/b/{}-2.png": {"images": "**/{source}-2.png", "labels": "source"},
    "{}_26001.png": {"crops": "**/{source}_{instance}.png"},
    "crops/{1}/{0}_26001_7.png": {"crops": "**/{source}_{instance}_{variant}.png"},
    "{}-24000_b.png": {"crops": "**/{source}-{instance}_{variant}.png"},
}


@pytest.mark.parametrize("pattern", GUESSED)
def test_names_are_guessed(pattern, tmp_path, configs):
    found = made(filled(tmp_path / "f", pattern), label='My "night"')
    assert {key: value for key, value in found.options.items() if key in ("images", "labels", "crops")} == GUESSED[
        pattern
    ]
    part = read_toml(configs / "mine.toml")
    assert part["label"] == 'My "night"' and part["options"]["count"] == len(FRAMES)
    assert set(found.stock.files) == set(FRAMES)


def test_several_variants_are_guessed(tmp_path):
    folder = filled(filled(tmp_path / "f", "{}_dark_1.png"), "{}_dark_2.png")
    assert made(folder).options["images"] == "**/{source}_{variant}.png"


def test_a_tree_of_cityscapes_shape_with_names_of_its_own_is_guessed_with_its_labels(tmp_path):
    folder = filled(tmp_path / "f", "leftImg8bit/train/{1}/{0}_rain_leftImg8bit.png")
    for frame in FRAMES:
        path = folder / f"gtFine/train/{frame.split('_')[0]}/{frame}_rain_gtFine_instanceIds.png"
        png.write(path, np.full((8, 8), 7, np.uint16))
        png.write(path.with_name(path.name.replace("instanceIds", "labelIds")), np.full((8, 8), 7, np.uint8))
    moved = (folder / "leftImg8bit").rename(folder / "images")
    options = made(folder).options
    assert options["labels"] == "ids" and options["label_files"] == "**/{source}_rain_gtFine_instanceIds.png"
    assert options["images"] == "**/{source}_rain_leftImg8bit.png" and moved.is_dir()


def test_a_tree_of_ours_needs_no_pattern(tmp_path):
    city, sequence, number = FRAMES[0].split("_")
    frame = f"{city}-26001-0_{sequence}_{number}"
    Tree(tmp_path / "f").write_frame("train", city, frame, np.zeros((8, 8, 3), np.uint8), np.full((8, 8), 7))
    found = made(tmp_path / "f")
    assert set(found.options) == {"folder", "count"} and set(found.stock.files) == {FRAMES[0]}


@pytest.mark.parametrize(
    ("pattern", "options", "message"),
    [
        ("{}_x.png", {"images": "{source}.png", "labels": "source"}, "no file is of the pattern"),
        ("x_1_2_{}.png", {}, "don't say which frames they are of"),
        ("zz_{}.png", {"images": "zz_{city}_{sequence}_{frame}.png", "labels": "ids"}, "label_files belong"),
    ],
)
def test_nothing_is_written_of_files_that_can_not_be_used(pattern, options, message, tmp_path, configs):
    with pytest.raises(HarnessError, match=message):
        made(filled(tmp_path / "f", pattern), options=options)
    assert not [*configs.iterdir()]


def test_pictures_of_no_known_frame_are_refused_with_the_name_of_one(tmp_path, configs):
    with pytest.raises(HarnessError) as caught:
        made(filled(tmp_path / "f", "x_1_2_{}.png"))
    assert caught.value.message.endswith(f"they are of; a frame of the train split is called as {min(FRAMES)}")


def test_frames_of_another_data_set_are_refused(tmp_path, configs):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(
        filled(tmp_path / "f", "{}_a.png") / "aachen_000000_000019_a.png"
    )
    with pytest.raises(HarnessError, match="aachen_000000_000019 is none of split train of streets"):
        made(tmp_path / "f", options={"images": "{source}_a.png", "labels": "source"})
    assert not [*configs.iterdir()]


def test_a_name_that_is_taken_or_can_be_no_name_is_refused(tmp_path, configs):
    folder = filled(tmp_path / "f", "{}.png")
    made(folder)
    with pytest.raises(HarnessError, match="there is a generator of this name"):
        made(folder)
    made(folder, replace=True)
    with pytest.raises(HarnessError, match="small letters"):
        made(folder, name="../evil")
    with pytest.raises(HarnessError, match="no such folder"):
        made(tmp_path / "g", name="other")
    (tmp_path / "h").mkdir()
    with pytest.raises(HarnessError, match="no picture in it"):
        made(tmp_path / "h", name="other")


# predictions


def predicted(folder, names, score=0.5):
    """A run in the official formats whose every frame holds one car."""
    for name in names:
        instances = [Instance(np.eye(8, dtype=bool), 26, score)]
        prediction_files.write(folder, "val", name, Prediction(instances=instances), STREETS.labels)
    return folder


@pytest.fixture
def everything(configs):
    """All parts of the repository beside those that a test makes."""
    shutil.copytree(CONFIGS, configs.parent, dirs_exist_ok=True)
    return configs.parent / "segmenters"


def test_predictions_become_rows_with_the_seeds_and_generators_that_there_are(tmp_path, everything):
    names = sorted(STREETS.names("val"))
    for place, where in enumerate(("none/0", "none/3", "focus/0", "other/0")):
        predicted(tmp_path / "runs" / where, names, score=0.1 * place)
    made = new_segmenter(
        str(tmp_path / "runs" / "{generator}"), "theirs", dataset=STREETS, model={}, backbones=["Swin-L (theirs)"]
    )
    assert [*made.runs] == [("focus", "swin_l_theirs", 0), ("none", "swin_l_theirs", 0), ("none", "swin_l_theirs", 3)]
    plan = make_plan("table1", "mini", changes=Changes(added=("theirs",), only=("theirs",)))
    assert [(row.arm.method, row.arm.generator, row.backbone, [*row.finals]) for row in plan.rows] == [
        ("theirs", "none", "Swin-L (theirs)", [0, 3]),
        ("theirs", "focus", "Swin-L (theirs)", [0]),
    ]
    assert plan.rows[1].compared_with["none"] == "zoom"
    assert {step.kind for step in plan.steps().values()} == {"dataset", "predictions", "evaluate"}
    assert len(plan.steps()) == 1 + 3 + 3
    more = make_plan("table2", "mini", changes=Changes(added=("theirs", "recolor"), only=("theirs",)))
    assert [row.arm.generator for row in more.rows] == ["none", "focus"]
    predicted(tmp_path / "runs" / "recolor", names, score=0.8)
    more = make_plan("table2", "mini", changes=Changes(added=("theirs", "recolor"), only=("theirs", "recolor")))
    assert [row.arm.name for row in more.rows] == ["recolor/theirs/swin_l_theirs"]
    before = {step.label: step.key for step in plan.steps().values() if step.kind == "evaluate"}
    predicted(tmp_path / "runs" / "none" / "0", names[:1], score=0.9)
    after = make_plan("table1", "mini", changes=Changes(added=("theirs",), only=("theirs",))).steps()
    changed = {label for label, key in before.items() if key not in after}
    assert changed == {"theirs-swin_l_theirs on none"}


def test_what_the_training_had_stands_in_the_row(tmp_path, everything):
    predicted(tmp_path / "run", sorted(STREETS.names("val")))
    made = new_segmenter(str(tmp_path / "run"), "theirs", dataset=STREETS, model={})
    with made.path.open("a") as file:
        file.write("\n[training]\niterations = 90000\nbatch_size = 16\n")
    plan = make_plan("table1", "mini", changes=Changes(added=("theirs",), only=("theirs",)))
    (row,) = [row for row in rows(plan, Store(tmp_path / "store")) if row.origin == "measured"]
    assert (row.budget.iterations, row.budget.batch_size, row.budget.images_seen) == (90000, 16, 1440000)
    assert row.generator == "none" and row.crop is None


@pytest.mark.parametrize(
    ("where", "model", "message"),
    [
        ("runs", {}, "instances: no prediction .* frames have none"),
        ("nowhere", {}, "nowhere: no such folder of predictions"),
        ("runs/{generator}", {}, "no such folder for any generator"),
        ("runs", {"categories": {"0": "persn"}}, "expected an id and a label"),
        ("runs", {"semantic": "there"}, "there: no such folder or file"),
    ],
)
def test_no_part_is_made_of_predictions_that_can_not_be_used(where, model, message, tmp_path, everything):
    predicted(tmp_path / "runs", sorted(STREETS.names("val"))[:3])
    with pytest.raises(HarnessError, match=message):
        new_segmenter(str(tmp_path / where), "theirs", dataset=STREETS, model=model)
    assert not (everything / "theirs.toml").exists()
