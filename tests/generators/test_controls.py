"""Controls keep their promises: identity changes nothing, recolour changes colour inside the mask alone."""

import colorsys

import numpy as np
import pytest

from harness.core.config import parse, read_toml
from harness.core.errors import HarnessError
from harness.core.paths import CONFIGS
from harness.generators.base import GeneratorPart, Prompt, checked

PROMPT = Prompt(text="a photo of a red car", phrase="car", label_id=26)


def part(name):
    path = CONFIGS / "generators" / f"{name}.toml"
    return parse(GeneratorPart, read_toml(path), path)


def crops(count=3):
    rng = np.random.default_rng(0)
    sides = [8 + 3 * i for i in range(count)]
    images = [rng.integers(0, 256, (s, s, 3), dtype=np.uint8) for s in sides]
    return images, [rng.random((s, s)) < 0.5 for s in sides]


def edit(generator, seeds=(1, 2, 3)):
    images, masks = crops(len(seeds))
    return generator.edit(images, masks, [PROMPT] * len(seeds), list(seeds))


@pytest.mark.parametrize(
    ("name", "placement", "window"),
    [
        ("focus", "in_place", "focused"),
        ("duplicate", "in_place", "frame"),
        ("copy_paste", "other_frame", "focused"),
        ("recolor", "in_place", "focused"),
    ],
)
def test_parts_say_where_results_go(name, placement, window):
    assert (part(name).placement, part(name).window) == (placement, window)
    part(name).build()


def test_identity_returns_copies():
    images, _ = crops()
    results = edit(part("focus").build())
    assert all(np.array_equal(a, b) for a, b in zip(images, results, strict=True))
    assert not any(np.shares_memory(a, b) for a, b in zip(images, results, strict=True))


def test_recolour_stays_in_the_mask_and_follows_the_seed():
    generator = part("recolor").build()
    images, masks = crops()
    before = [image.copy() for image in images]
    results = generator.edit(images, masks, [PROMPT] * 3, [1, 2, 3])
    for image, untouched, mask, result in zip(images, before, masks, results, strict=True):
        assert np.array_equal(image, untouched)
        assert np.array_equal(result[~mask], image[~mask]) and not np.array_equal(result[mask], image[mask])
    for i, seed in enumerate((1, 2, 3)):  # alone as in the batch
        alone = generator.edit([images[i]], [masks[i]], [PROMPT], [seed])[0]
        assert np.array_equal(alone, results[i])
    assert not np.array_equal(generator.edit([images[0]], [masks[0]], [PROMPT], [9])[0], results[0])


def test_recolour_turns_the_hue_of_every_pixel_by_the_same_step():
    options = {"hue": 0.5, "saturation": 0.0, "value": 0.0}
    generator = GeneratorPart(label="x", adapter="recolor", options=options).build()
    pixels = np.array([[[200, 40, 40], [40, 200, 90]], [[60, 80, 220], [120, 120, 120]]], np.uint8)
    result = generator.edit([pixels], [np.ones((2, 2), bool)], [PROMPT], [4])[0]
    steps = [
        (colorsys.rgb_to_hsv(*after)[0] - colorsys.rgb_to_hsv(*before)[0]) % 1
        for before, after in zip(pixels.reshape(-1, 3)[:3] / 255, result.reshape(-1, 3)[:3] / 255, strict=True)
    ]
    assert max(steps) - min(steps) < 0.02 and 0.02 < steps[0] < 0.98
    assert np.array_equal(result[1, 1], [120, 120, 120])


def test_empty_mask_and_no_shift_change_nothing():
    image = crops(1)[0][0]
    still = {"hue": 0.0, "saturation": 0.0, "value": 0.0}
    for options, mask in (({}, np.zeros((8, 8), bool)), (still, np.ones((8, 8), bool))):
        generator = GeneratorPart(label="x", adapter="recolor", options=options).build()
        assert np.abs(generator.edit([image], [mask], [PROMPT], [0])[0].astype(int) - image).max() <= 1


def test_unknown_adapters_and_options_are_named():
    with pytest.raises(HarnessError, match="unknown generator adapter 'recolour'") as error:
        GeneratorPart(label="x", adapter="recolour").build()
    assert "'recolor'" in error.value.hint
    with pytest.raises(HarnessError, match="part 'x', options: unknown key 'hui'"):
        GeneratorPart(label="x", adapter="recolor", options={"hui": 0.1}).build()
    with pytest.raises(HarnessError, match="hue"):
        GeneratorPart(label="x", adapter="recolor", options={"hue": 0.7}).build()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "returned 0 images for 1 crops"),
        ([np.zeros((4, 5, 3), np.uint8)], "'gen' returned a 4x5x3 array of uint8; expected a square"),
        ([np.zeros((4, 4, 3), np.float32)], "4x4x3 array of float32"),
        ([np.zeros((4, 4), np.uint8)], "4x4 array of uint8"),
        ([np.zeros((0, 0, 3), np.uint8)], "0x0x3"),
        ([None], "no array of NoneType"),
    ],
)
def test_what_breaks_the_contract_is_named(images, message):
    with pytest.raises(HarnessError, match=message):
        checked(images, 1, "gen")
