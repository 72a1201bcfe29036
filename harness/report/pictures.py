"""This module embeds the pictures of a report: samples of the syntheses, and predictions beside ground truth.

Which instances and frames are shown depends on the data alone, so that two reports show the same ones. numpy and Pillow
are imported by this file; only a report that shows pictures imports it.
"""

import base64
import colorsys
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from harness.data.base import Dataset, Frame
from harness.data.labels import LabelSet
from harness.data.png import read_image
from harness.data.tree import Tree
from harness.metrics.inputs import mask_lines
from harness.synthesis.manifest import WHOLE, Key, ManifestEntry, first_variants, read_manifest, shared

SAMPLES = 12
FRAMES = 4
FAILURES = 3
THUMB = 128
WIDE = 360
OPACITY = 0.55

Item = TypeVar("Item")
_Pictures = tuple["Picture | None", ...]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An embedded image with what it shows in words; `note` stands below it."""

    uri: str
    alt: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Pictures in rows and columns; `heads` name the rows. None: nothing to show there."""

    title: str
    text: str
    columns: tuple[str, ...]
    heads: tuple[str, ...]
    rows: tuple[tuple[Picture | None, ...], ...]
    folded: bool = False
    """Whether a reader opens it."""

    small: bool = False
    """Whether its pictures are crops, of which more stand side by side than whole frames."""


def sample_grids(syntheses: Mapping[str, Path], *, limit: int = SAMPLES) -> list[Grid]:
    """Return the same instances in every synthesis (label to folder): what was made of each, and where it was pasted.

    Those that most syntheses have come first; a synthesis that lacks one shows nothing there. What only copies the real
    crop is not shown as generated. Empty when there is no repainted instance.
    """
    made = {label: found for label, folder in syntheses.items() if (found := first_variants(folder))}
    if not made:
        return []
    labels = Tree(syntheses[next(iter(made))]).labels
    chosen = _spread_over_classes(shared(made.values()), limit, labels)
    keys = [(entry.source, entry.instance) for entry in chosen]
    real, generated, pasted = list[_Pictures](), list[_Pictures](), list[_Pictures]()
    repaint = [label for label, entries in made.items() if not _copies(syntheses[label], entries, keys)]
    for key in keys:
        first = next(label for label in made if key in made[label])
        folder, entry = syntheses[first], made[first][key]
        real.append((_file(folder, entry.real, "real crop"), _file(folder, entry.mask, "mask")))
        mine = {label: entries.get(key) for label, entries in made.items()}
        generated.append(tuple(_generated(syntheses[label], mine[label], label) for label in repaint))
        pasted.append(tuple(pic for label in made for pic in _placed(syntheses[label], mine[label], label)))
    heads = tuple(f"{one.class_name}, instance {one.instance} of {one.source}: “{one.prompt}”" for one in chosen)
    whole = Grid(
        title="What the generators made",
        text="Rows: the same instances in every report of this data.",
        columns=("real crop", "mask", *repaint),
        heads=heads,
        rows=tuple(map(_joined, real, generated)),
        small=True,
    )
    placed = Grid(
        title="What the training images hold there",
        text="Pasted: the place of the instance in the training image, which is the focused crop beside it.",
        columns=("real crop", "mask", *(f"{label}: {what}" for label in made for what in ("pasted", "focused crop"))),
        heads=heads,
        rows=tuple(map(_joined, real, pasted)),
        folded=True,
    )
    return [whole, placed] if repaint else [placed]


