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

from harness.data.cityscapes import CITYSCAPES
from harness.data.tree import Tree
from harness.metrics import rle
from harness.metrics.base import Target
from harness.metrics.coco import CocoAP
from harness.metrics.evaluation import evaluate
from harness.metrics.predictions import Detection

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


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), boxes=st.booleans())
def test_results_json_equals_pycocotools(seed, boxes):
    rng = np.random.default_rng(seed)
    frames = [oracle.random_frame(f"city_000000_{i:06d}", rng, (60, 90), things=12) for i in range(3)]
    frames[0].detections.append((CAR, 0.5, np.ones((60, 90), bool)))
    with tempfile.TemporaryDirectory() as folder:
        oracle.write(frames, Path(folder, "root"), Path(folder, "p"), rng)  # may change a score
        entries = []
        for frame in frames:
            for label, score, pixels in frame.detections:
                packed = official.encode(np.asfortranarray(pixels.astype(np.uint8)))
                box = {"bbox": official.toBbox(packed).tolist()} if boxes else {}
                segmentation = {"size": [60, 90], "counts": packed["counts"].decode()}
                entries.append(
                    {"image_id": frame.name, "category_id": label, "score": score, "segmentation": segmentation} | box
                )
        path = Path(folder, "results.json")
        path.write_text(json.dumps(entries))
        found = evaluate(Tree(Path(folder, "root")), "val", instances=path, coco=path).scores
        alone = evaluate(Tree(Path(folder, "root")), "val", coco=path).scores
    assert alone["AP"] is None and alone["signature"] == CocoAP.signature
    assert [alone[name] for name in COCO_SCORES] == [found[name] for name in COCO_SCORES]
    for name, value in oracle.coco_scores(frames, boxes=boxes).items():
        score, _, label = name.partition("/")
        mine = found["classes"][label][score] if label else found[score]
        assert (mine is None) if value == -1 else mine == pytest.approx(value, abs=1e-9), name


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
