"""Metrics read these views of a frame's prediction: a label map, a panoptic map, or instances.

A prediction gives its pixels, and what lies over what: counts against the ground truth. From files both are read when
they are first asked for, so that a metric of counts keeps no image (harness/metrics/reader.py). A metric can't tell
the two apart. Not here: where the files of a frame are (inputs.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.core.errors import HarnessError
from harness.data import png, rle
from harness.data.labels import LabelSet
from harness.metrics import inputs, pixels
from harness.metrics.base import Target
from harness.metrics.pixels import Pairs, Under
from harness.metrics.reader import Reader, sized


@dataclass(frozen=True, eq=False)
class LabelMap:
    """The kind "semantic": `ids` [H, W] are label ids; `source` is the file for messages."""

    ids: np.ndarray
    source: str = "prediction"

    def counts(self, target: Target) -> Pairs:
        """Return how many pixels have which pair of instance id and predicted label id."""
        return pixels.pairs(target.ids, _same_size(self.ids, target))


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The kind "panoptic": segment ids [H, W] (0 void), and the label id of every segment."""

    ids: np.ndarray
    labels: Mapping[int, int]
    source: str = "prediction"

    def counts(self, target: Target) -> Pairs:
        """Return how many pixels have which pair of instance id and predicted segment id."""
        return pixels.pairs(target.ids, _same_size(self.ids, target))


@dataclass(frozen=True, eq=False)
class Detection:
    """One predicted instance; the kinds "instances" and "coco" are lists of them. `mask` [H, W] is non-zero inside."""

    label_id: int
    score: float
    mask: np.ndarray
    box_area: float | None = None
    """Area of the box that a COCO result states; None: it states none."""

    def under(self, target: Target) -> Under:
        """Return the ids of the ground truth under the mask, ascending, and how many pixels of each."""
        if not np.isfinite(self.score):
            raise HarnessError(f"a predicted mask has the score {self.score}")
        return pixels.under(_same_size(self.mask, target), target.ids)


class LabelFile(NamedTuple):
    """A PNG of label ids."""

    path: Path

    def open(self, read: Reader, target: Target) -> LabelMap:
        """Open the label map of the file."""
        return _LabelFile(self.path, read, target)


class SegmentFile(NamedTuple):
    """A PNG of segment ids and the label id of every segment."""

    path: Path
    labels: dict[int, int]

    def open(self, read: Reader, target: Target) -> Segmentation:
        """Open the panoptic map of the file."""
        return _SegmentFile(self.path, self.labels, read, target)


class MaskFiles(NamedTuple):
    """The text file of a frame, which names masks inside `root`."""

    path: Path
    root: Path
    meaning: inputs.Categories | None = None
    """What its ids mean; None: label ids."""

    def open(self, read: Reader, target: Target) -> list[Detection]:
        """Open the instances of the frame."""
        meaning = self.meaning or target.labels
        return [_MaskFile(line, read, target) for line in inputs.mask_lines(self.path, self.root, meaning)]


class RleMasks(NamedTuple):
    """The entries of a frame in a COCO result JSON."""

    entries: list[inputs.RleMask]

    def open(self, read: Reader, target: Target) -> list[Detection]:
        """Open the instances of the frame."""
        return [_RunLengths(entry, target) for entry in self.entries]


Located = LabelFile | SegmentFile | MaskFiles | RleMasks
"""Where the prediction of a frame is; small, so that it travels to other processes."""


