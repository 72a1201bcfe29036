"""The file makes an exported folder known to detectron2: `register("folder")`, once per process; it needs detectron2
alone.

The folder holds instances_<split>.json, panoptic_<split>.json, panoptic_<split>/ and semantic_<split>/. Each split
becomes two data sets, <prefix>_instances_<split> and <prefix>_panoptic_<split>.
"""

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

PREFIX = "harness"


def register(root: str | Path | None = None, prefix: str = PREFIX) -> list[str]:
    """Register every split in `root` (default: this file's folder); return the names of the data sets, in order.

    Classes: the things as 0, 1, ... in the instance sets; all by train id in the panoptic sets, as in detectron2's own
    Cityscapes. A name that is registered already is left as it is.
    """
    from detectron2.data import DatasetCatalog, MetadataCatalog

    root = Path(root) if root else Path(__file__).parent
    names = []
    for kind, load in (("instances", instances), ("panoptic", panoptic)):
        for path in sorted(root.glob(f"{kind}_*.json")):
            name = f"{prefix}_{path.stem}"
            names.append(name)
            if name not in DatasetCatalog.list():
                DatasetCatalog.register(name, partial(load, path))
                MetadataCatalog.get(name).set(**facts(path, kind))
    if not names:
        raise FileNotFoundError(f"{root}: no instances_<split>.json or panoptic_<split>.json in it")
    return names


def facts(path: Path, kind: str) -> dict[str, Any]:
    """Return the metadata of a data set in detectron2's form."""
    content = _read(path)
    categories = content["categories"]
    names, colors = [c["name"] for c in categories], [c["color"] for c in categories]
    contiguous = {category["id"]: index for index, category in enumerate(categories)}
    found = {
        "thing_classes": names,
        "thing_colors": colors,
        "thing_dataset_id_to_contiguous_id": contiguous,
        "image_root": str(path.parent),
    }
    if kind == "instances":
        return found | {"json_file": str(path), "evaluator_type": "coco"}
    things = {number: index for number, index in contiguous.items() if categories[index]["isthing"]}
    return found | {
        "stuff_classes": names,
        "stuff_colors": colors,
        "stuff_dataset_id_to_contiguous_id": contiguous,
        "thing_dataset_id_to_contiguous_id": things,
        "panoptic_json": str(path),
        "panoptic_root": str(path.with_suffix("")),
        "evaluator_type": "coco_panoptic_seg",
        **content["info"],
    }


def instances(path: Path) -> list[dict[str, Any]]:
    """Return the frames of an instance JSON as detectron2's dictionaries."""
    from detectron2.structures import BoxMode

    content = _read(path)
    place = {category["id"]: index for index, category in enumerate(content["categories"])}
    found = {image["id"]: {**_image(path, image), "annotations": []} for image in content["images"]}
    for entry in content["annotations"]:
        kept = {key: entry[key] for key in ("bbox", "iscrowd", "segmentation")}
        kept |= {"bbox_mode": BoxMode.XYWH_ABS, "category_id": place[entry["category_id"]]}
        found[entry["image_id"]]["annotations"].append(kept)
    return list(found.values())


def panoptic(path: Path) -> list[dict[str, Any]]:
    """Return the frames of a panoptic JSON as detectron2's dictionaries, with the mapping of train ids."""
    content = _read(path)
    place = {category["id"]: index for index, category in enumerate(content["categories"])}
    thing = {category["id"]: bool(category["isthing"]) for category in content["categories"]}
    folder, found = path.with_suffix(""), []
    maps = path.parent / path.stem.replace("panoptic", "semantic", 1)
    by_image = {entry["image_id"]: entry for entry in content["annotations"]}
    for image in content["images"]:
        entry = by_image[image["id"]]
        segments = [
            {**segment, "category_id": place[segment["category_id"]], "isthing": thing[segment["category_id"]]}
            for segment in entry["segments_info"]
        ]
        found.append(
            {
                **_image(path, image),
                "pan_seg_file_name": str(folder / entry["file_name"]),
                "sem_seg_file_name": str(maps / f"{image['id']}.png"),
                "segments_info": segments,
            }
        )
    return found


def _image(path: Path, image: dict[str, Any]) -> dict[str, Any]:
    file = os.path.normpath(os.path.join(path.parent.resolve(), image["file_name"]))
    return {"file_name": file, "image_id": image["id"], "height": image["height"], "width": image["width"]}


def _read(path: Path) -> Any:
    with open(path, encoding="utf-8") as handle:
        return json.load(handle)
