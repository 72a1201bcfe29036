"""What the data leave undefined is null and a dash, with one sentence why; the forms of panoptic results that people
write get the scores of the official script."""

import json

import numpy as np
import oracle
import pytest
from PIL import Image
from small import BUS, CAR, PERSON, ROAD, SKY, canvas, mask, write_instances, write_panoptic, write_semantic

from harness.core.errors import HarnessError
from harness.data.cityscapes import CITYSCAPES
from harness.data.tree import Tree
from harness.metrics import evaluation
from harness.metrics.evaluation import UNDEFINED, evaluate

NAME = "aa_000000_000019"
IDS = canvas(
    (SKY, (0, 0, 12, 60)),
    (26001, (15, 5, 30, 25)),
    (24001, (15, 35, 30, 45)),
    (CAR, (34, 2, 38, 16)),
    (0, (12, 0, 14, 60)),
)
"""Road, sky, a car, a person, a crowd of cars, void."""


def tree(root, ids=IDS, split="val"):
    for wanted in {split, "val"}:
        Tree(root).write_frame(wanted, "aa", NAME, np.zeros((*ids.shape, 3), np.uint8), ids)
    return root


@pytest.fixture
def void(tmp_path):
    """A tree as gtFine/test is shipped, all of it ignored, and predictions that are all there."""
    ids = canvas((1, (30, 0, 40, 60)), (3, (0, 0, 30, 3)), (0, (0, 3, 30, 60)))
    found = mask(10, 10, 30, 50) > 0
    folder = tmp_path / "p"
    write_instances(folder / "instances", NAME, (CAR, 0.9, mask(10, 10, 30, 50)))
    write_semantic(folder / "semantic", NAME, np.where(found, CAR, ROAD))
    write_panoptic(folder / "panoptic", **{NAME: (np.where(found, 1, 2), {1: CAR, 2: ROAD})})
    given = {kind: folder / kind for kind in ("instances", "semantic", "panoptic")} | {"coco": folder / "instances"}
    return evaluate(Tree(tree(tmp_path / "tree", ids)), "val", **given)


def test_a_truth_without_an_evaluated_class_is_dashes_and_a_sentence(void):
    scores = void.scores
    near = ("AP_100m", "AP_50m", "AP50_50m")
    headline = {key: value for key, value in scores.items() if key in scores["availability"]}
    assert {"AP", "PQ", "PQ_things", "IoU", "iIoU", "IoU_category", "COCO_AP", "COCO_AP_small"} <= headline.keys()
    assert set(headline.values()) == {None}
    assert {scores["availability"][key] for key in headline if key not in near} == {UNDEFINED}
    groups = (*scores["classes"].values(), *scores["categories"].values())
    assert {value for group in groups for key, value in group.items() if key != "instances"} == {None}
    lines = evaluation.render_table(void).splitlines()
    assert lines[0].split() == ["AP", "AP50", "PQ", "SQ", "RQ", "IoU", "iIoU", "COCO_AP", "COCO_AP50"]
    assert lines[1].split() == ["all"] + 9 * ["-"]
    assert sum(UNDEFINED in line for line in lines) == 1
    json.dumps(scores, allow_nan=False)


def test_a_class_that_is_nowhere_is_a_dash_beside_those_that_are_missed(tmp_path):
    seen = {1: ROAD, 2: SKY, 3: BUS}
    guess = np.where(IDS == 26001, 3, np.where(IDS == SKY, 2, 1))
    write_panoptic(tmp_path / "q", **{NAME: (guess, seen)})
    found = evaluate(Tree(tree(tmp_path / "tree")), "val", panoptic=tmp_path / "q")
    by_class = {
        name: tuple(values[key] for key in ("PQ", "SQ", "RQ")) for name, values in found.scores["classes"].items()
    }
    there = {label.name for label in CITYSCAPES.evaluated if by_class[label.name] != (None, None, None)}
    assert there == {"road", "sky", "car", "person", "bus"}
    assert by_class["car"] == by_class["person"] == by_class["bus"] == (0.0, 0.0, 0.0)
    assert found.scores["PQ"] == pytest.approx(np.mean([by_class[name][0] for name in there]), abs=1e-12)
    row = next(line for line in evaluation.render_table(found).splitlines() if line.startswith("truck"))
    assert row.split() == ["truck", "-", "-", "-"]


