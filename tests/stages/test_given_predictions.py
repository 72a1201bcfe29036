"""Predictions made elsewhere score as `harness evaluate` scores them, whatever they call classes and files."""

import json

import numpy as np
import pytest
from PIL import Image

from harness.core.config import parse
from harness.core.errors import HarnessError
from harness.core.progress import silent
from harness.data import png, prediction_files, rle
from harness.data.cityscapes import CITYSCAPES
from harness.data.prediction import Instance, Prediction, Segment
from harness.data.tree import Tree
from harness.metrics.evaluation import evaluate, load
from harness.segmenters.base import SegmenterPart
from harness.stages import evaluate as evaluation
from harness.stages import predictions
from harness.stages.evaluate import EvaluateSpec
from harness.stages.predictions import PredictionsSpec, fingerprint

SIZE = (48, 96)
NAMES = tuple(f"aa_{number:06d}_000019" for number in range(4))
THINGS = {24: "person", 26: "car", 33: "bicycle"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for name in NAMES:
        ids = np.full(SIZE, 7, np.int32)
        ids[:16] = 23
        for number in range(6):
            label = int(rng.choice([*THINGS]))
            y, x = rng.integers(0, SIZE[0] - 14), 16 * number
            ids[y : y + 14, x : x + 13] = 1000 * label + number
        Tree(root).write_frame("val", "aa", name, np.zeros((*SIZE, 3), np.uint8), ids)
    return root


def guesses(data):
    """Answers that are often right and sometimes not, with scores of many digits and ties."""
    rng = np.random.default_rng(1)
    found = {}
    for frame in Tree(data).truths("val"):
        ids = frame.read_ids().astype(np.int32)
        instances, panorama, segments = [], np.zeros(SIZE, np.int32), []
        semantic = CITYSCAPES.label_of(ids)
        for value in np.unique(ids).tolist():
            mask = np.roll(ids == value, int(rng.integers(0, 4)), axis=1)
            label = CITYSCAPES.label_of(value)
            number = len(segments) + 1
            if (mask & (panorama == 0)).any():
                panorama[mask & (panorama == 0)] = number
                segments.append(Segment(number, label))
            if value >= 1000 and rng.random() < 0.8:
                score = float(rng.choice([0.5, rng.random()]))
                instances.append(Instance(mask, int(rng.choice([label, 26])), score))
        found[frame.name] = Prediction(
            instances=instances,
            semantic=np.roll(semantic, 2, axis=1).astype(np.uint8),
            panoptic=panorama,
            segments=tuple(segments),
        )
    return found


@pytest.fixture(scope="module")
def official(data, tmp_path_factory):
    """A run in the official formats."""
    root = tmp_path_factory.mktemp("official")
    for name, answer in guesses(data).items():
        prediction_files.write(root, "val", name, answer, CITYSCAPES, exact=True)
    prediction_files.finish(root, "val", NAMES, CITYSCAPES)
    return root


def part(folder, **model):
    content = {"label": "theirs", "adapter": "predictions", "backbones": {"own": {"label": "R50"}}}
    return parse(SegmenterPart, content | {"model": {"folder": str(folder), **model}}, "theirs.toml")


def taken(data, run, out, **model):
    spec = PredictionsSpec(segmenter=part(run, **model), folder=str(run))
    return predictions.run(spec, {"dataset": Tree(data)}, out, silent)


def scored(data, run, out, **model):
    facts = taken(data, run, out / "predictions", **model)
    evaluation.run(EvaluateSpec(), {"dataset": Tree(data), "predict": out / "predictions"}, out / "scores", silent)
    return facts, load(out / "scores").scores


def test_official_predictions_score_as_the_command_scores_them(data, official, tmp_path):
    facts, scores = scored(data, official, tmp_path)
    folders = {kind: official / kind for kind in ("instances", "semantic", "panoptic")}
    assert scores == evaluate(Tree(data), "val", **folders).scores
    assert facts == {"frames": 4, "tasks": ["instance", "semantic", "panoptic"]}
    assert 0 < scores["AP"] < 1 and 0 < scores["PQ"] < 1


def coco(data, *, categories=None, numbers=False):
    results = []
    for index, (name, answer) in enumerate(guesses(data).items()):
        for one in answer.instances:
            counts = rle.encode(one.mask)
            results.append(
                {
                    "image_id": index if numbers else name,
                    "category_id": categories[THINGS[one.label_id]] if categories else one.label_id,
                    "segmentation": {"size": [*SIZE], "counts": counts},
                    "score": one.score,
                }
            )
    if numbers:
        images = [{"id": index, "file_name": f"val/{name}_leftImg8bit.png"} for index, name in enumerate(NAMES)]
        return {"images": images, "annotations": results}
    return results


@pytest.mark.parametrize("how", ["names", "numbers", "their categories"])
def test_a_coco_result_scores_as_the_same_masks_do(how, data, official, tmp_path):
    theirs = {"person": 0, "car": 1, "bicycle": 7}
    own = how == "their categories"
    run = tmp_path / "run"
    run.mkdir()
    (run / "results.json").write_text(
        json.dumps(coco(data, categories=theirs if own else None, numbers=how == "numbers"))
    )
    model = {"categories": {str(id_): name for name, id_ in theirs.items()}} if own else {}
    facts, scores = scored(data, run, tmp_path, **model)
    expected = evaluate(Tree(data), "val", instances=official / "instances").scores
    assert scores == expected and facts["tasks"] == ["instance"]


def test_train_ids_become_label_ids_in_every_format(data, official, tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    for name, answer in guesses(data).items():
        changed = Prediction(
            instances=[one._replace(label_id=int(CITYSCAPES.train_ids[one.label_id])) for one in answer.instances],
            semantic=np.where(answer.semantic == 23, 255, CITYSCAPES.train_ids[answer.semantic]).astype(np.uint8),
            panoptic=answer.panoptic,
            segments=tuple(one._replace(label_id=int(CITYSCAPES.train_ids[one.label_id])) for one in answer.segments),
        )
        prediction_files.write(run, "val", name, changed, CITYSCAPES, exact=True)
    prediction_files.finish(run, "val", NAMES, CITYSCAPES)
    _, scores = scored(data, run, out, categories={str(x.train_id): x.name for x in CITYSCAPES.evaluated})
    expected = evaluate(Tree(data), "val", instances=official / "instances", panoptic=official / "panoptic").scores
    assert {name: scores[name] for name in ("AP", "AP50", "PQ", "SQ", "RQ")} == {
        name: expected[name] for name in ("AP", "AP50", "PQ", "SQ", "RQ")
    }
    written = png.read_labels(out / "predictions" / "semantic" / f"{NAMES[0]}_pred_labelIds.png")
    answer = guesses(data)[NAMES[0]].semantic
    assert np.array_equal(written, np.where(answer == 23, 0, answer))


def test_a_stopped_run_goes_on_and_ends_alike(data, official, tmp_path, monkeypatch):
    monkeypatch.setattr(predictions, "_GROUP", 1)

    class Enough(BaseException):
        pass

    def report(done, total, note=""):
        if done == 2:
            raise Enough

    spec = PredictionsSpec(segmenter=part(official), folder=str(official))
    with pytest.raises(Enough):
        predictions.run(spec, {"dataset": Tree(data)}, tmp_path / "a", report)
    predictions.run(spec, {"dataset": Tree(data)}, tmp_path / "a", silent)
    predictions.run(spec, {"dataset": Tree(data)}, tmp_path / "b", silent)
    content = [
        {p.relative_to(root): p.read_bytes() for p in root.rglob("*.*") if p.is_file()}
        for root in (tmp_path / "a", tmp_path / "b")
    ]
    assert content[0] == content[1] and len(content[0]) > 12


def copied(official, run):
    import shutil

    shutil.copytree(official, run)
    return run


def lacks_a_frame(run):
    (run / "instances" / f"{NAMES[2]}.txt").unlink()


def wrong_size(run):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(run / "semantic" / f"{NAMES[1]}_pred_labelIds.png")


def wrong_label(run):
    Image.fromarray(np.full(SIZE, 99, np.uint8)).save(run / "semantic" / f"{NAMES[1]}_pred_labelIds.png")


def truncated_mask(run):
    path = sorted((run / "instances" / "masks").iterdir())[3]
    path.write_bytes(path.read_bytes()[:40])


def unlisted_segment(run):
    path = run / "panoptic" / "cityscapes_panoptic_val" / f"{NAMES[1]}_panoptic.png"
    Image.fromarray(np.full((*SIZE, 3), 200, np.uint8)).save(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lacks_a_frame, rf"instances: no prediction {NAMES[2]}\*.txt"),
        (wrong_size, "semantic.* 4 x 4 pixels, but its ground truth .* has 96 x 48"),
        (wrong_label, "semantic.*: 99 is no label id of cityscapes"),
        (truncated_mask, "masks.*truncated or not a readable image"),
        (unlisted_segment, f"{NAMES[1]}_panoptic.png: segment .* of segments_info is not in the picture"),
    ],
)
def test_what_does_not_fit_is_told_by_the_name_of_their_file(spoil, message, data, official, tmp_path):
    run = copied(official, tmp_path / "run")
    spoil(run)
    with pytest.raises(HarnessError, match=message) as told:
        taken(data, run, tmp_path / "out")
    assert str(run) in told.value.message


