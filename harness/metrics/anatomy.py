"""This module splits the AP that is lost into the six error types of TIDE (Bolya et al., ECCV 2020), for Cityscapes.

Every counted false positive has one kind, every object without a hit is claimed by an error or is a miss; the *loss* of
a kind is how much AP rises when an oracle repairs all errors of that kind and nothing else. As in TIDE:
  localisation    right class, IoU between 0.1 and the threshold
  classification  wrong class, IoU above the threshold
  duplicate       right class and IoU, but a prediction with a higher score has the object
  background      IoU of at most 0.1 with every object
  both            the rest: wrong class and loosely placed
  missed          an object that no prediction found and no localisation or classification error points at
Repairing a localisation or classification error makes it a hit when its object has none yet (the best score wins) and
removes it otherwise; the other kinds are removed; missed objects leave the ground truth.

What differs from TIDE follows the benchmark: AP is that of `instance` (so forgiven predictions are no errors, objects
of less than 100 pixels are no objects), and the loss is averaged over the ten thresholds; that at IoU 0.5 is beside it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from harness.data.labels import LabelSet
from harness.metrics.base import Arrays
from harness.metrics.curves import areas, curves
from harness.metrics.matching import THRESHOLDS, Assignment, assign, objects_by_frame

KINDS = ("classification", "localisation", "both", "duplicate", "background", "missed")
LOOSE = 0.1
"""IoU above which a prediction is about an object at all."""

SIZES = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 2**31)}
"""COCO's size classes, in pixels of the frame as it is: from, up to but without."""


class Errors(NamedTuple):
    """This holds what kind of error each prediction is at one threshold, and which objects are missed.

    `kind` [P]: place in KINDS, -1 for none; `object` [P]: row of the object it is about, -1 for none; `missed` [G]:
    objects that are misses.
    """

    kind: np.ndarray
    object: np.ndarray
    missed: np.ndarray


def anatomy(statistics: Arrays, labels: LabelSet) -> dict[str, Any]:
    """Return what each kind of error costs, overall, by size of the object and by truncation, as fractions of AP.

    `loss` and `loss50`: kind to rise of AP and AP50; `count50`: number of errors at IoU 0.5; `size` and `truncation`:
    for each part `objects`, `found50` (share found at IoU 0.5), `found` (mean over thresholds), and `loss`, `loss50` by
    errors on objects of that part (background errors go by the size of the prediction, and have no truncation).
    Empty when there is no object.
    """
    assignment = assign(statistics, labels)
    if not assignment.counted.any():
        return {}
    table = _Table.of(statistics, labels, assignment)
    levels = [table.errors(level) for level in range(len(THRESHOLDS))]
    area, predicted = statistics["gt_area"], statistics["pred_area"]
    size = {
        name: _part(table, levels, (area >= low) & (area < high), (predicted >= low) & (predicted < high))
        for name, (low, high) in SIZES.items()
    }
    cut, none = statistics["gt_truncated"], np.zeros(len(predicted), bool)
    truncation = {name: _part(table, levels, chosen, none) for name, chosen in (("whole", ~cut), ("truncated", cut))}
    everywhere = _loss(table, levels, np.ones(len(area), bool), np.ones(len(predicted), bool))
    kinds = levels[0].kind
    counts = [*np.bincount(kinds[kinds >= 0], minlength=len(KINDS) - 1).tolist(), int(levels[0].missed.sum())]
    return {
        "AP": float(np.nanmean(table.base)),
        "AP50": float(np.nanmean(table.base[:, 0])),
        **everywhere,
        "count50": dict(zip(KINDS, counts, strict=True)),
        "size": size,
        "truncation": truncation,
    }


class _Table(NamedTuple):
    """This holds what the oracle needs: the assignment, and AP as it is, `base` [C, T].

    `right` and `wrong` [P]: the counted object of the right class, and of a wrong one, that a prediction overlaps most
    (rows, -1 for none), with their IoU.
    """

    statistics: Arrays
    labels: LabelSet
    assignment: Assignment
    right: np.ndarray
    right_iou: np.ndarray
    wrong: np.ndarray
    wrong_iou: np.ndarray
    base: np.ndarray

    @classmethod
    def of(cls, statistics: Arrays, labels: LabelSet, assignment: Assignment) -> "_Table":
        gt, pred = statistics["pair_gt"], statistics["pair_pred"]
        counted = assignment.counted[gt]
        gt, pred, inter = gt[counted], pred[counted], statistics["pair_pixels"][counted].astype(np.int64)
        iou = inter / (statistics["gt_area"][gt].astype(np.int64) + statistics["pred_area"][pred] - inter)
        same = labels.thing_of_id[statistics["gt_id"]][gt] == statistics["pred_class"][pred]
        n = len(statistics["pred_score"])
        right, right_iou = _best(gt[same], pred[same], iou[same], n)
        wrong, wrong_iou = _best(gt[~same], pred[~same], iou[~same], n)
        scored = assignment.true | assignment.false
        classes = statistics["pred_class"].astype(np.int64)
        base = _area(statistics, labels, classes, assignment.true, scored, assignment.counted)
        return cls(statistics, labels, assignment, right, right_iou, wrong, wrong_iou, base)

    def errors(self, level: int) -> Errors:
        """Kind of every error at THRESHOLDS[level]; the order of the tests is TIDE's."""
        threshold = THRESHOLDS[level]
        false, found = self.assignment.false[level], self.assignment.found[level]
        kind = np.full(len(false), -1)
        tests = (
            ("localisation", (self.right_iou > LOOSE) & (self.right_iou <= threshold)),
            ("classification", self.wrong_iou > threshold),
            ("duplicate", self.right_iou > threshold),
            ("background", np.maximum(self.right_iou, self.wrong_iou) <= LOOSE),
            ("both", np.ones(len(false), bool)),
        )
        for name, test in tests:
            kind[false & test & (kind < 0)] = KINDS.index(name)
        about = np.where(np.isin(kind, (KINDS.index("classification"), KINDS.index("both"))), self.wrong, self.right)
        about[(kind < 0) | (kind == KINDS.index("background"))] = -1
        claimed = np.zeros(len(found), bool)
        claimed[about[np.isin(kind, (KINDS.index("classification"), KINDS.index("localisation")))]] = True
        return Errors(kind, about, self.assignment.counted & ~found & ~claimed)


