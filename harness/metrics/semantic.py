"""This module computes pixel scores as the Cityscapes benchmark defines them (cityscapesscripts,
evalPixelLevelSemanticLabeling).

IoU over classes and categories from the confusion matrix of the whole set, and iIoU, where every instance weighs as
much as an average one of its class. Predicted void counts as a miss; ground truth that is ignored counts nowhere; a
class that is absent and never predicted leaves the mean.
"""

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np

from harness.core.errors import HarnessError
from harness.data.labels import Label, LabelSet
from harness.metrics.base import Arrays, Target, Weighted
from harness.metrics.prediction_views import LabelMap
from harness.metrics.table import infos_of


class _Places(NamedTuple):
    """This holds what the scores need to know of a label set.

    `ordered`: the labels that maps can hold; `n_labels`: rows and columns of the confusion matrix, one for each id up
    to the largest; `valid`: evaluated ids; `categories`: name to the ids of its evaluated labels; `of_instances`: the
    categories whose every label has instances, with all their ids, ignored ones too; `category_of`: id of a thing to
    the place of its category among these.
    """

    ordered: tuple[Label, ...]
    n_labels: int
    valid: np.ndarray
    categories: Mapping[str, np.ndarray]
    of_instances: Mapping[str, np.ndarray]
    category_of: Mapping[int, int]

    @classmethod
    def of(cls, labels: LabelSet) -> "_Places":
        ordered = tuple(label for label in labels.labels if label.id >= 0)
        named = dict.fromkeys(label.category for label in ordered if label.category and not label.ignored)
        inside = {name: [label for label in ordered if label.category == name] for name in named}
        sized = {name for name, mine in inside.items() if all(x.is_thing and (x.ignored or x.mean_size) for x in mine)}
        of_instances = {name: np.array([x.id for x in mine]) for name, mine in inside.items() if name in sized}
        return cls(
            ordered=ordered,
            n_labels=1 + max(label.id for label in ordered),
            valid=np.array([label.id for label in ordered if not label.ignored]),
            categories={name: np.array([x.id for x in mine if not x.ignored]) for name, mine in inside.items()},
            of_instances=of_instances,
            category_of={x.id: place for place, name in enumerate(of_instances) for x in inside[name] if not x.ignored},
        )


