"""The colour test sees what a person sees, and the shipped judge knows a car from a bicycle."""

import numpy as np
import pytest

from harness.data.streets.palette import COLOURS as PAINTS
from harness.tiny_training.judge import Verdicts, colour_found, colour_shares

MASK = np.ones((20, 20), bool)


def painted(rgb, light):
    return np.full((20, 20, 3), np.clip(np.array(rgb) * light, 0, 255)).astype(np.uint8)


@pytest.mark.parametrize("light", [0.75, 1.0])
@pytest.mark.parametrize("name", ["red", "green", "blue", "black", "yellow"])
def test_a_paint_is_called_by_its_name_in_sun_and_shade(name, light):
    assert colour_shares(painted(PAINTS[name], light), MASK)[name] == 1.0


def test_white_is_white_and_no_other():
    shares = colour_shares(painted(PAINTS["white"], 0.8), MASK)
    assert shares["white"] == 1.0
    assert sum(shares.values()) == 1.0


@pytest.mark.parametrize(("share", "expected"), [(0.15, False), (0.3, True)])
def test_a_fifth_of_the_pixels_is_enough(share, expected):
    image = painted(PAINTS["grey"], 1.0)
    image.reshape(-1, 3)[: int(share * 400)] = PAINTS["red"]
    assert colour_found(image, MASK, "red") == expected


def test_glass_and_tyres_make_nothing_black():
    image = painted(PAINTS["red"], 1.0)
    image[:6] = (22, 22, 24)
    assert not colour_found(image, MASK, "black")
    assert colour_found(image, MASK, "red")


def test_only_the_pixels_of_the_mask_count():
    image = painted(PAINTS["green"], 1.0)
    image[:, 10:] = PAINTS["red"]
    half = MASK.copy()
    half[:, 10:] = False
    assert colour_shares(image, half)["green"] == 1.0
    assert not colour_found(image, half, "red")


def test_an_empty_mask_shows_no_colour():
    assert not colour_found(painted(PAINTS["red"], 1.0), ~MASK, "red")


def test_shares_are_over_the_crops_they_speak_of():
    verdicts = Verdicts(
        classes=np.array([True, True, False, True]),
        details=np.array([True, False, True, False]),
        colours=np.array([True, False, True, False]),
        coloured=np.array([True, True, True, False]),
    )
    assert verdicts.shares() == {
        "class": 0.75,
        "colour": pytest.approx(2 / 3, abs=1e-4),
        "colour (classifier)": pytest.approx(2 / 3, abs=1e-4),
        "class and colour": pytest.approx(1 / 3, abs=1e-4),
        "figure": 0.0,
    }
