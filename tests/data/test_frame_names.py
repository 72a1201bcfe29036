"""One grammar of frame names: what one command reads or writes the others and the official scripts read too."""

import json

import numpy as np
import oracle
import pytest
from small import CAR, write_instances

from harness.core.errors import HarnessError
from harness.data import frame_names, prediction_files
from harness.data.cityscapes import CITYSCAPES
from harness.data.mix import Mix, stream
from harness.data.prediction import Instance, Prediction, Segment
from harness.data.tree import Tree
from harness.export.coco_json import export
from harness.inference.repaint_tree import synthesize
from harness.metrics.evaluation import evaluate

NAMES = {
    "plain": "aa_000000_000019",
    "a hyphen": "aa_000000_000019-b",
    "hyphens": "a-a_00-00_000019-b-c",
    "an umlaut": "münchen_000000_000019",
    "an umlaut at the end": "aa_000000_nächst",
    "a space": "new york_000000_000019",
    "a percent sign": "50%20_000000_0 1",
    "a point": "aa_000000_19.5",
}
FOREIGN = {
    "KITTI": "000000_10",
    "BDD100K": "0a0a0b1a-7c39d841",
    "four parts": "san_jose_000000_000019",
    "an empty part": "aa__000019",
}
IDS = np.full((48, 96), 7, np.int32)
IDS[10:40, 10:50] = 26001


def tree(root, *names):
    image = np.random.default_rng(0).integers(0, 256, (*IDS.shape, 3), dtype=np.uint8)
    for split in ("train", "val"):
        for name in names:
            Tree(root).write_frame(split, "aa", name, image, IDS)
    return root


def foreign(root, name):
    """The tree of a name that `write_frame` refuses."""
    tree(root, "aa_0_0")
    for path in [*root.rglob("aa_0_0_*")]:
        path.rename(path.with_name(path.name.replace("aa_0_0", name)))
    return root


def answer():
    mask = IDS == 26001
    panoptic = np.where(mask, 2, 1).astype(np.int32)
    return Prediction(
        instances=[Instance(mask, CAR, 0.5)],
        semantic=np.where(mask, CAR, 7).astype(np.uint8),
        panoptic=panoptic,
        segments=(Segment(1, 7), Segment(2, CAR)),
    )


@pytest.mark.parametrize("kind", NAMES)
def test_every_command_carries_the_name_through(tmp_path, kind):
    name, root, out = NAMES[kind], tree(tmp_path / "tree", NAMES[kind]), tmp_path / "p"
    prediction_files.write(out, "val", name, answer(), CITYSCAPES)
    prediction_files.finish(out, "val", [name], CITYSCAPES)
    given = {"instances": out / "instances", "semantic": out / "semantic", "panoptic": out / "panoptic"}
    scores = evaluate(Tree(root), "val", **given).scores
    assert [scores[key] for key in ("AP", "IoU", "PQ")] == [1.0, 1.0, 1.0]
    assert oracle.instance_scores(root, out / "instances", tmp_path)["averages"]["allAp"] == 1.0
    assert oracle.pixel_scores(root, out / "semantic", tmp_path)["averageScoreClasses"] == 1.0

    export(tmp_path / "export", "val", dataset=Tree(root))
    exported = {"instances": tmp_path / "export/instances_val.json", "panoptic": tmp_path / "export/panoptic_val.json"}
    found = evaluate(Tree(root), "val", **exported, coco=exported["instances"]).scores
    assert [found[key] for key in ("AP", "PQ", "COCO_AP")] == pytest.approx([1.0, 1.0, 1.0])

    synthesize(Tree(root), tmp_path / "made", generator="recolor", profile="smoke", variants=1)
    mixed = stream(Tree(root), tmp_path / "made", Mix(kind="probability", probability=1.0), 0)
    city, rest = name.split("_", 1)
    assert [frame.name for frame in mixed.synthetic] == [f"{city}-26001-0_{rest}"]
    assert mixed.at(0).frame.name == mixed.synthetic[0].name


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_name_gets_one_message_from_every_command_and_nothing_is_written(tmp_path, kind):
    root = foreign(tmp_path / "tree", FOREIGN[kind])
    write_instances(tmp_path / "p", FOREIGN[kind])
    tries = (
        lambda: evaluate(Tree(root), "val", instances=tmp_path / "p"),
        lambda: export(tmp_path / "out", "val", dataset=Tree(root)),
        lambda: synthesize(Tree(root), tmp_path / "out", generator="recolor"),
        lambda: stream(Tree(root), None, Mix(), 0),
        lambda: Tree(root).fingerprint(),
        lambda: Tree(tmp_path / "out").write_frame(
            "val", "aa", FOREIGN[kind], np.zeros((*IDS.shape, 3), np.uint8), IDS
        ),
    )
    said = set()
    for attempt in tries:
        with pytest.raises(HarnessError) as caught:
            attempt()
        assert not (tmp_path / "out").exists()
        said.add((caught.value.message.partition(": ")[2], caught.value.hint))
    assert len(said) == 1 and f"{FOREIGN[kind]!r} is no frame name; expected <city>_<sequence>_<frame>" in said.pop()


