"""The tree is read strictly, written atomically, and its panoptic files equal the official conversion."""

import json

import numpy as np
import pytest
from cityscapesscripts.preparation.createPanopticImgs import convert2panoptic
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sets import FRUIT

from harness.core.errors import HarnessError
from harness.data import png
from harness.data.cityscapes import CITYSCAPES
from harness.data.coco_panoptic import panoptic
from harness.data.tree import Tree


def scene(seed, size=(48, 96)):
    """A frame of random rectangles over road: stuff, void, groups, ignored objects and ids past 32767."""
    rng = np.random.default_rng(seed)
    ids = np.full(size, 7, np.int32)
    for identity in (0, 3, 11, 23, 24, 26, 29, 24001, 26255, 29000, 30001, 32000, 33005, 33999):
        y, x = rng.integers(0, size[0] - 8), rng.integers(0, size[1] - 8)
        ids[y : y + rng.integers(1, 20), x : x + rng.integers(1, 30)] = identity
    return rng.integers(0, 256, (*size, 3), dtype=np.uint8), ids


def write_tree(root, count=3):
    return [Tree(root).write_frame("train", "aa", f"aa_000000_{i:06d}", *scene(i)) for i in range(count)]


def test_what_is_written_is_read_back(tmp_path):
    image, ids = scene(1)
    frame = Tree(tmp_path).write_frame("train", "aa", "aa-32000-0_000000_000019", image, ids)
    assert Tree(tmp_path).frames("train") == [frame]
    assert np.array_equal(png.read_image(frame.image), image)
    read = frame.read_ids()
    assert read.dtype == np.uint16 and np.array_equal(read, ids) and read.max() == 33999
    labels = png.read_labels(frame.label_ids)
    assert np.array_equal(labels, np.where(ids < 1000, ids, ids // 1000))
    assert not list(tmp_path.rglob("*.part"))


def test_frames_are_sorted_across_cities(tmp_path):
    for city in ("zz", "aa", "mm"):
        Tree(tmp_path).write_frame("val", city, f"{city}_000000_000001", *scene(0))
    assert [f.name[:2] for f in Tree(tmp_path).frames("val")] == ["aa", "mm", "zz"]


def test_panoptic_files_equal_the_official_conversion(tmp_path):
    write_tree(tmp_path / "root", 6)
    ours = Tree(tmp_path / "root").write_panoptic("train")
    official = tmp_path / "official"
    official.mkdir()
    convert2panoptic(str(tmp_path / "root" / "gtFine"), str(official), setNames=["train"])
    assert ours.read_text() == (official / "cityscapes_panoptic_train.json").read_text()
    for path in sorted((official / "cityscapes_panoptic_train").iterdir()):
        mine = np.array(Image.open(ours.with_suffix("") / path.name))
        assert np.array_equal(mine, np.array(Image.open(path)))
    assert any(s["iscrowd"] for a in json.loads(ours.read_text())["annotations"] for s in a["segments_info"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([0, 7, 24, 26, 29, 24000, 26001, 30002, 32000, 33767]), min_size=1, max_size=30))
def test_panoptic_segments_cover_what_is_not_void(row):
    ids = np.array([row, row], np.int32)
    picture, segments = panoptic(ids, CITYSCAPES)
    code = picture.astype(np.int32) @ np.array([1, 256, 65536])
    label = np.where(ids < 1000, ids, ids // 1000)
    assert np.array_equal(code, np.where(np.isin(label, list(CITYSCAPES.ignored)), 0, ids))
    assert sum(s["area"] for s in segments) == np.count_nonzero(code)


def test_missing_root_split_and_images_are_told_apart(tmp_path):
    with pytest.raises(HarnessError, match="no such folder"):
        Tree(tmp_path / "nowhere").frames("train")
    with pytest.raises(HarnessError, match="not a Cityscapes tree"):
        Tree(tmp_path).frames("train")
    write_tree(tmp_path, 1)
    with pytest.raises(HarnessError, match="no split 'trian'") as error:
        Tree(tmp_path).frames("trian")
    assert "'train'" in error.value.hint
    (tmp_path / "leftImg8bit" / "val" / "aa").mkdir(parents=True)
    with pytest.raises(HarnessError, match="no <city>"):
        Tree(tmp_path).frames("val")


def test_image_without_labels_names_the_missing_file(tmp_path):
    frame = write_tree(tmp_path, 1)[0]
    frame.instance_ids.unlink()
    with pytest.raises(HarnessError, match=r"aa_000000_000000_gtFine_instanceIds.png is missing"):
        Tree(tmp_path).frames("train")


def test_odd_and_doubled_names_are_refused(tmp_path):
    frame = write_tree(tmp_path, 1)[0]
    twin = tmp_path / "leftImg8bit" / "train" / "bb" / frame.image.name
    twin.parent.mkdir()
    twin.write_bytes(frame.image.read_bytes())
    labels = tmp_path / "gtFine" / "train"
    (labels / "aa").rename(labels / "bb")
    with pytest.raises(HarnessError, match="missing"):
        Tree(tmp_path).frames("train")
    write_tree(tmp_path, 1)
    with pytest.raises(HarnessError, match="lies in"):
        Tree(tmp_path).frames("train")
    twin.rename(twin.with_name("photo_leftImg8bit.png"))
    with pytest.raises(HarnessError, match=r"photo_leftImg8bit.png: .photo. is no frame name"):
        Tree(tmp_path).frames("train")


def test_truncated_and_wrong_pngs_are_named(tmp_path):
    frame = write_tree(tmp_path, 1)[0]
    twin = tmp_path / "twin.png"
    twin.write_bytes(frame.image.read_bytes())
    frame.image.write_bytes(frame.image.read_bytes()[:600])
    with pytest.raises(HarnessError, match=r"leftImg8bit.png: truncated"):
        png.read_image(frame.image)
    with pytest.raises(HarnessError, match="no such file"):
        png.read_image(tmp_path / "none.png")
    with pytest.raises(HarnessError, match="expected 16-bit grey instance ids, found mode L"):
        png.read_ids(frame.label_ids)
    with pytest.raises(HarnessError, match="expected label ids in one channel, found mode RGB"):
        png.read_labels(twin)
    with pytest.raises(HarnessError, match="expected an 8-bit colour image"):
        png.read_image(frame.instance_ids)


def test_what_the_tree_cannot_hold_is_refused(tmp_path):
    image, ids = scene(0)
    with pytest.raises(HarnessError, match="frame name"):
        Tree(tmp_path).write_frame("train", "aa", "aa_1", image, ids)
    with pytest.raises(HarnessError, match="shape"):
        Tree(tmp_path).write_frame("train", "aa", "aa_0_1", image[:-1], ids)
    with pytest.raises(HarnessError, match=r"outside 0..65535"):
        Tree(tmp_path).write_frame("train", "aa", "aa_0_1", image, ids + 65000)
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="cannot be written"):
        Tree(tmp_path / "file").write_frame("train", "aa", "aa_0_1", image, ids)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]


def test_a_tree_of_other_labels_says_so_and_a_broken_file_of_labels_is_named(tmp_path):
    ids = np.zeros((8, 8), np.int32)
    ids[4:] = 300
    made = Tree.create(tmp_path, FRUIT)
    frame = made.write_frame("train", "a", "a_000000_000000", np.zeros((8, 8, 3), np.uint8), ids)
    assert Tree(tmp_path).labels == FRUIT
    assert set(np.unique(png.read_labels(frame.label_ids))) == {0, 1}, "300 is an apple"
    assert Tree(tmp_path / "other").labels == CITYSCAPES
    for text, words in (
        ("{", "not a readable file of labels"),
        ('{"name": "x", "labels": [], "diviser": 9}', "diviser"),
    ):
        (tmp_path / "labels.json").write_text(text)
        with pytest.raises(HarnessError, match=rf"labels.json(.|\n)*{words}"):
            _ = Tree(tmp_path).labels


def test_an_id_of_no_label_is_named(tmp_path):
    image, ids = scene(0)
    Tree(tmp_path).write_frame("train", "aa", "aa_0_1", image, np.where(ids == 7, 99, ids))
    with pytest.raises(HarnessError, match=r"aa_0_1_gtFine_instanceIds.png: instance id 99 is of no"):
        Tree(tmp_path).write_panoptic("train")
