"""Crops and captions that the tiny checkpoints learn from."""

import numpy as np
import pytest

from harness.tiny_training import pool_crops
from harness.tiny_training.pool_crops import box_of, detail, draw_pool, phrase


@pytest.mark.parametrize(
    ("prompt", "expected", "word"),
    [
        ("a photo of a red car", "red car", "red"),
        ("a photo of an orange bus", "orange bus", "orange"),
        ("a photo of a woman", "woman", "woman"),
        ("a photo of a female rider", "female rider", "female"),
    ],
)
def test_a_prompt_is_taken_apart(prompt, expected, word):
    assert phrase(prompt) == expected
    assert detail(prompt) == word


def test_a_box_is_half_open_and_an_empty_mask_is_the_whole():
    mask = np.zeros((64, 64), bool)
    mask[20:40, 10:50] = True
    assert box_of(mask) == (10, 20, 50, 40)
    assert box_of(np.zeros((8, 8), bool)) == (0, 0, 8, 8)


class _Crop:
    def __init__(self, number):
        self.image = np.full((64, 64, 3), number % 256, np.uint8)
        self.mask = np.zeros((64, 64), bool)
        self.label_id, self.prompt = 26, "a photo of a red car"


def test_a_killed_drawing_draws_only_what_is_missing(tmp_path, monkeypatch):
    drawn = []

    def crops(seed, count, *, side, start):
        drawn.append(start)
        return (_Crop(start + number) for number in range(count))

    monkeypatch.setattr("harness.data.streets.pool_crops", crops)
    monkeypatch.setattr(pool_crops, "_CHUNK", 4)
    first = draw_pool(tmp_path, seed=0, count=10)
    assert drawn == [0, 4, 8]
    (tmp_path / "pool-0-4.npz").unlink()
    second = draw_pool(tmp_path, seed=0, count=10)
    assert drawn == [0, 4, 8, 4]
    assert np.array_equal(first.images, second.images)
    assert first.images[:, 0, 0, 0].tolist() == list(range(10))
    assert len(first) == 10