def whole_grid(folder: Path, frames: Mapping[str, Frame], label: str, *, limit: int = FRAMES) -> Grid:
    """Whole images that a generator gave (its tree in `folder`) beside their frames (by name), with their instances."""
    tree = Tree(folder)
    made = {entry.name: entry for entry in read_manifest(folder) if entry.instance == WHOLE}
    of_frame = {entry.source: entry for entry in reversed(made.values())}
    shown = _evenly([of_frame[name] for name in sorted(of_frame)], limit)
    places = {frame.name: frame for frame in tree.frames("train") if frame.name in {entry.name for entry in shown}}
    rows = []
    for entry in shown:
        source, image = frames[entry.source].read_image(), places[entry.name].read_image()
        masks = _true_masks(places[entry.name].read_ids(), tree.labels)
        rows.append(
            (
                Picture(uri=_jpeg(source, WIDE), alt=f"{entry.source}, real"),
                Picture(uri=_jpeg(image, WIDE), alt=f"{entry.source}, {label}"),
                _overlay(image, masks, tree.labels, f"{entry.source}, {label}: labels"),
            )
        )
    return Grid(
        title=f"Images of {label}",
        text=f"{len(made)} images of {len(of_frame)} frames, made elsewhere; a first one of some frames is shown.",
        columns=("real frame", label, f"{label}: labels"),
        heads=tuple(entry.source for entry in shown),
        rows=tuple(rows),
    )


def prediction_grid(
    dataset: Dataset,
    predictions: Mapping[str, Path],
    *,
    split: str = "val",
    names: Sequence[str] = (),
    confidence: float,
    title: str = "Predictions beside ground truth",
    notes: Mapping[str, str] | None = None,
) -> Grid | None:
    """Return frames with ground truth and every prediction (label to folder) of at least that confidence, 0..1.

    `names`: which frames; by default four, evenly spaced over the split. None when there is nothing predicted.
    """
    every = dataset.frames(split)
    shown = [frame for frame in every if frame.name in set(names)] if names else _evenly(every, FRAMES)
    if not shown or not predictions:
        return None
    rows = []
    for frame in shown:
        image = frame.read_image()
        row: list[Picture | None] = [Picture(uri=_jpeg(image, WIDE), alt=f"{frame.name}, image")]
        masks = _true_masks(frame.read_ids(), dataset.labels)
        row.append(_overlay(image, masks, dataset.labels, f"{frame.name}, ground truth"))
        for label, folder in predictions.items():
            row.append(_predicted(image, frame, folder, dataset.labels, label, confidence))
        rows.append(tuple(row))
    return Grid(
        title=title,
        text=f"Instances of at least {confidence:g} confidence, the same for every row of the table. Each class has a "
        "colour of its own, lighter or darker by instance.",
        columns=("image", "ground truth", *predictions),
        heads=tuple(f"{frame.name}{(notes or {}).get(frame.name, '')}" for frame in shown),
        rows=tuple(rows),
    )


def _spread_over_classes(entries: Iterable[ManifestEntry], limit: int, labels: LabelSet) -> list[ManifestEntry]:
    """Return the largest instances, taken class by class in turn."""
    ordered = sorted(entries, key=lambda entry: (-entry.area, entry.source, entry.instance))
    by_class = {label.id: [entry for entry in ordered if entry.label_id == label.id] for label in labels.things}
    chosen: list[ManifestEntry] = []
    while len(chosen) < limit and any(by_class.values()):
        for queue in by_class.values():
            if queue and len(chosen) < limit:
                chosen.append(queue.pop(0))
    return sorted(chosen, key=lambda entry: (entry.label_id, -entry.area, entry.source, entry.instance))


def _copies(folder: Path, entries: Mapping[Key, ManifestEntry], keys: Iterable[Key]) -> bool:
    """Return whether every crop is the real one, pixel by pixel."""
    mine = [entry for key in keys if (entry := entries.get(key)) and entry.real and entry.generated]
    return bool(mine) and all(
        np.array_equal(read_image(folder / str(entry.real)), read_image(folder / str(entry.generated)))
        for entry in mine
    )


def _generated(folder: Path, entry: ManifestEntry | None, label: str) -> Picture | None:
    return _file(folder, entry.generated, f"{label}: generated") if entry else None


def _placed(folder: Path, entry: ManifestEntry | None, label: str) -> _Pictures:
    if entry is None:
        return (None, None)
    return (_pasted(folder, entry, label), _file(folder, entry.file, f"{label}: focused crop", wide=True))


def _joined(first: _Pictures, second: _Pictures) -> _Pictures:
    return (*first, *second)


