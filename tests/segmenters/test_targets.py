"""Targets: groups, void, ignored classes, crops without things."""

import numpy as np
import pytest

from harness.data.cityscapes import EVALUATED, THINGS
from harness.segmenters.targets import targets

ROAD, CAR_GROUP, CAR_1, CAR_2, PERSON, CARAVAN, TRAILER, VOID = 7, 26, 26001, 26002, 24000, 29000, 30004, 0
IDS = np.array([[ROAD, ROAD, CAR_GROUP, CAR_1], [CAR_2, PERSON, CARAVAN, TRAILER], [VOID, 4, 23, CAR_1]])


def named(task):
    found = targets(IDS, task)
    return {
        (EVALUATED[k].name, tuple(map(tuple, np.argwhere(m)))) for k, m in zip(found.classes, found.masks, strict=True)
    }


def test_an_instance_target_is_a_numbered_thing_and_nothing_else():
    assert named("instance") == {("car", ((0, 3), (2, 3))), ("car", ((1, 0),)), ("person", ((1, 1),))}


def test_a_group_counts_for_the_semantic_task_alone():
    semantic, panoptic = named("semantic"), named("panoptic")
    assert ("car", ((0, 2), (0, 3), (1, 0), (2, 3))) in semantic
    assert panoptic == named("instance") | {("road", ((0, 0), (0, 1))), ("sky", ((2, 2),))}
    assert {name for name, _ in semantic} == {"road", "sky", "car", "person"}


@pytest.mark.parametrize("task", ["instance", "semantic", "panoptic"])
def test_an_image_of_void_has_no_target(task):
    found = targets(np.zeros((4, 5), dtype=np.int32), task)
    assert found.classes.shape == (0,)
    assert found.masks.shape == (0, 4, 5)


def test_classes_are_ascending_indices_into_the_class_list():
    found = targets(IDS, "instance", THINGS)
    assert [THINGS[k].name for k in found.classes] == ["person", "car", "car"]
    assert list(found.classes) == sorted(found.classes)
