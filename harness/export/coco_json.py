"""The export writes a data set, and the focused crops made from it, as COCO instance and panoptic JSON.

Category ids are label ids of the data set. Group regions of a thing class are crowd; ignored labels are void and have
no annotation: both as cityscapesscripts converts. Images are numbered from 1 in the instance JSON, as COCO demands, and
are frame names in the panoptic one, as the benchmark's.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from harness.core.errors import HarnessError
from harness.core.files import write_bytes
from harness.core.progress import Report, silent
from harness.data import png
from harness.data.base import Dataset, Frame
from harness.data.coco_panoptic import categories, panoptic_of
from harness.data.labels import IGNORE, LabelSet
from harness.data.tree import Tree
from harness.export import registration

Masks = Literal["rle", "polygon"]


class Exported(NamedTuple):
    """A record counts what an export holds."""

    images: int
    instances: int
    crowds: int


def export(
    output: Path,
    split: str,
    *,
    dataset: Dataset | None,
    synthesis: Path | None = None,
    masks: Masks = "rle",
    detectron2: bool = False,
    report: Report = silent,
) -> Exported:
    """Write the frames of one split of a data set, of the synthetic tree made from it, or of both: see `write`.

    Real frames first, synthetic ones after them, both by name. HarnessError for frames that can't be read, no frame at
    all, or a name that both hold.
    """
    todo, labels = _both(dataset, synthesis, split)
    return write(output, split, todo, labels, masks=masks, detectron2=detectron2, report=report)


def write(
    output: Path,
    split: str,
    todo: Sequence[Frame],
    labels: LabelSet,
    *,
    masks: Masks = "rle",
    detectron2: bool = False,
    report: Report = silent,
) -> Exported:
    """Write instances_<split>.json, panoptic_<split>.json and its folder of PNGs into `output`.

    `detectron2`: also semantic_<split>/ (train ids, 255 void) and register.py. File
    names are relative to `output`. The JSON files come last and each is whole or absent.
    """
    facts = {"label_divisor": labels.divisor, "ignore_label": IGNORE}
    instances: dict[str, Any] = {"images": [], "annotations": [], "categories": instance_categories(labels)}
    panorama: dict[str, Any] = {
        "info": facts,
        "images": [],
        "annotations": [],
        "categories": panoptic_categories(labels),
    }
    crowds = 0
    for number, frame in enumerate(todo, start=1):
        report(number - 1, len(todo), frame.name)
        ids = frame.read_ids()
        picture, segments = panoptic_of(frame, labels, ids)
        image = {
            # As the tree has it: the file may be a link into a store whose names say nothing.
            "file_name": Path(os.path.relpath(os.path.abspath(frame.image), output.resolve())).as_posix(),
            "height": ids.shape[0],
            "width": ids.shape[1],
        }
        instances["images"].append({"id": number, "frame": frame.name, **image})
        for entry in annotations(ids, segments, labels, masks=masks):
            crowds += entry["iscrowd"]
            place = len(instances["annotations"]) + 1
            instances["annotations"].append({"id": place, "image_id": number, **entry})
        panorama["images"].append({"id": frame.name, **image})
        panorama["annotations"].append(
            {"image_id": frame.name, "file_name": f"{frame.name}.png", "segments_info": segments}
        )
        png.write(output / f"panoptic_{split}" / f"{frame.name}.png", picture)
        if detectron2:
            png.write(output / f"semantic_{split}" / f"{frame.name}.png", labels.train_ids[labels.label_of(ids)])
    for kind, content in (("panoptic", panorama), ("instances", instances)):
        write_bytes(output / f"{kind}_{split}.json", json.dumps(content).encode())
    if detectron2:
        write_bytes(output / "register.py", Path(registration.__file__).read_bytes())
    report(len(todo), len(todo), "done")
    return Exported(len(todo), len(instances["annotations"]) - crowds, crowds)


def annotations(
    ids: np.ndarray, segments: list[dict[str, Any]], labels: LabelSet, *, masks: Masks = "rle"
) -> Iterator[dict[str, Any]]:
    """Yield the COCO annotations of the things of one frame: `ids` int [H, W], `segments` as `coco_panoptic` gives
    them.

    Crowd regions are always run lengths, as COCO has them. Polygons follow the edges of pixels: both decode to `ids`.
    """
    from harness.data.rle import encode
    from harness.export.outlines import polygons

    for segment in segments:
        if segment["category_id"] not in labels.thing_index:
            continue
        mask = ids == segment["id"]
        polygonal = masks == "polygon" and not segment["iscrowd"]
        entry = {key: segment[key] for key in ("category_id", "area", "bbox", "iscrowd")}
        if polygonal:
            yield entry | {"segmentation": _moved(polygons(_inside(mask, segment["bbox"])), segment["bbox"])}
        else:
            yield entry | {"segmentation": {"size": list(mask.shape), "counts": encode(mask)}}


def instance_categories(labels: LabelSet) -> list[dict[str, Any]]:
    """Return the categories of things, in train-id order."""
    return [category for category in panoptic_categories(labels) if category["isthing"]]


def panoptic_categories(labels: LabelSet) -> list[dict[str, Any]]:
    """Return the categories of all evaluated classes, in train-id order."""
    by_id = {category["id"]: category for category in categories(labels)}
    return [by_id[label.id] for label in labels.evaluated]


def _inside(mask: np.ndarray, box: list[int]) -> np.ndarray:
    x, y, width, height = box
    return mask[y : y + height, x : x + width]


def _moved(polygons: list[list[int]], box: list[int]) -> list[list[int]]:
    """Polygons of the inside of a box, as they lie in the frame."""
    return [[value + box[place % 2] for place, value in enumerate(polygon)] for polygon in polygons]


def _both(dataset: Dataset | None, synthesis: Path | None, split: str) -> tuple[list[Frame], LabelSet]:
    every = [*([dataset] if dataset else []), *([Tree(synthesis)] if synthesis else [])]
    if not every:
        raise HarnessError("nothing to export", hint="pass --data-root, --synthesis or both")
    if len({part.labels.fingerprint for part in every}) > 1:
        raise HarnessError(f"{every[0].root} and {every[1].root} have other labels", hint="export each on its own")
    todo = [frame for part in every for frame in part.frames(split)]
    if twice := sorted(name for name, count in Counter(frame.name for frame in todo).items() if count > 1):
        raise HarnessError(f"the frame {twice[0]} is in both {every[0].root} and {every[1].root}")
    return todo, every[0].labels
