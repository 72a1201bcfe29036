"""Data sets of others are read as their makers wrote them, and told about where they are not whole."""

import importlib
import json
import pickle
import shutil

import miniatures
import numpy as np
import pytest

from harness.core.config import parse
from harness.core.errors import HarnessError
from harness.data import prediction_files
from harness.data.base import DatasetPart, open_dataset
from harness.data.cityscapes import CITYSCAPES
from harness.data.prediction import Prediction, Segment
from harness.data.sets import vistas
from harness.metrics.evaluation import evaluate
from harness.planning.suite import as_dataset_part, load_part


def opened(root, adapter, **more):
    part = {"label": "Theirs", "adapter": adapter, **more}
    return open_dataset(parse(DatasetPart, part, "theirs.toml"), root)


def agrees(frame, regions, labels, name_of):
    """Every region has one id, of its class, that is an instance's where the region is one, and is no other's."""
    ids = frame.read_ids()
    assert ids.dtype == np.uint16 and frame.read_image().shape[:2] == ids.shape
    left, instances = np.ones(ids.shape, bool), []
    for region in regions:
        (value,) = np.unique(ids[region.mask]).tolist()
        name, is_instance = name_of(region)
        assert labels.by_id[labels.label_of(value)].name == name
        assert labels.is_instance(value) == is_instance
        instances += [value] if is_instance else []
        left &= ~region.mask
    assert len(set(instances)) == len(instances) > 1
    assert left.any() and (ids[left] == labels.void).all()


def test_coco_panoptic_is_read_as_written(tmp_path):
    written = miniatures.coco_panoptic(tmp_path)
    data = opened(tmp_path, "coco_panoptic")
    assert [(one.id, one.name, one.is_thing) for one in data.labels.evaluated] == [
        (id_, name, bool(isthing)) for id_, (name, isthing, _) in miniatures.COCO.items()
    ]
    for split in ("train", "val"):
        frames = {frame.name: frame for frame in data.frames(split)}
        assert set(frames) == {f"coco_{split}_{number}" for part, number in written if part == split}
        for (part, number), regions in written.items():
            if part == split:
                frame = pickle.loads(pickle.dumps(frames[f"coco_{split}_{number}"]))
                agrees(frame, regions, data.labels, lambda r: (miniatures.COCO[r.code][0], r.number is not None))


def guessed(data, out):
    """Write predictions that are wrong in many ways of the frames of val; the path of their JSON."""
    rng = np.random.default_rng(5)
    labels, frames = [label.id for label in data.labels.evaluated], data.frames("val")
    for frame in frames:
        ids = np.roll(frame.read_ids(), rng.integers(-3, 4, 2), (0, 1))
        panorama, segments = np.zeros(ids.shape, np.int64), []
        for number, value in enumerate(np.unique(ids[ids > 0]).tolist(), start=1):
            label = int(data.labels.label_of(value))
            if label not in labels or rng.random() < 0.2:
                label = int(rng.choice(labels))
            panorama[ids == value] = number
            segments.append(Segment(number, label))
        answer = Prediction(panoptic=panorama, segments=tuple(segments))
        prediction_files.write(out, "val", frame.name, answer, data.labels)
    prediction_files.finish(out, "val", [frame.name for frame in frames], data.labels)
    return out / f"panoptic/{data.labels.name}_panoptic_val.json"


def official_pq(pairs, truth, predictions, categories):
    """PQ by class name by the official script; `pairs`: annotations of ground truth and predictions."""
    script = importlib.import_module("cityscapesscripts.evaluation.evalPanopticSemanticLabeling")
    by_id = {one["id"]: one for one in categories}
    statistics = script.pq_compute_single_core(0, pairs, str(truth), str(predictions), by_id)
    average, classes = statistics.pq_average(by_id, isthing=None)
    return average["pq"], {by_id[id_]["name"]: one["pq"] for id_, one in classes.items()}


def same_pq(scores, average, classes):
    """What the official script calls 0 because nothing is there, is no score here."""
    assert 0.2 < average < 0.95 and scores["PQ"] == pytest.approx(average, abs=1e-12)
    for name, expected in classes.items():
        found = scores["classes"][name]["PQ"]
        assert (found is None and expected == 0) or found == pytest.approx(expected, abs=1e-12), name


