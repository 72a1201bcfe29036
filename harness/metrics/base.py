"""What a metric is, and the two nouns that every metric reads: the ground truth of a frame and statistics of a set.

A metric turns a frame into *statistics* (small arrays that hold all the score needs) and statistics of many frames
into a score. Statistics join and re-weight, so that a bootstrap never looks at a pixel again. Not here: files (they are
read by `harness.metrics.evaluation`), resampling (`harness.metrics.intervals`).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from harness.core.errors import HarnessError
from harness.data.cityscapes import BY_ID, THINGS
from harness.metrics import pixels

Arrays = Mapping[str, np.ndarray]
"""Statistics of one metric: named arrays. Additive ones have a leading image axis; records name their image."""

THING_INDEX = {label.id: index for index, label in enumerate(THINGS)}
"""Label id to place among the eight evaluated instance classes, the order of every array below."""

_KNOWN = np.zeros(65536, bool)
_KNOWN[[id_ for id_ in BY_ID if id_ >= 0]] = True
for _label in BY_ID.values():
    if _label.is_thing:
        _KNOWN[_label.id * 1000 : _label.id * 1000 + 1000] = True


class Metric(Protocol):
    """One number about predictions. Plug-ins register a class like this in the entry-point group "harness.metrics"."""

    name: str
    """Key of the score."""
    signature: str
    """How the score is made: everything that could differ between two implementations under one name."""
    higher_is_better: bool

    def observe(self, prediction: Any, target: Any) -> Arrays:
        """Statistics of one frame: arrays that `join` of this class of metric can put together."""

    def score(self, statistics: Arrays) -> float:
        """The score of joined statistics; NaN where it is undefined."""


class Regions(NamedTuple):
    """The regions of an id map, ids ascending. `boxes` is [K, 4]: top, left, bottom, right, the last two exclusive."""

    ids: np.ndarray
    areas: np.ndarray
    boxes: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Target:
    """Ground truth of one frame: `ids` are instanceIds, uint16 [H, W]; `source` is the file for messages."""

    ids: np.ndarray
    source: str = "ground truth"

    def __post_init__(self) -> None:
        if self.ids.dtype != np.uint16 or self.ids.ndim != 2:
            raise HarnessError(f"{self.source}: expected uint16 ids of two dimensions, found {self.ids.dtype}")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.ids.shape

    def check(self, ids: np.ndarray) -> None:
        """HarnessError when one of `ids` is of no Cityscapes label."""
        unknown = ids[~_KNOWN[ids]]
        if len(unknown):
            raise HarnessError(
                f"{self.source}: id {int(unknown[0])} is of no Cityscapes label",
                hint="expected label ids 0..33, and label id * 1000 + number for the classes with instances",
            )

    def regions(self) -> Regions:
        """Every region of the frame."""
        found = Regions(*pixels.regions(self.ids))
        self.check(found.ids)
        return found


def label_of(ids: np.ndarray) -> np.ndarray:
    """Label ids of instance ids: the id itself below 1000, else id // 1000."""
    return np.where(ids < 1000, ids, ids // 1000)


def join(parts: Iterable[Arrays], *, links: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Statistics of several frames from the statistics of each, in this order.

    `links` says which arrays are indices and into what: {"gt_image": "image", "pair_gt": "gt_area"}; an index moves by
    the length of the array it points into (by the number of frames for "image").
    """
    parts = list(parts)
    offsets: dict[str, int] = dict.fromkeys(links.values(), 0)
    columns: dict[str, list[np.ndarray]] = {}
    for part in parts:
        for name, array in part.items():
            link = links.get(name)
            columns.setdefault(name, []).append(array if link is None else array + array.dtype.type(offsets[link]))
        for link in offsets:
            offsets[link] += 1 if link == "image" else len(part[link])
    return {name: np.concatenate(arrays) for name, arrays in columns.items()}


def wanted(names: Collection[str] | None, *candidates: str) -> bool:
    """Whether one of `candidates` was asked for."""
    return names is None or any(name in names for name in candidates)
