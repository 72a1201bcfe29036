"""The metrics for other trainers give the numbers of the evaluation, to the last bit, however batches and processes cut
the frames."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from sets import FRUIT

from harness import HarnessError, InstanceAP, MeanIoU, PanopticQuality
from harness.data import prediction_files
from harness.data.cityscapes import CITYSCAPES
from harness.data.prediction import Instance, Prediction, Segment
from harness.data.tree import Tree
from harness.metrics.evaluation import evaluate

SIZE = (60, 90)
FRAMES = 7


def truth(rng, labels):
    things = [label for label in labels.things]
    stuff = [label for label in labels.evaluated if not label.is_thing]
    ids = np.full(SIZE, stuff[0].id, np.int32)
    ids[:20] = stuff[1].id
    ids[50:] = labels.void
    for number in range(7):
        label = things[int(rng.integers(min(3, len(things))))]
        y, x = rng.integers(0, 40), 12 * number
        ids[y : y + 16, x : x + 11] = labels.divisor * label.id + number
    ids[2:9, 70:88] = things[0].id  # a group
    return ids


def guess(rng, ids, labels):
    instances, panorama, segments = [], np.zeros(SIZE, np.int32), []
    for value in np.unique(ids).tolist():
        label = labels.by_id[labels.label_of(value)]
        mask = np.roll(ids == value, int(rng.integers(0, 4)), axis=int(rng.integers(0, 2)))
        if label.ignored:
            continue
        free = mask & (panorama == 0)
        if free.any():
            segments.append(Segment(len(segments) + 1, label.id))
            panorama[free] = len(segments)
        if value >= labels.divisor and rng.random() < 0.85:
            kind = labels.things[int(rng.integers(3))] if rng.random() < 0.2 else label
            instances.append(Instance(mask, kind.id, float(rng.choice([0.5, rng.random()]))))
    semantic = np.roll(labels.label_of(ids), 3, axis=1).astype(np.uint8)
    return Prediction(instances=instances, semantic=semantic, panoptic=panorama, segments=tuple(segments))


@pytest.fixture(scope="module", params=[CITYSCAPES, FRUIT], ids=lambda one: one.name)
def world(request, tmp_path_factory):
    """Labels, truths, guesses, and the scores of the evaluation from files."""
    labels, root = request.param, tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(3)
    names = [f"aa_{number:06d}_000019" for number in range(FRAMES)]
    truths = [truth(rng, labels) for _ in names]
    guesses = [guess(rng, ids, labels) for ids in truths]
    tree = Tree.create(root / "data", labels)
    for name, ids, answer in zip(names, truths, guesses, strict=True):
        tree.write_frame("val", "aa", name, np.zeros((*SIZE, 3), np.uint8), ids)
        prediction_files.write(root / "found", "val", name, answer, labels, exact=True)
    prediction_files.finish(root / "found", "val", names, labels)
    folders = {kind: root / "found" / kind for kind in ("instances", "semantic", "panoptic")}
    return labels, truths, guesses, evaluate(Tree(root / "data"), "val", **folders).scores


def tensors(truths):
    return [torch.from_numpy(ids) for ids in truths]


def instances_of(guesses):
    return [
        {
            "masks": torch.from_numpy(np.array([one.mask for one in answer.instances]).reshape(-1, *SIZE)),
            "labels": torch.tensor([one.label_id for one in answer.instances], dtype=torch.int64),
            "scores": torch.tensor([one.score for one in answer.instances], dtype=torch.float64),
        }
        for answer in guesses
    ]


def segments_of(guesses):
    return [
        (torch.from_numpy(answer.panoptic), {one.id: one.label_id for one in answer.segments}) for answer in guesses
    ]


KINDS = {
    "instances": (InstanceAP, instances_of, ("AP", "AP50")),
    "panoptic": (PanopticQuality, segments_of, ("PQ", "SQ", "RQ", "PQ_things", "PQ_stuff")),
    "semantic": (
        MeanIoU,
        lambda guesses: [torch.from_numpy(answer.semantic) for answer in guesses],
        ("IoU", "IoU_category", "iIoU"),
    ),
}


def made(kind, world, **options):
    return KINDS[kind][0](world[0], **options)


def given(kind, world):
    return KINDS[kind][1](world[2]), tensors(world[1])


def equal(found, world, kind):
    scores = world[3]
    for name in KINDS[kind][2]:
        if scores.get(name) is None:
            assert name not in found or torch.isnan(found[name]), name
        else:
            assert found[name].dtype == torch.float64 and float(found[name]) == scores[name], name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [1, 3, FRAMES])
def test_batches_of_any_size_give_the_evaluations_numbers(kind, batch, world):
    metric, (preds, targets) = made(kind, world), given(kind, world)
    for first in range(0, FRAMES, batch):
        metric.update(preds[first : first + batch], targets[first : first + batch])
    equal(metric.compute(), world, kind)
    assert all(0 < float(metric.compute()[name]) < 1 for name in KINDS[kind][2][:1])


@pytest.mark.parametrize("kind", KINDS)
def test_classes_have_their_scores_too(kind, world):
    metric = made(kind, world, classwise=True)
    metric.update(*given(kind, world))
    found, name = metric.compute(), KINDS[kind][2][0]
    seen = 0
    for label, scores in world[3]["classes"].items():
        if scores.get(name) is not None:
            assert float(found[f"{name}/{label}"]) == scores[name]
            seen += 1
    assert seen >= 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_has_its_own_value_and_a_reset_forgets(kind, world):
    metric, (preds, targets) = made(kind, world), given(kind, world)
    alone = made(kind, world)
    alone.update(preds[:2], targets[:2])
    first, name = metric(preds[:2], targets[:2]), KINDS[kind][2][0]
    assert float(first[name]) == float(alone.compute()[name])
    metric(preds[2:], targets[2:])
    equal(metric.compute(), world, kind)
    metric.reset()
    metric.update(preds[:2], targets[:2])
    assert float(metric.compute()[name]) == float(alone.compute()[name])


@pytest.mark.parametrize("kind", KINDS)
def test_metrics_merge_and_travel(kind, world):
    preds, targets = given(kind, world)
    first, second = made(kind, world), made(kind, world)
    first.update(preds[:4], targets[:4])
    second.update(preds[4:], targets[4:])
    second.merge_state(pickle.loads(pickle.dumps(first)))  # what comes in stands first
    equal(second.compute(), world, kind)


def test_train_ids_count_as_the_label_ids_that_they_stand_for(world):
    labels, truths, guesses, scores = world
    metric = MeanIoU(labels, train_ids=True)
    for ids, answer in zip(truths, guesses, strict=True):
        maps = [labels.train_ids[one].astype(np.int64) for one in (answer.semantic, labels.label_of(ids))]
        metric.update(*(torch.from_numpy(one)[None] for one in maps))
    found = metric.compute()
    assert float(found["IoU"]) == scores["IoU"] and "iIoU" not in found


def _process(rank, folder, kind, labels, preds, targets):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29731"}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    metric = KINDS[kind][0](labels)
    half = slice(0, 3) if rank == 0 else slice(3, None)  # in the order of the files: sums are of the same order then
    metric.update(preds[half], targets[half])
    torch.save(metric.compute(), Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_that_share_the_frames_have_the_whole_score(kind, world, tmp_path):
    arguments = (str(tmp_path), kind, world[0], *given(kind, world))
    torch.multiprocessing.spawn(_process, arguments, nprocs=2)
    for rank in (0, 1):
        equal(torch.load(tmp_path / f"{rank}.pt"), world, kind)


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (lambda: InstanceAP().update([{"masks": torch.zeros(0, 4, 4)}], torch.zeros(1, 4, 4).int()), "lacks labels"),
        (lambda: MeanIoU().update(torch.zeros(2, 4, 4).int(), torch.zeros(1, 4, 4).int()), "2 predictions and 1 targ"),
        (lambda: MeanIoU().update(torch.zeros(1, 4, 4).int(), torch.zeros(1, 4, 5).int()), "the prediction is"),
        (lambda: MeanIoU().update(torch.zeros(1, 4, 4).int(), torch.zeros(1, 4, 4)), "expected whole numbers"),
        (lambda: MeanIoU(train_ids=True).update(-torch.ones(1, 4, 4).int(), torch.zeros(1, 4, 4).int()), "train ids"),
        (lambda: PanopticQuality().update([(torch.ones(4, 4).int(), {})], torch.zeros(1, 4, 4).int()), "not in segm"),
        (lambda: InstanceAP().compute(), "nothing was counted"),
    ],
)  # fmt: skip
def test_bad_input_is_one_message(update, message):
    with pytest.raises(HarnessError, match=message):
        update()