def test_panoptic_quality_on_coco_is_that_of_the_official_script(tmp_path):
    """Against COCO's own file as ground truth."""
    miniatures.coco_panoptic(tmp_path, count=4)
    data = opened(tmp_path, "coco_panoptic")
    predicted = guessed(data, tmp_path / "out")
    truth = tmp_path / "annotations/panoptic_val2017.json"
    content, found = json.loads(truth.read_text()), json.loads(predicted.read_text())["annotations"]
    by_name = {one["image_id"].split("_")[2]: one for one in found}
    pairs = [(one, by_name[one["file_name"][:-4]]) for one in content["annotations"]]
    expected = official_pq(pairs, truth.with_suffix(""), predicted.with_suffix(""), content["categories"])
    same_pq(evaluate(data, "val", panoptic=predicted.parent).scores, *expected)


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("annotations/panoptic_train2017.json", r"panoptic_train2017.json: not a readable panoptic JSON"),
        ("val2017/000000000109.jpg", r"000000000109.jpg: the image is missing"),
        ("annotations/panoptic_val2017", r"000000000109.png: the picture is missing \(and so 1 more of 2\)"),
        ("val2017", r"the image is missing \(and so 1 more of 2\)"),
    ],
)
def test_a_coco_that_is_not_whole_is_told_when_it_is_planned(gone, message, tmp_path):
    miniatures.coco_panoptic(tmp_path)
    path = tmp_path / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(HarnessError, match=message) as told:
        opened(tmp_path, "coco_panoptic").fingerprint()
    assert "train2017/" in told.value.hint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("categories"), "not in COCO's panoptic format"),
        (lambda c: c["annotations"][0].pop("segments_info"), "not in COCO's panoptic format: KeyError"),
        (lambda c: c["categories"].append(c["categories"][0]), "the value 1 is that of two classes"),
        (lambda c: c["categories"][0].update(name=7), r"categories: key 'name'"),
        (lambda c: c["annotations"].clear(), "no annotations in it"),
        (lambda c: c["annotations"].append(c["annotations"][0]), "the frame coco_val_000000000109 is that of"),
    ],
)
def test_a_coco_file_that_is_none_is_one_message(change, message, tmp_path):
    miniatures.coco_panoptic(tmp_path)
    path = tmp_path / "annotations/panoptic_val2017.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(HarnessError, match=message):
        opened(tmp_path, "coco_panoptic").frames("val")


def test_categories_of_any_numbers_get_label_ids(tmp_path):
    """ADE20K counts from 0, and others beyond 255."""
    written = miniatures.coco_panoptic(tmp_path)
    for split in ("train", "val"):
        path = tmp_path / f"annotations/panoptic_{split}2017.json"
        content = json.loads(path.read_text())
        for one in content["categories"]:
            one["id"] = 0 if one["id"] == 1 else one["id"] * 11
        for one in (s for a in content["annotations"] for s in a["segments_info"]):
            one["category_id"] = 0 if one["category_id"] == 1 else one["category_id"] * 11
        path.write_text(json.dumps(content))
    data = opened(tmp_path, "coco_panoptic")
    assert [one.id for one in data.labels.evaluated] == [1, 2, 3, 4, 5, 6]
    for frame in data.frames("val"):
        regions = written["val", frame.name.split("_")[2]]
        agrees(frame, regions, data.labels, lambda r: (miniatures.COCO[r.code][0], r.number is not None))


def test_the_key_follows_the_files_that_decide_the_ids(tmp_path):
    miniatures.coco_panoptic(tmp_path)
    before = opened(tmp_path, "coco_panoptic").fingerprint()
    assert opened(tmp_path, "coco_panoptic").fingerprint() == before
    path = tmp_path / "annotations/panoptic_train2017.json"
    path.write_text(path.read_text().replace('"iscrowd": 1', '"iscrowd": 0', 1))
    assert opened(tmp_path, "coco_panoptic").fingerprint() != before


