"""Which instances are chosen, and where their squares lie."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.cityscapes import CITYSCAPES
from harness.synthesis.select import Box, cut, cut_mask, select, square_round, visible


def frame_with(*areas, size=(20, 40)):
    """Ids over road; (id, pixels) one per row."""
    ids = np.full(size, 7, np.int32)
    for row, (identity, pixels) in enumerate(areas):
        ids[row, :pixels] = identity
    return ids


def ids_of(instances):
    return [instance.id for instance in instances]


def test_largest_first_and_equal_ones_by_lower_id():
    ids = frame_with((26002, 9), (24001, 12), (26001, 9), (33000, 9), (24000, 3))
    assert ids_of(select(ids, CITYSCAPES, top_k=3, candidates="evaluated")) == [24001, 26001, 26002]
    assert ids_of(select(ids, CITYSCAPES, top_k=9, candidates="evaluated")) == [24001, 26001, 26002, 33000, 24000]


def test_groups_stuff_and_ignored_classes_are_no_candidates():
    ids = frame_with((26, 40), (24, 30), (29001, 25), (30000, 24), (32000, 5), (33999, 4))
    assert ids_of(select(ids, CITYSCAPES, top_k=3, candidates="evaluated")) == [32000, 33999]
    assert ids_of(select(ids, CITYSCAPES, top_k=3, candidates="instances")) == [29001, 30000, 32000]


def test_instance_knows_its_box_area_and_label():
    ids = np.zeros((10, 20), np.int32)
    ids[2:5, 3:9] = 33767
    ids[3, 4] = 24000
    (bicycle, person) = select(ids, CITYSCAPES, top_k=2, candidates="evaluated")
    assert (bicycle.box, bicycle.area, bicycle.label.name) == (Box(3, 2, 9, 5), 17, "bicycle")
    assert (person.box, person.area, person.label.name) == (Box(4, 3, 5, 4), 1, "person")


def test_frame_without_instances_gives_none():
    assert select(frame_with((26, 5)), CITYSCAPES, top_k=3, candidates="instances") == []


@st.composite
def boxes(draw, height=30, width=60):
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return Box(x0, y0, draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height)))


@settings(max_examples=200, deadline=None)
@given(boxes())
def test_squares_contain_their_box_and_keep_their_side(box):
    for border in ("shift", "pad"):
        square = square_round(box, (30, 60), border)
        assert square.width == square.height == max(box.width, box.height)
        assert square.contains(box) and square.x0 >= 0 and square.y0 >= 0
    shifted = square_round(box, (30, 60), "shift")
    assert shifted.x1 <= 60 and (shifted.y1 <= 30 or shifted.y0 == 0)


def test_centred_where_there_is_room():
    assert square_round(Box(10, 10, 14, 20), (50, 100), "shift") == Box(7, 10, 17, 20)
    assert square_round(Box(10, 10, 13, 20), (50, 100), "pad") == Box(7, 10, 17, 20)


def test_borders_shift_or_pad():
    low, high = Box(0, 0, 2, 10), Box(57, 20, 60, 30)
    assert square_round(low, (30, 60), "shift") == square_round(low, (30, 60), "pad") == Box(0, 0, 10, 10)
    assert square_round(high, (30, 60), "shift") == Box(50, 20, 60, 30)
    assert square_round(high, (30, 60), "pad") == Box(54, 20, 64, 30)


def test_crop_beyond_the_frame_is_black_or_mirrored():
    image = np.arange(1, 4 * 6 * 3 + 1, dtype=np.uint8).reshape(4, 6, 3)
    square = Box(4, 2, 8, 6)
    padded, mirrored = cut(image, square, "pad"), cut(image, square, "shift")
    for crop in (padded, mirrored):
        assert crop.shape == (4, 4, 3) and np.array_equal(crop[:2, :2], image[2:, 4:])
    assert not padded[2:].any() and not padded[:, 2:].any()
    assert np.array_equal(mirrored[:2, 2:], image[2:, :3:-1]) and np.array_equal(mirrored[2:], mirrored[1::-1])
    assert visible(square, (4, 6)) == Box(4, 2, 6, 4)


def test_crop_is_a_copy():
    image = np.zeros((4, 4, 3), np.uint8)
    cut(image, Box(0, 0, 4, 4), "shift")[:] = 9
    assert not image.any()


@pytest.mark.parametrize("instance", [32000, 25600, 33024, 26112])
def test_eight_bits_lose_multiples_of_256(instance):
    ids = frame_with((instance, 6), (26001, 4))
    square = Box(0, 0, 8, 8)
    assert not cut_mask(ids, instance, square, 8).any()
    assert cut_mask(ids, instance, square, 16).sum() == 6
    assert cut_mask(ids, 26001, square, 8).sum() == 4


def test_mask_holds_one_instance_and_nothing_beyond_the_frame():
    ids = frame_with((26001, 40), (26002, 40))
    mask = cut_mask(ids, 26002, Box(35, 0, 50, 15), 16)
    assert mask.shape == (15, 15) and mask[1, :5].all() and mask.sum() == 5
