"""Small frames made by hand, and their results on disk, for tests that look at one case."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from harness.data.cityscapes import CITYSCAPES
from harness.metrics.base import Target

ROAD, SKY, PERSON, CAR, BUS = 7, 23, 24, 26, 28


def canvas(*boxes: tuple[int, tuple[int, int, int, int]], size: tuple[int, int] = (40, 60)) -> np.ndarray:
    """Instance ids uint16: road, and on it (id, (top, left, bottom, right)), later ones on top."""
    ids = np.full(size, ROAD, np.uint16)
    for id_, (top, left, bottom, right) in boxes:
        ids[top:bottom, left:right] = id_
    return ids


def mask(top: int, left: int, bottom: int, right: int, *, size: tuple[int, int] = (40, 60)) -> np.ndarray:
    """A rectangle as uint8 0/255."""
    result = np.zeros(size, np.uint8)
    result[top:bottom, left:right] = 255
    return result


def target(*boxes: tuple[int, tuple[int, int, int, int]]) -> Target:
    """The canvas as ground truth."""
    return Target(ids=canvas(*boxes), labels=CITYSCAPES)


def write_truth(root: Path, name: str, ids: np.ndarray) -> Path:
    """instanceIds of a frame of the val split; its path."""
    path = root / "gtFine" / "val" / name.split("_")[0] / f"{name}_gtFine_instanceIds.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(ids.astype(np.uint16)).save(path)
    return path


def write_instances(folder: Path, name: str, *detections: tuple[int, float, np.ndarray]) -> Path:
    """The .txt of a frame with its masks; its path."""
    (folder / "masks").mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (label, score, pixels) in enumerate(detections):
        Image.fromarray(pixels).save(folder / "masks" / f"{name}_{number}.png")
        lines.append(f"masks/{name}_{number}.png {label} {score!r}\n")
    path = folder / f"{name}.txt"
    path.write_text("".join(lines))
    return path


def write_semantic(folder: Path, name: str, labels: np.ndarray) -> Path:
    """The label ids of a frame; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_pred_labelIds.png"
    Image.fromarray(labels.astype(np.uint8)).save(path)
    return path


def write_panoptic(folder: Path, **frames: tuple[np.ndarray, dict[int, int]]) -> Path:
    """Segment ids and label ids of frames; the path of the JSON."""
    pictures = folder / "cityscapes_panoptic_val"
    pictures.mkdir(parents=True, exist_ok=True)
    annotations = []
    for name, (ids, labels) in frames.items():
        ids = ids.astype(np.int64)
        colors = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
        Image.fromarray(colors).save(pictures / f"{name}.png")
        segments = [{"id": segment, "category_id": label} for segment, label in labels.items()]
        annotations.append({"image_id": name, "file_name": f"{name}.png", "segments_info": segments})
    path = folder / "cityscapes_panoptic_val.json"
    path.write_text(json.dumps({"annotations": annotations}))
    return path