STUFF, THINGS = (4, 5), (1, 2)
CLASSES = [
    {"code": 1, "name": "apple", "thing": True},
    {"code": 2, "name": "pear", "thing": True},
    {"code": 4, "name": "grass"},
    {"code": 5, "name": "sky"},
]
NAMES = {one["code"]: one["name"] for one in CLASSES}
ENCODINGS = {
    "product": {"base": 256},
    "product, numbers from 1": {"base": 256, "first_number": 1},
    "ids": {"base": 1000},
    "channels": {"class_channel": "R", "number_channels": "GB", "first_number": 1},
    "classes": {},
}


def folder(root, encoding):
    """Frames in drives, with underscores in their names; the regions by folder and name."""
    written = {}
    for split in ("train", "val"):
        for place, (drive, name) in enumerate((("drive_1", "IMG_0001"), ("drive_1", "IMG_0002"), ("2", "-a"))):
            regions = miniatures.scene(
                [place, split == "val"], STUFF, THINGS, group=1, first=1 if "1" in encoding else 0
            )
            if encoding == "product":  # of which every pixel of a thing is an instance's
                regions = [region for region in regions if region.code != 1 or region.number is not None]
            if encoding == "channels":
                regions = miniatures.scene([place, split == "val"], STUFF, THINGS, group=1, first=250)
            dtype = np.uint8 if encoding == "classes" else np.uint16
            pixels = (
                np.zeros((*miniatures.SIZE, 3), np.uint8)
                if encoding == "channels"
                else np.zeros(miniatures.SIZE, dtype)
            )
            for region in regions:
                code, number = region.code, region.number
                if encoding == "channels":
                    whole = (number or 0) * 2
                    pixels[region.mask] = code, whole >> 8, whole & 255
                elif encoding == "classes":
                    pixels[region.mask] = code
                elif encoding == "ids":
                    pixels[region.mask] = code if number is None else 1000 * code + number
                else:
                    pixels[region.mask] = 256 * code + (number or 0)
            miniatures.image(root / "img" / split / drive / f"{name}.jpg", place)
            miniatures.picture(root / "ann" / split / drive / f"{name}_mask.png", pixels)
            written[split, drive, name] = regions
    return written


def described(**more):
    splits = {
        split: {
            "images": f"img/{split}/{{city}}/{{frame}}.jpg",
            "annotations": f"ann/{split}/{{city}}/{{frame}}_mask.png",
        }
        for split in ("train", "val")
    }
    return {"adapter": "folder", "classes": CLASSES, "void": [0], **splits, **more}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_folder_is_read_as_its_part_says(encoding, tmp_path):
    written = folder(tmp_path, encoding)
    data = opened(tmp_path, **described(encoding=encoding.split(",")[0], **ENCODINGS[encoding]))
    frames = {frame.name: frame for frame in data.frames("train")}
    assert sorted(frames) == ["2_train_x-a", "drive~1_train_IMG~0001", "drive~1_train_IMG~0002"]
    assert {frame.city for frame in frames.values()} == {"2", "drive~1"}
    for (split, drive, name), regions in written.items():
        if split != "train":
            continue
        frame = frames[
            f"{drive}_train_{'x' if name == '-a' else ''}{name}".replace("IMG_", "IMG~").replace("e_1", "e~1")
        ]
        if encoding == "classes":
            ids = frame.read_ids()
            assert all((ids[region.mask] == region.code).all() for region in regions)
        else:
            agrees(frame, regions, data.labels, lambda r: (NAMES[r.code], r.number is not None))


