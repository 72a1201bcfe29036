"""This module computes instance AP as the Cityscapes benchmark defines it (cityscapesscripts,
evalInstanceLevelSemanticLabeling).

Not COCO's AP: a match needs IoU *above* the threshold, the highest score on a ground truth wins, predictions over
groups, void and objects below 100 pixels are forgiven, ties in score are one point of the curve, and the area under the
raw precision-recall curve is taken by the trapezoid rule. One deviation: a class whose predictions are all forgiven, on
which the official script stops with an IndexError, has AP 0.
"""

from collections.abc import Collection, Iterable
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import numpy as np

from harness.data.labels import ID_COUNT, LabelSet
from harness.metrics.anatomy import anatomy
from harness.metrics.base import Arrays, Regions, Target, Weighted, mean_of_defined
from harness.metrics.curves import Curves, areas, curves
from harness.metrics.matching import ALL, Range, assign, objects_by_frame
from harness.metrics.prediction_views import Detection
from harness.metrics.table import infos_of

WITHIN = {"AP_100m": Range(1000, 100.0, 0.5), "AP_50m": Range(1000, 50.0, 0.5)}
"""The official nearer ranges; they need depth."""


class InstanceAP(Weighted):
    """AP averaged over classes and over IoU 0.50:0.05:0.95, AP50, and both of nearer objects where depth is known."""

    infos = infos_of("instances")
    signature = (
        "AP:cityscapes-2|iou:>0.50:0.05:0.95|min:100px|ignore:void+group+small|ties:grouped|area:trapezoid|cap:none"
    )
    links: ClassVar = {"gt_image": "image", "pred_image": "image", "pair_gt": "gt_id", "pair_pred": "pred_score"}

    def observe(self, prediction: Iterable[Detection], target: Target) -> dict[str, np.ndarray]:
        """Statistics of one frame: objects and groups of the thing classes, predictions, and every pair that overlaps.

        Predictions of other labels and empty ones are left out, as the benchmark does. Pairs hold all classes,
        since the error anatomy asks what lies under a prediction of the wrong class; the score reads those of its own.
        """
        labels, place = self.labels, self.labels.thing_index
        asked = [(p, p.under(target)) for p in prediction if p.label_id in place]
        kept = [(p, under) for p, under in asked if len(under.ids)]
        regions = target.regions
        things = np.flatnonzero(labels.thing_of_id[regions.ids] >= 0)
        rows = np.full(ID_COUNT, -1, np.int32)
        rows[regions.ids[things]] = np.arange(len(things), dtype=np.int32)
        ids = np.concatenate([under.ids for _, under in kept]) if kept else np.zeros(0, np.int64)
        counts = np.concatenate([under.counts for _, under in kept]) if kept else np.zeros(0, np.int64)
        owner = np.repeat(np.arange(len(kept)), [len(under.ids) for _, under in kept])
        row, void = rows[ids], self._void[ids]
        metres, density = _distances(target.depth, target.ids, regions, things)
        hit = row >= 0
        return {
            "gt_image": np.zeros(len(things), np.int32),
            "gt_id": regions.ids[things].astype(np.int32),
            "gt_area": regions.areas[things].astype(np.int32),
            "gt_truncated": _truncated(target.ids, regions, things, self._hidden),
            "gt_metres": metres,
            "gt_density": density,
            "pred_image": np.zeros(len(kept), np.int32),
            "pred_class": np.array([place[p.label_id] for p, _ in kept], class_type(labels)),
            "pred_score": np.array([p.score for p, _ in kept], np.float64),
            "pred_area": np.bincount(owner, counts, minlength=len(kept)).astype(np.int32),
            "pred_void": np.bincount(owner[void], counts[void], minlength=len(kept)).astype(np.int32),
            "pair_gt": row[hit],
            "pair_pred": owner[hit].astype(np.int32),
            "pair_pixels": counts[hit].astype(np.int32),
            "images": np.ones(1, np.int32),
        }

    def replicates(
        self, statistics: Arrays, weights: np.ndarray | None = None, *, names: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """AP, AP50, AP/<class>, AP50/<class> (and AP_100m, AP_50m, AP50_50m with depth), each [B], as fractions.

        `weights` [B, N] says how often each frame counts in each of B replicates. NaN: no ground truth.
        """
        weights = np.ones((1, len(statistics["images"]))) if weights is None else np.asarray(weights, np.float64)
        result: dict[str, np.ndarray] = {}
        for name, within in {"AP": ALL, **(WITHIN if has_depth(statistics) else {})}.items():
            if names is not None and not any(_range_of(wanted) == name for wanted in names):
                continue
            matrix = areas(_curves_of(_Key(statistics), self.labels, within), weights)
            at_50 = "AP50" + name.removeprefix("AP")
            result |= {name: mean_of_defined(matrix), at_50: mean_of_defined(matrix[:, :, :1])}
            for index, label in enumerate(self.labels.things):
                result[f"{name}/{label.name}"] = matrix[:, index].mean(axis=1)
                result[f"{at_50}/{label.name}"] = matrix[:, index, 0]
        return result

    def unavailable(self, statistics: Arrays) -> dict[str, str]:
        """Return the scores of nearer objects where depth is unknown."""
        if has_depth(statistics):
            return {}
        near = [info.key for info in self.infos if _range_of(info.key) != "AP"]
        return dict.fromkeys(near, "not available: it needs depth (disparity and camera files)")

    def counts(self, statistics: Arrays) -> dict[str, dict[str, int]]:
        """Objects that must be found, per class: single objects of at least 100 pixels."""
        counted = self.labels.is_instance(statistics["gt_id"]) & (statistics["gt_area"] >= ALL.pixels)
        things = self.labels.things
        found = np.bincount(self.labels.thing_of_id[statistics["gt_id"][counted]], minlength=len(things))
        return {label.name: {"instances": int(found[index])} for index, label in enumerate(things)}

    def details(self, statistics: Arrays) -> dict[str, Any]:
        """Return what each kind of error costs."""
        return {"anatomy.json": anatomy(statistics, self.labels)}

    @cached_property
    def _void(self) -> np.ndarray:
        """Return which ids are those of an ignored label, bool [65536]; instances of one are not."""
        return _marked(id_ for id_ in self.labels.ignored if id_ >= 0)

    @cached_property
    def _hidden(self) -> np.ndarray:
        """Return which ids are of pixels that the camera hides, bool [65536]."""
        return _marked(self.labels.border)


def class_type(labels: LabelSet) -> type[np.signedinteger]:
    """Return the type that places of classes are stored as."""
    return np.int8 if len(labels.things) <= np.iinfo(np.int8).max else np.int16


def _marked(ids: Iterable[int]) -> np.ndarray:
    marked = np.zeros(ID_COUNT, bool)
    marked[list(ids)] = True
    return marked


def has_depth(statistics: Arrays) -> bool:
    """Return whether the objects know their distance."""
    return bool((statistics["gt_density"] > 0).any())


def _range_of(name: str) -> str:
    """AP, AP_100m or AP_50m: the range that a score is of."""
    return name.partition("/")[0].replace("AP50", "AP", 1)


class _Key:
    """Statistics as a key of a cache: by identity, since arrays don't hash."""

    def __init__(self, statistics: Arrays) -> None:
        self.statistics = statistics

    def __hash__(self) -> int:
        return id(self.statistics)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.statistics is self.statistics


@lru_cache(maxsize=16)
def _curves_of(key: _Key, labels: LabelSet, within: Range) -> Curves:
    statistics = key.statistics
    found = assign(statistics, labels, within)
    return curves(
        statistics["pred_class"].astype(np.int64),
        statistics["pred_score"],
        statistics["pred_image"],
        found.true,
        found.true | found.false,
        objects_by_frame(statistics, labels, found.counted),
    )


def _distances(
    depth: np.ndarray | None, ids: np.ndarray, regions: Regions, things: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Median distance of `things` in metres (-1: unknown) and the share of their pixels that have one.

    The benchmark's own distances are not published; this is what its code calls them: medDist and distConf.
    """
    metres, density = np.full(len(things), -1.0), np.zeros(len(things))
    if depth is None:
        return metres, density
    for place, index in enumerate(things):
        top, left, bottom, right = regions.boxes[index]
        inside = depth[top:bottom, left:right][ids[top:bottom, left:right] == regions.ids[index]]
        known = inside[inside > 0]
        if len(known):
            metres[place], density[place] = np.median(known), len(known) / len(inside)
    return metres, density


def _truncated(ids: np.ndarray, regions: Regions, things: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Return which of `things` are cut off by the frame: they touch its edge, or ids that are `hidden` (bool
    [65536])."""
    height, width = ids.shape
    has_border = bool(hidden[regions.ids].any())
    result = np.zeros(len(things), bool)
    for place, index in enumerate(things):
        top, left, bottom, right = regions.boxes[index]
        if top == 0 or left == 0 or bottom == height or right == width:
            result[place] = True
        elif has_border:
            own = int(regions.ids[index])
            beside = (
                (ids[top, left:right], ids[top - 1, left:right]),
                (ids[bottom - 1, left:right], ids[bottom, left:right]),
                (ids[top:bottom, left], ids[top:bottom, left - 1]),
                (ids[top:bottom, right - 1], ids[top:bottom, right]),
            )
            for inner, outer in beside:
                border = hidden[outer]
                if border.any() and (border & (inner == own)).any():
                    result[place] = True
    return result