def locate(
    kind: str,
    source: Path,
    split: str,
    names: Iterable[str],
    labels: LabelSet,
    meaning: inputs.Categories | None = None,
) -> Mapping[str, Located]:
    """Return where the prediction of every frame is; HarnessError for what is missing or malformed.

    `meaning`: what ids in the files mean, where they are no label ids; what is opened then has their ids.

    `source` of "semantic": a folder with <frame>*.png; of "panoptic": <labels>_panoptic_<split>.json or its folder;
    of "instances" and "coco": a folder with <frame>*.txt, or a COCO result JSON.
    """
    names = list(names)
    if kind == "semantic":
        return {name: LabelFile(path) for name, path in inputs.find(source, names, ".png").items()}
    if kind == "panoptic":
        return {name: SegmentFile(*found) for name, found in inputs.panoptic(source, split, names, labels).items()}
    if source.suffix == ".json":
        return {name: RleMasks(entries) for name, entries in inputs.coco(source, names, meaning or labels).items()}
    return {name: MaskFiles(path, source, meaning) for name, path in inputs.find(source, names, ".txt").items()}


class _LabelFile(LabelMap):
    _path: Path
    _read: Reader
    _target: Target

    def __init__(self, path: Path, read: Reader, target: Target) -> None:
        vars(self).update(source=str(path), _path=path, _read=read, _target=target)

    @cached_property
    def ids(self) -> np.ndarray:
        return sized(png.read_labels(self._path), self._path, self._target)

    def counts(self, target: Target) -> Pairs:
        return self._counts

    @cached_property
    def _counts(self) -> Pairs:
        return self._read.labels(self._path, self._target)


class _SegmentFile(Segmentation):
    _path: Path
    _read: Reader
    _target: Target

    def __init__(self, path: Path, labels: Mapping[int, int], read: Reader, target: Target) -> None:
        vars(self).update(labels=labels, source=str(path), _path=path, _read=read, _target=target)

    @cached_property
    def ids(self) -> np.ndarray:
        return sized(png.read_segments(self._path), self._path, self._target)

    def counts(self, target: Target) -> Pairs:
        return self._counts

    @cached_property
    def _counts(self) -> Pairs:
        return self._read.segments(self._path, self._target)


class _MaskFile(Detection):
    _line: inputs.MaskLine
    _read: Reader
    _target: Target

    def __init__(self, line: inputs.MaskLine, read: Reader, target: Target) -> None:
        vars(self).update(label_id=line.label_id, score=line.score, box_area=None, _line=line)
        vars(self).update(_read=read, _target=target)

    @cached_property
    def mask(self) -> np.ndarray:
        return sized(png.read_mask(self._line.path), self._line.path, self._target)

    def under(self, target: Target) -> Under:
        return self._under

    @cached_property
    def _under(self) -> Under:
        try:
            return self._read.under(self._line.path, self._target, self._target.regions)
        except HarnessError as error:
            raise HarnessError(f"{self._line.where}: {error.message}", hint=error.hint) from None


class _RunLengths(Detection):
    _entry: inputs.RleMask
    _target: Target

    def __init__(self, entry: inputs.RleMask, target: Target) -> None:
        vars(self).update(label_id=entry.label_id, score=entry.score, box_area=entry.box_area)
        vars(self).update(_entry=entry, _target=target)

    @cached_property
    def mask(self) -> np.ndarray:
        flat = np.zeros(self._target.size[0] * self._target.size[1], np.uint8)
        for start, length in zip(*self._runs, strict=True):
            flat[start : start + length] = 1
        return flat.reshape(self._target.size[::-1]).T

    def under(self, target: Target) -> Under:
        return self._under

    @cached_property
    def _under(self) -> Under:
        return pixels.under_runs(*self._runs, self._target.columns)

    @cached_property
    def _runs(self) -> rle.Runs:
        entry, size = self._entry, self._target.size
        if entry.size != size:
            found, expected = (f"{side[1]} x {side[0]}" for side in (entry.size, size))
            raise HarnessError(
                f"{entry.where}: {found} pixels, but its ground truth {self._target.source} has {expected}"
            )
        try:
            return rle.decode(entry.counts, *size)
        except HarnessError as error:
            raise HarnessError(f"{entry.where}: {error.message}") from None


def _same_size(drawn: np.ndarray, target: Target) -> np.ndarray:
    if drawn.shape != target.size:
        raise HarnessError(f"the prediction is {drawn.shape}, {target.source} is {target.size}")
    return drawn
