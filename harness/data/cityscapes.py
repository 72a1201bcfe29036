"""The Cityscapes tree: its labels, and how frames are found, read and written.

Labels come from the `cityscapesscripts` package, so that the numbers are the benchmark's own. A frame is its image and
its instanceIds; labelIds and the panoptic files are derived from these by the official rules. Files are written under a
temporary name first. Not here: what is drawn in a frame (streets), what is done to it (synthesis), predictions.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cityscapesscripts.helpers.labels import labels as _official

from harness.core.errors import HarnessError, near
from harness.core.files import write_bytes
from harness.core.progress import Report, silent
from harness.data import png


@dataclass(frozen=True, kw_only=True)
class Label:
    """One class of the benchmark; `train_id` is 255 or -1 where the benchmark ignores it."""

    id: int
    train_id: int
    name: str
    category: str
    is_thing: bool
    ignored: bool
    color: tuple[int, int, int]


LABELS: tuple[Label, ...] = tuple(
    Label(
        id=label.id,
        train_id=label.trainId,
        name=label.name,
        category=label.category,
        is_thing=label.hasInstances,
        ignored=label.ignoreInEval,
        color=label.color,
    )
    for label in _official
)
"""All labels in the order of the benchmark, licence plate (-1) last."""

BY_ID: dict[int, Label] = {label.id: label for label in LABELS}
BY_NAME: dict[str, Label] = {label.name: label for label in LABELS}

EVALUATED: tuple[Label, ...] = tuple(
    sorted((label for label in LABELS if not label.ignored), key=lambda label: label.train_id)
)
"""The 19 evaluated classes; an index into it is a train id."""

THINGS: tuple[Label, ...] = tuple(label for label in EVALUATED if label.is_thing)
"""The eight evaluated classes that have instances: 24..28, 31, 32, 33."""

IGNORED: frozenset[int] = frozenset(label.id for label in LABELS if label.ignored)
"""Ids whose pixels no score counts."""

FIRST_INSTANCE_ID = 24000
"""Instances are label id * 1000 + number; anything below 1000 is stuff, void or a group (crowd) region."""

_NAME = re.compile(r"[^_]+_[^_]+_[^_]+")


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One annotated image of a tree: `name` is <city>_<sequence>_<frame>, `city` the folder it lies in."""

    name: str
    city: str
    split: str
    image: Path
    instance_ids: Path
    label_ids: Path

    @property
    def outline_ids(self) -> Path:
        """instanceIds after a detour over polygons; only some synthetic trees have them."""
        return self.instance_ids.with_name(self.instance_ids.name.replace("_instanceIds", "_outlineIds"))


def frames(root: Path, split: str) -> list[Frame]:
    """The frames of one split, sorted by name.

    HarnessError when the root or the split is missing or empty, a file name is not of the Cityscapes pattern, two
    frames share a name, or an image has no instanceIds or labelIds beside it.
    """
    folder = root / "leftImg8bit" / split
    if not folder.is_dir():
        raise _missing(root, split)
    found: dict[str, Frame] = {}
    for image in sorted(folder.glob("*/*_leftImg8bit.png")):
        frame = _frame(root, split, image.parent.name, image.name.removesuffix("_leftImg8bit.png"))
        if not _NAME.fullmatch(frame.name):
            raise HarnessError(f"{image}: expected a file name <city>_<sequence>_<frame>_leftImg8bit.png")
        if frame.name in found:
            raise HarnessError(f"{image}: the frame {frame.name} lies in {found[frame.name].image.parent} too")
        for path in (frame.instance_ids, frame.label_ids):
            if not path.is_file():
                raise HarnessError(
                    f"{image}: the image has no labels: {path} is missing", hint="unpack gtFine beside leftImg8bit"
                )
        found[frame.name] = frame
    if not found:
        raise HarnessError(f"{folder}: no <city>/*_leftImg8bit.png in it")
    return [found[name] for name in sorted(found)]


def read_ids(path: Path) -> np.ndarray:
    """instanceIds as int32 [H, W], to compute with; HarnessError as `png.read_ids`."""
    return png.read_ids(path).astype(np.int32)


def read_labels(path: Path) -> np.ndarray:
    """labelIds as uint8 [H, W]; HarnessError when the file is missing, truncated or not 8-bit grey."""
    image = png.decoded(path)
    if image.mode != "L":
        raise HarnessError(f"{path}: expected 8-bit grey label ids, found mode {image.mode}")
    return np.array(image)


