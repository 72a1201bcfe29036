"""Digit equality with the official scripts, on random sets that hold every case their code treats apart."""

import math
import tempfile
from pathlib import Path

import numpy as np
import oracle
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.data.cityscapes import CITYSCAPES
from harness.data.tree import Tree
from harness.metrics.evaluation import evaluate

EXACT = 1e-9
pytestmark = pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning")  # the official scripts'


def same(mine: float | None, theirs: float | None) -> bool:
    """Equal digits; None, NaN and pycocotools' -1 all mean undefined."""
    if theirs is None or math.isnan(theirs) or theirs == -1:
        return mine is None
    return mine is not None and abs(mine - theirs) < EXACT


def check(frames: list[oracle.Frame], folder: Path, rng: np.random.Generator, *, engine: str = "numpy") -> None:
    """Write `frames`, evaluate them by us and by the official scripts, compare every number."""
    root, predictions = folder / "root", folder / "predictions"
    oracle.write(frames, root, predictions, rng)
    found = evaluate(
        Tree(root),
        "val",
        instances=predictions / "instances",
        semantic=predictions / "semantic",
        panoptic=predictions / "panoptic",
        coco=predictions / "instances",
        engine=engine,
    ).scores
    check_instances(found, root, predictions / "instances", folder)
    check_pixels(found, root, predictions / "semantic", folder)
    check_panoptic(found, root, predictions / "panoptic", folder)
    check_coco(found, frames)


def check_instances(found: dict, root: Path, predictions: Path, work: Path) -> None:
    try:
        expected = oracle.instance_scores(root, predictions, work)["averages"]
    except IndexError:  # its predictions of one class are all forgiven: the official script has no answer
        return
    assert same(found["AP"], expected["allAp"])
    assert same(found["AP50"], expected["allAp50%"])
    for label in CITYSCAPES.things:
        assert same(found["classes"][label.name]["AP"], expected["classes"][label.name]["ap"])
        assert same(found["classes"][label.name]["AP50"], expected["classes"][label.name]["ap50%"])


def check_pixels(found: dict, root: Path, predictions: Path, work: Path) -> None:
    expected = oracle.pixel_scores(root, predictions, work)
    assert same(found["IoU"], expected["averageScoreClasses"])
    assert same(found["iIoU"], expected["averageScoreInstClasses"])
    assert same(found["IoU_category"], expected["averageScoreCategories"])
    assert same(found["iIoU_category"], expected["averageScoreInstCategories"])
    for label in CITYSCAPES.evaluated:
        assert same(found["classes"][label.name]["IoU"], expected["classScores"][label.name])
        assert same(found["classes"][label.name]["iIoU"], expected["classInstScores"][label.name])
    for name, values in found["categories"].items():
        assert same(values["IoU"], expected["categoryScores"][name])
        assert same(values["iIoU"], expected["categoryInstScores"][name])


def check_panoptic(found: dict, root: Path, predictions: Path, work: Path) -> None:
    expected = oracle.panoptic_scores(oracle.convert_panoptic(root, work), predictions)
    for name, group in (("", "All"), ("_things", "Things"), ("_stuff", "Stuff")):
        official = expected[group] or {}
        assert same(found[f"PQ{name}"], official.get("pq"))
        if not name:
            assert same(found["SQ"], official.get("sq"))
            assert same(found["RQ"], official.get("rq"))
    for label in CITYSCAPES.evaluated if expected["per_class"] else ():
        official = expected["per_class"][label.id]
        is_there = any(expected["counts"][label.name])
        for name in ("PQ", "SQ", "RQ"):  # the official output has 0 for a class that is nowhere
            assert same(found["classes"][label.name][name], official[name.lower()] if is_there else None)


def check_coco(found: dict, frames: list[oracle.Frame]) -> None:
    if not any(frame.detections for frame in frames):  # pycocotools cannot load an empty result
        return
    expected = oracle.coco_scores(frames)
    for name, value in expected.items():
        score, _, label = name.partition("/")
        assert same(found["classes"][label][score] if label else found[score], value), name


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), n_frames=st.integers(1, 4), things=st.integers(0, 14))
def test_equals_the_official_scripts_on_random_sets(seed: int, n_frames: int, things: int) -> None:
    rng = np.random.default_rng(seed)
    size = (int(rng.integers(1, 90)), int(rng.integers(1, 120)))
    frames = [oracle.random_frame(f"city{i % 2}_000000_{i:06d}", rng, size, things=things) for i in range(n_frames)]
    with tempfile.TemporaryDirectory() as folder:
        check(frames, Path(folder), rng)


def test_equals_the_official_scripts_on_full_size_frames(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    check([oracle.full_size_frame(f"city{i}_000000_000000", rng) for i in range(2)], tmp_path, rng, engine="compiled")


def test_depth_ranges_equal_the_official_ones(tmp_path: Path) -> None:
    """AP within 100 m and 50 m: distances are put into the statistics, and into the cache of the official script."""
    rng = np.random.default_rng(0)
    for trial in range(10):
        work = tmp_path / str(trial)
        frames = [oracle.random_frame(f"city_000000_{i:06d}", rng, (120, 160), things=14) for i in range(3)]
        oracle.write(frames, work / "root", work / "p", rng)
        found = evaluate(Tree(work / "root"), "val", instances=work / "p" / "instances").statistics
        part = found.parts["instances"]
        n = len(part["gt_id"])
        part["gt_metres"], part["gt_density"] = rng.choice([20.0, 50.0, 70.0, 130.0], n), rng.choice([0.3, 0.5, 0.9], n)
        keys = zip((found.images[i] for i in part["gt_image"]), part["gt_id"].tolist(), strict=True)
        depth = dict(zip(keys, zip(part["gt_metres"].tolist(), part["gt_density"].tolist(), strict=True), strict=True))
        try:
            expected = oracle.instance_scores(work / "root", work / "p" / "instances", work, depth=depth)["averages"]
        except IndexError:
            continue
        scores = {name: float(values[0]) for name, values in found.scores().items()}
        for name, official in (("AP_100m", "allAp100m"), ("AP_50m", "allAp50m"), ("AP50_50m", "allAp50%50m")):
            assert same(None if math.isnan(scores[name]) else scores[name], float(expected[official])), name
