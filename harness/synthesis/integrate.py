"""Phase 3 puts the generated square back into the frame; a window round it becomes a training image.

Outside the instance's hard mask no pixel changes. Boxes are half-open, in absolute pixels. Not here: any file.
"""

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from harness.data.labels import LabelSet
from harness.synthesis.recipe import Filter
from harness.synthesis.select import Box, visible

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class FocusWindow(NamedTuple):
    """This holds what becomes a training image: its box in the frame and the zoom lambda of its draw (0: the whole
    frame)."""

    box: Box
    zoom: float


def resize(image: np.ndarray, size: tuple[int, int], how: Filter) -> np.ndarray:
    """uint8 [h, w, 3] as [H, W, 3], `size` = (H, W); all filters but `nearest` are antialiased when they shrink.

    `area` averages when it shrinks and interpolates linearly when it enlarges. An image of that size stays as it is.
    """
    if image.shape[:2] == size:
        return image
    shrinks = image.shape[0] * image.shape[1] > size[0] * size[1]
    area = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(image).resize(size[::-1], _FILTERS.get(how, area)))


def resize_ids(ids: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return an id map [h, w] as [H, W] by the nearest pixel: output pixel i takes input pixel floor((i + 1/2) h /
    H)."""
    rows, columns = ((np.arange(n) * 2 + 1) * m // (2 * n) for n, m in zip(size, ids.shape, strict=True))
    return ids.take(columns, axis=1).take(rows, axis=0)


def match_colour(
    generated: np.ndarray, real: np.ndarray, mask: np.ndarray, how: Literal["none", "darken", "match"]
) -> np.ndarray:
    """Return the generated crop (uint8 [S, S, 3], as `real`) after the colour step of the recipe; `mask`: bool [S, S].

    `darken` is the released scripts': m = ceil(mean |generated - real| outside the mask), result |generated - m|.
    `match`: each channel + (mean of real - mean of generated outside the mask), clipped. A crop that is all mask stays.
    """
    outside = ~mask
    if how == "none" or not outside.any():
        return generated
    difference = generated[outside].astype(np.int16) - real[outside]
    if how == "darken":
        return np.abs(generated.astype(np.int16) - math.ceil(np.abs(difference).mean())).astype(np.uint8)
    return np.clip(np.rint(generated - difference.mean(axis=0)), 0, 255).astype(np.uint8)


def paste(frame: np.ndarray, square: Box, crop: np.ndarray | int, mask: np.ndarray) -> np.ndarray:
    """Return a copy of an image [H, W, 3] or id map [H, W] with `crop` (or one id) in the masked pixels of the
    square."""
    result = frame.copy()
    part = visible(square, frame.shape[:2])
    inside = mask[: part.height, : part.width]
    result[part.slices][inside] = crop if isinstance(crop, int) else crop[: part.height, : part.width][inside]
    return result


def draw_window(
    box: Box,
    size: tuple[int, int],
    *,
    mean: float,
    std: float,
    rounding: Literal["none", "up"],
    sides: Literal["nearest", "up"] = "nearest",
    generator: np.random.Generator,
) -> FocusWindow:
    """Return a focused window round `box` in a frame of `size` (height, width), of the frame's aspect (2:1 in
    Cityscapes).

    S = area of the smallest box of that aspect round `box`; lambda = max(1, N(mean, std)), rounded up where the recipe
    says so, drawn again until lambda S fits the frame; h = sqrt(lambda S / aspect), w = aspect h; the place is uniform
    among those that contain `box` and lie in the frame. (The paper prints h = S_N / 4, which is no length.)
    With `sides` "up" that smallest box has whole sides, and h is rounded up.
    """
    height, width = size
    aspect = width / height
    least = max(box.height, box.width / aspect)
    square = least**2  # S / aspect
    if sides == "up" and box.width > aspect * box.height:
        square = box.width * math.ceil(box.width / aspect) / aspect
    limit = max(1.0, height**2 / square)  # an object of the frame's size: rounding must not make it less
    zoom = math.inf
    while zoom > limit:
        zoom = max(1.0, float(generator.normal(mean, std)))
        zoom = float(math.ceil(zoom)) if rounding == "up" else zoom
    # Whole pixels: rounding must not cut the box.
    h = math.ceil(math.sqrt(zoom * square)) if sides == "up" else round(least * math.sqrt(zoom))
    h = min(height, max(h, math.ceil(least)))
    w = min(width, max(round(h * aspect), box.width))
    x = int(generator.integers(max(0, box.x1 - w), min(box.x0, width - w), endpoint=True))
    y = int(generator.integers(max(0, box.y1 - h), min(box.y0, height - h), endpoint=True))
    return FocusWindow(Box(x, y, x + w, y + h), zoom)


def shows_all(ids: np.ndarray, labels: LabelSet, window: Box, least: int) -> bool:
    """Return whether every instance that the window shows has at least `least` pixels there, at the size of the frame
    `ids` [H, W]."""
    if least <= 1:
        return True
    counts = np.bincount(resize_ids(ids[window.slices], ids.shape).ravel())[labels.divisor :]
    return not ((counts > 0) & (counts < least)).any()


def whole(size: tuple[int, int]) -> FocusWindow:
    """Return the window that is the frame itself."""
    return FocusWindow(Box(0, 0, size[1], size[0]), 0.0)


def focus(image: np.ndarray, ids: np.ndarray, window: Box, how: Filter) -> tuple[np.ndarray, np.ndarray]:
    """Image and ids in `window`, both resized to the frame's size: uint8 [H, W, 3] by `how`, ids [H, W] by nearest."""
    size = ids.shape
    return resize(image[window.slices], size, how), resize_ids(ids[window.slices], size)


def without_specks(ids: np.ndarray, labels: LabelSet, vertices: int) -> np.ndarray:
    """Ids [H, W] in which instances are erased (void) whose outlines have fewer than `vertices` corners in all: single
    pixels, straight lines a pixel wide and the like, which make no polygon."""
    if not vertices:
        return ids
    result = ids.copy()
    for instance, outlines in _outlines(ids, labels):
        if len(outlines) < vertices:
            result[ids == instance] = labels.void
    return result


def as_polygons(ids: np.ndarray, labels: LabelSet) -> np.ndarray:
    """Ids [H, W] after a detour over polygons: every instance as one filled outline.

    The outlines of an instance's parts are chained into a single polygon (thin bridges join the parts), holes are
    filled, and the instances are drawn in the order of their ids, so that a car swallows a person inside its outline.
    Stuff and group regions are not redrawn.
    """
    import cv2

    result = ids.astype(np.int32)
    for instance, outlines in _outlines(ids, labels):
        cv2.fillPoly(result, [outlines], instance)
    return result


def _outlines(ids: np.ndarray, labels: LabelSet) -> Iterator[tuple[int, np.ndarray]]:
    """Instances by ascending id, each with the corners [n, 1, 2] of the outlines of its parts, one after the other."""
    import cv2

    for instance in np.flatnonzero(np.bincount(ids.ravel())).tolist():
        if labels.is_instance(instance):
            mask = (ids == instance).astype(np.uint8)
            contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
            yield instance, np.concatenate(contours)
