"""Accuracy of each class: the mean over the classes, and that of cars."""

from collections.abc import Mapping

import numpy as np

from harness.data.cityscapes import EVALUATED
from harness.metrics.base import Target, label_of

IDS = [label.id for label in EVALUATED]


class MeanAccuracy:
    """The mean over the classes that occur of right pixels over pixels."""

    name = "mean_accuracy"
    signature = "mean_accuracy:toys-0.1|mean:present-classes|pooled:set"
    higher_is_better = True

    def observe(self, prediction: np.ndarray, target: Target) -> dict[str, np.ndarray]:
        """Statistics of one frame: `right` and `counted`, int64 [1, 19], one column for each class."""
        truth = label_of(target.ids)
        right = [np.sum((truth == i) & (prediction == i)) for i in IDS]
        return {"right": np.array([right]), "counted": np.array([[np.sum(truth == i) for i in IDS]])}

    def score(self, statistics: Mapping[str, np.ndarray]) -> float:
        """The score of joined statistics [N, 19] as a fraction; NaN where no class occurs."""
        shares = of_classes(statistics)
        return float(np.nanmean(shares)) if np.isfinite(shares).any() else float("nan")


class CarAccuracy(MeanAccuracy):
    """The accuracy of one class, from the same statistics."""

    name = "car_accuracy"
    signature = "car_accuracy:toys-0.1|pooled:set"

    def score(self, statistics: Mapping[str, np.ndarray]) -> float:
        """As a fraction; NaN where there is no car."""
        return float(of_classes(statistics)[IDS.index(26)])


def of_classes(statistics: Mapping[str, np.ndarray]) -> np.ndarray:
    """The accuracy of each class, [19]; NaN for one that does not occur."""
    right, counted = statistics["right"].sum(axis=0), statistics["counted"].sum(axis=0)
    return np.where(counted > 0, right / np.maximum(counted, 1), np.nan)