def test_a_folder_becomes_cityscapes_where_classes_have_its_names(tmp_path):
    """Two classes may become one: their instances stay apart."""
    folder(tmp_path, "ids")
    names = {1: "car", 2: "car", 4: "road", 5: "sky"}
    classes = [{"code": code, "name": name} for code, name in names.items()]
    data = opened(tmp_path, **described(encoding="ids", base=1000, classes=classes, labels="cityscapes"))
    for frame in data.frames("val"):
        drive, _, name = frame.name.replace("x-a", "-a").replace("~", "_").rpartition("_val_")
        regions = [
            r for (s, d, n), all_ in folder(tmp_path, "ids").items() if (s, d, n) == ("val", drive, name) for r in all_
        ]
        agrees(frame, regions, data.labels, lambda r: (names[r.code], r.number is not None))
    classes[0]["name"] = "carr"
    with pytest.raises(HarnessError, match="Cityscapes has no label 'carr'") as told:
        opened(tmp_path, **described(encoding="ids", classes=classes, labels="cityscapes")).labels  # noqa: B018
    assert "'car'" in told.value.hint


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("img/val/2/-a.jpg", r"ann/val/2/-a_mask.png has no image\n"),
        ("ann/train/drive_1", r"img/train/drive_1/IMG_0001.jpg has no labels \(and so 1 more of 3\)"),
        ("ann", r"ann/train: no such folder"),
    ],
)
def test_a_folder_that_is_not_whole_is_told_when_it_is_planned(gone, message, tmp_path):
    folder(tmp_path, "ids")
    path = tmp_path / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(HarnessError, match=message):
        opened(tmp_path, **described(encoding="ids")).fingerprint()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"classes": CLASSES[1:]}, r"_mask.png: the value 1 is of no class"),
        ({"classes": [*CLASSES, CLASSES[0]]}, "the value 1 is that of two classes"),
        ({"classes": [{"code": 9, "name": "void"}]}, "'void' is no name of a class"),
        ({"classes": []}, "key 'classes'"),
        ({"train": {"images": "{frame}.jpg", "annotations": "{city}/{frame}.png"}}, "expected the same fields in both"),
        ({"train": {"images": "{name}.jpg", "annotations": "{name}.png"}}, r"no field \{name\}"),
        ({"encoding": "channels"}, "expected channels RGB or RGBA, found mode I"),
    ],
)
def test_a_part_that_does_not_fit_is_one_message(more, message, tmp_path):
    folder(tmp_path, "ids")
    with pytest.raises(HarnessError, match=message):
        opened(tmp_path, **(described(encoding="ids", base=1000) | more)).frames("val")[0].read_ids()


def shipped(name, root, **more):
    """The data set of a part of configs/datasets."""
    content, path = load_part("datasets", name, "mini")
    return open_dataset(as_dataset_part(content | more, path), root)


BDD = {
    name: {one.code: one for one in shipped(name, None).part.classes}
    for name in ("bdd100k_panoptic", "bdd100k_instance")
}


@pytest.mark.parametrize("own", [True, False], ids=["own", "cityscapes"])
@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_bdd100k_is_read_as_written(task, own, tmp_path):
    stuff, things = ((7, 30), (31, 35)) if task == "panoptic" else ((), (1, 3))
    name, folder = f"bdd100k_{task}", {"panoptic": "pan_seg", "instance": "ins_seg"}[task]
    written = miniatures.bdd100k(tmp_path, folder, stuff, things)
    data = shipped(name, tmp_path, labels="own" if own else "cityscapes")
    classes = BDD[name]
    assert len(data.labels.evaluated) == ({"panoptic": 40, "instance": 8}[task] if own else 19)
    for frame in [*data.frames("train"), *data.frames("val")]:
        regions = written[frame.split, frame.name.split("_")[2]]

        def name_of(region):
            one = classes[region.code]
            return (one.name if own else one.cityscapes or one.name), region.number is not None

        agrees(frame, regions, data.labels, name_of)


def test_labels_of_bdd100k_are_those_of_its_toolkit():
    """Ids and names as its documentation lists them: 1 dynamic ... 40 truck; 1 pedestrian ... 8 bicycle."""
    panoptic, instance = (BDD[f"bdd100k_{task}"] for task in ("panoptic", "instance"))
    assert sorted(panoptic) == list(range(1, 41)) and sorted(instance) == list(range(1, 9))
    assert [code for code, one in panoptic.items() if one.thing] == list(range(31, 41))
    assert {1: "dynamic", 7: "road", 10: "building", 20: "pole", 26: "traffic sign", 30: "sky"}.items() <= {
        code: one.name for code, one in panoptic.items()
    }.items()
    assert [one.name for one in instance.values()] == [
        "pedestrian", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"
    ]  # fmt: skip
    assert all(one.cityscapes == "" for one in panoptic.values() if one.name not in CITYSCAPES.by_name)


