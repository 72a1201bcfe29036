"""A metric: the share of evaluated pixels whose label is right."""

import numpy as np

from harness.metrics.base import Arrays, Metric, Target
from harness.metrics.info import MetricInfo
from harness.metrics.prediction_views import LabelMap


class PixelAccuracy(Metric):
    """Right pixels over pixels, pooled over the set; ground truth of ignored labels counts nowhere."""

    infos = (
        MetricInfo(
            key="pixel_accuracy",
            label="Accuracy",
            reads="semantic",
            direction="up",
            scale=100.0,
            unit="%",
            tolerance=0.02,
        ),
    )
    signature = "pixel_accuracy:toys-0.1|void:ignored-in-truth|pooled:set"

    def observe(self, prediction: LabelMap, target: Target) -> Arrays:
        """Statistics of one frame: `right` and `counted`, int64 [1]."""
        truth = self.labels.label_of(target.ids)
        counted = ~np.isin(truth, list(self.labels.ignored))
        right = counted & (truth == prediction.ids)
        return {"right": np.array([right.sum()]), "counted": np.array([counted.sum()])}

    def score(self, statistics: Arrays) -> dict[str, float]:
        """The score of joined statistics (frames one after the other) as a fraction; NaN without a counted pixel."""
        counted = int(statistics["counted"].sum())
        return {"pixel_accuracy": int(statistics["right"].sum()) / counted if counted else float("nan")}
