"""Exports as pycocotools reads them, and as the evaluator scores them."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as masks
from pycocotools.coco import COCO
from sets import FRUIT

from harness import export as package
from harness.core.errors import HarnessError
from harness.data import png
from harness.data.cityscapes import CITYSCAPES
from harness.data.tree import Tree
from harness.export import registration
from harness.export.coco_json import export
from harness.export.outlines import polygons
from harness.metrics.evaluation import evaluate

SIZE = (40, 72)


def tree(root, names=("a_000000_000019", "a_000001_000019"), *, split="train"):
    """Frames with stuff, a car with a hole in two pieces, a person, a group of cars, a trailer (ignored)."""
    for number, name in enumerate(names):
        ids = np.full(SIZE, 7, np.int32)
        ids[:10] = 23
        ids[12:24, 4:30] = 26001
        ids[15:18, 8:12] = 7
        ids[26:30, 10:14] = ids[30:33, 14:20] = 26001
        ids[5:35, 40 + number : 46] = 24000
        ids[12:20, 50:60] = 26
        ids[22:30, 50:60] = 30003
        ids[36:, 60:] = 0
        Tree(root).write_frame(split, name.split("_")[0], name, np.zeros((*SIZE, 3), np.uint8), ids)
    return root


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_polygons_fill_to_the_mask_they_were_drawn_from(mask):
    found = polygons(mask)
    if not mask.any():
        assert found == []
        return
    rle = masks.merge(masks.frPyObjects([list(map(float, polygon)) for polygon in found], *mask.shape))
    assert (masks.decode(rle).astype(bool) == mask).all()


@pytest.mark.parametrize("form", ["rle", "polygon"])
def test_pycocotools_reads_areas_boxes_and_masks_that_are_the_ids(tmp_path, form):
    root = tree(tmp_path / "tree")
    found = export(tmp_path / "out", "train", dataset=Tree(root), masks=form)
    assert found == (2, 4, 2)
    coco = COCO(str(tmp_path / "out/instances_train.json"))
    assert [(c["id"], c["name"]) for c in coco.loadCats(coco.getCatIds())] == [
        (t.id, t.name) for t in CITYSCAPES.things
    ]
    for frame in Tree(root).frames("train"):
        ids = png.read_ids(frame.instance_ids)
        image = next(image for image in coco.imgs.values() if image["frame"] == frame.name)
        assert (tmp_path / "out" / image["file_name"]).resolve() == frame.image.resolve()
        entries = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
        assert [(e["category_id"], e["iscrowd"]) for e in entries] == [(26, 1), (24, 0), (26, 0)]
        for entry, identity in zip(entries, (26, 24000, 26001), strict=True):
            mask = coco.annToMask(entry).astype(bool)
            assert (mask == (ids == identity)).all()
            assert entry["area"] == mask.sum() == masks.area(coco.annToRLE(entry))
            assert entry["bbox"] == masks.toBbox(coco.annToRLE(entry)).tolist()
            assert isinstance(entry["segmentation"], list) == (form == "polygon" and not entry["iscrowd"])


def test_synthetic_frames_follow_the_real_ones_or_stand_alone(tmp_path):
    root, crops = tree(tmp_path / "tree"), tree(tmp_path / "crops", ["a-26001-0_000000_000019"])
    export(tmp_path / "out", "train", dataset=Tree(root), synthesis=crops)
    images = json.loads((tmp_path / "out/instances_train.json").read_text())["images"]
    named = ["a_000000_000019", "a_000001_000019", "a-26001-0_000000_000019"]
    assert [(i["id"], i["frame"]) for i in images] == list(enumerate(named, start=1))
    assert all((tmp_path / "out" / image["file_name"]).is_file() for image in images)
    assert export(tmp_path / "alone", "train", dataset=None, synthesis=crops).images == 1


def test_the_panoptic_json_is_the_official_conversion(tmp_path):
    root = tree(tmp_path / "tree")
    export(tmp_path / "out", "train", dataset=Tree(root))
    content = json.loads((tmp_path / "out/panoptic_train.json").read_text())
    assert [c["id"] for c in content["categories"]] == [label.id for label in CITYSCAPES.evaluated]
    for frame, entry in zip(Tree(root).frames("train"), content["annotations"], strict=True):
        colours = np.asarray(Image.open(tmp_path / "out/panoptic_train" / entry["file_name"])).astype(int)
        panorama, ids = colours @ [1, 256, 65536], png.read_ids(frame.instance_ids)
        crowds = {s["id"]: s["iscrowd"] for s in entry["segments_info"]}
        assert crowds == {7: 0, 23: 0, 26: 1, 24000: 0, 26001: 0}
        assert (panorama == np.where(np.isin(ids, list(crowds)), ids, 0)).all()
        assert all(s["area"] == (ids == s["id"]).sum() for s in entry["segments_info"])


def test_the_evaluator_gives_full_marks_to_what_was_exported(tmp_path):
    root = tree(tmp_path / "tree", split="val")
    export(tmp_path / "out", "val", dataset=Tree(root))
    content = json.loads((tmp_path / "out/instances_val.json").read_text())
    content["annotations"] = [entry | {"score": 0.9} for entry in content["annotations"] if not entry["iscrowd"]]
    (tmp_path / "results.json").write_text(json.dumps(content))
    panoptic = tmp_path / "out/panoptic_val.json"
    scores = evaluate(Tree(root), "val", instances=tmp_path / "results.json", panoptic=panoptic).scores
    assert scores["AP"] == scores["AP50"] == 1.0
    assert scores["PQ"] == 1.0


def test_files_that_are_links_keep_the_names_that_the_tree_has(tmp_path):
    root, store = tree(tmp_path / "tree", split="val"), tmp_path / "store"
    store.mkdir()
    for number, path in enumerate(sorted(root.rglob("*.png"))):
        path.rename(store / f"{number:032x}")
        path.symlink_to(store / f"{number:032x}")
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "near").symlink_to(tmp_path / "far" / "away")
    for out in (tmp_path / "out", tmp_path / "near" / "out"):
        export(out, "val", dataset=Tree(root), detectron2=True)
        content = json.loads((out / "instances_val.json").read_text())
        for image, frame in zip(content["images"], Tree(root).frames("val"), strict=True):
            assert image["file_name"].endswith(f"/tree/leftImg8bit/val/a/{frame.name}_leftImg8bit.png")
            assert (out / image["file_name"]).samefile(frame.image)
            assert registration._image(out / "instances_val.json", image)["file_name"] == str(frame.image)
        scores = evaluate(
            Tree(root), "val", instances=out / "instances_val.json", coco=out / "instances_val.json"
        ).scores
        assert scores["AP"] == 1.0 and scores["COCO_AP"] == pytest.approx(1.0)


def test_the_written_registration_is_ours_and_needs_nothing_of_the_harness(tmp_path):
    root = tree(tmp_path / "tree")
    export(tmp_path / "out", "train", dataset=Tree(root), detectron2=True)
    program = (
        f"import sys, types; sys.path.insert(0, {str(tmp_path / 'out')!r})\n"
        "class Catalog(dict):\n"
        "    register = dict.__setitem__\n"
        "    list = dict.keys\n"
        "class Facts(dict):\n"
        "    def get(self, name): return self.setdefault(name, Fact())\n"
        "class Fact:\n"
        "    def set(self, **found): self.__dict__.update(found)\n"
        "box = types.SimpleNamespace(XYWH_ABS=1)\n"
        "for name, held in {'detectron2': {}, 'detectron2.data': {'DatasetCatalog': Catalog(), 'MetadataCatalog': "
        "Facts()}, 'detectron2.structures': {'BoxMode': box}}.items():\n"
        "    sys.modules[name] = types.ModuleType(name); sys.modules[name].__dict__.update(held)\n"
        "import register, json\n"
        "names = register.register()\n"
        "assert register.register() == names\n"
        "from detectron2.data import DatasetCatalog, MetadataCatalog\n"
        "assert not any(name.startswith('harness') for name in sys.modules)\n"
        "print(json.dumps({name: [DatasetCatalog[name](), MetadataCatalog.get(name).thing_classes] for name in names}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found) == ["harness_instances_train", "harness_panoptic_train"]
    entries, classes = found["harness_instances_train"]
    assert classes == [label.name for label in CITYSCAPES.things]
    assert entries[0]["file_name"] == str(Tree(root).frames("train")[0].image)
    assert [a["category_id"] for a in entries[0]["annotations"]] == [2, 0, 2]
    entry = found["harness_panoptic_train"][0][0]
    labels = np.asarray(Image.open(entry["sem_seg_file_name"]))
    assert {int(i) for i in np.unique(labels)} == {0, 10, 11, 13, 255}
    assert {s["category_id"]: s["isthing"] for s in entry["segments_info"]} == {0: 0, 10: 0, 11: 1, 13: 1}
    assert package.register is registration.register


@pytest.mark.parametrize(
    ("trees", "words"),
    [
        ({}, "nothing to export"),
        ({"data_root": "nowhere"}, "no such folder"),
        ({"data_root": "tree", "synthesis": "tree"}, "is in both"),
        ({"data_root": "tree", "synthesis": "fruit"}, "have other labels"),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(tmp_path, trees, words):
    tree(tmp_path / "tree")
    Tree.create(tmp_path / "fruit", FRUIT)
    dataset = Tree(tmp_path / trees["data_root"]) if "data_root" in trees else None
    synthesis = tmp_path / trees["synthesis"] if "synthesis" in trees else None
    with pytest.raises(HarnessError, match=words):
        export(tmp_path / "out", "train", dataset=dataset, synthesis=synthesis)
    assert not (tmp_path / "out").exists()
