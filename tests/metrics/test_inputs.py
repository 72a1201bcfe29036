"""Whatever is wrong with a result file is one message that names the file, and the line where there is one."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small import CAR, ROAD, canvas, mask, write_instances, write_panoptic, write_semantic, write_truth

from harness.core.errors import HarnessError
from harness.data.cityscapes import CITYSCAPES
from harness.data.tree import Tree
from harness.metrics import inputs
from harness.metrics.evaluation import evaluate

NAME = "aachen_000000_000001"


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    write_truth(tmp_path / "root", NAME, canvas((26000, (5, 5, 25, 25))))
    return tmp_path / "root"


def failure(root: Path, split: str = "val", **given: Path) -> str:
    with pytest.raises(HarnessError) as caught:
        evaluate(Tree(root), split, **given)
    assert "\n" not in caught.value.message and len(caught.value.message) < 600
    return str(caught.value)


def lines(folder: Path, *texts: str) -> Path:
    write_instances(folder, NAME, (CAR, 0.5, mask(5, 5, 25, 25)))
    (folder / f"{NAME}.txt").write_text("".join(texts))
    return folder


GOOD = f"masks/{NAME}_0.png 26 0.5\n"


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("masks/\0.png 26 0.5\n", "null"),
        ("\n", "with single spaces"),
        (f"masks/{NAME}_0.png 26\n", "with single spaces"),
        (f"masks/{NAME}_0.png 26 0.5 \n", "with single spaces"),
        (f"masks/{NAME}_0.png  26 0.5\n", "with single spaces"),
        (f"masks/{NAME}_0.png 26 nan\n", "score must be finite"),
        (f"masks/{NAME}_0.png 26 inf\n", "score must be finite"),
        (f"masks/{NAME}_0.png 26 high\n", "score is no number"),
        (f"masks/{NAME}_0.png car 0.5\n", "label id is no number"),
        (f"masks/{NAME}_0.png 255 0.5\n", "no label id of cityscapes"),
        ("../../other.png 26 0.5\n", "lies outside"),
        ("masks/../../other.png 26 0.5\n", "lies outside"),
        ("/etc/hostname 26 0.5\n", "must be a path relative"),
        ("masks/missing.png 26 0.5\n", "no such file"),
        (f"{NAME}.txt 26 0.5\n", "not a readable image"),
    ],
)
def test_a_bad_line_is_named(truth, tmp_path, bad, words):
    found = failure(truth, instances=lines(tmp_path / "p", GOOD, bad))
    assert f"{NAME}.txt:2" in found and words in found


def test_a_folder_whose_name_begins_alike_is_outside(truth, tmp_path):
    write_instances(tmp_path / "predictions-old", NAME, (CAR, 0.5, mask(5, 5, 25, 25)))
    found = failure(truth, instances=lines(tmp_path / "predictions", f"../predictions-old/masks/{NAME}_0.png 26 0.5\n"))
    assert "lies outside" in found


def test_files_of_a_frame_must_be_there_once(truth, tmp_path):
    write_truth(truth, "aachen_000000_000002", canvas())
    folder = lines(tmp_path / "p", GOOD)
    assert "no prediction aachen_000000_000002*.txt" in failure(truth, instances=folder)
    assert "no prediction" in failure(truth, semantic=folder / "masks")
    (folder / "again").mkdir()
    (folder / "again" / f"{NAME}_2.txt").write_text("")
    assert "has another prediction" in failure(truth, instances=folder)
    assert "no such folder" in failure(truth, instances=tmp_path / "nowhere")


def test_a_longer_frame_number_is_another_frame(truth, tmp_path):
    write_semantic(tmp_path / "s", NAME + "7", canvas())
    assert "no prediction" in failure(truth, semantic=tmp_path / "s")


def test_sizes_must_agree(truth, tmp_path):
    small = np.zeros((20, 60), np.uint8)
    write_instances(tmp_path / "i", NAME, (CAR, 0.5, small))
    assert (
        f"{NAME}.txt:1" in (found := failure(truth, instances=tmp_path / "i"))
        and "60 x 20" in found
        and "60 x 40" in found
    )
    assert "60 x 20" in failure(truth, semantic=write_semantic(tmp_path / "s", NAME, small).parent)
    path = write_panoptic(tmp_path / "q", **{NAME: (np.full((20, 60), 5), {5: ROAD})})
    assert "60 x 20" in failure(truth, panoptic=path)


def test_truncated_and_wrong_pngs_are_named(truth, tmp_path):
    path = write_semantic(tmp_path / "s", NAME, np.random.default_rng(0).integers(0, 34, (40, 60)))
    whole = path.read_bytes()
    for length in (0, 20, 40, len(whole) // 2):
        path.write_bytes(whole[:length])
        assert path.name in failure(truth, semantic=tmp_path / "s")
    Image.new("RGB", (60, 40)).save(path)
    assert "one channel" in failure(truth, semantic=tmp_path / "s")
    write_semantic(tmp_path / "s", NAME, canvas((200, (0, 0, 1, 1))))
    assert "label id 200" in (found := failure(truth, semantic=tmp_path / "s")) and path.name in found


def test_ground_truth_is_checked_too(tmp_path):
    path = write_truth(tmp_path / "root", NAME, canvas())
    folder = lines(tmp_path / "p")
    Image.fromarray(canvas().astype(np.uint8)).save(path)
    assert "16-bit" in (found := failure(tmp_path / "root", instances=folder)) and path.name in found
    write_truth(tmp_path / "root", NAME, canvas((40_000, (0, 0, 1, 1))))
    assert "id 40000" in failure(tmp_path / "root", instances=folder)
    assert "no such folder" in failure(tmp_path / "nowhere", instances=folder)
    assert "did you mean 'val'" in failure(tmp_path / "root", split="vall", instances=folder)


def test_panoptic_results_are_checked(truth, tmp_path):
    ids = canvas((900, (5, 5, 25, 25)))
    path = write_panoptic(tmp_path / "p", **{NAME: (ids, {ROAD: ROAD, 900: CAR})})
    good = path.read_text()
    cases = {
        '{"annotations": [\n{]}': ".json:2: not JSON",
        "[]": "a list 'annotations'",
        '{"annotations": [{"image_id": 3}]}': "annotations[0]",
        '{"annotations": []}': f"no annotation with image_id '{NAME}'",
        good.replace(f"{NAME}.png", "../../x.png"): "lies outside",
        good.replace('"id": 900', '"id": "x"'): "segments_info[1]",
        good.replace('"id": 900', '"id": 901'): "900 is in the PNG",
        good.replace('"category_id": 26', '"category_id": 13'): "",
        good.replace(f"{NAME}.png", "gone.png"): "no such file",
    }
    for text, words in cases.items():
        path.write_text(text)
        if words:
            assert words in failure(truth, panoptic=tmp_path / "p"), text[:80]
    (tmp_path / "q").mkdir()
    assert "no such file" in failure(truth, panoptic=tmp_path / "q")
    (tmp_path / "q" / path.name).write_text(good)
    assert "the PNGs of" in failure(truth, panoptic=tmp_path / "q")


def test_a_json_of_100000_segments_is_refused(truth, tmp_path):
    labels = {ROAD: ROAD} | dict.fromkeys(range(1000, 101_000), CAR)
    path = write_panoptic(tmp_path / "p", **{NAME: (canvas(), labels)})
    found = failure(truth, panoptic=path)
    assert "100000 segments" in found and path.parent.name in found


def test_coco_results_are_checked(truth, tmp_path):
    path = tmp_path / "results.json"
    entry = {"image_id": NAME, "category_id": CAR, "score": 0.5, "segmentation": {"size": [40, 60], "counts": [2400]}}
    cases = [
        ({"image_id": 7}, "no frame name"),
        ({"image_id": "bochum_000000_000001"}, "no frame of this split"),
        ({"score": float("nan")}, "finite number"),
        ({"score": "0.5"}, "finite number"),
        ({"category_id": 99}, "no label id of cityscapes"),
        ({"segmentation": [[0, 0, 1, 1, 2, 2]]}, "polygons are no masks"),
        ({"segmentation": {"size": [40, 50], "counts": [2000]}}, "50 x 40"),
        ({"segmentation": {"size": [40, 60], "counts": [100]}}, "add up to 100"),
        ({"segmentation": {"size": [40, 60], "counts": "~~~"}}, "packed"),
        ({"segmentation": {"size": [40, 60], "counts": ""}}, "packed"),
        ({"segmentation": {"size": [40, 60], "counts": [2399.5]}}, "whole numbers"),
        ({"segmentation": {"size": [40, 60], "counts": [-1, 2401]}}, "whole numbers"),
        ({"segmentation": {"size": [40, 60], "counts": [[2400]]}}, "whole numbers"),
        ({"segmentation": {"size": [40, 60], "counts": [10**30]}}, "whole numbers"),
        ({"score": 10**400}, "finite number"),
        ({"image_id": {"a": 1}}, "no frame name"),
        ({"image_id": "x" * 5000}, "no frame of this split"),
        ({"category_id": "x" * 5000}, "no label id of cityscapes"),
    ]
    for change, words in cases:
        path.write_text(json.dumps([entry, entry | change]))
        for kind in ("instances", "coco"):
            assert "result 1" in (found := failure(truth, **{kind: path})) and words in found, change
    for box in (["a", 0, 1, 1], [0, 0, 1], [], None, 5):
        path.write_text(json.dumps([entry | {"bbox": [0, 0, 1, 1]}, entry | {"bbox": box}]))
        assert "result 1: 'bbox' must be" in failure(truth, coco=path), box
    path.write_text("{}")
    assert "a list of results" in failure(truth, instances=path)
    path.write_text("[\n\n1,]")
    assert "results.json:3: not JSON" in failure(truth, instances=path)


def test_a_mask_listed_twice_keeps_its_place_and_its_last_score(tmp_path):
    folder = lines(tmp_path / "p", GOOD, f"masks/x.png 24 0.25\n./masks/{NAME}_0.png 24.0 0.75\n")
    found = inputs.mask_lines(folder / f"{NAME}.txt", folder, CITYSCAPES)
    assert [(line.label_id, line.score) for line in found] == [(24, 0.75), (24, 0.25)]


def test_nothing_to_evaluate_and_bad_numbers_of_workers(truth, tmp_path):
    assert "nothing to evaluate" in failure(truth)
    with pytest.raises(HarnessError, match="workers"):
        evaluate(Tree(truth), "val", instances=lines(tmp_path / "p", GOOD), workers=0)
    assert "no such file" in failure(truth, coco=tmp_path / "results.json")
    assert "no such folder" in failure(truth, coco=tmp_path / "results")


def test_a_byte_order_mark_is_no_part_of_a_path_or_of_json(truth, tmp_path):
    folder = lines(tmp_path / "p", GOOD)
    (folder / f"{NAME}.txt").write_text(GOOD, encoding="utf-8-sig")
    path = write_panoptic(tmp_path / "q", **{NAME: (canvas((CAR, (5, 5, 25, 25))), {CAR: CAR, ROAD: ROAD})})
    path.write_text(path.read_text(), encoding="utf-8-sig")
    scores = evaluate(Tree(truth), "val", instances=folder, panoptic=path).scores
    assert scores["AP"] == 1.0 and scores["PQ"] == 1.0
    (folder / f"{NAME}.txt").write_text(GOOD, encoding="utf-16")
    assert "not text" in failure(truth, instances=folder)
