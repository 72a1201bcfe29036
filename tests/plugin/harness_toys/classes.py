"""Accuracy of each class: the mean over the classes, that of every class, and that of cars as a score of its own."""

import numpy as np

from harness.metrics.base import Arrays, Metric, Target
from harness.metrics.info import MetricInfo
from harness.metrics.prediction_views import LabelMap


class MeanAccuracy(Metric):
    """The mean over the classes that occur of right pixels over pixels."""

    infos = (
        MetricInfo(key="mean_accuracy", label="Mean accuracy", reads="semantic", direction="up", each="class"),
        MetricInfo(key="car_accuracy", label="Accuracy (car)", reads="semantic", direction="up"),
    )
    signature = "mean_accuracy:toys-0.1|mean:present-classes|pooled:set"

    def observe(self, prediction: LabelMap, target: Target) -> Arrays:
        """Statistics of one frame: `right` and `counted`, int64 [1, C], one column for each class."""
        truth, ids = self.labels.label_of(target.ids), self.labels.evaluated_ids
        right = [np.sum((truth == id_) & (prediction.ids == id_)) for id_ in ids]
        return {"right": np.array([right]), "counted": np.array([[np.sum(truth == id_) for id_ in ids]])}

    def score(self, statistics: Arrays) -> dict[str, float]:
        """Scores of joined statistics [N, C] as fractions; NaN for a class that does not occur."""
        right, counted = statistics["right"].sum(axis=0), statistics["counted"].sum(axis=0)
        shares = {
            label.name: float(right[place] / counted[place]) if counted[place] else float("nan")
            for place, label in enumerate(self.labels.evaluated)
        }
        present = [share for share in shares.values() if not np.isnan(share)]
        return {
            "mean_accuracy": float(np.mean(present)) if present else float("nan"),
            "car_accuracy": shares.get("car", float("nan")),
            **{f"mean_accuracy/{name}": share for name, share in shares.items()},
        }