def labels_of(instance_ids: np.ndarray) -> np.ndarray:
    """labelIds (uint8) that instanceIds imply: the id itself below 1000, else id // 1000."""
    return np.where(instance_ids < 1000, instance_ids, instance_ids // 1000).astype(np.uint8)


def write_frame(root: Path, split: str, city: str, name: str, image: np.ndarray, instance_ids: np.ndarray) -> Frame:
    """Write image (uint8 [H, W, 3]), instanceIds (16 bit) and labelIds of one frame.

    Each file appears whole or not at all; HarnessError for a name, shapes or ids that the tree cannot hold.
    """
    if not _NAME.fullmatch(name):
        raise HarnessError(f"frame name {name!r}: expected <city>_<sequence>_<frame>")
    if image.shape != (*instance_ids.shape, 3):
        raise HarnessError(f"frame {name}: image of shape {image.shape} with ids of shape {instance_ids.shape}")
    if instance_ids.min() < 0 or instance_ids.max() > 0xFFFF:
        raise HarnessError(f"frame {name}: instance ids outside 0..65535")
    frame = _frame(root, split, city, name)
    write_png(frame.instance_ids, instance_ids.astype(np.uint16))
    write_png(frame.label_ids, labels_of(instance_ids))
    write_png(frame.image, image)
    return frame


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 [H, W, 3] (RGB), uint8 [H, W] or uint16 [H, W] as PNG, atomically, fast rather than small."""
    import cv2

    photo = pixels.ndim == 3
    # Photographs: the average filter and run lengths; label maps: the up filter turns equal rows into zeros.
    strategy = cv2.IMWRITE_PNG_STRATEGY_RLE if photo else cv2.IMWRITE_PNG_STRATEGY_DEFAULT
    row_filter = cv2.IMWRITE_PNG_FILTER_AVG if photo else cv2.IMWRITE_PNG_FILTER_UP
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, strategy, cv2.IMWRITE_PNG_FILTER, row_filter]
    _, data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if photo else pixels, options)
    write_bytes(path, data.tobytes())


def write_panoptic(root: Path, split: str, *, report: Report = silent) -> Path:
    """gtFine/cityscapes_panoptic_<split>.json and its folder of PNGs, as cityscapesscripts' createPanopticImgs does.

    Ignored labels become 0 (void), groups of thing classes crowd; a segment's id is its instance id. Returns the
    path of the JSON.
    """
    base = root / "gtFine" / f"cityscapes_panoptic_{split}"
    images, annotations = [], []
    todo = frames(root, split)
    for done, frame in enumerate(todo):
        report(done, len(todo), frame.name)
        ids = read_ids(frame.instance_ids)
        try:
            picture, segments = panoptic(ids)
        except HarnessError as error:
            raise HarnessError(f"{frame.instance_ids}: {error.message}", hint=error.hint) from None
        write_png(base / f"{frame.name}_gtFine_panoptic.png", picture)
        height, width = ids.shape
        images.append(
            {"id": frame.name, "width": width, "height": height, "file_name": f"{frame.name}_gtFine_leftImg8bit.png"}
        )
        annotations.append(
            {"image_id": frame.name, "file_name": f"{frame.name}_gtFine_panoptic.png", "segments_info": segments}
        )
    content = {"images": images, "annotations": annotations, "categories": categories()}
    path = base.with_suffix(".json")
    write_bytes(path, json.dumps(content, sort_keys=True, indent=4).encode())
    report(len(todo), len(todo), "panoptic")
    return path


def categories() -> list[dict]:
    """The `categories` of the official panoptic JSON: the 19 evaluated classes under their plain ids."""
    return [
        {
            "id": label.id,
            "name": label.name,
            "color": list(label.color),
            "supercategory": label.category,
            "isthing": int(label.is_thing),
        }
        for label in LABELS
        if not label.ignored
    ]


def panoptic(instance_ids: np.ndarray) -> tuple[np.ndarray, list[dict]]:
    """Panoptic picture (uint8 [H, W, 3], id = R + 256 G + 65536 B) and `segments_info` of one frame, ids ascending."""
    present, dense = _dense(instance_ids)
    colors = np.zeros((len(present), 3), np.uint8)
    segments = []
    for index, segment in enumerate(present.tolist()):
        label = BY_ID.get(segment if segment < 1000 else segment // 1000)
        if label is None:
            raise HarnessError(f"instance id {segment} is of no Cityscapes label")
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
                "iscrowd": int(label.is_thing and segment < 1000),
            }
        )
    return colors[dense], segments


def _dense(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ids that occur, ascending, and the map of their places in that list (np.unique would sort every pixel)."""
    present = np.flatnonzero(np.bincount(ids.ravel(), minlength=1))
    place = np.zeros(int(present[-1]) + 1, np.uint16)
    place[present] = np.arange(len(present))
    return present, place[ids]


def _frame(root: Path, split: str, city: str, name: str) -> Frame:
    truth = root / "gtFine" / split / city
    return Frame(
        name=name,
        city=city,
        split=split,
        image=root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png",
        instance_ids=truth / f"{name}_gtFine_instanceIds.png",
        label_ids=truth / f"{name}_gtFine_labelIds.png",
    )


def _missing(root: Path, split: str) -> HarnessError:
    """Which part of <root>/leftImg8bit/<split> is not there."""
    if not root.is_dir():
        hint = "give the root of a Cityscapes tree (it holds leftImg8bit and gtFine)"
        return HarnessError(f"{root}: no such folder", hint=hint)
    images = root / "leftImg8bit"
    if not images.is_dir():
        return HarnessError(f"{root}: not a Cityscapes tree: it has no folder leftImg8bit")
    splits = [path.name for path in images.iterdir() if path.is_dir()]
    return HarnessError(f"{images}: no split {split!r}", hint=near(split, splits))
