"""Masks in forms of other tools: read as the benchmark does, and said when that loses them."""

import numpy as np
import pytest
from PIL import Image

from harness.data import png


def palette(colours: list[int]) -> Image.Image:
    image = Image.fromarray(np.repeat(np.array([[0, 1]], np.uint8), 8, axis=1), "P")
    image.putpalette(colours)
    return image


def alpha(inside: int) -> Image.Image:
    pixels = np.zeros((4, 8, 4), np.uint8)
    pixels[:, 4:, 3] = inside
    return Image.fromarray(pixels, "RGBA")


@pytest.mark.parametrize(
    ("image", "area", "said"),
    [
        (palette([0, 0, 0, 255, 255, 255]), 8, ""),
        (palette([0, 0, 0, 0, 0, 0]), 0, "indices into a black palette"),
        (alpha(255), 0, "an alpha channel alone"),
        (alpha(0), 0, ""),
        (Image.fromarray(np.zeros((4, 8), np.uint8)), 0, ""),
        (Image.fromarray(np.zeros((4, 8, 3), np.uint8)), 0, ""),
    ],
)
def test_a_mask_that_is_empty_only_as_it_is_read_is_said_once(image, area, said, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(png, "_SAID", set())
    for name in ("one.png", "two.png"):
        image.save(tmp_path / name)
        mask = png.read_mask(tmp_path / name)
        assert (mask > 0).sum() == area
        assert np.array_equal(mask, np.array(Image.open(tmp_path / name).convert("L")))  # the official script's reading
    assert [record.getMessage().count("one.png") for record in caplog.records] == [1] * bool(said)
    assert said in caplog.text