def _part(table: _Table, levels: list[Errors], objects: np.ndarray, predictions: np.ndarray) -> dict[str, Any]:
    """Loss by the errors on some objects, and how many of these are found."""
    counted = table.assignment.counted & objects
    n = int(counted.sum())
    shares = [float(found[counted].mean()) for found in table.assignment.found] if n else []
    return {
        "objects": n,
        "found50": shares[0] if n else None,
        "found": float(np.mean(shares)) if n else None,
        **_loss(table, levels, objects, predictions),
    }


def _loss(
    table: _Table, levels: list[Errors], objects: np.ndarray, predictions: np.ndarray
) -> Mapping[str, dict[str, float]]:
    """Rise of AP when the errors about `objects` [G] (background: of `predictions` [P]) are repaired, kind by kind."""
    loss, loss_50 = {}, {}
    for kind, name in enumerate(KINDS):
        rise = _repaired(table, levels, kind, objects, predictions) - table.base
        # A class whose every object was missed has nothing left to find: its AP stays as it is.
        rise = np.where(np.isnan(rise) & ~np.isnan(table.base), 0.0, rise)
        loss[name], loss_50[name] = float(np.nanmean(rise)), float(np.nanmean(rise[:, 0]))
    return {"loss": loss, "loss50": loss_50}


def _repaired(
    table: _Table, levels: list[Errors], kind: int, objects: np.ndarray, predictions: np.ndarray
) -> np.ndarray:
    """AP [C, T] without the errors of one kind."""
    statistics, assignment = table.statistics, table.assignment
    result = np.empty_like(table.base)
    classes = statistics["pred_class"].astype(np.int64)
    all_classes = table.labels.thing_of_id[statistics["gt_id"]]
    for level, errors in enumerate(levels):
        true, scored = assignment.true[level].copy(), (assignment.true | assignment.false)[level]
        counted, class_ = assignment.counted, classes
        if KINDS[kind] == "missed":
            counted = counted & ~(errors.missed & objects)
        else:
            about = errors.object
            chosen = errors.kind == kind
            chosen &= predictions if KINDS[kind] == "background" else objects[about] & (about >= 0)
            scored &= ~chosen
            if KINDS[kind] in ("classification", "localisation"):
                hit = _winners(np.flatnonzero(chosen), about, statistics["pred_score"], assignment.found[level])
                true[hit] = scored[hit] = True
                class_ = classes.copy()
                class_[hit] = all_classes[about[hit]]
        result[:, level] = _area(statistics, table.labels, class_, true[None], scored[None], counted)[:, 0]
    return result


def _winners(errors: np.ndarray, about: np.ndarray, score: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Of `errors`, the one with the highest score for each object that has no hit."""
    errors = errors[~found[about[errors]]]
    errors = errors[np.lexsort((-score[errors], about[errors]))]
    first = np.ones(len(errors), bool)
    first[1:] = np.diff(about[errors]) != 0
    return errors[first]


def _best(gt: np.ndarray, pred: np.ndarray, iou: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """For each of `n` predictions the object it overlaps most (-1: none) and the IoU (0)."""
    order = np.lexsort((iou, pred))
    last = np.flatnonzero(np.diff(pred[order], append=-1))
    best, overlap = np.full(n, -1, np.int64), np.zeros(n)
    best[pred[order][last]], overlap[pred[order][last]] = gt[order][last], iou[order][last]
    return best, overlap


def _area(
    statistics: Arrays,
    labels: LabelSet,
    class_: np.ndarray,
    true: np.ndarray,
    scored: np.ndarray,
    counted: np.ndarray,
) -> np.ndarray:
    """AP [C, T] of the whole set for hits `true` and counted predictions `scored` [T, P]."""
    there = objects_by_frame(statistics, labels, counted)
    found = curves(class_, statistics["pred_score"], statistics["pred_image"], true, scored, there)
    area: np.ndarray = areas(found, np.ones((1, there.shape[1])))[0]
    return area
