"""This module rasterises Cityscapes' polygon annotations to ids of pixels, as cityscapesscripts' json2instanceImg does.

A file is {"imgHeight", "imgWidth", "objects": [{"label", "polygon": [[x, y], ...], "deleted"}]}; later objects cover
earlier ones, and "cargroup" is a group of cars.
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from harness.core.config import read_json
from harness.core.errors import HarnessError, near
from harness.data.labels import Label, LabelSet


def read_polygons(path: Path, labels: LabelSet) -> np.ndarray:
    """Ids of pixels uint16 [H, W] of a polygon file; HarnessError when it is malformed or names no label of the set."""
    content = read_json(path, "polygon file")
    try:
        size = int(content["imgWidth"]), int(content["imgHeight"])
        objects = [(str(one["label"]), one["polygon"], bool(one.get("deleted"))) for one in content["objects"]]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise HarnessError(
            f"{path}: not a polygon file", hint="expected imgHeight, imgWidth and objects of a label and a polygon each"
        ) from None
    if not (0 < size[0] <= 1 << 15 and 0 < size[1] <= 1 << 15):
        raise HarnessError(f"{path}: no image has {size[0]} x {size[1]} pixels")
    canvas = Image.new("I", size, labels.void)
    drawer = ImageDraw.Draw(canvas)
    count: dict[str, int] = {}
    for name, polygon, deleted in objects:
        if deleted:
            continue
        label, is_group = _label(name, labels, path)
        if label.id < 0:
            continue  # as in the official script: such a polygon is not drawn
        value = label.id
        if label.is_thing and not is_group:
            number = count.get(label.name, 0)
            if number >= labels.divisor:
                raise HarnessError(f"{path}: more than {labels.divisor} instances of {label.name}")
            count[label.name], value = number + 1, labels.divisor * label.id + number
        try:
            drawer.polygon([_point(point) for point in polygon], fill=value)
        except (TypeError, ValueError):
            raise HarnessError(f"{path}: the polygon of a {name} is no list of three or more points [x, y]") from None
    return np.asarray(canvas).astype(np.uint16)


def _label(name: str, labels: LabelSet, path: Path) -> tuple[Label, bool]:
    """Return the label of an object, and whether it is a group of things."""
    if name in labels.by_name:
        return labels.by_name[name], False
    if name.endswith("group") and name.removesuffix("group") in labels.by_name:
        return labels.by_name[name.removesuffix("group")], True
    raise HarnessError(f"{path}: {labels.name} has no label {name!r}", hint=near(name, labels.by_name))


def _point(point: Any) -> tuple[float, float]:
    x, y = point
    return x, y
