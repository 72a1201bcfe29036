"""COCO's AP against pycocotools, and its run lengths."""

import json
import tempfile
from pathlib import Path

import numpy as np
import oracle
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as official
from small import CAR, mask, target

from harness.core.errors import HarnessError
from harness.data import rle
from harness.data.cityscapes import CITYSCAPES
from harness.data.tree import Tree
from harness.metrics.base import Target
from harness.metrics.coco_ap import CocoAP
from harness.metrics.evaluation import evaluate
from harness.metrics.prediction_views import Detection

METRIC = CocoAP(CITYSCAPES)
COCO_SCORES = [info.key for info in CocoAP.infos]


def score(truth: Target, *detections: Detection) -> dict[str, float]:
    return METRIC.score(METRIC.observe(detections, truth))


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32), height=st.integers(1, 50), width=st.integers(1, 70))
def test_run_lengths_are_those_of_pycocotools(seed, height, width):
    rng = np.random.default_rng(seed)
    pixels = rng.random((height, width)) < rng.choice([0, 0.02, 0.5, 0.98, 1])
    packed = official.encode(np.asfortranarray(pixels.astype(np.uint8)))["counts"].decode()
    assert rle.encode(pixels) == packed
    flat = np.zeros(height * width, bool)
    for start, length in zip(*rle.decode(packed, height, width), strict=True):
        flat[start : start + length] = True
    np.testing.assert_array_equal(flat.reshape(width, height).T, pixels)


def holds(root: Path, results: Path, expected: dict[str, float]) -> dict:
    """The scores of a result file, which are those `expected`, to the last digit."""
    found = evaluate(Tree(root), "val", coco=results).scores
    for name, value in expected.items():
        score, _, label = name.partition("/")
        mine = found["classes"][label][score] if label else found[score]
        assert mine == (None if value == -1 else value), name
    return found


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), boxes=st.booleans())
def test_results_json_equals_pycocotools(seed, boxes):
    rng = np.random.default_rng(seed)
    frames = [oracle.random_frame(f"city_000000_{i:06d}", rng, (60, 90), things=12) for i in range(3)]
    frames[0].detections.append((CAR, 0.5, np.ones((60, 90), bool)))
    with tempfile.TemporaryDirectory() as folder:
        root, path = Path(folder, "root"), Path(folder, "results.json")
        oracle.write(frames, root, Path(folder, "p"), rng)  # may change a score
        named = [
            entry | {"image_id": frames[entry["image_id"] - 1].name}
            for entry in oracle.coco_results(frames, boxes=boxes)
        ]
        path.write_text(json.dumps(named))
        alone = holds(root, path, oracle.coco_scores(frames, boxes=boxes))
        found = evaluate(Tree(root), "val", instances=path, coco=path).scores
    assert alone["AP"] is None and alone["signature"] == CocoAP.signature
    assert [alone[name] for name in COCO_SCORES] == [found[name] for name in COCO_SCORES]


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """A tree of two frames with 120 small cars and a group, its COCO ground truth and results with ties."""
    rng, ids = np.random.default_rng(0), np.full((100, 200), 7)
    corners = [(y, x) for y in range(0, 90, 12) for x in range(0, 190, 14)]
    for number, (y, x) in enumerate(corners):
        ids[y : y + 10, x : x + 12] = 26000 + number
    ids[96:100] = CAR
    frames = [oracle.Frame("aa_000000_000019", ids), oracle.Frame("bb_000000_000019", np.full((100, 200), 7))]
    for number in range(len(corners)):
        moved = np.roll(ids == 26000 + number, rng.integers(-3, 4), 1)
        for _ in range(rng.integers(1, 3)):
            frames[0].detections.append((CAR, float(np.round(rng.random(), 2)), moved))
    frames[0].detections.append((CAR, 0.99, ids == CAR))
    frames[1].detections.append((CAR, 0.5, ids == 26000))
    root = tmp_path_factory.mktemp("crowded")
    oracle.write(frames, root / "tree", root / "p", rng)
    return root / "tree", oracle.coco_truth(frames), oracle.coco_results(frames)


