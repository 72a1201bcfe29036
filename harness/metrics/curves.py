"""This module computes the areas under precision-recall curves for any number of re-weightings of the frames.

The area is that of the Cityscapes benchmark: equal scores are one point, trapezoids between points. What is a hit and
what is counted is decided before (matching.py).
"""

from typing import NamedTuple

import numpy as np


class Curves(NamedTuple):
    """Precision-recall curves of all classes and thresholds, ready for re-weighting.

    Area is gained only where recall grows, so a curve is kept as its *steps*: the distinct scores that have a hit. C
    classes, T thresholds, D detections by class and falling score, S steps ordered by curve (class * T + threshold) and
    falling score, H hits in the order of their steps, E exceptions: detections that a threshold does not count.

    `image` [D]; `start` [S] and `end` [S]: detections before and up to the step, counted from that of its class;
    `first` [S]: detections of the classes before; `curve` [S], `curve_first` [S] its first step; `hit_image` and
    `hit_step` [H]; `odd_image` [E],
    `odd_before` and `odd_until` [S]: exceptions of all curves up to the step's start and end, `odd_first` [S] those of
    earlier curves; `objects` [C, N] that must be found in each frame.
    """

    image: np.ndarray
    start: np.ndarray
    end: np.ndarray
    first: np.ndarray
    curve: np.ndarray
    curve_first: np.ndarray
    hit_image: np.ndarray
    hit_step: np.ndarray
    odd_image: np.ndarray
    odd_first: np.ndarray
    odd_before: np.ndarray
    odd_until: np.ndarray
    objects: np.ndarray
    thresholds: int


def curves(
    class_: np.ndarray, score: np.ndarray, image: np.ndarray, true: np.ndarray, scored: np.ndarray, objects: np.ndarray
) -> Curves:
    """Curves of detections [P]: `true` and `scored` [T, P] say which are hits, which are hits or false positives."""
    n_thresholds, n_classes = len(true), len(objects)
    kept = np.flatnonzero(scored.any(axis=0))
    kept = kept[np.lexsort((-score[kept], class_[kept]))]
    class_, score, true, scored = class_[kept], score[kept], true[:, kept], scored[:, kept]
    first = np.searchsorted(class_, np.arange(n_classes))
    new = np.ones(len(kept), bool)
    new[1:] = (np.diff(class_) != 0) | (np.diff(score) != 0)
    starts = np.flatnonzero(new)  # of every group of equal scores
    ends = np.append(starts[1:], len(kept))
    group = np.cumsum(new) - 1

    threshold, hit = np.nonzero(true)
    order = np.lexsort((hit, class_[hit] * n_thresholds + threshold))
    threshold, hit = threshold[order], hit[order]
    curve = class_[hit] * n_thresholds + threshold
    new_step = np.ones(len(hit), bool)
    new_step[1:] = (np.diff(curve) != 0) | (np.diff(group[hit]) != 0)
    step = np.flatnonzero(new_step)
    curve, step_group = curve[step], group[hit[step]]

    odd_threshold, odd = np.nonzero(~scored)
    order = np.lexsort((odd, class_[odd] * n_thresholds + odd_threshold))
    odd, odd_curve = odd[order], (class_[odd] * n_thresholds + odd_threshold)[order]
    place = odd_curve * (len(kept) + 1) + odd  # position of an exception among all: by curve, then by detection
    return Curves(
        image=image[kept].astype(np.intp),
        start=starts[step_group],
        end=ends[step_group],
        first=first[curve // n_thresholds],
        curve=curve,
        curve_first=np.searchsorted(curve, curve),
        hit_image=image[kept][hit].astype(np.intp),
        hit_step=np.cumsum(new_step) - 1,
        odd_image=image[kept][odd].astype(np.intp),
        odd_first=np.searchsorted(odd_curve, curve),
        odd_before=np.searchsorted(place, curve * (len(kept) + 1) + starts[step_group]),
        odd_until=np.searchsorted(place, curve * (len(kept) + 1) + ends[step_group]),
        objects=objects.astype(np.float64),
        thresholds=n_thresholds,
    )


def areas(found: Curves, weights: np.ndarray) -> np.ndarray:
    """Area under every curve [B, C, T] when frames count `weights` [B, N] times; NaN where there is no object."""
    n_classes = len(found.objects)
    totals = weights @ found.objects.T
    result = np.full((len(weights), n_classes, found.thresholds), np.nan)
    n_curves = n_classes * found.thresholds
    for replicate, weight in enumerate(weights):
        shown = _cumulated(weight[found.image])
        odd = _cumulated(weight[found.odd_image])
        # Of an empty array bincount makes integers, hence the type.
        gained = np.bincount(found.hit_step, weight[found.hit_image], minlength=len(found.curve)).astype(np.float64)
        hits = _cumulated(gained)
        hits = hits[1:] - hits[found.curve_first]
        before = shown[found.start] - shown[found.first] - (odd[found.odd_before] - odd[found.odd_first])
        until = shown[found.end] - shown[found.first] - (odd[found.odd_until] - odd[found.odd_first])
        # Trapezoid between this point and the one before it; the curve starts at the artificial point (0, 1).
        height = np.divide(hits, until, out=np.ones_like(hits), where=until > 0)
        height += np.divide(hits - gained, before, out=np.ones_like(hits), where=before > 0)
        area = np.bincount(found.curve, 0.5 * gained * height, minlength=n_curves).reshape(n_classes, -1)
        has = totals[replicate] > 0
        result[replicate, has] = area[has] / totals[replicate, has, None]
    return result


def _cumulated(values: np.ndarray) -> np.ndarray:
    """Sums of the first 0, 1, 2, ... values."""
    result = np.zeros(len(values) + 1)
    np.cumsum(values, out=result[1:])
    return result
