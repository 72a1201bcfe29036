"""A Cityscapes tree, and the focused crops made from it, as COCO instance and panoptic JSON.

Category ids are Cityscapes' label ids (24 person .. 33 bicycle for things, 7 road .. 23 sky for stuff). Group regions
of a thing class are crowd; ignored labels are void and have no annotation: both as cityscapesscripts converts. Images
are numbered from 1 in the instance JSON, as COCO demands, and are frame names in the panoptic one, as the benchmark's.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from harness.core.errors import HarnessError
from harness.core.files import write_bytes
from harness.core.progress import Report, silent
from harness.data.cityscapes import EVALUATED, THINGS, Frame, categories, frames, panoptic, read_ids, write_png
from harness.export import registration

Masks = Literal["rle", "polygon"]

_TRAIN_ID = np.full(256, registration.VOID, np.uint8)
_TRAIN_ID[[label.id for label in EVALUATED]] = [label.train_id for label in EVALUATED]


class Exported(NamedTuple):
    """What an export holds."""

    images: int
    instances: int
    crowds: int


def export(
    output: Path,
    split: str,
    *,
    data_root: Path | None,
    synthesis: Path | None = None,
    masks: Masks = "rle",
    detectron2: bool = False,
    report: Report = silent,
) -> Exported:
    """Write the frames of one split of a tree, of the synthetic tree made from it, or of both: see `write`.

    Real frames first, synthetic ones after them, both by name. HarnessError for trees that can't be read, no frame at
    all, or a name that both trees hold.
    """
    todo = _both(data_root, synthesis, split)
    return write(output, split, todo, masks=masks, detectron2=detectron2, report=report)


def write(
    output: Path,
    split: str,
    todo: Sequence[Frame],
    *,
    masks: Masks = "rle",
    detectron2: bool = False,
    report: Report = silent,
) -> Exported:
    """Write instances_<split>.json, panoptic_<split>.json and its folder of PNGs into `output`.

    `detectron2`: also semantic_<split>/ (train ids, 255
    void) and register.py. File names are relative to `output`. The JSON files come last and each is whole or absent.
    """
    instances = {"images": [], "annotations": [], "categories": instance_categories()}
    panorama = {"images": [], "annotations": [], "categories": panoptic_categories()}
    crowds = 0
    for number, frame in enumerate(todo, start=1):
        report(number - 1, len(todo), frame.name)
        ids = read_ids(frame.instance_ids)
        picture, segments = _panoptic(frame, ids)
        image = {
            "file_name": Path(os.path.relpath(frame.image.resolve(), output.resolve())).as_posix(),
            "height": ids.shape[0],
            "width": ids.shape[1],
        }
        instances["images"].append({"id": number, "frame": frame.name, **image})
        for entry in annotations(ids, segments, masks=masks):
            crowds += entry["iscrowd"]
            place = len(instances["annotations"]) + 1
            instances["annotations"].append({"id": place, "image_id": number, **entry})
        panorama["images"].append({"id": frame.name, **image})
        panorama["annotations"].append(
            {"image_id": frame.name, "file_name": f"{frame.name}.png", "segments_info": segments}
        )
        write_png(output / f"panoptic_{split}" / f"{frame.name}.png", picture)
        if detectron2:
            labels = np.where(ids < 1000, ids, ids // 1000).astype(np.uint8)
            write_png(output / f"semantic_{split}" / f"{frame.name}.png", _TRAIN_ID[labels])
    for kind, content in (("panoptic", panorama), ("instances", instances)):
        write_bytes(output / f"{kind}_{split}.json", json.dumps(content).encode())
    if detectron2:
        write_bytes(output / "register.py", Path(registration.__file__).read_bytes())
    report(len(todo), len(todo), "done")
    return Exported(len(todo), len(instances["annotations"]) - crowds, crowds)


def annotations(ids: np.ndarray, segments: list[dict], *, masks: Masks = "rle") -> Iterator[dict[str, Any]]:
    """COCO annotations of the things of one frame: `ids` int32 [H, W], `segments` as `cityscapes.panoptic` gives them.

    Crowd regions are always run lengths, as COCO has them. Polygons follow the edges of pixels: both decode to `ids`.
    """
    from harness.export.outlines import polygons
    from harness.metrics.rle import encode

    things = {label.id for label in THINGS}
    for segment in segments:
        if segment["category_id"] not in things:
            continue
        mask = ids == segment["id"]
        polygonal = masks == "polygon" and not segment["iscrowd"]
        entry = {key: segment[key] for key in ("category_id", "area", "bbox", "iscrowd")}
        if polygonal:
            yield entry | {"segmentation": _moved(polygons(_inside(mask, segment["bbox"])), segment["bbox"])}
        else:
            yield entry | {"segmentation": {"size": list(mask.shape), "counts": encode(mask)}}


def instance_categories() -> list[dict[str, Any]]:
    """The eight things, in train-id order."""
    return [category for category in panoptic_categories() if category["isthing"]]


def panoptic_categories() -> list[dict[str, Any]]:
    """The nineteen evaluated classes, in train-id order."""
    by_id = {category["id"]: category for category in categories()}
    return [by_id[label.id] for label in EVALUATED]


def _inside(mask: np.ndarray, box: list[int]) -> np.ndarray:
    x, y, width, height = box
    return mask[y : y + height, x : x + width]


def _moved(polygons: list[list[int]], box: list[int]) -> list[list[int]]:
    """Polygons of the inside of a box, as they lie in the frame."""
    return [[value + box[place % 2] for place, value in enumerate(polygon)] for polygon in polygons]


def _both(data_root: Path | None, synthesis: Path | None, split: str) -> list[Frame]:
    if data_root is None and synthesis is None:
        raise HarnessError("nothing to export", hint="pass --data-root, --synthesis or both")
    real = frames(data_root, split) if data_root else []
    made = frames(synthesis, split) if synthesis else []
    if twice := sorted({frame.name for frame in real} & {frame.name for frame in made}):
        raise HarnessError(f"the frame {twice[0]} is in both {data_root} and {synthesis}")
    return real + made


def _panoptic(frame: Frame, ids: np.ndarray) -> tuple[np.ndarray, list[dict]]:
    try:
        return panoptic(ids)
    except HarnessError as error:
        raise HarnessError(f"{frame.instance_ids}: {error.message}", hint=error.hint) from None
