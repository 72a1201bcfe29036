"""Data sets of a few small frames, written in the layouts in which their makers publish them.

Scenes are drawn here and written by hand, not by code of the harness: each region is a class, and a number where it is
an instance.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

SIZE = (48, 80)


class Region(NamedTuple):
    """Pixels (bool [H, W]) of one class; `number` is None for stuff and for a group of things."""

    code: int
    number: int | None
    mask: np.ndarray


def scene(seed, stuff, things, *, group=None, first=1):
    """Regions of a frame: two of stuff, two instances of each class of things, a group; two rows stay empty."""
    rng = np.random.default_rng(seed)
    owner = np.full(SIZE, -1)
    boxes = [(stuff[0], None, (2, 24, 0, 80)), (stuff[1], None, (24, 48, 0, 80))]
    for code in things:
        for number in (first, first + 1):
            y, x = int(rng.integers(3, 36)), int(rng.integers(0, 64))
            boxes.append((code, number, (y, y + 11, x, x + 15)))
    if group is not None:
        boxes.append((group, None, (40, 46, 30, 60)))
    for place, (_, _, (top, bottom, left, right)) in enumerate(boxes):
        owner[top:bottom, left:right] = place
    found = [Region(code, number, owner == place) for place, (code, number, _) in enumerate(boxes)]
    return [region for region in found if region.mask.any()]


def image(path, seed):
    """A photograph, as JPEG or PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 255, (*SIZE, 3), np.uint8)).save(path)


