"""FID and KID against the formulas of the public tools, given the same features."""

import numpy as np
import pytest
import scipy.linalg

from harness.core.errors import HarnessError
from harness.quality import frechet


def _features(n: int, d: int, seed: int, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    spread = np.linspace(0.2, 2.0, d)
    return (np.abs(rng.normal(size=(n, d))) * spread + shift).astype(np.float32)


def _with_scipy(a: np.ndarray, b: np.ndarray) -> float:
    """The textbook form with a matrix root, as pytorch-fid has it."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(s1 @ s2)
    shift = a.mean(0) - b.mean(0)
    return float(shift @ shift + np.trace(s1) + np.trace(s2) - 2 * np.trace(root).real)


def _with_torch_fidelity(a: np.ndarray, b: np.ndarray) -> float:
    import torch
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    one, two = (fid_features_to_statistics(torch.from_numpy(x.astype(np.float64))) for x in (a, b))
    return fid_statistics_to_metric(one, two, False)["frechet_inception_distance"]


@pytest.mark.parametrize(
    ("n", "m", "d"), [(200, 150, 24), (300, 40, 64), (40, 300, 64), (20, 30, 64), (64, 64, 64), (65, 65, 64)]
)
def test_frechet_distance_is_that_of_the_public_tools(n: int, m: int, d: int) -> None:
    a, b = _features(n, d, 0), _features(m, d, 1, 0.3)
    ours = frechet.frechet_distance(a, b)
    assert ours == pytest.approx(_with_torch_fidelity(a, b), rel=1e-3)
    # A root of a singular matrix is ill conditioned: with n <= d SciPy's own error is of the order of 1e-4.
    assert ours == pytest.approx(_with_scipy(a, b), rel=1e-7 if min(n, m) > d + 1 else 1e-3)


def test_both_ways_to_the_root_agree_where_both_hold() -> None:
    a, b = _features(65, 64, 0), _features(90, 64, 1)
    # One repeated column makes d exceed n without changing the distance's formula: the low-rank form is taken instead.
    zeros = np.zeros((65, 40), np.float32), np.zeros((90, 40), np.float32)
    low_rank = frechet.frechet_distance(np.hstack([a, zeros[0]]), np.hstack([b, zeros[1]]))
    assert low_rank == pytest.approx(frechet.frechet_distance(a, b), rel=1e-9)


def test_same_features_are_at_distance_zero() -> None:
    for n in (20, 200):
        a = _features(n, 64, 3)
        assert frechet.frechet_distance(a, a) == pytest.approx(0, abs=1e-8)


def test_kernel_distance_is_the_unbiased_estimate() -> None:
    from torch_fidelity.metric_kid import kernel_mmd

    a, b = _features(50, 16, 0), _features(50, 16, 1, 0.2)
    oracle = kernel_mmd(
        a.astype(np.float64),
        b.astype(np.float64),
        kid_kernel="poly",
        kid_kernel_poly_degree=3,
        kid_kernel_poly_gamma=None,
        kid_kernel_poly_coef0=1.0,
    )
    assert frechet.kernel_distance(a, b).value == pytest.approx(oracle, rel=1e-10)


def test_kernel_distance_in_chunks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = _features(50, 16, 0), _features(70, 16, 1)
    whole = frechet.kernel_distance(a, b)
    monkeypatch.setattr(frechet, "_CHUNK", 7)
    parts = frechet.kernel_distance(a, b)
    assert parts.value == pytest.approx(whole.value, rel=1e-12)
    assert parts.error == pytest.approx(whole.error, rel=1e-9)


def test_kernel_distance_leaves_clusters_out() -> None:
    a, b = _features(30, 8, 0), _features(45, 8, 1, 0.1)
    of_a, of_b = np.arange(30) // 3, np.arange(45) // 5 + 1
    found = frechet.kernel_distance(a, b, real_clusters=of_a, generated_clusters=of_b)
    names = sorted(set(of_a) | set(of_b))
    without = [frechet.kernel_distance(a[of_a != c], b[of_b != c]).value for c in names]
    assert found.error == pytest.approx(frechet.jackknife_error(np.array(without)), rel=1e-9)


def test_kernel_distance_of_one_distribution_is_near_zero_unlike_fid() -> None:
    a, b = _features(100, 256, 0), _features(100, 256, 1)
    kid = frechet.kernel_distance(a, b)
    assert abs(kid.value) < 3 * kid.error
    assert frechet.frechet_distance(a, b) > 20


def test_too_few_or_broken_features_are_refused() -> None:
    with pytest.raises(HarnessError, match=r"n >= 2"):
        frechet.frechet_distance(_features(1, 4, 0), _features(9, 4, 0))
    with pytest.raises(HarnessError, match="generated of shape"):
        frechet.kernel_distance(_features(9, 4, 0), _features(9, 5, 0))
    broken = _features(9, 4, 0)
    broken[3, 2] = np.nan
    with pytest.raises(HarnessError, match="not finite"):
        frechet.frechet_distance(_features(9, 4, 0), broken)
