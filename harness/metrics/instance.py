"""Instance AP as the Cityscapes benchmark defines it (cityscapesscripts, evalInstanceLevelSemanticLabeling).

Not COCO's AP: a match needs IoU *above* the threshold, the highest score on a ground truth wins, predictions over
groups, void and objects below 100 pixels are forgiven, ties in score are one point of the curve, and the area under the
raw precision-recall curve is taken by the trapezoid rule. One deviation: a class whose predictions are all forgiven, on
which the official script stops with an IndexError, has AP 0.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from harness.core.errors import HarnessError
from harness.data.cityscapes import IGNORED, THINGS
from harness.metrics import pixels
from harness.metrics.base import THING_INDEX, Arrays, Regions, Target, join

THRESHOLDS = np.arange(0.5, 1.0, 0.05)
"""As the official script writes it: 0.6 is 0.6000000000000001, and IoU must be above that."""

LINKS = {"gt_image": "image", "pred_image": "image", "pair_gt": "gt_id", "pair_pred": "pred_score"}
"""Which arrays of the statistics are indices (see `base.join`)."""

_THING_OF_ID = np.full(65536, -1, np.int64)
for _id, _index in THING_INDEX.items():
    _THING_OF_ID[_id] = _index
    _THING_OF_ID[_id * 1000 : _id * 1000 + 1000] = _index
_VOID = np.zeros(65536, bool)
_VOID[[id_ for id_ in IGNORED if id_ >= 0]] = True
_BORDER = (1, 2, 3)
"""Ego vehicle, rectification border, out of roi: what lies beside these is cut off by the camera, not by the street."""


class Detection(NamedTuple):
    """One predicted instance: `mask` is [H, W], non-zero inside."""

    label_id: int
    score: float
    mask: np.ndarray


class Overlap(NamedTuple):
    """One predicted instance after its pixels were counted: `ids` of the ground truth below it, `counts` of each."""

    label_id: int
    score: float
    ids: np.ndarray
    counts: np.ndarray


class Range(NamedTuple):
    """Which objects count: at least `pixels` large, at most `metres` away with at least `density` valid disparities."""

    pixels: int = 100
    metres: float = np.inf
    density: float = -np.inf


ALL = Range()
WITHIN = {"AP_100m": Range(1000, 100.0, 0.5), "AP_50m": Range(1000, 50.0, 0.5)}
"""The official nearer ranges; they need depth."""


@dataclass(frozen=True, kw_only=True)
class InstanceAP:
    """AP averaged over classes and over IoU 0.50:0.05:0.95, or AP50 with `column="AP50"`."""

    column: str = "AP"
    higher_is_better: bool = True

    @property
    def name(self) -> str:
        return self.column

    @property
    def signature(self) -> str:
        return signature(self.column)

    def observe(self, prediction: Iterable[Detection], target: Target) -> Arrays:
        """Statistics of one frame (see `observe`)."""
        return observe([_overlap(detection, target) for detection in prediction], target, target.regions())

    def score(self, statistics: Arrays) -> float:
        """The score as a fraction; NaN where no class has ground truth."""
        return float(scores(statistics, names={self.column})[self.column][0])


class AP50(InstanceAP):
    """AP at IoU above 0.5."""

    def __init__(self) -> None:
        super().__init__(column="AP50")


def signature(column: str = "AP") -> str:
    """How the score is made."""
    overlaps = "0.50" if column.startswith("AP50") else "0.50:0.05:0.95"
    return (
        f"{column}:cityscapes-2|iou:>{overlaps}|min:100px|ignore:void+group+small|ties:grouped|area:trapezoid|cap:none"
    )


def observe(
    predictions: Iterable[Overlap], target: Target, regions: Regions, depth: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Statistics of one frame: objects and groups of the eight classes, predictions, and every pair that overlaps.

    `depth` [H, W] in metres, 0 where unknown, gives objects their distance. Predictions of other labels and empty ones
    are left out, as the benchmark does. Pairs hold all eight classes, since the error anatomy asks what lies under a
    prediction of the wrong class; the score reads those of its own class.
    """
    things = np.flatnonzero(_THING_OF_ID[regions.ids] >= 0)
    rows = np.full(65536, -1, np.int32)
    rows[regions.ids[things]] = np.arange(len(things), dtype=np.int32)
    kept = [p for p in predictions if p.label_id in THING_INDEX and len(p.ids)]
    ids = np.concatenate([p.ids for p in kept]) if kept else np.zeros(0, np.int64)
    counts = np.concatenate([p.counts for p in kept]) if kept else np.zeros(0, np.int64)
    owner = np.repeat(np.arange(len(kept)), [len(p.ids) for p in kept])
    row, void = rows[ids], _VOID[ids]
    metres, density = _distances(depth, target.ids, regions, things)
    hit = row >= 0
    return {
        "gt_image": np.zeros(len(things), np.int32),
        "gt_id": regions.ids[things].astype(np.int32),
        "gt_area": regions.areas[things].astype(np.int32),
        "gt_truncated": _truncated(target.ids, regions, things),
        "gt_metres": metres,
        "gt_density": density,
        "pred_image": np.zeros(len(kept), np.int32),
        "pred_class": np.array([THING_INDEX[p.label_id] for p in kept], np.int8),
        "pred_score": np.array([p.score for p in kept], np.float64),
        "pred_area": np.bincount(owner, counts, minlength=len(kept)).astype(np.int32),
        "pred_void": np.bincount(owner[void], counts[void], minlength=len(kept)).astype(np.int32),
        "pair_gt": row[hit],
        "pair_pred": owner[hit].astype(np.int32),
        "pair_pixels": counts[hit].astype(np.int32),
        "images": np.ones(1, np.int32),
    }