def picture(path, pixels):
    """A file of annotation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


COCO = {1: ("person", 1, "person"), 3: ("car", 1, "vehicle"), 90: ("toothbrush", 1, "indoor")}
COCO |= {100: ("bridge", 0, "building"), 149: ("road", 0, "ground"), 200: ("rug-merged", 0, "floor")}
"""Some categories of COCO 2017 with their ids: name, isthing, supercategory."""


def coco_panoptic(root: Path, count=2):
    """COCO 2017; the regions by split and number of the frame."""
    found = {}
    categories = [
        {"id": id_, "name": name, "isthing": isthing, "supercategory": above, "color": [id_, 7, 255 - id_]}
        for id_, (name, isthing, above) in COCO.items()
    ]
    for split in ("train", "val"):
        images, annotations = [], []
        for place in range(count):
            number = 100 * (split == "val") + 37 * place + 9
            regions = scene([number, 1], (149, 200), (1, 3), group=1)
            rng = np.random.default_rng(number)
            ids = rng.choice(1 << 24, len(regions), replace=False) + 1
            values = np.zeros(SIZE, np.int64)
            segments = []
            for id_, region in zip(ids.tolist(), regions, strict=True):
                values[region.mask] = id_
                crowd = int(region.number is None and COCO[region.code][1])
                area = int(region.mask.sum())
                segments.append({"id": id_, "category_id": region.code, "iscrowd": crowd, "area": area, "bbox": []})
            name = f"{number:012d}"
            image(root / f"{split}2017" / f"{name}.jpg", number)
            channels = np.stack([values & 255, values >> 8 & 255, values >> 16], axis=-1).astype(np.uint8)
            picture(root / f"annotations/panoptic_{split}2017/{name}.png", channels)
            size = {"height": SIZE[0], "width": SIZE[1]}
            images.append({"id": number, "file_name": f"{name}.jpg", **size})
            rng.shuffle(segments)
            annotations.append({"image_id": number, "file_name": f"{name}.png", "segments_info": segments})
            found[split, name] = regions
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"annotations/panoptic_{split}2017.json").write_text(json.dumps(content))
    return found


def bdd100k(root: Path, task: str, stuff, things, count=2):
    """BDD100K's bitmasks, of `task` pan_seg or ins_seg: class, flags, number in two bytes; the regions by split, name.

    Flags are truncated 8, occluded 4, crowd 2, ignored 1. Stuff has numbers too, as theirs has.
    """
    found = {}
    for split in ("train", "val"):
        for place in range(count):
            regions = scene([place, split == "val"], stuff or (0, 0), things, group=things[0], first=255)
            pixels = np.zeros((*SIZE, 4), np.uint8)
            for number, region in enumerate(regions):
                if not region.code:
                    continue
                if region.number is None and region.code in things:
                    flags, value = 2 if place else 1, 900
                else:
                    flags, value = 12 * (number % 2), number if region.number is None else region.number
                pixels[region.mask] = region.code, flags, value >> 8, value & 255
            name = f"{place:08x}-{split == 'val':08x}"
            image(root / f"images/10k/{split}/{name}.jpg", place)
            picture(root / f"labels/{task}/bitmasks/{split}/{name}.png", pixels)
            found[split, name] = [region for region in regions if region.code]
    return found


def kitti_step(root: Path):
    """KITTI-STEP: class by train id, track in two bytes, void 255; the regions by split, sequence and frame."""
    found = {}
    for split, sequence in (("train", "0000"), ("train", "0001"), ("val", "0002")):
        for place in range(2):
            regions = scene([int(sequence), place], (0, 8), (11, 13), group=18)
            pixels = np.full((*SIZE, 3), (255, 0, 0), np.uint8)
            for region in regions:
                track = 300 * (region.number or 0)
                pixels[region.mask] = region.code, track // 256, track % 256
            name = f"{place:06d}"
            image(root / f"training/image_02/{sequence}/{name}.png", place)
            picture(root / f"panoptic_maps/{split}/{sequence}/{name}.png", pixels)
            found[split, sequence, name] = regions
    return found


VISTAS = {
    "1.2": [
        ("animal--bird", True, True),
        ("construction--flat--road", False, True),
        ("human--person", True, True),
        ("marking--general", False, True),
        ("nature--sky", False, True),
        ("object--vehicle--car", True, True),
        ("object--vehicle--boat", True, True),
        ("void--unlabeled", False, False),
    ],
    "2.0": [
        ("construction--barrier--temporary", True, True),
        ("construction--flat--road", False, True),
        ("human--person--individual", True, True),
        ("human--person--person-group", False, False),
        ("nature--sky", False, True),
        ("object--vehicle--car", True, True),
        ("object--traffic-sign--back", True, True),
        ("void--unlabeled", False, False),
    ],
}
"""Some labels of both versions by their place in the file: name, instances, evaluate."""


def vistas(root: Path, *, alone=False, count=2):
    """Mapillary Vistas 2.0, which holds both versions, or 1.2 `alone`; the regions by version, split and key.

    Keys hold hyphens and underscores, first letters included. Pixels of no label are of the last.
    """
    found = {}
    keys = ("-0bF1cyAskB9eE9hBGfHpA", "_a-B_c", "00qclUcInksIYnm19b1Xfw")
    for version in ("1.2",) if alone else ("1.2", "2.0"):
        labels = [
            {"name": name, "readable": name, "instances": instances, "evaluate": evaluate, "color": [9, 8, place]}
            for place, (name, instances, evaluate) in enumerate(VISTAS[version])
        ]
        root.mkdir(parents=True, exist_ok=True)
        config = root / ("config.json" if alone else f"config_v{version}.json")
        config.write_text(json.dumps({"labels": labels, "version": version, "mapping": "public"}))
        for split in ("training", "validation"):
            for place, key in enumerate(keys[:count]):
                grouped = 3 if version == "2.0" else None
                regions = scene([place, split == "validation"], (1, 4), (2, 5), group=grouped, first=0)
                values = np.full(SIZE, 256 * 7, np.uint16)
                for region in regions:
                    values[region.mask] = 256 * region.code + (region.number or 0)
                folder = root / split / ("" if alone else f"v{version}")
                image(root / split / "images" / f"{key}.jpg", place)
                picture(folder / "instances" / f"{key}.png", values)
                found[version, split, key] = regions
    return found
