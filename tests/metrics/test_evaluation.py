"""Evaluating a tree: what is scored, what is stored, and that neither engine nor workers change a number."""

import json
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.core.errors import HarnessError
from harness.data.tree import Tree
from harness.metrics import evaluation, frame_statistics, observing
from harness.metrics.evaluation import evaluate

SCORES = ("AP", "AP50", "PQ", "SQ", "RQ", "PQ_things", "PQ_stuff", "IoU", "IoU_category", "iIoU", "iIoU_category")
FRAMES = ("aachen_000000_000001", "aachen_000000_000002", "bochum_000000_000001", "bochum_000000_000002")


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """Four frames with two cars each, and predictions that are a few pixels off."""
    root = tmp_path_factory.mktemp("evaluation")
    annotations = []
    for number, name in enumerate(FRAMES):
        ids = np.full((64, 128), 7, np.uint16)
        ids[:20], ids[30:50, 10:40], ids[30:60, 60:100] = 23, 26000, 26001
        truth = root / "root" / "gtFine" / "val" / name.split("_")[0]
        truth.mkdir(parents=True, exist_ok=True)
        Image.fromarray(ids).save(truth / f"{name}_gtFine_instanceIds.png")
        moved = np.roll(ids, (number, number + 1), (0, 1))
        for folder in ("instances/masks", "semantic", "panoptic/cityscapes_panoptic_val"):
            (root / "p" / folder).mkdir(parents=True, exist_ok=True)
        lines = []
        for id_ in (26000, 26001):
            mask = Image.fromarray(np.where(moved == id_, 255, 0).astype(np.uint8))
            mask.save(root / "p" / "instances" / "masks" / f"{name}_{id_}.png")
            lines.append(f"masks/{name}_{id_}.png 26 0.{id_ % 10 + number + 1}\n")
        (root / "p" / "instances" / f"{name}.txt").write_text("".join(lines))
        labels = np.where(moved < 1000, moved, moved // 1000).astype(np.uint8)
        Image.fromarray(labels).save(root / "p" / "semantic" / f"{name}_pred_labelIds.png")
        colors = np.stack([moved % 256, moved // 256, moved * 0], -1).astype(np.uint8)
        Image.fromarray(colors).save(root / "p" / "panoptic" / "cityscapes_panoptic_val" / f"{name}.png")
        segments = [{"id": i, "category_id": i if i < 1000 else i // 1000} for i in np.unique(moved).tolist()]
        annotations.append({"image_id": name, "file_name": f"{name}.png", "segments_info": segments})
    (root / "p" / "panoptic" / "cityscapes_panoptic_val.json").write_text(json.dumps({"annotations": annotations}))
    return root


def given(tree: Path, *names: str) -> dict[str, Path]:
    return {name: tree / "p" / name for name in names or ("instances", "semantic", "panoptic")}


def test_only_what_is_given_is_scored(tree):
    for name, own in (("instances", SCORES[:2]), ("panoptic", SCORES[2:7]), ("semantic", SCORES[7:])):
        scores = evaluate(Tree(tree / "root"), "val", **given(tree, name)).scores
        assert {score for score in SCORES if scores[score] is not None} == set(own)
        assert scores["n_images"] == 4
    scores = evaluate(Tree(tree / "root"), "val", **given(tree)).scores
    assert all(0 < scores[score] <= 1 for score in SCORES) and scores["AP"] < 1
    assert scores["classes"]["car"]["instances"] == 8 and scores["classes"]["bus"]["AP"] is None
    assert set(scores["classes"]["car"]) == {"AP", "AP50", "PQ", "SQ", "RQ", "IoU", "iIoU", "instances"}
    assert "not available" in scores["availability"]["AP_50m"] and scores["AP_50m"] is None
    assert scores["signature"].count(" + ") == 2


def test_engines_and_workers_give_the_same_bytes(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(observing, "WORTH", 1e-9)
    monkeypatch.setattr(observing, "cores", lambda: 2)  # of a machine with one, too
    variants = {
        "numpy": {"engine": "numpy"},
        "compiled": {"engine": "compiled"},
        "two": {"engine": "numpy", "workers": 2},
    }
    files = {}
    for name, options in variants.items():
        before = _of_children()
        evaluate(Tree(tree / "root"), "val", **given(tree), coco=tree / "p" / "instances", **options).save(
            tmp_path / name
        )
        files[name] = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        assert (_of_children() > before) == (name == "two")
    assert set(files["numpy"]) == {"scores.json", "statistics.npz", "anatomy.json"}
    assert files["numpy"] == files["compiled"] == files["two"]


def _of_children() -> float:
    """CPU seconds of the processes that this one started and that have ended."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime


def test_a_few_small_frames_start_no_processes(tree):
    before = _of_children()
    evaluate(Tree(tree / "root"), "val", **given(tree), engine="numpy", workers=10**9)
    assert _of_children() == before


def test_what_is_saved_comes_back(tree, tmp_path):
    found = evaluate(Tree(tree / "root"), "val", **given(tree))
    found.save(tmp_path)
    again = evaluation.load(tmp_path)
    assert (
        again.scores == json.loads(evaluation.render_json(found)) == json.loads((tmp_path / "scores.json").read_text())
    )
    assert again.statistics.images == FRAMES and again.statistics.cities == ("aachen", "aachen", "bochum", "bochum")
    assert evaluation.summarize(again.statistics) == again.scores
    assert json.loads((tmp_path / "anatomy.json").read_text())["AP"] == pytest.approx(found.scores["AP"])


@pytest.mark.parametrize("name", ["scores.json", "statistics.npz"])
def test_damaged_files_are_named(tree, tmp_path, name):
    evaluate(Tree(tree / "root"), "val", **given(tree, "semantic")).save(tmp_path)
    (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(HarnessError, match=name):
        evaluation.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(HarnessError, match=name):
        evaluation.load(tmp_path)


def test_statistics_are_read_without_pickles(tmp_path):
    np.savez(tmp_path / "statistics.npz", images=np.array([{"a": 1}], dtype=object))
    with pytest.raises(HarnessError, match="not readable statistics"):
        frame_statistics.load(tmp_path)


def test_no_predictions_are_a_result(tree, tmp_path):
    for name in FRAMES:
        (tmp_path / f"{name}.txt").write_text("")
    (tmp_path / "results.json").write_text("[]")
    for source in (tmp_path, tmp_path / "results.json"):
        scores = evaluate(Tree(tree / "root"), "val", instances=source, coco=source).scores
        assert (scores["AP"], scores["AP50"], scores["COCO_AP"]) == (0.0, 0.0, 0.0)


def test_progress_is_reported(tree):
    seen = []
    evaluate(Tree(tree / "root"), "val", **given(tree, "semantic"), report=lambda *step: seen.append(step))
    assert seen == [(number, 4, name) for number, name in enumerate(FRAMES, start=1)]


def test_tables(tree):
    found = evaluate(Tree(tree / "root"), "val", **given(tree))
    columns, rows = evaluation.table(found)
    names = [info.key for info in columns]
    assert names == ["AP", "AP50", "PQ", "SQ", "RQ", "IoU", "iIoU"] and len(rows) == 22
    assert rows[0] == ("all", [found.scores[name] for name in names])
    text = evaluation.render_table(found)
    assert f"{100 * found.scores['PQ']:.2f}" in text and "4 frames" in text and "not available" in text
    only = evaluate(Tree(tree / "root"), "val", **given(tree, "semantic"))
    assert [info.key for info in evaluation.table(only)[0]] == ["IoU", "iIoU"] and "AP" not in evaluation.render_table(
        only
    )


def test_depth_gives_ap_of_what_is_near(tree, tmp_path):
    """The left car stands 40 m away, the right one 80 m, and a fifth of its pixels have no disparity."""
    shutil.copytree(tree / "root" / "gtFine", tmp_path / "gtFine")
    for name in FRAMES:
        city = name.split("_")[0]
        disparity = np.zeros((64, 128), np.uint16)
        disparity[:, :50], disparity[36:, 50:] = 256 * 10 + 1, 256 * 5 + 1
        for folder in ("disparity", "camera"):
            (tmp_path / folder / "val" / city).mkdir(parents=True, exist_ok=True)
        Image.fromarray(disparity).save(tmp_path / "disparity" / "val" / city / f"{name}_disparity.png")
        camera = tmp_path / "camera" / "val" / city / f"{name}_camera.json"
        camera.write_text(json.dumps({"intrinsic": {"fx": 2000}, "extrinsic": {"baseline": 0.2}}))
    found = evaluate(Tree(tmp_path), "val", instances=tree / "p" / "instances")
    part = found.statistics.parts["instances"]
    assert part["gt_metres"][:2].tolist() == [40.0, 80.0] and part["gt_density"][:2].tolist() == [1.0, 0.8]
    assert found.scores["AP_100m"] is not None
    assert found.scores["availability"] == dict.fromkeys(("AP_50m", "AP50_50m"), evaluation.UNDEFINED)
    assert found.scores["AP_50m"] is None  # the left car has fewer than the 1000 pixels that this range asks for
    camera.write_text("{}")
    with pytest.raises(HarnessError, match=camera.name):
        evaluate(Tree(tmp_path), "val", instances=tree / "p" / "instances")