def collect(parts: Iterable[Arrays]) -> dict[str, np.ndarray]:
    """Statistics of several frames, in this order."""
    return join(parts, links=LINKS)


class Assignment(NamedTuple):
    """What became of every prediction and object; [T] runs over THRESHOLDS.

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


def assign(statistics: Arrays, within: Range = ALL) -> Assignment:
    """Match predictions to objects, frame by frame, at every threshold."""
    gt_class = _THING_OF_ID[statistics["gt_id"]]
    group = statistics["gt_id"] < 1000
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


def scores(
    statistics: Arrays, weights: np.ndarray | None = None, *, names: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """AP, AP50, AP/<class>, AP50/<class> (and AP_100m, AP_50m, AP50_50m with depth), each [B], as fractions.

    `weights` [B, N] says how often each frame counts in each of B replicates; None is once. NaN: no ground truth.
    """
    n_images = len(statistics["images"])
    weights = np.ones((1, n_images)) if weights is None else np.asarray(weights, np.float64)
    result: dict[str, np.ndarray] = {}
    for name, within in {"AP": ALL, **(WITHIN if has_depth(statistics) else {})}.items():
        if names is not None and not any(_range_of(wanted) == name for wanted in names):
            continue
        matrix = areas(_curves_of(_Key(statistics), within), weights)
        at_50 = "AP50" + name.removeprefix("AP")
        result |= {name: _nanmean(matrix), at_50: _nanmean(matrix[:, :, :1])}
        for index, label in enumerate(THINGS):
            result[f"{name}/{label.name}"] = matrix[:, index].mean(axis=1)
            result[f"{at_50}/{label.name}"] = matrix[:, index, 0]
    return result


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


def objects(statistics: Arrays, counted: np.ndarray) -> np.ndarray:
    """Number of `counted` [G] objects per class and frame, [8, N]."""
    n_images = len(statistics["images"])
    key = _THING_OF_ID[statistics["gt_id"][counted]] * n_images + statistics["gt_image"][counted]
    return np.bincount(key, minlength=len(THINGS) * n_images).reshape(len(THINGS), n_images)


def has_depth(statistics: Arrays) -> bool:
    """Whether the objects know their distance."""
    return bool((statistics["gt_density"] > 0).any())


def instances(statistics: Arrays) -> dict[str, int]:
    """Objects that must be found, per class: single objects of at least 100 pixels."""
    counted = (statistics["gt_id"] >= 1000) & (statistics["gt_area"] >= ALL.pixels)
    count = np.bincount(_THING_OF_ID[statistics["gt_id"][counted]], minlength=len(THINGS))
    return {label.name: int(count[index]) for index, label in enumerate(THINGS)}


def class_of(ids: np.ndarray) -> np.ndarray:
    """Place among the eight classes of instance or group ids; -1 for others."""
    return _THING_OF_ID[ids]


def _range_of(name: str) -> str:
    """AP, AP_100m or AP_50m: the range that a score is of."""
    return name.partition("/")[0].replace("AP50", "AP", 1)


def _cumulated(values: np.ndarray) -> np.ndarray:
    """Sums of the first 0, 1, 2, ... values."""
    result = np.zeros(len(values) + 1)
    np.cumsum(values, out=result[1:])
    return result


def _nanmean(matrix: np.ndarray) -> np.ndarray:
    """Mean over classes and thresholds without undefined ones; NaN where all are undefined. [B, ...] to [B]."""
    flat = matrix.reshape(len(matrix), -1)
    defined = ~np.isnan(flat)
    count = defined.sum(axis=1)
    return np.divide(np.where(defined, flat, 0.0).sum(axis=1), count, out=np.full(len(flat), np.nan), where=count > 0)


class _Key:
    """Statistics as a key of a cache: by identity, since arrays don't hash."""

    def __init__(self, statistics: Arrays) -> None:
        self.statistics = statistics

    def __hash__(self) -> int:
        return id(self.statistics)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.statistics is self.statistics


