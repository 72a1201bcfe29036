"""This module reads and writes COCO's panoptic format: the picture and the `segments_info` of a frame, and the list of
categories.

Made from ids of pixels, and read back into them, by the rules of cityscapesscripts' createPanopticImgs: ignored labels
become 0 (void), groups of thing classes become crowd, and a segment keeps its id.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.core.errors import HarnessError
from harness.data.base import Frame
from harness.data.labels import LabelSet


def file_stem(labels: LabelSet, split: str) -> str:
    """Name of the JSON of a split and of the folder of its pictures, as cityscapesscripts has them."""
    return f"{labels.name}_panoptic_{split}"


def categories(labels: LabelSet) -> list[dict[str, Any]]:
    """Return the evaluated classes under their plain ids, in the order of the label set."""
    return [
        {
            "id": label.id,
            "name": label.name,
            "color": list(label.color),
            "supercategory": label.category,
            "isthing": int(label.is_thing),
        }
        for label in labels.labels
        if not label.ignored
    ]


def panoptic(ids: np.ndarray, labels: LabelSet) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Panoptic picture (uint8 [H, W, 3], id = R + 256 G + 65536 B) and `segments_info` of ids [H, W], ids ascending.

    HarnessError for an id of no label.
    """
    present, dense = _dense(ids)
    colors = np.zeros((len(present), 3), np.uint8)
    segments = []
    for index, segment in enumerate(present.tolist()):
        label = labels.by_id.get(labels.label_of(segment))
        if label is None:
            raise HarnessError(f"instance id {segment} is of no label of {labels.name}")
        if label.ignored:
            continue
        mask = dense == index
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        x, y = int(columns[0]), int(rows[0])
        colors[index] = segment % 256, segment // 256, 0
        segments.append(
            {
                "id": segment,
                "category_id": label.id,
                "area": int(np.count_nonzero(mask)),
                "bbox": [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1],
                "iscrowd": int(label.is_thing and not labels.is_instance(segment)),
            }
        )
    return colors[dense], segments


def panoptic_of(frame: Frame, labels: LabelSet, ids: np.ndarray) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Return `panoptic` of the ids of a frame; errors name the frame."""
    try:
        return panoptic(ids, labels)
    except HarnessError as error:
        raise HarnessError(f"{frame.instance_ids}: {error.message}", hint=error.hint) from None


def ids_of(segments: np.ndarray, listed: Sequence[Mapping[str, Any]], labels: LabelSet, source: str) -> np.ndarray:
    """Ids of pixels uint16 [H, W] of a panoptic map: segment ids int [H, W] (0 void) and its `segments_info`.

    The other direction of `panoptic`: things are numbered in the order of the list, crowds become groups. HarnessError,
    with `source`, for a category of no label, a segment that the list lacks and more instances than ids.
    """
    found = np.full(segments.shape, labels.void, np.uint16)
    count: dict[int, int] = {}
    left = set(np.unique(segments).tolist()) - {0}
    for entry in listed:
        id_, category = entry.get("id"), entry.get("category_id")
        label = labels.by_id.get(category) if isinstance(category, int) else None
        if label is None or not isinstance(id_, int):
            raise HarnessError(f"{source}: segment {id_!r} is of category {category!r}, no label id of {labels.name}")
        value = label.id
        if label.is_thing and not entry.get("iscrowd"):
            number = count.get(label.id, 0)
            if number >= labels.divisor:
                raise HarnessError(f"{source}: more than {labels.divisor} instances of {label.name}")
            count[label.id], value = number + 1, labels.divisor * label.id + number
        if id_ in left:
            left.remove(id_)
            found[segments == id_] = value if value >= 0 else labels.void
    if left:
        raise HarnessError(f"{source}: segment {min(left)} of the picture is not in segments_info")
    return found


def _dense(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids that occur, ascending, and the map of their places in that list (np.unique would sort every
    pixel).
    """
    present = np.flatnonzero(np.bincount(ids.ravel(), minlength=1))
    place = np.zeros(int(present[-1]) + 1, np.uint16)
    place[present] = np.arange(len(present))
    return present, place[ids]
