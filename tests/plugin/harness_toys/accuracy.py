"""A metric: the share of evaluated pixels whose label is right."""

from collections.abc import Mapping

import numpy as np

from harness.data.cityscapes import IGNORED
from harness.metrics.base import Target, label_of


class PixelAccuracy:
    """Right pixels over pixels, pooled over the set; ground truth that the benchmark ignores counts nowhere."""

    name = "pixel_accuracy"
    signature = "pixel_accuracy:toys-0.1|void:ignored-in-truth|pooled:set"
    higher_is_better = True
    reads = "semantic"

    def observe(self, prediction: np.ndarray, target: Target) -> dict[str, np.ndarray]:
        """Statistics of one frame: `right` and `counted`, int64 [1]. `prediction`: label ids [H, W]."""
        truth = label_of(target.ids)
        counted = ~np.isin(truth, list(IGNORED))
        right = counted & (truth == prediction)
        return {"right": np.array([right.sum()]), "counted": np.array([counted.sum()])}

    def score(self, statistics: Mapping[str, np.ndarray]) -> float:
        """The score of joined statistics (frames one after the other) as a fraction; NaN without a counted pixel."""
        counted = int(statistics["counted"].sum())
        return int(statistics["right"].sum()) / counted if counted else float("nan")
