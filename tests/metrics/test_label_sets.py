"""Metrics follow the label set they are made for: other ids, another divisor and fewer classes change no score.

Cityscapes' scores are those of the official scripts (test_official); frames carried over to another label set must get
the same. PQ, IoU and COCO's AP of a set of its own are computed again from their definitions.
"""

import math
import tempfile
from pathlib import Path

import numpy as np
import oracle
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sets import FRUIT

from harness.core.errors import HarnessError
from harness.data import png
from harness.data.base import Dataset, DatasetPart, Frame
from harness.data.cityscapes import CITYSCAPES
from harness.data.labels import Label, LabelSet
from harness.data.tree import Tree
from harness.metrics import frame_statistics, intervals, observing
from harness.metrics.evaluation import evaluate

KEPT = {24: 24, 26: 26, 28: 28, 29: 29, 7: 7, 23: 23, 0: 0, 1: 1}
"""Labels of the small sets: person, car, bus, caravan (ignored), road, sky, unlabeled, ego vehicle."""
STAND_INS = (
    {
        label.id: next(iter(KEPT)) if label.is_thing else 7 if not label.ignored else 0
        for label in CITYSCAPES.labels
        if label.id >= 0
    }
    | {25: 26, 27: 28, 31: 24, 32: 26, 33: 28, 30: 29, 11: 23, 21: 23}
    | KEPT
)


def renumbered(name: str, table: dict[int, int], divisor: int, *, turned: bool = False) -> LabelSet:
    """The labels of `table`, Cityscapes' id to another; train ids in the order of Cityscapes, or turned round."""
    kept = [label for label in CITYSCAPES.labels if label.id in table]
    order = sorted(label.train_id for label in kept if not label.ignored)
    train_ids = dict(zip(order, range(len(order))[:: -1 if turned else 1], strict=True))
    labels = [
        Label(**label.model_dump() | {"id": table[label.id], "train_id": train_ids.get(label.train_id, 255)})
        for label in kept
    ]
    border = tuple(table[id_] for id_ in CITYSCAPES.border if id_ in table)
    return LabelSet(name=name, labels=tuple(labels), divisor=divisor, void=table[0], border=border)


EVERY = {label.id: 2 * ((7 * place) % 34) + 1 for place, label in enumerate(CITYSCAPES.labels) if label.id >= 0}
BY_256 = {24: 200, 26: 9, 28: 31, 29: 250, 7: 1, 23: 255, 0: 0, 1: 77}
BY_10000 = {24: 3, 26: 1, 28: 5, 29: 4, 7: 200, 23: 2, 0: 90, 1: 0}
SETS = {
    "every": (EVERY, renumbered("every", EVERY, 700)),
    "by_256": (BY_256, renumbered("by_256", BY_256, 256, turned=True)),
    "by_10000": (BY_10000, renumbered("by_10000", BY_10000, 10_000)),
}


def carried(frame: oracle.Frame, table: dict[int, int], divisor: int) -> oracle.Frame:
    """The frame with the labels of `table`; instances of a class are numbered anew, in the order of their ids."""
    old, ids, count = frame.ids.astype(np.int64), np.zeros(frame.ids.shape, np.int64), dict.fromkeys(table.values(), 0)
    for id_ in np.unique(old).tolist():
        label = table[id_ if id_ < 1000 else id_ // 1000]
        ids[old == id_] = label if id_ < 1000 else label * divisor + count[label]
        count[label] += id_ >= 1000
    result = oracle.Frame(frame.name, ids)
    result.detections = [(table[label], score, mask) for label, score, mask in frame.detections]
    result.semantic = np.vectorize(table.get)(frame.semantic).astype(np.uint8)
    result.panoptic, result.labels = frame.panoptic, {id_: table[label] for id_, label in frame.labels.items()}
    return result


def scores(frames: list[oracle.Frame], labels: LabelSet, engine: str) -> dict:
    """All scores of the frames, written in the encoding of `labels`; equal draws of files for equal frames.

    Writing may list a mask twice, with another score: the frames hold it then.
    """
    with tempfile.TemporaryDirectory() as folder:
        root, predictions = Path(folder, "root"), Path(folder, "p")
        oracle.write(frames, root, predictions, np.random.default_rng(0), labels=labels)
        given = {name: predictions / name for name in ("instances", "semantic", "panoptic")}
        found = evaluate(Tree(root), "val", **given, coco=predictions / "instances", engine=engine).scores
    for values in found["classes"].values():
        values.pop("id", None)
    return found


def same(mine: dict, theirs: dict) -> None:
    """Equal but for the signature; what only the second has is undefined there."""
    for key in theirs.keys() - {"signature"}:
        if isinstance(theirs[key], dict):
            same(mine.get(key, {}), theirs[key])
        elif isinstance(theirs[key], float) and key in mine:
            assert mine[key] == pytest.approx(theirs[key], abs=1e-12), key
        else:
            assert mine.get(key) == (theirs[key] if key in mine else None) and (key in mine or not theirs[key]), key


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), name=st.sampled_from(sorted(SETS)), engine=st.sampled_from(["numpy", "compiled"]))
def test_frames_carried_over_to_another_label_set_get_the_same_scores(seed, name, engine):
    rng = np.random.default_rng(seed)
    table, labels = SETS[name]
    frames = [oracle.random_frame(f"city_000000_{i:06d}", rng) for i in range(3)]
    if name != "every":
        frames = [carried(frame, STAND_INS, 1000) for frame in frames]
    moved = [carried(frame, table, labels.divisor) for frame in frames]
    same(scores(moved, labels, engine), scores(frames, CITYSCAPES, engine))


TO_FRUIT = {24: 1, 26: 3, 28: 2, 29: 8, 7: 4, 23: 5, 0: 0, 1: 0}