def test_seeds_lie_in_folders_and_every_part_of_the_name_counts(official, tmp_path):
    for generator, seed in (("none", "seed_0"), ("none", "seed_2"), ("focus", "1"), ("focus", "seed-10")):
        copied(official, tmp_path / "runs" / generator / seed)
    (tmp_path / "runs" / "focus" / "notes").mkdir()
    theirs = part(tmp_path / "runs" / "{generator}")
    assert {seed: path.name for seed, path in theirs.runs("none", "own").items()} == {0: "seed_0", 2: "seed_2"}
    assert [*theirs.runs("focus", "own")] == [1, 10]
    assert theirs.on(["gligen", "focus", "none"], "own") == ["focus", "none"]
    assert part(official).runs("none", "own") == {0: official} and part(official).on(["a", "none"], "own") == ["none"]
    copied(official, tmp_path / "runs" / "none" / "2")
    with pytest.raises(HarnessError, match="of the same seed"):
        theirs.runs("none", "own")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"folder": "/nowhere"}, "/nowhere: no such folder"),
        ({"folder": "/nowhere/{seed}"}, "{seed} is neither"),
        ({"instances": "inst"}, "inst: no such folder or file"),
    ],
)
def test_a_part_that_leads_nowhere_is_refused_by_the_plan(model, message, official):
    with pytest.raises(HarnessError, match=message):
        part(**{"folder": str(official), **model}).runs("none", "own")


