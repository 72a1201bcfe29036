"""This module computes panoptic quality as cityscapesscripts and panopticapi do (Kirillov et al., Panoptic
Segmentation, CVPR 2019).

PQ = sum of IoU over matches / (TP + FP/2 + FN/2) per class; a match is IoU > 0.5 of the same class, where void pixels
of the ground truth leave the union. Predictions that lie by more than half on void or on a crowd of their class are no
false positives. Ground truth is derived from instanceIds, by the rules of the official conversion (createPanopticImgs).
"""

from collections.abc import Collection, Mapping
from functools import cached_property

import numpy as np

from harness.core.errors import HarnessError
from harness.data.labels import ID_COUNT
from harness.metrics.base import Arrays, Target, Weighted
from harness.metrics.prediction_views import Segmentation
from harness.metrics.table import infos_of

VOID = 0
COLUMNS = ("iou", "true", "false", "missed")
"""Last axis of the statistics: sum of IoU over matches, matches, false positives, false negatives."""


class PanopticQuality(Weighted):
    """PQ averaged over the classes that occur, its factors SQ and RQ, and PQ of things and of stuff."""

    infos = infos_of("panoptic")
    signature = "PQ:cityscapes-2|match:iou>0.5|union:-void|crowd:per-class|mean:present-classes"

    def observe(self, prediction: Segmentation, target: Target) -> dict[str, np.ndarray]:
        """Statistics of one frame: float64 [1, C, 4], classes in train-id order, columns as in COLUMNS."""
        of_label, crowds, train_ids = self._label_of, self._crowd, self.labels.train_ids
        n_classes = len(self.labels.evaluated)
        pairs, segments = prediction.counts(target), prediction.labels
        target.check(pairs.first)
        ids, place = np.unique(pairs.second, return_inverse=True)
        self._check(ids, segments, prediction.source)
        label = np.array([segments.get(id_, -1) for id_ in ids.tolist()])  # -1: void of the prediction
        truth_label = of_label[pairs.first]
        void, crowd = truth_label < 0, crowds[pairs.first]
        area = np.bincount(place, pairs.counts, minlength=len(ids))
        forgiven = np.bincount(place[void], pairs.counts[void], minlength=len(ids))
        truth_ids, truth_place = np.unique(pairs.first, return_inverse=True)
        truth_area = np.bincount(truth_place, pairs.counts)

        # Void pixels leave the union, crowd pixels don't.
        own = np.flatnonzero((truth_label == label[place]) & ~void & ~crowd)
        union = area[place[own]] + truth_area[truth_place[own]] - pairs.counts[own] - forgiven[place[own]]
        iou = pairs.counts[own] / union
        match, iou = own[iou > 0.5], iou[iou > 0.5]
        own_crowd = crowd & (truth_label == label[place])
        forgiven = forgiven + np.bincount(place[own_crowd], pairs.counts[own_crowd], minlength=len(ids))

        found = np.zeros(len(truth_ids), bool)
        found[truth_place[match]] = True
        missed = ~found & (of_label[truth_ids] >= 0) & ~crowds[truth_ids]
        taken = np.zeros(len(ids), bool)
        taken[place[match]] = True
        false = ~taken & (label >= 0) & ~(forgiven / area > 0.5)

        result = np.zeros((1, n_classes, len(COLUMNS)))
        hit = train_ids[truth_label[match]]
        np.add.at(result[0, :, 0], hit, iou)
        for column, classes in ((1, hit), (2, train_ids[label[false]]), (3, train_ids[of_label[truth_ids[missed]]])):
            result[0, :, column] = np.bincount(classes, minlength=n_classes)
        return {"panoptic": result}

    def replicates(
        self, statistics: Arrays, weights: np.ndarray | None = None, *, names: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """PQ, SQ, RQ, each also _things and _stuff, and PQ/<class>, SQ/<class>, RQ/<class>; each [B], as fractions.

        `weights` [B, N] says how often each frame counts. A class that occurs nowhere, in truth or prediction, is left
        out of every mean, as officially; in its own line it is NaN, where the official output has 0.
        """
        table = statistics["panoptic"]
        weights = np.ones((1, len(table))) if weights is None else np.asarray(weights, np.float64)
        iou, true, false, missed = np.moveaxis(np.tensordot(weights, table, axes=1), -1, 0)
        weight = true + 0.5 * false + 0.5 * missed
        present = weight > 0
        undefined = np.where(present, 0.0, np.nan)
        quality = {
            "PQ": np.divide(iou, weight, out=undefined.copy(), where=present),
            "SQ": np.divide(iou, true, out=undefined.copy(), where=true > 0),
            "RQ": np.divide(true, weight, out=undefined.copy(), where=present),
        }
        result, thing = {}, np.array([label.is_thing for label in self.labels.evaluated])
        for name, values in quality.items():
            for suffix, chosen in (("", np.ones_like(thing)), ("_things", thing), ("_stuff", ~thing)):
                count = (present & chosen).sum(axis=1)
                total = np.where(present & chosen, values, 0.0).sum(axis=1)
                result[name + suffix] = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
            for index, label in enumerate(self.labels.evaluated):
                result[f"{name}/{label.name}"] = values[:, index]
        return result

    @cached_property
    def _label_of(self) -> np.ndarray:
        """Id of a pixel to evaluated label id, int64 [65536]; -1 for void."""
        found = self.labels.label_of(np.arange(ID_COUNT))
        found[~np.isin(found, self.labels.evaluated_ids)] = -1
        return found

    @cached_property
    def _crowd(self) -> np.ndarray:
        """Return which ids are groups of things, bool [65536]: what createPanopticImgs marks as crowd."""
        crowd = np.zeros(ID_COUNT, bool)
        crowd[[label.id for label in self.labels.things]] = True
        return crowd

    def _check(self, drawn: np.ndarray, segments: Mapping[int, int], source: str) -> None:
        """HarnessError when segments of the JSON and of the PNG differ, or a category is not evaluated."""
        found, evaluated = set(drawn.tolist()), {label.id for label in self.labels.evaluated}
        unlisted = sorted(found - segments.keys() - {VOID})
        if unlisted:
            raise HarnessError(f"{source}: {_some(unlisted)} in the PNG, but not in segments_info")
        undrawn = sorted(segments.keys() - found)
        if undrawn:
            raise HarnessError(f"{source}: {_some(undrawn)} in segments_info, but not in the PNG")
        for segment, label in segments.items():
            if label not in evaluated:
                raise HarnessError(
                    f"{source}: segment {segment} has category_id {label!r}, which is no evaluated label id",
                    hint=f"expected plain label ids, not train ids: {', '.join(map(str, sorted(evaluated)))}",
                )


def _some(ids: list[int]) -> str:
    shown = ", ".join(str(id_) for id_ in ids[:3])
    return (
        f"segment {shown} is"
        if len(ids) == 1
        else f"{len(ids)} segments ({shown}{', ...' if len(ids) > 3 else ''}) are"
    )
