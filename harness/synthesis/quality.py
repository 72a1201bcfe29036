"""These quality filters drop results that are not worth a place in the training set. They are off unless a threshold is
set.

A refused result stays under crops/ and in the manifest with its reason; it only makes no training image.
"""

import numpy as np
from pydantic import Field

from harness.core.config import Strict


class Quality(Strict):
    """Thresholds on one generated crop against its real one; null: not asked."""

    least_change: float | None = Field(default=None, ge=0, le=255)
    """Smallest mean |generated - real| inside the mask: below it the generator has left the instance as it was."""
    most_spill: float | None = Field(default=None, ge=0, le=255)
    """Largest mean |generated - real| outside the mask: above it the generator has lost the surroundings."""


def objection(quality: Quality, real: np.ndarray, generated: np.ndarray, mask: np.ndarray) -> str:
    """Return why `generated` (uint8 [S, S, 3], as `real`; `mask` bool [S, S]) is refused; empty when it is not."""
    if quality.least_change is None and quality.most_spill is None:
        return ""
    change = np.abs(generated.astype(np.int16) - real).mean(axis=2)
    if quality.least_change is not None and mask.any() and change[mask].mean() < quality.least_change:
        return "changed too little inside the mask"
    if quality.most_spill is not None and not mask.all() and change[~mask].mean() > quality.most_spill:
        return "changed too much outside the mask"
    return ""
