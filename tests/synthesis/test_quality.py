"""Quality filters refuse by their thresholds, and are off by default."""

import numpy as np
import pytest

from harness.core.config import parse
from harness.core.errors import HarnessError
from harness.synthesis.quality import Quality, objection

REAL = np.full((4, 4, 3), 100, np.uint8)
MASK = np.zeros((4, 4), bool)
MASK[:2] = True


def changed(inside, outside):
    image = REAL.copy()
    image[MASK] += np.uint8(inside)
    image[~MASK] -= np.uint8(outside)
    return image


def test_nothing_is_refused_by_default():
    assert objection(Quality(), REAL, changed(0, 90), MASK) == ""


def test_thresholds_are_mean_distances():
    asked = Quality(least_change=5.0, most_spill=10.0)
    assert objection(asked, REAL, changed(5, 10), MASK) == ""
    assert objection(asked, REAL, changed(4, 0), MASK) == "changed too little inside the mask"
    assert objection(asked, REAL, changed(50, 11), MASK) == "changed too much outside the mask"
    assert objection(asked, REAL, changed(50, 50), np.ones((4, 4), bool)) == ""


def test_negative_thresholds_are_refused():
    with pytest.raises(HarnessError, match="least_change"):
        parse(Quality, {"least_change": -1.0}, "somewhere")
