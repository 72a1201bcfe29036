"""A label set holds the classes of a data set, says which of them count, and decodes ids of pixels to classes and
instances.

Everything that derives from the labels (indices, tables of ids) is a cached property of the set, so that no module
keeps tables of its own. Not here: the sets themselves (cityscapes), files of frames (tree).
"""

import hashlib
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any, Self, TypeVar

import numpy as np
from pydantic import Field, model_validator

from harness.core.config import Strict

IGNORE = 255
"""What an 8-bit map of train ids holds where nothing is evaluated; detectron2 and most trainers use the same value."""

ID_COUNT = 1 << 16
"""Ids of pixels are 0 to 65535: they are stored as 16-bit PNG."""

Ids = TypeVar("Ids", int, np.ndarray)


class Label(Strict):
    """One class. It is evaluated when it has a train id, its place among the evaluated classes; else it is ignored."""

    id: int = Field(ge=-1, lt=256)
    """In label maps (8 bit) and in files of predictions; -1 for a class that no map holds."""
    name: str = Field(min_length=1)
    train_id: int = Field(default=IGNORE, ge=-1, le=IGNORE)
    """-1 and 255: ignored."""
    category: str = ""
    """The group whose IoU is scored too; empty for none."""
    is_thing: bool = False
    """Whether instances of it are told apart; otherwise it is stuff."""
    color: tuple[int, int, int] = (0, 0, 0)
    mean_size: float | None = Field(default=None, gt=0)
    """Pixels of an average instance, the weight of iIoU; absent: the class has no iIoU."""

    @property
    def ignored(self) -> bool:
        """Return whether no score counts its pixels."""
        return self.train_id in (-1, IGNORE)


