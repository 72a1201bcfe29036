"""This module matches predicted instances to objects as the Cityscapes benchmark does, from the statistics of
`instance`.

A match needs IoU *above* the threshold, the highest score on an object wins, predictions over groups, void and objects
that don't count are forgiven. The score and the anatomy of its errors both start from here.
"""

from typing import NamedTuple

import numpy as np

from harness.data.labels import LabelSet
from harness.metrics.base import Arrays

THRESHOLDS = np.arange(0.5, 1.0, 0.05)
"""As the official script writes it: 0.6 is 0.6000000000000001, and IoU must be above that."""


class Range(NamedTuple):
    """This says which objects count: at least `pixels` large, at most `metres` away with at least `density` valid
    disparities."""

    pixels: int = 100
    metres: float = np.inf
    density: float = -np.inf


ALL = Range()


class Assignment(NamedTuple):
    """This holds what became of every prediction and object; [T] runs over THRESHOLDS.

    `counted` [G]: objects that must be found; `true` and `false` [T, P]: predictions that are hits and false positives
    (the rest is forgiven or dropped); `found` [T, G]: objects that have a hit; `best` [P] row of the same-class region
    with the largest IoU `overlap` [P], -1 where there is none; `forgiven` [P]: share of the prediction that is ignored.
    """

    counted: np.ndarray
    true: np.ndarray
    false: np.ndarray
    found: np.ndarray
    best: np.ndarray
    overlap: np.ndarray
    forgiven: np.ndarray


def assign(statistics: Arrays, labels: LabelSet, within: Range = ALL) -> Assignment:
    """Match predictions to objects, frame by frame, at every threshold."""
    gt_class = labels.thing_of_id[statistics["gt_id"]]
    group = ~labels.is_instance(statistics["gt_id"])
    outside = statistics["gt_area"] < within.pixels
    outside |= (statistics["gt_metres"] > within.metres) | (statistics["gt_density"] < within.density)
    counted = ~group & ~outside
    n_gt, n_pred = len(gt_class), len(statistics["pred_score"])

    same = gt_class[statistics["pair_gt"]] == statistics["pred_class"][statistics["pair_pred"]]
    gt, pred = statistics["pair_gt"][same], statistics["pair_pred"][same]
    inter = statistics["pair_pixels"][same].astype(np.int64)
    iou = inter / (statistics["gt_area"][gt].astype(np.int64) + statistics["pred_area"][pred] - inter)
    # A region that is a group and outside the range too is counted twice; so the official script does.
    ignored = statistics["pred_void"] + np.bincount(
        pred, weights=inter * (group[gt].astype(np.int64) + outside[gt]), minlength=n_pred
    )
    forgiven = ignored / statistics["pred_area"]

    order = np.lexsort((iou, pred))
    last = np.flatnonzero(np.diff(pred[order], append=-1))
    best, overlap = np.full(n_pred, -1, np.int64), np.zeros(n_pred)
    best[pred[order][last]], overlap[pred[order][last]] = gt[order][last], iou[order][last]

    true = np.zeros((len(THRESHOLDS), n_pred), bool)
    false = np.zeros((len(THRESHOLDS), n_pred), bool)
    found = np.zeros((len(THRESHOLDS), n_gt), bool)
    # Highest score first within an object; above IoU 0.5 a prediction has one region only, as regions don't overlap.
    by_object = np.lexsort((-statistics["pred_score"], best))
    for t, threshold in enumerate(THRESHOLDS):
        match = overlap > threshold
        hits = by_object[(match & (best >= 0) & counted[best] if n_gt else np.zeros(n_pred, bool))[by_object]]
        first = np.ones(len(hits), bool)
        first[1:] = best[hits][1:] != best[hits][:-1]
        true[t, hits[first]] = True
        false[t, hits[~first]] = True
        false[t] |= ~match & (forgiven <= threshold)
        found[t, best[hits[first]]] = True
    return Assignment(counted, true, false, found, best, overlap, forgiven)


def objects_by_frame(statistics: Arrays, labels: LabelSet, counted: np.ndarray) -> np.ndarray:
    """Number of `counted` [G] objects per class and frame, [C, N]."""
    n_images = len(statistics["images"])
    n_classes = len(labels.things)
    key = labels.thing_of_id[statistics["gt_id"][counted]] * n_images + statistics["gt_image"][counted]
    return np.bincount(key, minlength=n_classes * n_images).reshape(n_classes, n_images)
