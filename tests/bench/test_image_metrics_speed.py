"""SSIM against scikit-image and FID's distance against SciPy's matrix root, on the same arrays in the same run."""

import timeit

import numpy as np
import pytest
import scipy.linalg
from skimage.metrics import structural_similarity

from harness.quality.frechet import frechet_distance
from harness.quality.structural import ssim


def seconds(work) -> float:
    return min(timeit.repeat(work, number=1, repeat=3))


@pytest.mark.parametrize(("side", "least"), [(512, 4), (1024, 4)])
def test_ssim(benchmark, bar, side: int, least: float) -> None:
    rng = np.random.default_rng(0)
    real, generated = (rng.integers(0, 256, (side, side), dtype=np.uint8) for _ in range(2))
    found = benchmark(ssim, real, generated)
    assert found == pytest.approx(structural_similarity(real, generated), abs=1e-9)
    ratio = seconds(lambda: structural_similarity(real, generated)) / seconds(lambda: ssim(real, generated))
    bar("times as fast as scikit-image", ratio, least=least)


def test_frechet_distance_of_few_crops(benchmark, bar) -> None:
    """240 crops, 1280 features: what the mini profile has."""
    rng = np.random.default_rng(0)
    a, b = (np.abs(rng.normal(size=(240, 1280))) for _ in range(2))

    def textbook() -> float:
        s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
        shift = a.mean(0) - b.mean(0)
        return float(shift @ shift + np.trace(s1 + s2) - 2 * np.trace(scipy.linalg.sqrtm(s1 @ s2)).real)

    found = benchmark(frechet_distance, a, b)
    assert found == pytest.approx(textbook(), rel=1e-3)
    ratio = seconds_once(textbook) / seconds(lambda: frechet_distance(a, b))
    bar("times as fast as a matrix root", ratio, least=10)


def seconds_once(work) -> float:
    return timeit.timeit(work, number=1)