class LabelSet(Strict):
    """The classes of a data set and the encoding of ids.

    The id of an instance is label id * `divisor` + number, number below `divisor`. An id below `divisor` is a label id
    alone: stuff, void, or a region of a thing class whose instances are not told apart (a group, which COCO calls a
    crowd).
    """

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    """In names of files and in messages."""
    labels: tuple[Label, ...]
    divisor: int = Field(default=1000, ge=2, lt=ID_COUNT)
    void: int = 0
    """Id of the label of pixels that nobody annotated, such as those of a crop that reaches over the frame."""
    border: tuple[int, ...] = ()
    """Ids of ignored labels whose pixels the camera hides: what touches them is cut off, as at the edge of a frame."""

    @model_validator(mode="after")
    def _is_whole(self) -> "LabelSet":
        for kind, values in (("id", [str(x.id) for x in self.labels]), ("name", [x.name for x in self.labels])):
            if twice := sorted({value for value in values if values.count(value) > 1}):
                raise ValueError(f"labels: two labels have the {kind} {twice[0]}")
        train_ids = sorted(label.train_id for label in self.labels if not label.ignored)
        if not train_ids or train_ids != list(range(len(train_ids))):
            raise ValueError(f"labels: expected train ids 0, 1, 2, ... once each, found {train_ids}")
        for label in self.labels:
            low = -1 if label.ignored and not label.is_thing else 1  # a panoptic file calls void 0
            high = min(256, self.divisor, ID_COUNT // self.divisor if label.is_thing else 256) - 1
            if not low <= label.id <= high:
                raise ValueError(
                    f"labels: with divisor {self.divisor} the id of {label.name} must be from {low} to {high}, "
                    f"found {label.id}"
                )
        for key, ids in (("void", (self.void,)), ("border", self.border)):
            if strange := [id_ for id_ in ids if id_ not in self.ignored]:
                raise ValueError(f"{key}: {strange[0]} is not the id of an ignored label")
        return self

    @cached_property
    def evaluated(self) -> tuple[Label, ...]:
        """The classes that count; an index into them is a train id."""
        return tuple(sorted((x for x in self.labels if not x.ignored), key=lambda label: label.train_id))

    @cached_property
    def things(self) -> tuple[Label, ...]:
        """The evaluated classes with instances, by train id."""
        return tuple(label for label in self.evaluated if label.is_thing)

    @cached_property
    def by_id(self) -> Mapping[int, Label]:
        """Every label by its id."""
        return {label.id: label for label in self.labels}

    @cached_property
    def by_name(self) -> Mapping[str, Label]:
        """Every label by its name."""
        return {label.name: label for label in self.labels}

    @cached_property
    def ignored(self) -> frozenset[int]:
        """Ids of the labels whose pixels no score counts."""
        return frozenset(label.id for label in self.labels if label.ignored)

    @cached_property
    def thing_index(self) -> Mapping[int, int]:
        """Label id to place among `things`."""
        return {label.id: index for index, label in enumerate(self.things)}

    @cached_property
    def train_ids(self) -> np.ndarray:
        """Label id to train id, uint8 [256]; IGNORE where nothing is evaluated."""
        table = np.full(256, IGNORE, np.uint8)
        table[[label.id for label in self.evaluated]] = [label.train_id for label in self.evaluated]
        return _constant(table)

    @cached_property
    def evaluated_ids(self) -> np.ndarray:
        """Train id to label id, uint8 [K]."""
        return _constant(np.array([label.id for label in self.evaluated], np.uint8))

    @cached_property
    def known(self) -> np.ndarray:
        """Return which ids of pixels name a label or an instance, bool [65536]."""
        table = np.zeros(ID_COUNT, bool)
        for label in self.labels:
            if label.id >= 0:
                table[label.id] = True
            if label.is_thing:
                table[self.divisor * label.id : self.divisor * (label.id + 1)] = True
        return _constant(table)

    @cached_property
    def thing_of_id(self) -> np.ndarray:
        """Id of an instance or group to the place of its class among `things`, int64 [65536]; -1 for all others."""
        table = np.full(ID_COUNT, -1, np.int64)
        for label_id, index in self.thing_index.items():
            table[label_id] = index
            table[self.divisor * label_id : self.divisor * (label_id + 1)] = index
        return _constant(table)

    def label_of(self, ids: Ids) -> Ids:
        """Label ids of ids of pixels: the id itself below `divisor`, else id // `divisor`."""
        if isinstance(ids, np.ndarray):
            return np.where(ids < self.divisor, ids, ids // self.divisor)
        return ids if ids < self.divisor else ids // self.divisor

    def instances_of(self, label: Label) -> range:
        """Return every id that an instance of the class may have."""
        return range(self.divisor * label.id, self.divisor * (label.id + 1))

    def is_instance(self, ids: Any) -> Any:
        """Return whether an id (or each of an array) is that of an instance; stuff, void and groups are not."""
        return ids >= self.divisor

    @cached_property
    def fingerprint(self) -> str:
        """Return what identifies the set: a hash of all that decides a result (its own name and colours do not)."""
        exclude: Any = {"name": True, "labels": {"__all__": {"color"}}}
        return hashlib.sha256(self.model_dump_json(exclude=exclude).encode()).hexdigest()[:12]

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy as pydantic does, and check again; tables made for the old fields are not copied."""
        del deep  # every field is frozen
        return type(self)(**({name: getattr(self, name) for name in type(self).model_fields} | dict(update or {})))

    def __eq__(self, other: object) -> bool:
        # Of the fields alone: tables that were made already are no part of the value.
        return isinstance(other, LabelSet) and self._as_json == other._as_json

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __reduce__(self) -> tuple[Any, ...]:
        # Unpickled sets of one content are one object: tables are made once in a process, not once for each job.
        return _unpickled, (self._as_json,)

    @cached_property
    def _as_json(self) -> str:
        return self.model_dump_json()


@lru_cache(maxsize=16)
def _unpickled(text: str) -> LabelSet:
    return LabelSet.model_validate_json(text)


def _constant(table: np.ndarray) -> np.ndarray:
    table.flags.writeable = False
    return table
