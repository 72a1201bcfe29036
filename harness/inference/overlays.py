"""Overlays draw predicted instances and panoptic segments over the image, with class and score.

Only what is surer than a threshold is drawn; the paper's Fig. 2 takes 0.8. Not here: files of predictions, which keep
everything.
"""

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from harness.data.labels import LabelSet
from harness.data.prediction import Instance, Prediction

OPACITY = 0.5
_GOLDEN = 0.61803398875


def overlays(image: np.ndarray, prediction: Prediction, threshold: float, labels: LabelSet) -> dict[str, np.ndarray]:
    """Draw pictures (uint8 [H, W, 3]), by kind: "instances", "panoptic", "semantic", as far as these are predicted.

    A panoptic segment of a thing carries the score of the instance it shows (IoU > 0.5), where there is one.
    """
    found = {}
    if prediction.instances is not None:
        found["instances"] = draw_instances(image, [i for i in prediction.instances if i.score >= threshold], labels)
    if prediction.panoptic is not None:
        found["panoptic"] = _draw_panoptic(image, prediction, prediction.panoptic, threshold, labels)
    elif prediction.semantic is not None:
        found["semantic"] = _blend(image, _palette(labels)[prediction.semantic])
    return found


def draw_instances(image: np.ndarray, instances: Sequence[Instance], labels: LabelSet) -> np.ndarray:
    """Return the image with each instance in a colour of its own, outlined and named; the surest lies on top."""
    picture, colours = image.copy(), [_own(number) for number in range(len(instances))]
    for instance, colour in reversed(list(zip(instances, colours, strict=True))):
        inside, edge = instance.mask, _edge(instance.mask)
        picture[inside] = _blend(picture[inside], np.array(colour, np.uint8))
        picture[edge] = colour
    names = [f"{labels.by_id[i.label_id].name} {i.score:.2f}" for i in instances]
    return _named(picture, [i.mask for i in instances], names, colours)


def _draw_panoptic(
    image: np.ndarray, prediction: Prediction, panorama: np.ndarray, threshold: float, labels: LabelSet
) -> np.ndarray:
    picture, masks, names, colours = image.copy(), [], [], []
    for segment in prediction.segments:
        mask, label = panorama == segment.id, labels.by_id[segment.label_id]
        score = _score(mask, label.id, prediction.instances or ()) if label.is_thing else None
        if score is not None and score < threshold:
            continue
        colour = _shade(label.color, segment.id) if label.is_thing else label.color
        picture[mask] = _blend(picture[mask], np.array(colour, np.uint8))
        picture[_edge(mask)] = (255, 255, 255) if label.is_thing else colour
        masks.append(mask)
        names.append(label.name + (f" {score:.2f}" if score is not None else ""))
        colours.append(colour)
    return _named(picture, masks, names, colours)


def _score(mask: np.ndarray, label_id: int, instances: Sequence[Instance]) -> float | None:
    for instance in instances:
        if instance.label_id == label_id:
            both = np.count_nonzero(instance.mask & mask)
            if both > 0.5 * np.count_nonzero(instance.mask | mask):
                return instance.score
    return None


def _named(
    picture: np.ndarray, masks: Sequence[np.ndarray], names: Sequence[str], colours: Sequence[tuple[int, int, int]]
) -> np.ndarray:
    """Return names where each mask is widest, the surest last, so that it is never covered; tiny masks go without."""
    size = max(9, min(picture.shape[:2]) // 45)
    canvas, font = Image.fromarray(picture), ImageFont.load_default(size)
    draw = ImageDraw.Draw(canvas)
    for mask, name, colour in reversed(list(zip(masks, names, colours, strict=True))):
        if np.count_nonzero(mask) < 2 * size * size:
            continue
        x, y = _middle(mask)
        left, top, right, bottom = draw.textbbox((0, 0), name, font=font)
        x = int(np.clip(x - (right - left) / 2, 1, max(1, picture.shape[1] - (right - left) - 2)))
        y = int(np.clip(y - (bottom - top) / 2, 1, max(1, picture.shape[0] - (bottom - top) - 2)))
        draw.rectangle((x - 2, y - 1, x + right - left + 1, y + bottom - top + 1), fill=colour)
        dark = sum(part * weight for part, weight in zip(colour, (0.299, 0.587, 0.114), strict=True)) < 140
        draw.text((x - left, y - top), name, font=font, fill=(255, 255, 255) if dark else (0, 0, 0))
    return np.asarray(canvas)


def _middle(mask: np.ndarray) -> tuple[int, int]:
    """Return the pixel (x, y) of a mask that lies deepest in it."""
    import cv2

    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(x), int(y)


def _edge(mask: np.ndarray) -> np.ndarray:
    """Return the mask's own pixels that touch what is outside of it; the border of the image is no outside."""
    inner = mask.copy()
    inner[1:] &= mask[:-1]
    inner[:-1] &= mask[1:]
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    return mask & ~inner


def _blend(pixels: np.ndarray, colours: np.ndarray) -> np.ndarray:
    return (pixels * (1 - OPACITY) + colours * OPACITY).round().astype(np.uint8)


def _palette(labels: LabelSet) -> np.ndarray:
    """Colours of label ids, uint8 [256, 3]; black for an id of no label."""
    palette = np.zeros((256, 3), np.uint8)
    for label in labels.labels:
        if label.id >= 0:
            palette[label.id] = label.color
    return palette


def _own(number: int) -> tuple[int, int, int]:
    """Colours that follow each other far apart on the wheel."""
    return _rgb(number * _GOLDEN % 1, 0.75, 0.95)


def _shade(colour: tuple[int, int, int], number: int) -> tuple[int, int, int]:
    """Return a neighbour of a class colour, so that two things of one class can be told apart."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(part / 255 for part in colour))
    hue, value = hue + 0.08 * ((number * _GOLDEN) % 1 - 0.5), 0.55 + 0.45 * (number * 0.37 % 1) * max(value, 0.5)
    return _rgb(hue % 1, max(saturation, 0.6), min(value, 1))


def _rgb(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))
    return red, green, blue
