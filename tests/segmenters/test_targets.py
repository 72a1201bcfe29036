"""Targets: groups, void, ignored classes, crops without things."""

import numpy as np
import pytest
from sets import FRUIT

from harness.data.cityscapes import CITYSCAPES
from harness.segmenters.targets import targets

ROAD, CAR_GROUP, CAR_1, CAR_2, PERSON, CARAVAN, TRAILER, VOID = 7, 26, 26001, 26002, 24000, 29000, 30004, 0
IDS = np.array([[ROAD, ROAD, CAR_GROUP, CAR_1], [CAR_2, PERSON, CARAVAN, TRAILER], [VOID, 4, 23, CAR_1]])


def named(task):
    found = targets(IDS, task, CITYSCAPES, CITYSCAPES.evaluated)
    pairs = zip(found.classes, found.masks, strict=True)
    return {(CITYSCAPES.evaluated[k].name, tuple(map(tuple, np.argwhere(mask)))) for k, mask in pairs}


def test_an_instance_target_is_a_numbered_thing_and_nothing_else():
    assert named("instance") == {("car", ((0, 3), (2, 3))), ("car", ((1, 0),)), ("person", ((1, 1),))}


def test_a_group_counts_for_the_semantic_task_alone():
    semantic, panoptic = named("semantic"), named("panoptic")
    assert ("car", ((0, 2), (0, 3), (1, 0), (2, 3))) in semantic
    assert panoptic == named("instance") | {("road", ((0, 0), (0, 1))), ("sky", ((2, 2),))}
    assert {name for name, _ in semantic} == {"road", "sky", "car", "person"}


@pytest.mark.parametrize("task", ["instance", "semantic", "panoptic"])
def test_an_image_of_void_has_no_target(task):
    found = targets(np.zeros((4, 5), dtype=np.int32), task, CITYSCAPES, CITYSCAPES.evaluated)
    assert found.classes.shape == (0,)
    assert found.masks.shape == (0, 4, 5)


def test_classes_are_ascending_indices_into_the_class_list():
    found = targets(IDS, "instance", CITYSCAPES, CITYSCAPES.things)
    assert [CITYSCAPES.things[k].name for k in found.classes] == ["person", "car", "car"]
    assert list(found.classes) == sorted(found.classes)


@pytest.mark.parametrize("task", ["instance", "semantic", "panoptic"])
def test_another_label_set_has_its_own_encoding(task):
    """Against a loop over pixels; ids of FRUIT are label * 256 + number."""
    rng = np.random.default_rng(3)
    ids = rng.choice([0, 1, 2, 4, 5, 8, 256, 257, 512, 768, 1023, 2048], (6, 9)).astype(np.int32)
    of_label, expected = [[x if x < 256 else x // 256 for x in row] for row in ids.tolist()], set()
    for number in np.unique(ids).tolist():
        label = FRUIT.by_id[number if number < 256 else number // 256]
        whole = task == "semantic" or (task == "panoptic" and not label.is_thing)
        if not label.ignored and (whole or number >= 256):
            mask = np.array(of_label) == label.id if whole else ids == number
            expected.add((label.train_id, mask.tobytes()))
    found = targets(ids, task, FRUIT, FRUIT.evaluated)
    assert {(k, mask.tobytes()) for k, mask in zip(found.classes.tolist(), found.masks, strict=True)} == expected
    assert len(found.classes) == len(expected) > 2
