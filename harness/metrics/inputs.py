"""This module finds and parses what is evaluated: ground truth of a split, and predictions in the official formats.

Nothing is decoded here. Every mistake is one HarnessError that names the file, and the line where there is one.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeGuard

from harness.core.errors import HarnessError, near
from harness.data import frame_names
from harness.data.coco_panoptic import file_stem
from harness.data.labels import LabelSet


class MaskLine(NamedTuple):
    """A line of an instance result file. `where` is "file:line"."""

    path: Path
    label_id: int
    score: float
    where: str


class Segments(NamedTuple):
    """An entry of a panoptic result JSON: the PNG, and label ids by segment id."""

    path: Path
    labels: dict[int, Any]


class RleMask(NamedTuple):
    """An entry of a COCO result JSON; `box_area` is the area of its own box where boxes say how large results are."""

    label_id: int
    score: float
    counts: str | list[int]
    size: tuple[int, int]
    box_area: float | None
    where: str


def focal_baseline(path: Path) -> float:
    """Focal length (pixels) times baseline (metres) of a Cityscapes camera file: depth is this over the disparity."""
    content = _json(path)
    try:
        value = float(content["intrinsic"]["fx"]) * float(content["extrinsic"]["baseline"])
    except (KeyError, TypeError, ValueError):
        raise HarnessError(f"{path}: expected the numbers intrinsic.fx and extrinsic.baseline") from None
    if not (math.isfinite(value) and value > 0):
        raise HarnessError(f"{path}: expected intrinsic.fx and extrinsic.baseline above 0")
    return value


def find(folder: Path, names: Iterable[str], suffix: str) -> dict[str, Path]:
    """Return the file of every frame in `folder` or below it: <frame name>*<suffix>, exactly one each."""
    if not folder.is_dir():
        raise HarnessError(f"{folder}: no such folder of predictions")
    wanted = set(names)
    found: dict[str, Path] = {}
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            name = frame_names.owner(file, wanted) if file.endswith(suffix) else None
            if name is None:
                continue
            path = Path(parent, file)
            if name in found:
                raise HarnessError(f"{path}: the frame {name} has another prediction, {found[name]}")
            found[name] = path
    missing = sorted(wanted - found.keys())
    if missing:
        raise HarnessError(
            f"{folder}: no prediction {missing[0]}*{suffix}"
            + (f" ({len(missing)} frames have none)" if len(missing) > 1 else ""),
            hint="a frame without predictions needs its file too" + (", an empty one" if suffix == ".txt" else ""),
        )
    return found


class Categories(Protocol):
    """Categories say what the ids in files of predictions mean; a label set is one."""

    @property
    def name(self) -> str:
        """Return what messages call it."""

    @property
    def by_id(self) -> Mapping[int, Any]:
        """Every id that a file may hold."""


def mask_lines(path: Path, root: Path, labels: Categories) -> list[MaskLine]:
    """Return the lines `relative/mask.png labelId score` of an instance result file; masks must lie inside `root`.

    A mask that is listed twice keeps its first place and its last label and score, as in the official script.
    """
    found: dict[str, MaskLine] = {}
    top, folder = os.path.join(os.path.abspath(root), ""), os.path.abspath(path.parent)
    for number, line in enumerate(_text(path).removesuffix("\n").split("\n") if path.stat().st_size else (), start=1):
        where = f"{path}:{number}"
        fields = line.split(" ")
        if len(fields) != 3:
            raise HarnessError(
                f"{where}: expected 'mask.png labelId score' with single spaces, found {line[:80]!r}",
                hint="the path of a mask holds no space, here and for the official script" if len(fields) > 3 else "",
            )
        file = os.path.normpath(os.path.join(folder, fields[0]))
        if os.path.isabs(fields[0]):
            raise HarnessError(f"{where}: the mask {fields[0]!r} must be a path relative to this file")
        if not file.startswith(top):
            raise HarnessError(f"{where}: the mask {fields[0]!r} lies outside {root}")
        label_id, score = _number(fields[1], where, "label id"), _number(fields[2], where, "score")
        if int(label_id) not in labels.by_id:
            raise HarnessError(
                f"{where}: {fields[1]} is no label id of {labels.name}", hint="expected a label id, not a train id"
            )
        found[file] = MaskLine(Path(file), int(label_id), score, where)
    return list(found.values())


def panoptic(source: Path, split: str, names: Iterable[str], labels: LabelSet) -> dict[str, Segments]:
    """Entries of the frames in a panoptic result: its JSON, or the folder with <labels>_panoptic_<split>.json."""
    path = source if source.suffix == ".json" else source / f"{file_stem(labels, split)}.json"
    content = _json(path)
    entries = content.get("annotations") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise HarnessError(f"{path}: expected an object with a list 'annotations'")
    folder = path.with_suffix("")
    if not folder.is_dir():
        raise HarnessError(f"{folder}: no such folder; the PNGs of {path.name} belong there")
    by_name: dict[str, Any] = {}
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("image_id"), str):
            raise HarnessError(f"{path}: annotations[{place}]: expected an object whose 'image_id' is a frame name")
        by_name[entry["image_id"]] = (place, entry)
    found = {}
    for name in names:
        if name not in by_name:
            raise HarnessError(f"{path}: no annotation with image_id {name!r}", hint=near(name, by_name))
        place, entry = by_name[name]
        found[name] = _segments(entry, folder, f"{path}: annotations[{place}]")
    return found


def coco(path: Path, names: Iterable[str], labels: Categories) -> dict[str, list[RleMask]]:
    """Masks of every frame in a COCO result JSON: a list of {image_id, category_id, segmentation (RLE), score}.

    image_id is the frame name or its image file; numbers need {"images": [{"id", "file_name"}], "annotations": [...]}.
    Frames without an entry have no predictions. Annotations of a data set, which have `iscrowd` and no score, are sure:
    scored against themselves they have AP 1. As in pycocotools the first result decides for all: if it has a box, the
    areas of boxes say how large results are, else those of masks, whatever boxes the others have.
    """
    content = _json(path)
    images: dict[Any, str] = {}
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        listed = content.get("images")
        for image in listed if isinstance(listed, list) else ():
            if isinstance(image, dict) and isinstance(image.get("file_name"), str):
                images[_key(image.get("id"))] = image["file_name"]
        images.pop(None, None)
        content = content["annotations"]
    if not isinstance(content, list):
        raise HarnessError(f"{path}: expected a list of results")
    found: dict[str, list[RleMask]] = {name: [] for name in names}
    boxed = bool(content) and isinstance(content[0], dict) and bool(content[0].get("bbox"))
    for place, entry in enumerate(content):
        where = f"{path}: result {place}"
        if not isinstance(entry, dict):
            raise HarnessError(f"{where}: expected an object, found {type(entry).__name__}")
        key = _key(entry.get("image_id"))
        image = images.get(key, key)
        if not isinstance(image, str):
            raise HarnessError(
                f"{where}: image_id {_shown(entry.get('image_id'))} is no frame name",
                hint="give frame names, or an object with 'images' (id, file_name) and 'annotations'",
            )
        name = frame_names.owner(os.path.basename(image), found)
        if name is None:
            raise HarnessError(f"{where}: image_id {_shown(image)} is no frame of this split", hint=near(image, found))
        found[name].append(_rle(entry, where, labels, boxed=boxed))
    return found


def _segments(entry: Mapping[str, Any], folder: Path, where: str) -> Segments:
    file, listed = entry.get("file_name"), entry.get("segments_info")
    if not isinstance(file, str) or not isinstance(listed, list):
        raise HarnessError(f"{where}: expected 'file_name' and a list 'segments_info'")
    path, top = os.path.abspath(folder / file), os.path.abspath(folder)
    if os.path.commonpath([path, top]) != top:
        raise HarnessError(f"{where}: the file {file!r} lies outside {folder}")
    labels = {}
    for place, segment in enumerate(listed):
        found = segment if isinstance(segment, dict) else {}
        id_, label = _whole(found.get("id")), _whole(found.get("category_id"))
        if id_ is None or label is None or not 0 <= id_ < 1 << 24:
            raise HarnessError(
                f"{where}.segments_info[{place}]: expected whole numbers 'id' (24 bit) and 'category_id'"
            )
        labels[id_] = label
    return Segments(Path(path), labels)


def _rle(entry: Mapping[str, Any], where: str, labels: Categories, *, boxed: bool) -> RleMask:
    mask, label = entry.get("segmentation"), _whole(entry.get("category_id"))
    score = entry.get("score", 1.0 if "iscrowd" in entry else None)
    if (
        not isinstance(mask, dict)
        or not isinstance(mask.get("counts"), str | list)
        or not isinstance(mask.get("size"), list)
    ):
        raise HarnessError(
            f"{where}: expected a 'segmentation' with 'size' and 'counts' (run lengths; polygons are no masks)"
        )
    if not _is_finite(score):
        raise HarnessError(f"{where}: the score must be a finite number, found {_shown(score)}")
    if label is None or label not in labels.by_id:
        raise HarnessError(
            f"{where}: category_id {_shown(entry.get('category_id'))} is no label id of {labels.name}",
            hint="expected label ids, not train ids or COCO's categories",
        )
    if len(mask["size"]) != 2 or not all(_is_whole(side) for side in mask["size"]):
        raise HarnessError(f"{where}: the mask's size must be [height, width], found {_shown(mask['size'])}")
    if isinstance(mask["counts"], list) and not all(_is_whole(n) and 0 <= n < 1 << 31 for n in mask["counts"]):
        raise HarnessError(f"{where}: the mask's run lengths must be whole numbers of at least 0")
    box = entry.get("bbox") if boxed else None
    if boxed and not (isinstance(box, list) and len(box) == 4 and all(map(_is_finite, box))):
        raise HarnessError(
            f"{where}: 'bbox' must be [left, top, width, height], found {_shown(box)}",
            hint="give every result a box or none: the first has one, so boxes say how large results are",
        )
    area = float(box[2]) * float(box[3]) if box else None
    return RleMask(label, float(score), mask["counts"], tuple(mask["size"]), area, where)


def _number(text: str, where: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise HarnessError(f"{where}: the {what} is no number: {text!r}") from None
    if not math.isfinite(value):
        raise HarnessError(f"{where}: the {what} must be finite, found {text!r}")
    return value


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: Any) -> TypeGuard[float]:
    """Return whether `value` is a number that a float holds."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _whole(value: Any) -> int | None:
    """Return a whole number, 26.0 as 26 too, which is the same number to the official scripts; None for anything
    else."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if _is_whole(value) else None


def _key(value: Any) -> str | int | None:
    """Return what an image is called: a name or a number; None for anything else."""
    return value if isinstance(value, str) else _whole(value)


def _shown(value: Any) -> str:
    """Return the beginning of a value, for a message."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _json(path: Path) -> Any:
    try:
        return json.loads(_text(path))  # NaN too, so that the result that holds it is named
    except json.JSONDecodeError as error:
        raise HarnessError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, too deep a nesting
        raise HarnessError(f"{path}: not JSON that can be read: {error}") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # without the byte order mark that some editors write
    except FileNotFoundError:
        raise HarnessError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise HarnessError(f"{path}: not text: {error}") from None
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read: {error.strerror or error}") from None