class PixelIoU(Weighted):
    """Mean IoU over classes and over categories, and iIoU of both."""

    infos = infos_of("semantic")
    signature = "IoU:cityscapes-2|over:classes|weight:pixel|void:ignored-in-truth|pooled:set"

    def observe(self, prediction: LabelMap, target: Target) -> dict[str, np.ndarray]:
        """Statistics of one frame.

        `confusion` int32 [1, L, L] (truth, prediction), L - 1 the largest label id; `instance` [1, C, 2] and `category`
        [1, G, 2]: weighted hits and misses over the instances of each class, and of each category of instances alone.
        HarnessError for a predicted id of L or more.
        """
        labels, places, n_labels = self.labels, self._places, self._places.n_labels
        truth, predicted, count = prediction.counts(target)
        if len(predicted) and int(predicted.max()) >= n_labels:
            raise HarnessError(
                f"{prediction.source}: label id {int(predicted.max())} is outside 0..{n_labels - 1}",
                hint="write label ids, not train ids (255 is no label id)",
            )
        target.check(truth)
        ids, place = np.unique(truth, return_inverse=True)
        below = np.bincount(place * n_labels + predicted, weights=count, minlength=len(ids) * n_labels)
        below = below.reshape(len(ids), n_labels)
        confusion = np.zeros((n_labels, n_labels))
        np.add.at(confusion, labels.label_of(ids), below)
        instance, category = np.zeros((1, len(labels.things), 2)), np.zeros((1, len(places.of_instances), 2))
        columns = list(places.of_instances.values())
        for row in np.flatnonzero(labels.is_instance(ids)):
            label = labels.by_id[labels.label_of(int(ids[row]))]
            if label.ignored or label.mean_size is None:
                continue
            size = float(below[row].sum())
            weight = label.mean_size / size
            hits = float(below[row, label.id])
            instance[0, labels.thing_index[label.id]] += hits * weight, (size - hits) * weight
            if (group := places.category_of.get(label.id)) is not None:
                hits = float(below[row, columns[group]].sum())
                category[0, group] += hits * weight, (size - hits) * weight
        return {"confusion": confusion.astype(np.int32)[None], "instance": instance, "category": category}

    def replicates(
        self, statistics: Arrays, weights: np.ndarray | None = None, *, names: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """IoU, IoU_category, iIoU, iIoU_category, and IoU/<class or category>, iIoU/<...>; each [B], as fractions.

        `weights` [B, N] says how often each frame counts. NaN where the union is empty.
        """
        places, table = self._places, statistics["confusion"]
        n_images = len(table)
        weights = np.ones((1, n_images)) if weights is None else np.asarray(weights, np.float64)
        confusion = (weights @ table.reshape(n_images, -1)).reshape(-1, places.n_labels, places.n_labels)
        instance = np.tensordot(weights, statistics["instance"], axes=1)
        category = np.tensordot(weights, statistics["category"], axes=1)
        result: dict[str, np.ndarray] = {}
        for label in places.ordered:
            if label.ignored:
                continue
            others = places.valid[label.id != places.valid]
            hits = confusion[:, label.id, label.id]
            misses = confusion[:, label.id].sum(axis=1) - hits
            false = confusion[:, others, label.id].sum(axis=1)
            result[f"IoU/{label.name}"] = _ratio(hits, hits + false + misses)
            if label.is_thing and label.mean_size is not None:
                hits, misses = instance[:, self.labels.thing_index[label.id]].T
                result[f"iIoU/{label.name}"] = _ratio(hits, hits + false + misses)
        result["IoU"] = _mean(result, "IoU/", (label.name for label in places.ordered), len(weights))
        result["iIoU"] = _mean(result, "iIoU/", (label.name for label in places.ordered), len(weights))
        for name, ids in places.categories.items():
            others = places.valid[~np.isin(places.valid, ids)]
            hits = confusion[:, ids][:, :, ids].sum(axis=(1, 2))
            misses = confusion[:, ids].sum(axis=(1, 2)) - hits
            false = confusion[:, others][:, :, ids].sum(axis=(1, 2))
            result[f"IoU_category/{name}"] = _ratio(hits, hits + false + misses)
        for index, (name, ids) in enumerate(places.of_instances.items()):
            others = places.valid[~np.isin(places.valid, ids)]
            hits, misses = category[:, index].T
            false = confusion[:, others][:, :, ids].sum(axis=(1, 2))
            result[f"iIoU_category/{name}"] = _ratio(hits, hits + false + misses)
        result["IoU_category"] = _mean(result, "IoU_category/", places.categories, len(weights))
        result["iIoU_category"] = _mean(result, "iIoU_category/", places.categories, len(weights))
        return result

    def doubt(self, statistics: Arrays) -> str:
        """Return that the maps look like train ids: no id is above the largest of these, and ids that train ids alone
        give to a class are there.
        """
        last = len(self.labels.evaluated) - 1
        truth, predicted = statistics["confusion"].sum(axis=(0, 2)), statistics["confusion"].sum(axis=(0, 1))
        ignored = [label.id for label in self._places.ordered if label.ignored and 0 < label.id <= last]
        if predicted[last + 1 :].any() or not truth[last + 1 :].any() or not predicted[ignored].any():
            return ""
        return f"no predicted label id is above {last}: are these train ids? They are read as label ids"

    def unavailable(self, statistics: Arrays) -> dict[str, str]:
        """Return what a label set without mean sizes or categories can't have."""
        sized = any(label.mean_size for label in self.labels.things)
        missing = {} if sized else dict.fromkeys(("iIoU", "iIoU_category"), "the labels state no mean sizes")
        return missing | ({} if self._places.categories else {"IoU_category": "the labels have no categories"})

    @cached_property
    def _places(self) -> _Places:
        return _Places.of(self.labels)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    share: np.ndarray = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return share


def _mean(result: dict[str, np.ndarray], prefix: str, names: Iterable[str], replicates: int) -> np.ndarray:
    """Mean over those of `names` that are defined, per replicate; NaN where none is."""
    found = [result[prefix + name] for name in names if prefix + name in result]
    values = np.stack(found) if found else np.full((1, replicates), np.nan)
    defined = ~np.isnan(values)
    count = defined.sum(axis=0)
    total = np.where(defined, values, 0.0).sum(axis=0)
    mean: np.ndarray = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return mean
