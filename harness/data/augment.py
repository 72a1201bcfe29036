"""The training draws crops: scale jitter, random crop, flip and colour jitter, as Mask2Former's and OneFormer's
Cityscapes recipes do.

A crop depends on its frame, the options and one seed. Only the window that is kept is resized (the same pixels as
resizing the whole frame and cutting afterwards, at a fraction of the cost). Ids are read with NEAREST, so no id is ever
invented.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image


class Crop(NamedTuple):
    """A piece of a frame: image uint8 [h, w, 3] and ids int32 [h, w]; ids void where it reaches over the frame."""

    image: np.ndarray
    ids: np.ndarray


def random_crop(
    image: np.ndarray,
    ids: np.ndarray,
    *,
    size: tuple[int, int],
    short_sides: Sequence[int],
    flip: float,
    colour: bool,
    void: int,
    seed: int,
) -> Crop:
    """Return a crop of `size` (h, w) from a frame (uint8 [H, W, 3], int [H, W]) resized to one of `short_sides`."""
    rng = np.random.default_rng(seed)
    height, width = ids.shape
    scale = short_sides[int(rng.integers(len(short_sides)))] / min(height, width)
    scaled = (max(1, round(height * scale)), max(1, round(width * scale)))
    corner = [int(rng.integers(max(whole - part, 0) + 1)) for whole, part in zip(scaled, size, strict=True)]
    crop = window(image, ids, scaled=scaled, corner=(corner[0], corner[1]), size=size, void=void)
    if rng.random() < flip:
        crop = Crop(np.ascontiguousarray(crop.image[:, ::-1]), np.ascontiguousarray(crop.ids[:, ::-1]))
    return Crop(jitter_colours(crop.image, rng), crop.ids) if colour else crop


def window(
    image: np.ndarray,
    ids: np.ndarray,
    *,
    scaled: tuple[int, int],
    corner: tuple[int, int],
    size: tuple[int, int],
    void: int,
) -> Crop:
    """Return the window at `corner` (y, x) of the frame resized to `scaled`; what lies outside is grey (128) and has
    the id `void`.
    """
    height, width = ids.shape
    shown = tuple(min(part, whole - start) for part, whole, start in zip(size, scaled, corner, strict=True))
    (top, left), (sy, sx) = corner, (height / scaled[0], width / scaled[1])
    box = (left * sx, top * sy, min((left + shown[1]) * sx, width), min((top + shown[0]) * sy, height))
    # NEAREST in whole numbers: a pixel centre that falls on a border goes the same way wherever the window begins.
    rows = (2 * np.arange(top, top + shown[0]) + 1) * height // (2 * scaled[0])
    columns = (2 * np.arange(left, left + shown[1]) + 1) * width // (2 * scaled[1])
    pieces = (
        np.asarray(Image.fromarray(image).resize((shown[1], shown[0]), Image.Resampling.BILINEAR, box=box)),
        ids[np.ix_(rows, columns)].astype(np.int32),
    )
    if shown == size:
        return Crop(*pieces)
    crop = Crop(np.full((*size, 3), 128, dtype=np.uint8), np.full(size, void, dtype=np.int32))
    for whole, piece in zip(crop, pieces, strict=True):
        whole[: shown[0], : shown[1]] = piece
    return crop


def jitter_colours(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Photometric distortion of SSD (Liu et al., ECCV 2016): brightness, contrast, saturation, hue, each with p = 1/2.

    Brightness +-32, contrast and saturation x 0.5..1.5, hue +-18 of 180; contrast first or last. uint8 [H, W, 3] in and
    out.
    """
    contrast_first, *use = rng.random(5) < 0.5
    brightness, contrast, saturation, hue = (
        rng.uniform(-32, 32),
        rng.uniform(0.5, 1.5),
        rng.uniform(0.5, 1.5),
        rng.uniform(-18, 18),
    )
    values = np.arange(256, dtype=np.float32)
    curve = values
    if use[0]:
        curve = np.clip(curve + brightness, 0, 255)
    if use[1] and contrast_first:
        curve = np.clip(curve * contrast, 0, 255)
    image = curve.astype(np.uint8)[image]
    if use[2] or use[3]:
        image = _jitter_hsv(image, saturation if use[2] else 1.0, hue if use[3] else 0.0)
    if use[1] and not contrast_first:
        image = np.clip(values * contrast, 0, 255).astype(np.uint8)[image]
    return image


def _jitter_hsv(image: np.ndarray, saturation: float, hue: float) -> np.ndarray:
    hsv = np.array(Image.fromarray(image).convert("HSV"))
    values = np.arange(256, dtype=np.float32)
    hsv[..., 0] = ((values + hue * 256 / 180) % 256).astype(np.uint8)[hsv[..., 0]]
    hsv[..., 1] = np.clip(values * saturation, 0, 255).astype(np.uint8)[hsv[..., 1]]
    return np.asarray(Image.fromarray(hsv, mode="HSV").convert("RGB"))