BOX = [0, 0, 100, 100]
FORMS = {
    "plain": lambda entries: entries,
    "empty boxes": lambda entries: [entry | {"bbox": []} for entry in entries],
    "boxes but of the first": lambda entries: entries[:1] + [entry | {"bbox": BOX} for entry in entries[1:]],
    "large boxes": lambda entries: [entry | {"bbox": BOX} for entry in entries],
    "an empty box of another": lambda entries: [*entries[:3], entries[3] | {"bbox": []}, *entries[4:]],
    "categories as fractions": lambda entries: [entry | {"category_id": 26.0} for entry in entries],
    "images as fractions": lambda entries: [entry | {"image_id": float(entry["image_id"])} for entry in entries],
    "equal scores": lambda entries: [entry | {"score": 1} for entry in entries],
    "negative scores": lambda entries: [entry | {"score": entry["score"] - 1} for entry in entries],
    "twice": lambda entries: entries + entries,
    "in another order": lambda entries: entries[::-1],
}


@pytest.mark.parametrize("form", FORMS)
def test_the_forms_of_results_that_people_write_are_read_as_pycocotools_reads_them(crowded, tmp_path, form):
    root, truth, results = crowded
    entries = FORMS[form](results)
    (tmp_path / "r.json").write_text(json.dumps({"images": truth["images"], "annotations": entries}))
    holds(root, tmp_path / "r.json", oracle.coco_summary(truth, entries))


def test_results_may_begin_with_a_byte_order_mark(crowded, tmp_path):
    root, truth, results = crowded
    named = [entry | {"image_id": truth["images"][entry["image_id"] - 1]["file_name"]} for entry in results]
    (tmp_path / "r.json").write_text(json.dumps(named), encoding="utf-8-sig")
    holds(root, tmp_path / "r.json", oracle.coco_summary(truth, results))


def test_a_box_that_only_some_results_have_is_refused_as_by_pycocotools(crowded, tmp_path):
    root, truth, results = crowded
    entries = [results[0] | {"bbox": BOX}, *results[1:]]
    with pytest.raises(KeyError, match="bbox"):
        oracle.coco_summary(truth, entries)
    (tmp_path / "r.json").write_text(json.dumps({"images": truth["images"], "annotations": entries}))
    with pytest.raises(HarnessError, match=r"result 1: 'bbox' must be.*found None"):
        evaluate(Tree(root), "val", coco=tmp_path / "r.json")


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), boxes=st.booleans())
def test_another_tool_that_equals_pycocotools_says_the_same(seed, boxes):
    pytest.importorskip("ultrafast_pycocotools")
    rng = np.random.default_rng(seed)
    frames = [oracle.random_frame(f"city_000000_{i:06d}", rng, (60, 90), things=12) for i in range(3)]
    frames[0].detections.append((CAR, 0.5, np.ones((60, 90), bool)))
    parts = []
    for frame in frames:
        seen = Target(ids=frame.ids, labels=CITYSCAPES)
        own = [
            Detection(label, score, drawn, _box_area(drawn) if boxes else None)
            for label, score, drawn in frame.detections
        ]
        parts.append(METRIC.observe(own, seen))
    found = METRIC.score(METRIC.collect(parts))
    for name, value in oracle.coco_scores(frames, boxes=boxes, tool="ultrafast_pycocotools").items():
        assert np.isnan(found[name]) if value == -1 else found[name] == value, name


def _box_area(drawn: np.ndarray) -> float:
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    return float(np.ptp(rows) + 1) * float(np.ptp(columns) + 1) if len(rows) else 0.0


def test_at_most_100_detections_of_a_class_count():
    wrong = [Detection(CAR, 0.9, mask(30, 30, 38, 50))] * 100
    hit = Detection(CAR, 0.5, mask(5, 5, 25, 25))
    truth = target((26000, (5, 5, 25, 25)))
    assert score(truth, *wrong, hit)["COCO_AP"] == 0.0
    assert score(truth, *wrong[1:], hit)["COCO_AP"] == pytest.approx(0.01)


def test_it_is_another_metric_than_that_of_cityscapes():
    truth = target((26000, (5, 5, 25, 25)), (4, (30, 30, 38, 50)))
    found = score(truth, Detection(CAR, 0.9, mask(30, 30, 38, 50)), Detection(CAR, 0.5, mask(5, 5, 25, 25)))
    assert found["COCO_AP"] == pytest.approx(0.5)  # void forgives nothing here
    assert found["COCO_AP_small"] == pytest.approx(0.5)
    assert np.isnan(found["COCO_AP_large"])
