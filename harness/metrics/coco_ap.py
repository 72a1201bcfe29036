"""This module computes COCO's mask AP (COCOeval "segm") under a name of its own: it is another metric than Cityscapes'
AP.

IoU *at least* the threshold, greedy by score with the best free ground truth, groups as crowds, no void, no least size,
at most 100 detections per class and image, precision envelope read at 101 recalls. The ground truth is what Cityscapes'
AP sees too: single objects of the thing classes, groups as crowd annotations.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from harness.metrics.base import Arrays, Target, Weighted
from harness.metrics.instance import class_type
from harness.metrics.pixels import Under
from harness.metrics.prediction_views import Detection
from harness.metrics.table import infos_of

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MOST = 100
AREAS = {"": (0.0, 1e10), "_small": (0.0, 32.0**2), "_medium": (32.0**2, 96.0**2), "_large": (96.0**2, 1e10)}
"""Suffix of the score to the range of areas in pixels, both ends inclusive."""


class _Found(NamedTuple):
    """A detection after its pixels were counted."""

    score: float
    under: Under
    box_area: float | None


class CocoAP(Weighted):
    """COCO_AP, mean over classes and IoU 0.50:0.05:0.95, at 0.50 and 0.75, and of small, medium and large objects."""

    infos = infos_of("coco")
    signature = "COCO_AP:pycocotools-2|segm|iou:>=0.50:0.05:0.95|recall:101|crowd:groups|cap:100|area:all"
    links: ClassVar = {"image": "image"}

    def observe(self, prediction: Iterable[Detection], target: Target) -> dict[str, np.ndarray]:
        """Statistics of one frame; [D] detections kept, [4] size ranges, [10] thresholds.

        `image`, `class`, `score` [D]; `matched`, `ignored` bool [D, 4, 10]; `objects` [1, C, 4]: objects that count.
        """
        regions, labels = target.regions, self.labels
        ids, n_classes = regions.ids, len(labels.things)
        ranges = np.array(list(AREAS.values()))
        objects = np.zeros((1, n_classes, len(AREAS)), np.int32)
        by_class: dict[int, list[_Found]] = {}
        for one in prediction:
            if one.label_id in labels.thing_index:
                found_ = _Found(one.score, one.under(target), one.box_area)
                by_class.setdefault(labels.thing_index[one.label_id], []).append(found_)
        rows: dict[str, list[np.ndarray]] = {"class": [], "score": [], "matched": [], "ignored": []}
        for index in range(n_classes):
            mine = np.flatnonzero(labels.thing_of_id[ids] == index)
            crowd, area = ~labels.is_instance(ids[mine]), regions.areas[mine].astype(np.float64)
            aside = crowd | (area < ranges[:, :1]) | (area > ranges[:, 1:])
            objects[0, index] = (~aside).sum(axis=1)
            found = by_class.get(index, [])
            scores = np.array([c.score for c in found])
            found = [found[place] for place in np.argsort(-scores, kind="stable")[:MOST]]
            if not found:
                continue
            own = np.array([c.under.counts.sum() for c in found], np.float64)
            iou = _overlaps(found, own, ids[mine], area, crowd)
            matched, ignored = _match(iou, aside, crowd)
            sized = np.array([own[place] if c.box_area is None else c.box_area for place, c in enumerate(found)])
            outside = (sized < ranges[:, :1]) | (sized > ranges[:, 1:])
            rows["class"].append(np.full(len(found), index, class_type(labels)))
            rows["score"].append(np.array([c.score for c in found]))
            rows["matched"].append(matched)
            rows["ignored"].append(ignored | (~matched & outside.T[:, :, None]))
        shape = (0, len(AREAS), len(THRESHOLDS))
        empty: dict[str, np.ndarray] = {
            "class": np.zeros(0, class_type(labels)),
            "score": np.zeros(0),
            "matched": np.zeros(shape, bool),
            "ignored": np.zeros(shape, bool),
        }
        result = {name: np.concatenate(parts) if parts else empty[name] for name, parts in rows.items()}
        return {"image": np.zeros(len(result["class"]), np.int32), **result, "objects": objects}

    def replicates(
        self, statistics: Arrays, weights: np.ndarray | None = None, *, names: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """COCO_AP, COCO_AP50, COCO_AP75, COCO_AP_small, _medium, _large, COCO_AP/<class>, COCO_AP50/<class>; each [B].

        `weights` [B, N] says how often each frame counts. NaN where pycocotools says -1.
        """
        n_images = len(statistics["objects"])
        weights = np.ones((1, n_images)) if weights is None else np.asarray(weights, np.float64)
        everything = names is None or any(name.startswith(("COCO_AP_", "COCO_AP75")) for name in names)
        areas = list(AREAS)[: len(AREAS) if everything else 1]
        ranked = [_Ranked.of(statistics, index, len(areas)) for index in range(len(self.labels.things))]
        rows = [self._scores(np.stack([one.precision(weight) for one in ranked], -1), areas) for weight in weights]
        return {name: np.array([row[name] for row in rows]) for name in rows[0]}

    def _scores(self, precision: np.ndarray, areas: Sequence[str]) -> dict[str, float]:
        """Return the scores of one replicate from precision [A, T, R, C], each the mean in the order that pycocotools
        has.
        """
        result = {
            "COCO_AP": _mean(precision[0]),
            "COCO_AP50": _mean(precision[0, 0]),
            "COCO_AP75": _mean(precision[0, 5]),
        }
        result |= {"COCO_AP" + suffix: _mean(precision[place]) for place, suffix in enumerate(areas)}
        for index, label in enumerate(self.labels.things):
            result[f"COCO_AP/{label.name}"] = _mean(precision[0, :, :, index])
            result[f"COCO_AP50/{label.name}"] = _mean(precision[0, 0, :, index])
        return result


class _Ranked(NamedTuple):
    """The detections of one class, highest score first: [D] frames, [D, A, T] which count and which are right, and the
    objects [N, A] of each frame."""

    image: np.ndarray
    counted: np.ndarray
    true: np.ndarray
    objects: np.ndarray

    @classmethod
    def of(cls, statistics: Arrays, index: int, n_areas: int) -> "_Ranked":
        """Return those of the class at a place."""
        mine = np.flatnonzero(statistics["class"] == index)
        mine = mine[np.argsort(-statistics["score"][mine], kind="stable")]
        counted = ~statistics["ignored"][mine, :n_areas]
        true = statistics["matched"][mine, :n_areas] & counted
        return cls(statistics["image"][mine], counted, true, statistics["objects"][:, index, :n_areas])

    def precision(self, weight: np.ndarray) -> np.ndarray:
        """Precision [A, T, R] at RECALLS where frame i counts `weight[i]` times; NaN where there is no object."""
        total, drawn = weight @ self.objects, weight[self.image]
        keep = drawn > 0
        hits = np.cumsum(self.true[keep] * drawn[keep, None, None], axis=0)
        shown = np.cumsum(self.counted[keep] * drawn[keep, None, None], axis=0)
        result = np.full((*hits.shape[1:], len(RECALLS)), np.nan)
        for area in np.flatnonzero(total > 0):
            precision = hits[:, area] / (shown[:, area] + np.spacing(1))
            envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
            recall = hits[:, area] / total[area]
            for level in range(hits.shape[2]):
                place = np.searchsorted(recall[:, level], RECALLS, side="left")
                within = place < len(recall)
                result[area, level] = 0.0
                result[area, level, within] = envelope[place[within], level]
        return result


def _overlaps(found: list[_Found], own: np.ndarray, ids: np.ndarray, area: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """IoU [D, G] of detections and ground truth; over a crowd, the share of the detection."""
    inter = np.zeros((len(found), len(ids)))
    for row, candidate in enumerate(found):
        _, mine, theirs = np.intersect1d(ids, candidate.under.ids, assume_unique=True, return_indices=True)
        inter[row, mine] = candidate.under.counts[theirs]
    union = np.where(crowd, own[:, None], own[:, None] + area - inter)
    return np.divide(inter, union, out=np.zeros_like(inter), where=inter > 0)


def _match(iou: np.ndarray, aside: np.ndarray, crowd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Greedy assignment: `matched`, `ignored` (matched to what does not count), bool [D, 4, 10]. `aside` is [4, G]."""
    matched = np.zeros((len(iou), len(aside), len(THRESHOLDS)), bool)
    ignored = np.zeros_like(matched)
    near = [np.flatnonzero(row >= THRESHOLDS[0]) for row in iou]
    for size, skip in enumerate(aside):
        # What counts comes first, each part in the order of ids; so pycocotools sorts.
        candidates = [sorted(row.tolist(), key=skip.tolist().__getitem__) for row in near]
        for level, threshold in enumerate(THRESHOLDS):
            taken = set()
            for detection, places in enumerate(candidates):
                best, least = -1, min(threshold, 1 - 1e-10)
                for place in places:
                    if place in taken and not crowd[place]:
                        continue
                    if best >= 0 and not skip[best] and skip[place]:
                        break
                    if iou[detection, place] >= least:
                        best, least = place, iou[detection, place]
                if best >= 0:
                    taken.add(best)
                    matched[detection, size, level] = True
                    ignored[detection, size, level] = skip[best]
    return matched, ignored


def _mean(precision: np.ndarray) -> float:
    """Mean of what is defined; NaN where nothing is."""
    defined = precision[~np.isnan(precision)]
    return float(defined.mean()) if len(defined) else np.nan