SEGMENTS = {1: ROAD, 2: SKY, 3: CAR, 4: PERSON, 5: CAR}


def panoptic(folder, *, ids=None, info=None, mode="RGB", extra=(), **annotation):
    drawn = np.select([IDS == SKY, IDS == 26001, IDS == 24001, IDS == CAR, IDS == 0], [2, 3, 4, 5, 0], 1)
    if ids is not None:
        drawn = ids(drawn)
    (folder / "cityscapes_panoptic_val").mkdir(parents=True)
    colours = np.stack([drawn % 256, drawn // 256 % 256, drawn // 65536], axis=-1).astype(np.uint8)
    Image.fromarray(colours).convert(mode).save(folder / "cityscapes_panoptic_val" / "a.png")
    info = [{"id": key, "category_id": value} for key, value in SEGMENTS.items()] if info is None else info
    entry = {"image_id": NAME, "file_name": "a.png", "segments_info": info} | annotation
    path = folder / "cityscapes_panoptic_val.json"
    path.write_text(json.dumps({"annotations": [entry, *extra]}))
    return path


def listed():
    return [{"id": key, "category_id": value} for key, value in SEGMENTS.items()]


READ = {
    "plain": {},
    "with alpha": {"mode": "RGBA"},
    "categories as fractions": {"info": [{"id": k, "category_id": float(v)} for k, v in SEGMENTS.items()]},
    "one segment twice": {"info": [*listed(), {"id": 3, "category_id": PERSON}]},
    "large ids": {
        "ids": lambda drawn: np.where(drawn > 0, drawn + 70000, 0),
        "info": [{"id": k + 70000, "category_id": v} for k, v in SEGMENTS.items()],
    },
    "a frame of no split": {"extra": [{"image_id": "bb_0_0", "file_name": "nope.png", "segments_info": []}]},
    "another before it": {"extra": [{"image_id": NAME, "file_name": "a.png", "segments_info": listed()}], "info": []},
    "a segment of id 0": {
        "ids": lambda drawn: np.where(drawn == 1, 0, drawn),
        "info": [{"id": k if k != 1 else 0, "category_id": v} for k, v in SEGMENTS.items()],
    },
}
REFUSED = {
    "a palette": ({"mode": "P"}, "expected segment ids as RGB"),
    "numbers for frames": ({"image_id": 1}, "expected an object whose 'image_id' is a frame name"),
    "the name of the file": ({"image_id": f"{NAME}_leftImg8bit"}, f"no annotation with image_id '{NAME}'"),
    "a segment that is not listed": ({"info": listed()[:-1]}, "segment 5 is in the PNG, but not in segments_info"),
    "a segment that is not drawn": ({"info": [*listed(), {"id": 9, "category_id": CAR}]}, "segment 9 is in segments_i"),
    "a category that is void": ({"info": [{"id": k, "category_id": 0} for k in SEGMENTS]}, "no evaluated label id"),
    "a folder in the file's name": ({"file_name": "cityscapes_panoptic_val/a.png"}, "no such file"),
}


@pytest.mark.parametrize("form", READ)
def test_the_forms_of_panoptic_results_get_the_official_scores(tmp_path, form):
    root, path = tree(tmp_path / "tree"), panoptic(tmp_path / "q", **READ[form])
    found = evaluate(Tree(root), "val", panoptic=path).scores
    expected = oracle.panoptic_scores(oracle.convert_panoptic(root, tmp_path), tmp_path / "q")
    assert [found[key] for key in ("PQ", "SQ", "RQ")] == [expected["All"][key] for key in ("pq", "sq", "rq")]
    for label in CITYSCAPES.evaluated:
        is_there = any(expected["counts"][label.name])
        official = expected["per_class"][label.id]["pq"] if is_there else None
        assert found["classes"][label.name]["PQ"] == official, label.name


@pytest.mark.parametrize("form", REFUSED)
def test_panoptic_results_that_the_official_script_cannot_score_are_refused(tmp_path, form):
    changes, words = REFUSED[form]
    root, path = tree(tmp_path / "tree"), panoptic(tmp_path / "q", **changes)
    with pytest.raises(HarnessError) as caught:
        evaluate(Tree(root), "val", panoptic=path)
    assert words in caught.value.message
    with pytest.raises((Exception, SystemExit)):  # officially an error, too
        oracle.panoptic_scores(oracle.convert_panoptic(root, tmp_path), tmp_path / "q")