def _pasted(folder: Path, entry: ManifestEntry, label: str) -> Picture | None:
    """Return the instance's square, cut out of the training image."""
    if entry.file is None or entry.window is None:
        return None
    image = read_image(folder / entry.file)
    x0, y0, x1, y1 = entry.window
    scale_x, scale_y = image.shape[1] / (x1 - x0), image.shape[0] / (y1 - y0)
    left, top, right, bottom = entry.square
    box = (round((left - x0) * scale_x), round((top - y0) * scale_y))
    end = (round((right - x0) * scale_x), round((bottom - y0) * scale_y))
    cut = image[max(box[1], 0) : max(end[1], 0), max(box[0], 0) : max(end[0], 0)]
    return Picture(uri=_jpeg(cut, THUMB, enlarge=True), alt=f"{label}: pasted") if cut.size else None


def _file(folder: Path, name: str | None, alt: str, *, wide: bool = False) -> Picture | None:
    if name is None or not (folder / name).is_file():
        return None
    with Image.open(folder / name) as image:
        side = WIDE // 2 if wide else THUMB
        return Picture(uri=_jpeg(np.asarray(image.convert("RGB")), side, enlarge=True), alt=alt)


def _predicted(
    image: np.ndarray, frame: Frame, folder: Path, labels: LabelSet, label: str, confidence: float
) -> Picture | None:
    path = folder / "instances" / f"{frame.name}.txt"
    if not path.is_file():
        return None
    masks = []
    for line in sorted(mask_lines(path, folder / "instances", labels), key=lambda line: line.score):
        if line.score >= confidence:
            with Image.open(line.path) as mask:
                masks.append((line.label_id, np.asarray(mask) > 0))
    return _overlay(image, masks, labels, f"{frame.name}, {label}")


def _true_masks(ids: np.ndarray, labels: LabelSet) -> list[tuple[int, np.ndarray]]:
    found = [(labels.label_of(value), value) for value in np.unique(ids).tolist() if labels.is_instance(value)]
    return [(label_id, ids == value) for label_id, value in found if label_id in labels.thing_index]


def _overlay(image: np.ndarray, masks: Sequence[tuple[int, np.ndarray]], labels: LabelSet, alt: str) -> Picture:
    """Return the image in grey with its instances in colour, each outlined."""
    grey = image.mean(axis=2, keepdims=True)
    canvas = np.repeat(grey, 3, axis=2) * 0.8
    for order, (label_id, mask) in enumerate(masks):
        color = class_color(label_id, labels) * (0.7 + 0.15 * (order % 3))
        canvas[mask] = (1 - OPACITY) * image[mask] + OPACITY * color
        canvas[mask & ~_eroded(mask)] = 255
    named = [labels.by_id[label_id].name for label_id, _ in masks]
    counted = ", ".join(f"{named.count(name)} {name}" for name in sorted(set(named)))
    return Picture(uri=_jpeg(canvas.clip(0, 255).astype(np.uint8), WIDE), alt=alt, note=counted or "no instance")


def class_color(label_id: int, labels: LabelSet) -> np.ndarray:
    """RGB in 0..255 of a class with instances: hues lie evenly round the wheel, those of neighbours in the list apart.

    The benchmark's own colours call car, truck, bus and train four shades of one dark blue.
    """
    place, count = labels.thing_index[label_id], len(labels.things)
    step = next(step for step in range(max(count * 3 // 8, 1), count + 2) if math.gcd(step, count) == 1)
    return 255 * np.array(colorsys.hsv_to_rgb(place * step % count / count, 0.85, 1.0))


def _eroded(mask: np.ndarray) -> np.ndarray:
    inner = mask.copy()
    inner[1:] &= mask[:-1]
    inner[:-1] &= mask[1:]
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    return inner


def _evenly(items: Sequence[Item], count: int) -> list[Item]:
    count = min(count, len(items))
    return [items[(2 * place + 1) * len(items) // (2 * count)] for place in range(count)]


def _jpeg(image: np.ndarray, side: int, *, enlarge: bool = False) -> str:
    """Return a data URI of the image, shrunk (or enlarged) to `side` pixels on its longer side."""
    picture = Image.fromarray(np.ascontiguousarray(image))
    scale = side / max(picture.size)
    if scale < 1 or enlarge:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=82, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