@pytest.mark.parametrize("labels", ["own", "cityscapes"])
def test_kitti_step_is_read_as_written(labels, tmp_path):
    written = miniatures.kitti_step(tmp_path)
    data = shipped("kitti_step", tmp_path, labels=labels)
    names = {label.train_id: label.name for label in CITYSCAPES.evaluated}
    assert [one.name for one in data.labels.evaluated] == list(names.values())
    assert [one.name for one in data.labels.things] == (
        ["person", "car"] if labels == "own" else [one.name for one in CITYSCAPES.things]
    )
    frames = {split: data.frames(split) for split in ("train", "val")}
    assert [frame.name for frame in frames["val"]] == ["0002_val_000000", "0002_val_000001"]
    assert [frame.city for frame in frames["train"]] == ["0000", "0000", "0001", "0001"]
    for frame in [*frames["train"], *frames["val"]]:
        city, _, number = frame.name.split("_")
        regions = written[frame.split, city, number]
        agrees(frame, regions, data.labels, lambda r: (names[r.code], r.number is not None))


@pytest.mark.parametrize(
    ("name", "gone", "message"),
    [
        (
            "bdd100k_panoptic",
            "labels/pan_seg/bitmasks/val/00000000-00000001.png",
            "00000000-00000001.jpg has no labels",
        ),
        ("bdd100k_panoptic", "images/10k/train", "images/10k/train: no such folder"),
        ("kitti_step", "training/image_02/0002/000001.png", "panoptic_maps/val/0002/000001.png has no image"),
        ("kitti_step", "panoptic_maps/train", "panoptic_maps/train: no such folder"),
    ],
)
def test_data_of_others_that_are_not_whole_are_told(name, gone, message, tmp_path):
    if name == "kitti_step":
        miniatures.kitti_step(tmp_path)
    else:
        miniatures.bdd100k(tmp_path, "pan_seg", (7, 30), (31, 35))
    path = tmp_path / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(HarnessError, match=message):
        shipped(name, tmp_path).fingerprint()


def name_in_vistas(version, labels):
    """Name and being an instance of a region, as the makers of both data sets define them."""
    mapped = {"human--person--individual": "person", "human--person--person-group": "person", "human--person": "person"}
    mapped |= {"construction--flat--road": "road", "nature--sky": "sky", "object--vehicle--car": "car"}

    def name_of(region):
        name, _, evaluate = miniatures.VISTAS[version][region.code]
        own = name if evaluate else "void"
        return (own if labels == "own" else mapped[name]), region.number is not None

    return name_of


@pytest.mark.parametrize("labels", ["own", "cityscapes"])
@pytest.mark.parametrize(("version", "alone"), [("1.2", True), ("1.2", False), ("2.0", False)])
def test_vistas_is_read_as_written(version, alone, labels, tmp_path):
    written = miniatures.vistas(tmp_path, alone=alone)
    data = shipped("vistas", tmp_path, version=version, labels=labels)
    listed = miniatures.VISTAS[version]
    if labels == "own":
        assert [(one.name, one.is_thing) for one in data.labels.evaluated] == [(n, i) for n, i, e in listed if e]
    else:
        assert data.labels == CITYSCAPES
    names = {"vistas_val_x-0bF1cyAskB9eE9hBGfHpA": "-0bF1cyAskB9eE9hBGfHpA", "vistas_val_x~a-B~c": "_a-B_c"}
    frames = data.frames("val")
    assert [frame.name for frame in frames] == sorted(names)
    for frame in frames:
        regions = written[version, "validation", names[frame.name]]
        agrees(frame, regions, data.labels, name_in_vistas(version, labels))


