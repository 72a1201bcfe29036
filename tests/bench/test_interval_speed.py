"""A thousand replicates of AP over as many images as Cityscapes val has, against scoring them once in the same run."""

import time

import numpy as np
import pytest
from test_intervals import records

from harness.metrics import intervals


def test_a_thousand_replicates(benchmark, bar):
    def spent() -> tuple[float, float]:
        """Return CPU seconds of the replicates, and of scoring, each with statistics that were never scored."""
        first, second = (records(np.random.default_rng(0), 500, objects=18, wrong=27) for _ in range(2))
        start = time.process_time()
        found = intervals.interval([first], "AP", replicates=1000)
        between = time.process_time()
        assert second.scores()["AP"][0] == pytest.approx(found.value)
        return between - start, time.process_time() - between

    replicates, scored = (min(column) for column in zip(*(spent() for _ in range(3)), strict=True))
    benchmark.pedantic(lambda: None)
    bar("times the cost of scoring once", replicates / scored, most=300)
