"""A data set has splits of frames, each with an image and ids of pixels, and a label set that says what the ids mean.

DATASETS names the classes; a part (configs/datasets/<name>.toml) names one of them and holds its options. A data set is
found on disk, or made by the harness. Stages get it as their input `dataset`.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from harness.core.config import Specification
from harness.core.errors import HarnessError
from harness.core.progress import Report
from harness.core.registry import Adapter, Registry
from harness.data import frame_names, png
from harness.data.cityscapes import CITYSCAPES
from harness.data.labels import LabelSet


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One annotated image.

    `name` is of the grammar of frame_names.py, as the scripts of Cityscapes demand, and is unique in its split;
    `city` is the group that a bootstrap over groups draws. A data set whose ids lie in another form than 16-bit grey
    PNG has a subclass with its own `read_ids`.
    """

    name: str
    city: str
    split: str
    image: Path
    instance_ids: Path
    """The file that the ids come from."""

    is_plain: ClassVar[bool] = True
    """Whether `instance_ids` is a 16-bit grey PNG of the ids themselves, which fast readers may open on their own."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of the frame."""
        return self.image, self.instance_ids

    def read_image(self) -> np.ndarray:
        """Read the image, uint8 [H, W, 3] RGB; HarnessError when the file is missing, truncated or not 8-bit."""
        return png.read_image(self.image)

    def read_ids(self) -> np.ndarray:
        """Ids of pixels in the encoding of the label set, uint16 [H, W]; HarnessError when they can't be read."""
        return png.read_ids(self.instance_ids)

    def depth_files(self) -> tuple[Path, Path] | None:
        """Disparity and camera file of Cityscapes, for scores by distance; None where the frame has none."""
        return None

    def annotated_as(self, other: Self) -> Self:
        """This image with the annotation of another frame of the same data set."""
        return replace(self, instance_ids=other.instance_ids)


def known_ids(frame: Frame, labels: LabelSet) -> np.ndarray:
    """Return the ids of a frame, uint16 [H, W]; HarnessError when one is of no label."""
    ids = frame.read_ids()
    strange = ~labels.known[ids]
    if strange.any():
        raise HarnessError(
            f"{frame.instance_ids}: instance id {ids[strange].min()} is of no label of {labels.name}",
            hint=f"ids are a label id, or, of a class with instances, {labels.divisor} x label id + number",
        )
    return ids


class DatasetPart(Specification):
    """A file of configs/datasets: every data set has these keys, and those that the `Part` of its class adds."""

    NOT_IN_KEY: ClassVar[dict[str, Any]] = {"label": True, "whole": True}

    label: str
    """Name in tables and titles."""
    adapter: str
    """Name in the registry of data sets."""
    whole: dict[str, tuple[int, int]] = {}
    """Frames and cities of each split of the benchmark that printed numbers are about; empty: none are about it."""

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """Parse as pydantic does; what is parsed as a `DatasetPart` becomes the `Part` of the adapter that it names."""
        model: Any = part_model(json.loads(json_data)) if cls is DatasetPart else cls
        parsed: Self = (
            super().model_validate_json(json_data, **options)
            if model is cls
            else model.model_validate_json(json_data, **options)
        )
        return parsed


class Dataset(Adapter, ABC):
    """A data set in its folder. The registry names subclasses: one that is `found` lies under a data root of the user,
    any other is written by `make` into the store.
    """

    Part: ClassVar[type[DatasetPart]] = DatasetPart
    found: ClassVar[bool] = True
    LAYOUT: ClassVar[str] = ""
    """Of a found one: what the data root holds, for messages."""
    VERSION: ClassVar[int] = 1
    """Of a made one: raise it when `make` writes something else for the same part."""

    def __init__(self, root: Path | None, part: DatasetPart) -> None:
        """`root` is None while a data set that is yet to be made is planned."""
        self._root, self.part = root, part

    @property
    def root(self) -> Path:
        """The folder that it lies in."""
        assert self._root is not None, f"{self.part.label} is not made yet"
        return self._root

    @property
    @abstractmethod
    def labels(self) -> LabelSet:
        """Return the label set, which says what its ids mean."""

    @abstractmethod
    def frames(self, split: str) -> Sequence[Frame]:
        """Return the annotated frames of a split, sorted by name; HarnessError when there are none or a file is
        missing.
        """

    def names(self, split: str) -> Collection[str] | None:
        """The names of the frames of a split; None where they are not known before the data set is made."""
        return {frame.name for frame in self.frames(split)} if self.found else None

    def truths(self, split: str) -> Sequence[Frame]:
        """Return the frames of a split for an evaluation: unlike in `frames`, the image of one may be missing."""
        return self.frames(split)

    def shortfall(self) -> str:
        """Return what is missing of the whole benchmark, as a clause; empty where nothing is."""
        if not self.part.whole:
            return f"no printed numbers are about {self.part.label}"
        lacking = []
        for split, (frames, cities) in self.part.whole.items():
            found = self.frames(split)
            counts = len(found), len({frame.city for frame in found})
            if counts != (frames, cities):
                lacking.append(f"{split} has {counts[0]} frames of {counts[1]} cities, expected {frames} of {cities}")
        return "; ".join(lacking)

    def fingerprint(self) -> str:
        """Return a hash that identifies a found data set: names and sizes of the files of train and val, and labels.

        HarnessError for a folder that is not in the expected layout, and a name that is none of a frame.
        """
        digest = hashlib.sha256()
        for split in ("train", "val"):
            for frame in self.frames(split):
                frame_names.checked(frame.name, frame.image)
                for path in frame.files:
                    digest.update(f"{path.relative_to(self.root)}\0{path.stat().st_size}\n".encode())
        digest.update(labels_key(self.labels).encode())
        return digest.hexdigest()

    def make(self, report: Report) -> dict[str, Any]:
        """Write a made data set into `root`, going on where an earlier call stopped; return facts for the manifest."""
        raise NotImplementedError(f"{type(self).__name__} is found, not made")


DATASETS: Registry[Dataset] = Registry(
    "dataset",
    {
        "cityscapes": "harness.data.tree:Tree",
        "coco_panoptic": "harness.data.sets.coco:CocoPanoptic",
        "folder": "harness.data.sets.described:FolderDataset",
        "streets": "harness.data.streets.adapter:Streets",
        "vistas": "harness.data.sets.vistas:Vistas",
    },
    base=Dataset,
)


def open_dataset(part: Specification, root: Path | None) -> Dataset:
    """The data set of a part at its place; HarnessError for an adapter that is not known."""
    assert isinstance(part, DatasetPart), f"not the part of a data set: {part!r}"
    return DATASETS.load(part.adapter)(root, part)


def part_model(content: Mapping[str, Any]) -> type[DatasetPart]:
    """Return what the content of a part is parsed by; HarnessError for an adapter that is not known."""
    name = content.get("adapter")
    return DATASETS.load(name).Part if isinstance(name, str) else DatasetPart


IMPLIED = CITYSCAPES
"""The labels of whatever says nothing of its labels: a tree without labels.json, the weights that others publish, and
keys, trainings and statistics from before there were other labels."""


def labels_key(labels: LabelSet) -> str:
    """Return what keys and signatures say of a label set: nothing where it is implied."""
    return "" if labels.fingerprint == IMPLIED.fingerprint else labels.fingerprint