def fruit_frames(seed: int, count: int = 3) -> list[oracle.Frame]:
    rng = np.random.default_rng(seed)
    frames = [oracle.random_frame(f"city_000000_{i:06d}", rng) for i in range(count)]
    return [carried(carried(frame, STAND_INS, 1000), TO_FRUIT, FRUIT.divisor) for frame in frames]


def iou_by_definition(frames: list[oracle.Frame], label: int) -> float:
    """Intersection over union of one class, pixel by pixel, where the truth is an evaluated class."""
    both = either = 0
    for frame in frames:
        for id_, answer in zip(frame.ids.ravel().tolist(), frame.semantic.ravel().tolist(), strict=True):
            truth = id_ // 256 if id_ >= 256 else id_
            if truth in (1, 2, 3, 4, 5):
                both += truth == answer == label
                either += label in (truth, answer)
    return both / either if either else math.nan


def pq_by_definition(frames: list[oracle.Frame], label: int) -> float:
    """Panoptic quality of one class, from masks of segments (Kirillov et al., equation 1)."""
    matched, right, wrong, missed = 0.0, 0, 0, 0
    for frame in frames:
        things = label <= 3
        void = ~np.isin(np.where(frame.ids < 256, frame.ids, frame.ids // 256), (1, 2, 3, 4, 5))
        crowd = (frame.ids == label) & things
        truths = [frame.ids == id_ for id_ in np.unique(frame.ids) if id_ // 256 == label or (id_ == label > 3)]
        answers = [frame.panoptic == id_ for id_, own in frame.labels.items() if own == label]
        found = set()
        for answer in answers:
            for place, truth in enumerate(truths):
                overlap = (answer & truth).sum() / ((answer | truth) & ~(void & ~truth)).sum()
                if overlap > 0.5:
                    found.add(place)
                    matched, right = matched + overlap, right + 1
                    break
            else:
                wrong += (answer & (void | crowd)).sum() / answer.sum() <= 0.5
        missed += len(truths) - len(found)
    return matched / (right + wrong / 2 + missed / 2) if right + wrong + missed else math.nan


@pytest.mark.parametrize("seed", range(4))
def test_iou_pq_and_coco_ap_of_a_set_of_its_own_are_what_their_definitions_say(seed):
    frames = fruit_frames(seed)
    found = scores(frames, FRUIT, "numpy")
    assert set(found["classes"]) == {"apple", "pear", "plum", "table top", "grass"}
    for label in FRUIT.evaluated:
        mine = found["classes"][label.name]
        for name, expected in (("IoU", iou_by_definition), ("PQ", pq_by_definition)):
            value = expected(frames, label.id)
            assert mine[name] == (pytest.approx(value) if not math.isnan(value) else None), (label.name, name)
    for name, value in oracle.coco_scores(frames, labels=FRUIT).items():
        at = found["classes"][name.split("/")[1]] if "/" in name else found
        assert at[name.split("/")[0]] == (pytest.approx(value) if value != -1 else None), name


class TurnedFrame(Frame):
    """Files that hold the ids upside down."""

    is_plain = False

    def read_ids(self) -> np.ndarray:
        return png.read_ids(self.instance_ids)[::-1]


class Turned(Dataset):
    """<root>/<name>.png, ids upside down."""

    labels = FRUIT

    def frames(self, split: str) -> list[Frame]:
        paths = sorted(self.root.glob("*.png"))
        return [TurnedFrame(name=p.stem, city="c", split=split, image=p, instance_ids=p) for p in paths]


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
@pytest.mark.parametrize("workers", [1, 2])
def test_files_in_a_form_of_their_own_are_read_by_their_frames(engine, workers, tmp_path, monkeypatch):
    monkeypatch.setattr(observing, "WORTH", 1e-9)
    monkeypatch.setattr(observing, "cores", lambda: 2)
    frames = fruit_frames(5, count=4)
    oracle.write(frames, tmp_path / "root", tmp_path / "p", np.random.default_rng(0), labels=FRUIT)
    for frame in frames:
        png.write(tmp_path / "turned" / f"{frame.name}.png", frame.ids[::-1])
    given = {name: tmp_path / "p" / name for name in ("instances", "semantic", "panoptic")}
    turned = Turned(tmp_path / "turned", DatasetPart(label="turned", adapter="turned"))
    found = evaluate(turned, "val", **given, engine=engine, workers=workers).scores
    assert found == evaluate(Tree(tmp_path / "root"), "val", **given).scores


def test_stored_statistics_know_their_labels(tmp_path):
    frames = fruit_frames(6, count=4)
    oracle.write(frames, tmp_path / "root", tmp_path / "p", np.random.default_rng(0), labels=FRUIT)
    given = {name: tmp_path / "p" / name for name in ("instances", "semantic", "panoptic")}
    evaluation = evaluate(Tree(tmp_path / "root"), "val", **given)
    evaluation.save(tmp_path / "out")
    stored = frame_statistics.load(tmp_path / "out")
    assert stored.labels == FRUIT
    for name in ("AP", "PQ", "IoU"):
        assert intervals.interval([stored], name, replicates=20).value == pytest.approx(evaluation.scores[name])


def test_an_id_of_no_label_of_the_set_is_an_error(tmp_path):
    (frame,) = fruit_frames(7, count=1)
    frame.ids[0, 0] = 26001  # of Cityscapes: label 101 here
    oracle.write([frame], tmp_path / "root", tmp_path / "p", np.random.default_rng(0), labels=FRUIT)
    with pytest.raises(HarnessError, match="26001"):
        evaluate(Tree(tmp_path / "root"), "val", semantic=tmp_path / "p" / "semantic")
