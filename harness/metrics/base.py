"""A metric turns frames into statistics and statistics into scores; every metric reads the ground truth of a frame in
one form.

A metric turns a frame into *statistics* (small arrays that hold all the score needs) and statistics of many frames
into scores. Statistics join and re-weight, so that a bootstrap never looks at a pixel again. Built-in metrics and those
of plug-ins are classes like this; what else is known of their scores stands in their infos (harness/metrics/table.py).
Not here: what is predicted (prediction_views.py), resampling (intervals.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from harness.core.errors import HarnessError
from harness.data.labels import LabelSet
from harness.metrics import pixels
from harness.metrics.depth import read_depth
from harness.metrics.info import MetricInfo

Arrays = Mapping[str, np.ndarray]
"""Statistics of one metric: named arrays. Additive ones have a leading image axis; records name their image."""


class Metric(ABC):
    """One way to make scores of predictions; plug-ins register a class like this in the group "harness.metrics".

    It is made for a label set and has no other argument: everything else that could change a number stands in
    `signature`.
    """

    infos: ClassVar[tuple[MetricInfo, ...]]
    """The scores that it gives; all of them read the same kind of prediction."""
    signature: ClassVar[str]
    """How the scores are made: everything that could differ between two implementations under one name."""
    links: ClassVar[Mapping[str, str]] = {}
    """Which arrays of the statistics are indices (see `join`); none: they are additive, a row for each frame."""

    def __init__(self, labels: LabelSet) -> None:
        """The metric for frames annotated with `labels`."""
        self.labels = labels

    @abstractmethod
    def observe(self, prediction: Any, target: "Target") -> Arrays:
        """Statistics of one frame; `prediction` is of the kind that the infos read (metrics/prediction_views.py)."""

    @abstractmethod
    def score(self, statistics: Arrays) -> Mapping[str, float]:
        """Return every score of joined statistics by key, and `key/name` for classes; NaN where one is undefined."""

    def replicates(
        self, statistics: Arrays, weights: np.ndarray | None = None, *, names: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Return all scores (or at least `names`), each [B]; `weights` [B, N] says how often each frame counts.

        Here a frame that counts twice has its row twice, which is right for additive statistics.
        """
        drawn = [statistics] if weights is None else (_repeated(statistics, weight) for weight in weights)
        found = [self.score(one) for one in drawn]
        keys = dict.fromkeys(key for one in found for key in one)
        return {key: np.array([one.get(key, np.nan) for one in found], np.float64) for key in keys}

    def collect(self, parts: Iterable[Arrays]) -> dict[str, np.ndarray]:
        """Statistics of several frames, in this order."""
        return join(parts, links=self.links)

    def unavailable(self, statistics: Arrays) -> dict[str, str]:
        """Return scores that these statistics can't give, and why."""
        return {}

    def doubt(self, statistics: Arrays) -> str:
        """Return what makes it likely that the predictions are not meant as they are read; empty, the default."""
        return ""

    def counts(self, statistics: Arrays) -> dict[str, dict[str, int]]:
        """Return what was counted of each class beside the scores, such as {"car": {"instances": 7}}."""
        return {}

    def details(self, statistics: Arrays) -> dict[str, Any]:
        """Return files that are written beside the scores: name to content, as JSON has it."""
        return {}


class Weighted(Metric):
    """A metric whose `replicates` weighs frames at once, without repeating any."""

    def score(self, statistics: Arrays) -> dict[str, float]:
        """Return every score, as a fraction; NaN where one is undefined."""
        return {key: float(values[0]) for key, values in self.replicates(statistics).items()}

    @abstractmethod
    def replicates(
        self, statistics: Arrays, weights: np.ndarray | None = None, *, names: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Return all scores as in `Metric.replicates`, weighing all frames at once."""


class Regions(NamedTuple):
    """The regions of an id map, ids ascending. `boxes` is [K, 4]: top, left, bottom, right, the last two exclusive."""

    ids: np.ndarray
    areas: np.ndarray
    boxes: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """Ground truth of one frame: `ids` uint16 [H, W] are in the encoding of `labels`; `source` is for messages."""

    ids: np.ndarray
    labels: LabelSet
    source: str = "ground truth"
    depth_files: tuple[Path, Path] | None = None
    """Disparity and camera file of the frame, where there are any."""

    def __post_init__(self) -> None:
        if self.ids.dtype != np.uint16 or self.ids.ndim != 2:
            raise HarnessError(f"{self.source}: expected uint16 ids of two dimensions, found {self.ids.dtype}")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.ids.shape
        return height, width

    @cached_property
    def regions(self) -> Regions:
        """Every region of the frame; HarnessError for ids of no label."""
        found = Regions(*pixels.regions(self.ids))
        self.check(found.ids)
        return found

    @cached_property
    def depth(self) -> np.ndarray | None:
        """Metres [H, W], 0 where unknown; None without files of it."""
        return None if self.depth_files is None else read_depth(self.depth_files, self.size, self.source)

    @cached_property
    def columns(self) -> np.ndarray:
        """The ids read column by column, [H * W], as COCO's run lengths go."""
        return np.ascontiguousarray(self.ids.T).ravel()

    def check(self, ids: np.ndarray) -> None:
        """Raise HarnessError when one of `ids` is of no label."""
        unknown = ids[~self.labels.known[ids]]
        if len(unknown):
            raise HarnessError(
                f"{self.source}: id {int(unknown[0])} is of no label of {self.labels.name}",
                hint=f"ids are a label id, or, of a class with instances, {self.labels.divisor} x label id + number",
            )


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


def mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Mean over all but the first axis without what is undefined, [B, ...] to [B]; NaN where all is undefined."""
    flat = values.reshape(len(values), -1)
    defined = ~np.isnan(flat)
    count = defined.sum(axis=1)
    total = np.where(defined, flat, 0.0).sum(axis=1)
    mean: np.ndarray = np.divide(total, count, out=np.full(len(flat), np.nan), where=count > 0)
    return mean


def _repeated(statistics: Arrays, weight: np.ndarray) -> dict[str, np.ndarray]:
    """Return the rows of the frames, each as often as it was drawn."""
    times = np.repeat(np.arange(len(weight)), np.asarray(weight).astype(np.int64))
    return {key: array[times] for key, array in statistics.items()}
