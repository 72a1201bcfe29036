"""Paste, colour, windows and focus against closed forms and properties."""

import math
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.data.cityscapes import CITYSCAPES
from harness.synthesis.integrate import (
    as_polygons,
    draw_window,
    focus,
    match_colour,
    paste,
    resize,
    resize_ids,
    whole,
)
from harness.synthesis.select import Box


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def window(box, size=(256, 512), *, mean=3.0, std=1.0, rounding="none", seed=0):
    return draw_window(box, size, mean=mean, std=std, rounding=rounding, generator=np.random.default_rng(seed))


@st.composite
def boxes_in_frames(draw):
    height = draw(st.integers(4, 300))
    width = 2 * height if draw(st.booleans()) else draw(st.integers(4, 300))
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return Box(x0, y0, draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))), (height, width)


@settings(max_examples=300, deadline=None)
@given(boxes_in_frames(), st.sampled_from(["none", "up"]), st.integers(0, 10))
def test_a_window_contains_its_box_lies_in_the_frame_and_has_its_aspect(drawn, rounding, seed):
    box, (height, width) = drawn
    found = window(box, (height, width), rounding=rounding, seed=seed)
    assert found.box.contains(box) and whole((height, width)).box.contains(found.box)
    assert found.zoom >= 1 and (rounding == "none" or found.zoom == int(found.zoom))
    assert abs(found.box.width - found.box.height * width / height) <= 0.5 * max(1, width / height) + 0.5
    least = max(box.height, box.width * height / width)
    assert abs(found.box.height - least * math.sqrt(found.zoom)) <= 1


def test_windows_of_2_to_1_frames_are_2_to_1():
    sizes = {window(Box(100, 100, 131, 140), seed=s).box for s in range(50)}
    assert all(box.width == 2 * box.height for box in sizes) and len(sizes) == 50


def test_an_object_of_the_frames_size_gets_the_frame():
    assert window(Box(0, 0, 512, 256)).box == whole((256, 512)).box
    assert window(Box(3, 200, 509, 220), rounding="up").zoom == 1


@pytest.mark.parametrize("rounding", ["none", "up"])
def test_lambda_has_the_mean_of_its_rule(rounding):
    normal = NormalDist(3, 1)
    if rounding == "none":  # E max(1, X), about 3.01
        expected = 3 + NormalDist().pdf(2) - 2 * NormalDist().cdf(-2)
    else:  # E max(1, ceil X), about 3.5
        expected = normal.cdf(1) + sum(k * (normal.cdf(k) - normal.cdf(k - 1)) for k in range(2, 12))
    generator = np.random.default_rng(0)
    box = Box(1000, 500, 1010, 510)
    zooms = [
        draw_window(box, (1024, 2048), mean=3, std=1, rounding=rounding, generator=generator).zoom for _ in range(20000)
    ]
    assert abs(np.mean(zooms) - expected) < 4 * np.std(zooms) / math.sqrt(len(zooms))
    assert abs(expected - (3.5 if rounding == "up" else 3.0)) < 0.03


def test_lambda_is_drawn_again_until_the_window_fits():
    # Half the frame's height: lambda may be 4 at most; the draws below it keep their distribution.
    zooms = np.array([window(Box(200, 100, 210, 228), seed=s).zoom for s in range(4000)])
    assert zooms.max() <= 4
    normal = NormalDist(3, 1)
    assert abs(np.mean(zooms < 3) - 0.5 / normal.cdf(4)) < 0.04


def test_places_are_uniform():
    # zoom 1: an 8 x 16 window; the 4 x 8 box allows 9 columns and 5 rows.
    places = [window(Box(40, 40, 48, 44), (100, 200), mean=4, std=0, seed=s).box for s in range(9000)]
    x, y = np.array([b.x0 for b in places]), np.array([b.y0 for b in places])
    assert (x.min(), x.max(), y.min(), y.max()) == (32, 40, 36, 40)
    table = np.histogram2d(x, y, bins=[np.arange(32, 42), np.arange(36, 42)])[0]
    chi_square = ((table - 200) ** 2 / 200).sum()
    assert chi_square < 44 + 4 * math.sqrt(2 * 44)
    cornered = [window(Box(0, 96, 8, 100), (100, 200), mean=4, std=0, seed=s).box for s in range(20)]
    assert {(b.x0, b.y1) for b in cornered} == {(0, 100)}


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 64), st.integers(1, 128))
def test_ids_are_resized_as_pillow_does_nearest(h, w):
    ids = np.random.default_rng(h * 129 + w).integers(0, 33999, (h, w)).astype(np.int32)
    pillow = np.asarray(Image.fromarray(ids).resize((128, 64), Image.Resampling.NEAREST))
    assert np.array_equal(resize_ids(ids, (64, 128)), pillow)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 60))
def test_the_nearest_pixel_is_the_one_under_the_centre(n, wanted):
    centres = [int(Fraction(2 * i + 1, 2) * n / wanted) for i in range(wanted)]
    assert resize_ids(np.arange(n)[None], (1, wanted)).tolist() == [centres]