def test_labels_of_vistas_become_those_of_cityscapes():
    for name, expected in {
        "marking--discrete--arrow--left": "road",
        "marking-only--discrete--text": "road",
        "human--rider--bicyclist": "rider",
        "object--traffic-light--pedestrians": "traffic light",
        "object--traffic-sign--back": "",
        "object--vehicle--vehicle-group": "",
        "object--support--pole-group": "polegroup",
        "construction--flat--road-shoulder": "road",
    }.items():
        assert vistas._cityscapes(name) == expected
    assert set(vistas.CITYSCAPES_OF.values()) <= set(CITYSCAPES.by_name)


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("config_v2.0.json", "config_v2.0.json: not a readable list of labels"),
        ("training/v2.0", "training/v2.0/instances: no such folder"),
        ("validation/images/_a-B_c.jpg", "_a-B_c.png has no image"),
        ("validation/v2.0/instances/_a-B_c.png", "_a-B_c.jpg has no labels"),
    ],
)
def test_vistas_that_is_not_whole_is_told(gone, message, tmp_path):
    miniatures.vistas(tmp_path)
    path = tmp_path / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(HarnessError, match=message):
        shipped("vistas", tmp_path).fingerprint()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "expected a list 'labels'"),
        ('{"labels": [7]}', "labels.0: expected an object"),
        ('{"labels": [{"name": 3}]}', "key 'name'"),
        ('{"labels": [{"name": "a"}]}', "the value 1 is of no class"),
    ],
)
def test_a_list_of_vistas_that_is_none_is_one_message(content, message, tmp_path):
    miniatures.vistas(tmp_path)
    (tmp_path / "config_v2.0.json").write_text(content)
    with pytest.raises(HarnessError, match=message):
        shipped("vistas", tmp_path).frames("val")[0].read_ids()


def written_bdd100k(root):
    written = miniatures.bdd100k(root, "pan_seg", (7, 30), (31, 35), count=3)
    names = {code: (one.name, one.thing) for code, one in BDD["bdd100k_panoptic"].items()}
    return "bdd100k_panoptic", {f"bdd100k_val_{n}": r for (s, n), r in written.items() if s == "val"}, names


def written_kitti_step(root):
    written = miniatures.kitti_step(root)
    names = {one.train_id: (one.name, one.name in ("person", "car")) for one in CITYSCAPES.evaluated}
    return "kitti_step", {f"{city}_val_{n}": r for (s, city, n), r in written.items() if s == "val"}, names


def written_vistas(root):
    written = miniatures.vistas(root, count=3)
    names = {code: one[:2] for code, one in enumerate(miniatures.VISTAS["2.0"]) if one[2]}
    key = {"-0bF1cyAskB9eE9hBGfHpA": "x-0bF1cyAskB9eE9hBGfHpA", "_a-B_c": "x~a-B~c"}
    chosen = {k: r for (v, s, k), r in written.items() if (v, s) == ("2.0", "validation")}
    return "vistas", {f"vistas_val_{key.get(k, k)}": r for k, r in chosen.items()}, names


@pytest.mark.parametrize("write", [written_bdd100k, written_kitti_step, written_vistas])
def test_panoptic_quality_on_others_is_that_of_the_official_script(write, tmp_path):
    """Against a panoptic file made of the drawn regions, not of what the harness read."""
    part, written, names = write(tmp_path / "data")
    data = shipped(part, tmp_path / "data")
    predicted = guessed(data, tmp_path / "out")
    code_of = {name: code for code, (name, _) in names.items()}
    categories = [
        {"id": label.id, "name": label.name, "isthing": names[code_of[label.name]][1], "color": [0, 0, 0]}
        for label in data.labels.evaluated
    ]
    category_of = {code_of[one["name"]]: one for one in categories}
    truths = {}
    for name, regions in written.items():
        values, segments = np.zeros((*miniatures.SIZE, 3), np.uint8), []
        for number, region in enumerate(regions, start=1):
            if region.code in category_of:
                values[region.mask] = number, 0, 0
                one = category_of[region.code]
                crowd, area = int(one["isthing"] and region.number is None), int(region.mask.sum())
                segments.append({"id": number, "category_id": one["id"], "iscrowd": crowd, "area": area})
        miniatures.picture(tmp_path / "truth" / f"{name}.png", values)
        truths[name] = {"image_id": name, "file_name": f"{name}.png", "segments_info": segments}
    found = {one["image_id"]: one for one in json.loads(predicted.read_text())["annotations"]}
    assert set(found) == set(truths)
    pairs = [(truths[name], found[name]) for name in truths]
    expected = official_pq(pairs, tmp_path / "truth", predicted.with_suffix(""), categories)
    same_pq(evaluate(data, "val", panoptic=predicted.parent).scores, *expected)
