"""Training crops."""

import numpy as np
import pytest
from PIL import Image

from harness.data.augment import jitter_colours, random_crop, window


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (60, 120, 3), dtype=np.uint8)
    return image, rng.choice([0, 7, 26001, 33012, 60000], (60, 120)).astype(np.int32)


@pytest.mark.parametrize("scaled", [(60, 120), (45, 90), (97, 194)])
def test_cutting_before_resizing_gives_the_pixels_of_resizing_before_cutting(frame, scaled):
    image, ids = frame
    crop = window(image, ids, scaled=scaled, corner=(7, 11), size=(32, 64), void=0)
    whole = np.asarray(Image.fromarray(image).resize(scaled[::-1], Image.Resampling.BILINEAR))
    whole_ids = window(image, ids, scaled=scaled, corner=(0, 0), size=scaled, void=0).ids
    assert np.abs(crop.image.astype(int) - whole[7:39, 11:75]).max() <= 2, "two 8-bit roundings"
    assert (crop.ids == whole_ids[7:39, 11:75]).all()


def test_doubled_ids_are_every_id_twice(frame):
    doubled = window(*frame, scaled=(120, 240), corner=(0, 0), size=(120, 240), void=0).ids
    assert (doubled == frame[1].repeat(2, axis=0).repeat(2, axis=1)).all()


def test_no_id_is_invented_and_the_rest_is_void(frame):
    image, ids = frame
    crop = random_crop(image, ids, size=(64, 160), short_sides=[48], flip=0.0, colour=True, void=0, seed=3)
    assert crop.image.shape == (64, 160, 3)
    assert crop.image.dtype == np.uint8
    assert set(np.unique(crop.ids)) <= set(np.unique(ids))
    assert not crop.ids[48:].any()
    assert not crop.ids[:, 96:].any()


def test_a_crop_depends_on_its_seed_alone(frame):
    options = {"size": (32, 64), "short_sides": [40, 60, 80], "flip": 0.5, "colour": True}
    first, again, other = (random_crop(*frame, **options, void=0, seed=seed) for seed in (1, 1, 2))
    assert (first.image == again.image).all()
    assert (first.ids == again.ids).all()
    assert (first.image != other.image).any()


def test_image_and_ids_are_flipped_together():
    ids = np.tile(np.arange(64, dtype=np.int32) + 1, (32, 1))
    image = np.repeat((ids * 3).astype(np.uint8)[..., None], 3, axis=-1)
    for seed in range(6):
        crop = random_crop(image, ids, size=(32, 64), short_sides=[32], flip=0.5, colour=False, void=0, seed=seed)
        assert (crop.image[..., 0] == crop.ids * 3).all()


def test_colour_jitter_keeps_shape_and_changes_colours(frame):
    changed = [(jitter_colours(frame[0], np.random.default_rng(seed)) != frame[0]).any() for seed in range(12)]
    assert sum(changed) >= 8
