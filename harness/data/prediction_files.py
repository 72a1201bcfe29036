"""Predictions are stored in the formats of the official evaluation scripts, so that other tools can score them too.

instances/<frame>.txt with masks/*.png beside it, semantic/<frame>_pred_labelIds.png,
panoptic/<label set>_panoptic_<split>.json with its folder of PNGs. A frame counts as written when its entry under
entries/ stands; `finish` joins the entries.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.core.config import parse_json, read_json
from harness.core.errors import HarnessError
from harness.core.files import replace, write_bytes
from harness.data import frame_names
from harness.data.coco_panoptic import file_stem
from harness.data.labels import LabelSet
from harness.data.prediction import Instance, Prediction, Segment

ENTRIES = "entries"

log = logging.getLogger(__name__)


def write(
    root: Path,
    split: str,
    name: str,
    prediction: Prediction,
    labels: LabelSet,
    *,
    exact: bool = False,
    made_from: str = "",
) -> None:
    """Write the predictions of one frame; its entry comes last, so a frame with an entry is whole.

    `exact`: scores with all their digits, not eight decimals. `made_from`: what the answers were made from, a hash say.
    The entry holds it, and the hash of each file that was written.
    """
    files: list[Path] = []
    if prediction.instances is not None:
        files += _write_instances(root / "instances", name, prediction.instances, "r" if exact else ".8f")
    if prediction.semantic is not None:
        files.append(root / "semantic" / f"{name}_pred_labelIds.png")
        _save(files[-1], prediction.semantic.astype(np.uint8))
    entry: dict[str, Any] = {"tasks": _tasks(prediction)} | ({"made_from": made_from} if made_from else {})
    if prediction.panoptic is not None:
        file_name = f"{name}_panoptic.png"
        entry["annotation"] = _annotation(name, file_name, prediction.panoptic, prediction.segments)
        files.append(root / "panoptic" / file_stem(labels, split) / file_name)
        _save(files[-1], _coloured(prediction.panoptic))
    entry["files"] = {path.relative_to(root).as_posix(): hash_of(path) for path in files}
    write_bytes(root / ENTRIES / f"{name}.json", json.dumps(entry, sort_keys=True).encode())


def written(root: Path, name: str, made_from: str = "") -> bool:
    """Return whether the frame's predictions are whole, unchanged since, and `made_from` this; damage is logged."""
    path = root / ENTRIES / f"{name}.json"
    if not path.is_file():
        return False
    try:
        entry = parse_json(path.read_text(encoding="utf-8"))
        if entry.get("made_from", "") != made_from:
            return False
        changed = [file for file, found in entry["files"].items() if not _is(root / file, found)]
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        changed = [path.relative_to(root).as_posix()]
    if changed:
        log.warning("%s is damaged or gone: the frame %s is answered again", root / changed[0], name)
    return not changed


def _is(path: Path, found: str) -> bool:
    try:
        return hash_of(path) == found
    except OSError:
        return False


def hash_of(path: Path) -> str:
    """Return the hash of all that a file holds, 32 hex digits; OSError when it can't be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def finish(root: Path, split: str, names: Sequence[str], labels: LabelSet) -> list[str]:
    """Join the entries of all frames into the panoptic JSON; return the tasks. HarnessError for a missing
    frame.
    """
    entries = []
    for name in names:
        path = root / ENTRIES / f"{name}.json"
        if not path.is_file():
            raise HarnessError(f"{root}: no prediction for the frame {name}", hint="run the prediction again")
        entries.append(read_json(path, "record of a prediction", hint="remove it, and run the prediction again"))
    annotations = [entry["annotation"] for entry in entries if "annotation" in entry]
    if annotations:
        path = root / "panoptic" / f"{file_stem(labels, split)}.json"
        write_bytes(path, json.dumps({"annotations": annotations}, indent=1).encode())
    return entries[0]["tasks"] if entries else []


def _tasks(prediction: Prediction) -> list[str]:
    there = {"instance": prediction.instances, "semantic": prediction.semantic, "panoptic": prediction.panoptic}
    return [task for task, answer in there.items() if answer is not None]


def _write_instances(folder: Path, name: str, found: Sequence[Instance], digits: str) -> list[Path]:
    lines, files = [], []
    for number, instance in enumerate(found):
        path = f"masks/{frame_names.without_spaces(name)}_{number}.png"
        files.append(folder / path)
        _save(files[-1], instance.mask.astype(np.uint8) * 255)
        score = repr(float(instance.score)) if digits == "r" else format(instance.score, digits)
        lines.append(f"{path} {instance.label_id} {score}\n")
    files.append(folder / f"{name}.txt")
    write_bytes(files[-1], "".join(lines).encode())
    return files


def _annotation(name: str, file_name: str, panorama: np.ndarray, segments: Sequence[Segment]) -> dict[str, Any]:
    areas = np.bincount(panorama.ravel(), minlength=len(segments) + 1)
    info = [{"id": s.id, "category_id": s.label_id, "area": int(areas[s.id]), "iscrowd": 0} for s in segments]
    return {"image_id": name, "file_name": file_name, "segments_info": info}


def _coloured(panorama: np.ndarray) -> np.ndarray:
    """Segment ids as COCO panoptic colours: id = R + 256 G + 65536 B."""
    return np.stack([panorama & 255, panorama >> 8 & 255, panorama >> 16 & 255], axis=-1).astype(np.uint8)


def _save(path: Path, pixels: np.ndarray) -> None:
    # Predictions are read once and masks compress well: the fastest level writes three times quicker at the same size.
    replace(path, lambda new: Image.fromarray(pixels).save(new, format="PNG", compress_level=1))