def test_filters_do_what_they_are_called():
    image = noise(8, 8, 3)
    assert resize(image, (8, 8), "lanczos") is image
    blocks = image.reshape(4, 2, 4, 2, 3).astype(float).mean(axis=(1, 3))
    assert np.abs(resize(image, (4, 4), "area") - blocks).max() <= 1
    assert np.array_equal(resize(image, (16, 16), "nearest"), image.repeat(2, 0).repeat(2, 1))
    for how in ("area", "bilinear", "bicubic", "lanczos"):
        assert resize(np.full((5, 5, 3), 77, np.uint8), (9, 9), how).mean() == 77
    assert not np.array_equal(resize(image, (16, 16), "lanczos"), resize(image, (16, 16), "bilinear"))


def test_focus_crops_image_and_ids_alike():
    image, ids = noise(16, 32, 3), np.arange(16 * 32).reshape(16, 32)
    focused, labels = focus(image, ids, Box(8, 4, 16, 8), "nearest")
    assert focused.shape == (16, 32, 3) and labels.shape == (16, 32)
    assert np.array_equal(labels, ids[4:8, 8:16].repeat(4, 0).repeat(4, 1))
    assert np.array_equal(focused, image[4:8, 8:16].repeat(4, 0).repeat(4, 1))
    same, unchanged = focus(image, ids, whole((16, 32)).box, "lanczos")
    assert np.array_equal(same, image) and np.array_equal(unchanged, ids)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 25), st.integers(0, 25), st.integers(1, 40), st.integers(0, 1000))
def test_paste_changes_masked_pixels_and_no_other(x, y, side, seed):
    frame, square = noise(30, 30, 3, seed=seed), Box(x, y, x + side, y + side)
    crop, mask = noise(side, side, 3, seed=seed + 1), noise(side, side, seed=seed + 2) > 128
    before = frame.copy()
    result = paste(frame, square, crop, mask)
    inside = np.zeros((70, 70), bool)
    inside[square.slices] = mask
    inside = inside[:30, :30]
    assert np.array_equal(frame, before)
    assert np.array_equal(result[~inside], frame[~inside])
    assert np.array_equal(result[inside], crop[: 30 - y, : 30 - x][mask[: 30 - y, : 30 - x]])


def test_one_id_can_be_pasted():
    mask = np.eye(4, dtype=bool)
    pasted = paste(np.zeros((6, 6), np.int32), Box(2, 2, 6, 6), 26005, mask)
    assert pasted.sum() == 4 * 26005 and pasted[2, 2] == 26005


def test_darkening_is_the_released_formula():
    real, generated = noise(6, 6, 3), noise(6, 6, 3, seed=1)
    mask = noise(6, 6, seed=2) > 128
    total = count = 0
    for r, g, m in zip(real.reshape(-1, 3).tolist(), generated.reshape(-1, 3).tolist(), mask.ravel(), strict=True):
        if not m:
            total += sum(abs(a - b) for a, b in zip(r, g, strict=True))
            count += 3
    m = math.ceil(total / count)
    result = match_colour(generated, real, mask, "darken")
    assert result.dtype == np.uint8 and result.tolist() == [
        [[abs(v - m) for v in pixel] for pixel in row] for row in generated.tolist()
    ]
    assert np.array_equal(match_colour(real, real, mask, "darken"), real)


def test_match_moves_each_channel_to_the_real_mean_outside():
    real, mask = noise(20, 20, 3) // 2 + 60, noise(20, 20, seed=2) > 128
    generated = real + np.array([20, 0, 7], np.uint8)
    assert np.array_equal(match_colour(generated, real, mask, "match"), real)
    bright = match_colour(np.full_like(real, 250), np.full_like(real, 255), mask, "match")
    assert (bright == 255).all()


def test_colour_steps_leave_a_crop_that_is_all_mask():
    full = np.ones((4, 4), bool)
    for how in ("none", "darken", "match"):
        assert np.array_equal(match_colour(noise(4, 4, 3), noise(4, 4, 3, seed=1), full, how), noise(4, 4, 3))


def test_polygons_fill_holes_join_parts_and_swallow():
    ids = np.full((40, 80), 7, np.int32)
    ids[4:20, 4:30] = 26001
    ids[8:12, 10:14] = 7  # a hole
    ids[12:16, 20:24] = 24001  # a person in front of the car
    ids[30:34, 4:8] = 33001  # a bicycle in two parts
    ids[30:34, 20:24] = 33001
    ids[30:36, 60:70] = 26  # a group
    drawn = as_polygons(ids, CITYSCAPES)
    assert (drawn[4:20, 4:30] == 26001).all() and not (drawn == 24001).any()
    assert (drawn == 33001).sum() > (ids == 33001).sum() and (drawn[30:34, 8:20] == 33001).any(axis=0).all()
    assert np.array_equal(drawn == 26, ids == 26)
    apart = np.full((20, 20), 11, np.int32)
    apart[2:6, 2:6], apart[10:15, 10:15] = 24000, 33767
    assert np.array_equal(as_polygons(apart, CITYSCAPES), apart)