@lru_cache(maxsize=16)
def _curves_of(key: _Key, within: Range) -> Curves:
    statistics = key.statistics
    found = assign(statistics, within)
    return curves(
        statistics["pred_class"].astype(np.int64),
        statistics["pred_score"],
        statistics["pred_image"],
        found.true,
        found.true | found.false,
        objects(statistics, found.counted),
    )


def _overlap(detection: Detection, target: Target) -> Overlap:
    if detection.mask.shape != target.size:
        raise HarnessError(f"a predicted mask is {detection.mask.shape}, {target.source} is {target.size}")
    if not np.isfinite(detection.score):
        raise HarnessError(f"a predicted mask has the score {detection.score}")
    return Overlap(detection.label_id, detection.score, *pixels.under(detection.mask, target.ids))


def _distances(
    depth: np.ndarray | None, ids: np.ndarray, regions: Regions, things: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Median distance of `things` in metres (-1: unknown) and the share of their pixels that have one.

    The benchmark's own distances are not published; this is what its code calls them: medDist and distConf.
    """
    metres, density = np.full(len(things), -1.0), np.zeros(len(things))
    for place, index in enumerate(things if depth is not None else ()):
        top, left, bottom, right = regions.boxes[index]
        inside = depth[top:bottom, left:right][ids[top:bottom, left:right] == regions.ids[index]]
        known = inside[inside > 0]
        if len(known):
            metres[place], density[place] = np.median(known), len(known) / len(inside)
    return metres, density


def _truncated(ids: np.ndarray, regions: Regions, things: np.ndarray) -> np.ndarray:
    """Which of `things` are cut off by the frame: they touch its edge or the border that Cityscapes labels 1, 2, 3."""
    height, width = ids.shape
    has_border = bool(np.isin(_BORDER, regions.ids).any())
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
                border = outer - np.uint16(_BORDER[0]) < len(_BORDER)  # unsigned: ids 1, 2, 3 and nothing below
                if border.any() and (border & (inner == own)).any():
                    result[place] = True
    return result