def test_an_empty_run_is_refused(tmp_path):
    with pytest.raises(HarnessError, match="no predictions in it"):
        part(tmp_path).runs("none", "own")


def test_a_strange_category_is_refused(data, official, tmp_path):
    with pytest.raises(HarnessError, match="expected an id and a label"):
        taken(data, official, tmp_path / "out", categories={"0": "persn"})


def test_the_key_follows_the_files_and_what_ids_mean_and_not_the_place(official, tmp_path):
    def key(run, **model):
        return fingerprint(run), PredictionsSpec(segmenter=part(run, **model), folder=str(run)).decisive()

    first = key(official)
    run = copied(official, tmp_path / "run")
    assert key(run) == first
    assert key(run, categories={"0": "person"})[1] != first[1]
    mask = sorted((run / "instances" / "masks").iterdir())[0]
    pixels = np.asarray(Image.open(mask)).copy()
    pixels[0, 0] ^= 255
    Image.fromarray(pixels).save(mask)
    assert key(run)[0] != first[0]


def test_predictions_that_change_between_plan_and_run_are_told(data, official, tmp_path):
    run = copied(official, tmp_path / "run")
    spec = PredictionsSpec(segmenter=part(run), folder=str(run), files=fingerprint(run))
    (run / "semantic" / f"{NAMES[0]}_pred_labelIds.png").touch()
    predictions.run(spec, {"dataset": Tree(data)}, tmp_path / "a", silent)
    wrong_label(run)
    with pytest.raises(HarnessError, match="changed since this run was planned"):
        predictions.run(spec, {"dataset": Tree(data)}, tmp_path / "b", silent)
