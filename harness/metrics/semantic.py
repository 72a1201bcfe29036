"""Pixel scores as the Cityscapes benchmark defines them (cityscapesscripts, evalPixelLevelSemanticLabeling).

IoU over classes and categories from the confusion matrix of the whole set, and iIoU, where every instance weighs as
much as an average one of its class. Predicted void counts as a miss; ground truth that is ignored counts nowhere; a
class that is absent and never predicted leaves the mean.
"""

from collections.abc import Collection, Iterable

import numpy as np

from harness.core.errors import HarnessError
from harness.data.cityscapes import BY_ID, IGNORED, LABELS, THINGS
from harness.metrics.base import THING_INDEX, Arrays, Target, Weighted, label_of
from harness.metrics.predictions import LabelMap
from harness.metrics.table import infos_of

N_LABELS = 34
"""Label ids 0..33 are rows (ground truth) and columns (prediction) of the confusion matrix."""

AVERAGE_SIZE = {
    "bicycle": 4672.3249222261,
    "caravan": 36771.8241758242,
    "motorcycle": 6298.7200839748,
    "rider": 3930.4788056518,
    "bus": 35732.1511111111,
    "train": 67583.7075812274,
    "car": 12794.0202738185,
    "person": 3462.4756337644,
    "truck": 27855.1264367816,
    "trailer": 16926.9763313609,
}
"""Mean instance size in pixels per class; constants of the benchmark (measured on its training set)."""

_ORDERED = [label for label in LABELS if label.id >= 0]
_VALID = np.array([label.id for label in _ORDERED if not label.ignored])
CATEGORIES: dict[str, np.ndarray] = {
    name: np.array([label.id for label in _ORDERED if label.category == name and not label.ignored])
    for name in dict.fromkeys(label.category for label in _ORDERED)
    if name
}
"""Category to its evaluated label ids."""
INSTANCE_CATEGORIES: dict[str, np.ndarray] = {
    name: np.array([label.id for label in _ORDERED if label.category == name])
    for name in CATEGORIES
    if all(label.is_thing for label in _ORDERED if label.category == name)
}
"""Categories whose every label has instances (human, vehicle), with all their labels, ignored ones too."""
_CATEGORY_OF = {
    label.id: index for index, name in enumerate(INSTANCE_CATEGORIES) for label in THINGS if label.category == name
}


class PixelIoU(Weighted):
    """Mean IoU over classes and over categories, and iIoU of both."""

    infos = infos_of("semantic")
    signature = "IoU:cityscapes-2|over:classes|weight:pixel|void:ignored-in-truth|pooled:set"

    def observe(self, prediction: LabelMap, target: Target) -> dict[str, np.ndarray]:
        """Statistics of one frame.

        `confusion` int32 [1, 34, 34] (truth, prediction); `instance` [1, 8, 2] and `category` [1, 2, 2]: weighted hits
        and misses over the instances of each class, and of human and vehicle. HarnessError for predicted ids above 33.
        """
        truth, predicted, count = prediction.counts(target)
        if len(predicted) and int(predicted.max()) >= N_LABELS:
            raise HarnessError(
                f"{prediction.source}: label id {int(predicted.max())} is outside 0..33",
                hint="write label ids, not train ids (255 is no label id)",
            )
        target.check(truth)
        ids, place = np.unique(truth, return_inverse=True)
        below = np.bincount(place * N_LABELS + predicted, weights=count, minlength=len(ids) * N_LABELS)
        below = below.reshape(len(ids), N_LABELS)
        confusion = np.zeros((N_LABELS, N_LABELS))
        np.add.at(confusion, label_of(ids), below)
        instance, category = np.zeros((1, len(THINGS), 2)), np.zeros((1, len(INSTANCE_CATEGORIES), 2))
        columns = list(INSTANCE_CATEGORIES.values())
        for row in np.flatnonzero(ids > 1000):
            label = int(ids[row]) // 1000
            if label in IGNORED:
                continue
            size = float(below[row].sum())
            weight = AVERAGE_SIZE[BY_ID[label].name] / size
            hits = float(below[row, label])
            instance[0, THING_INDEX[label]] += hits * weight, (size - hits) * weight
            hits = float(below[row, columns[_CATEGORY_OF[label]]].sum())
            category[0, _CATEGORY_OF[label]] += hits * weight, (size - hits) * weight
        return {"confusion": confusion.astype(np.int32)[None], "instance": instance, "category": category}

    def replicates(
        self, statistics: Arrays, weights: np.ndarray | None = None, *, names: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """IoU, IoU_category, iIoU, iIoU_category, and IoU/<class or category>, iIoU/<...>; each [B], as fractions.

        `weights` [B, N] says how often each frame counts. NaN where the union is empty.
        """
        table = statistics["confusion"]
        n_images = len(table)
        weights = np.ones((1, n_images)) if weights is None else np.asarray(weights, np.float64)
        confusion = (weights @ table.reshape(n_images, -1)).reshape(-1, N_LABELS, N_LABELS)
        instance = np.tensordot(weights, statistics["instance"], axes=1)
        category = np.tensordot(weights, statistics["category"], axes=1)
        result: dict[str, np.ndarray] = {}
        for label in _ORDERED:
            if label.ignored:
                continue
            others = _VALID[label.id != _VALID]
            hits = confusion[:, label.id, label.id]
            misses = confusion[:, label.id].sum(axis=1) - hits
            false = confusion[:, others, label.id].sum(axis=1)
            result[f"IoU/{label.name}"] = _ratio(hits, hits + false + misses)
            if label.id in THING_INDEX:
                hits, misses = instance[:, THING_INDEX[label.id]].T
                result[f"iIoU/{label.name}"] = _ratio(hits, hits + false + misses)
        result["IoU"] = _mean(result, "IoU/", (label.name for label in _ORDERED))
        result["iIoU"] = _mean(result, "iIoU/", (label.name for label in _ORDERED))
        for name, ids in CATEGORIES.items():
            others = np.array([id_ for id_ in _VALID if BY_ID[id_].category != name])
            hits = confusion[:, ids][:, :, ids].sum(axis=(1, 2))
            misses = confusion[:, ids].sum(axis=(1, 2)) - hits
            false = confusion[:, others][:, :, ids].sum(axis=(1, 2))
            result[f"IoU_category/{name}"] = _ratio(hits, hits + false + misses)
        for index, (name, ids) in enumerate(INSTANCE_CATEGORIES.items()):
            others = np.array([id_ for id_ in _VALID if BY_ID[id_].category != name])
            hits, misses = category[:, index].T
            false = confusion[:, others][:, :, ids].sum(axis=(1, 2))
            result[f"iIoU_category/{name}"] = _ratio(hits, hits + false + misses)
        result["IoU_category"] = _mean(result, "IoU_category/", CATEGORIES)
        result["iIoU_category"] = _mean(result, "iIoU_category/", CATEGORIES)
        return result


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    share: np.ndarray = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return share


def _mean(result: dict[str, np.ndarray], prefix: str, names: Iterable[str]) -> np.ndarray:
    """Mean over those of `names` that are defined, per replicate."""
    values = np.stack([result[prefix + name] for name in names if prefix + name in result])
    defined = ~np.isnan(values)
    count = defined.sum(axis=0)
    total = np.where(defined, values, 0.0).sum(axis=0)
    mean: np.ndarray = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return mean