def test_a_frame_whose_name_begins_with_that_of_another_keeps_its_own_files(tmp_path):
    names = ["aa_0_1", "aa_0_1-b", "aa_0_1-b-c"]
    root = tree(tmp_path / "tree", *names)
    hit = np.where(IDS == 26001, 255, 0).astype(np.uint8)
    for name in names[:2]:
        write_instances(tmp_path / "p", name, (CAR, 0.5, hit))
    write_instances(tmp_path / "p", names[2])
    assert evaluate(Tree(root), "val", instances=tmp_path / "p").scores["AP"] == pytest.approx(2 / 3)
    (tmp_path / "p" / f"{names[1]}.txt").unlink()
    with pytest.raises(HarnessError, match=r"no prediction aa_0_1-b\*.txt"):
        evaluate(Tree(root), "val", instances=tmp_path / "p")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("aa_0_1.txt", "aa_0_1"),
        ("aa_0_1_gtFine.txt", "aa_0_1"),
        ("aa_0_1-b.txt", "aa_0_1"),
        ("aa_0_10.txt", None),
        ("aa_0_1ä.txt", None),
        ("aa_0_2-b", "aa_0_2-b"),
        ("aa_0_2.txt", None),
        ("xaa_0_1.txt", None),
        ("", None),
        ("aa_0_1" + "_x" * 10**6, "aa_0_1"),
    ],
)
def test_a_file_is_of_the_longest_name_that_it_begins_with(file, name):
    assert frame_names.owner(file, {"aa_0_1", "aa_0_2-b"}) == name


def test_names_stand_in_lines_without_spaces_and_no_two_become_one():
    assert frame_names.without_spaces("aa_000000_000019") == "aa_000000_000019"
    told = [frame_names.without_spaces(name) for name in ("a b_0_1", "a%20b_0_1", "a\u00a0b_0_1", "a  b_0_1")]
    assert len(set(told)) == 4 and not any(sign.isspace() for text in told for sign in text)


def test_a_line_with_a_space_in_its_path_says_so(tmp_path):
    root = tree(tmp_path / "tree", "a b_0_1")
    write_instances(tmp_path / "p", "a b_0_1", (CAR, 0.5, np.zeros(IDS.shape, np.uint8)))
    with pytest.raises(HarnessError, match="with single spaces") as caught:
        evaluate(Tree(root), "val", instances=tmp_path / "p")
    assert "holds no space" in caught.value.hint


def test_coco_results_name_frames_by_the_same_grammar(tmp_path):
    root = tree(tmp_path / "tree", *NAMES.values())
    entry = {"category_id": CAR, "score": 0.5, "segmentation": oracle.run_lengths(IDS == 26001)}
    results = [entry | {"image_id": f"{name}_leftImg8bit.png"} for name in NAMES.values()]
    (tmp_path / "r.json").write_text(json.dumps(results))
    scores = evaluate(Tree(root), "val", instances=tmp_path / "r.json", coco=tmp_path / "r.json").scores
    assert scores["AP"] == scores["COCO_AP"] == pytest.approx(1.0)
