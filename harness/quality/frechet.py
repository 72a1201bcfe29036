"""FID and KID are distances between two sets of feature vectors, whatever network made them.

Not here: the networks and what they are fed (features.py, image.py). Both numbers depend on the network, on its input
and, FID above all, on how many images there are: never print one without them.
"""

from typing import Any, NamedTuple

import numpy as np

from harness.core.errors import HarnessError

_CHUNK = 1024  # rows of a kernel matrix in memory at a time


class Distance(NamedTuple):
    """A kernel distance and its standard error (None with fewer than three clusters)."""

    value: float
    error: float | None


def frechet_distance(real: np.ndarray, generated: np.ndarray) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) of features [n, d] and [m, d], n and m at least 2, S with n - 1.

    Heusel et al. 2017, eq. 6 (there with Inception features: FID). With centred features A and B, S1 S2 has the
    non-zero eigenvalues of (A B')(A B')' / (n - 1)(m - 1), so while one set has no more rows than columns the
    root's trace is the nuclear norm of the small A B' and no d x d matrix is made: exact where S is singular, and
    some hundred times cheaper. Else the eigenvalues of the symmetric S1^(1/2) S2 S1^(1/2) are taken. Biased
    upwards by about 1/n: compare only equal n.
    """
    real, generated = _checked(real, generated)
    a, b = real - real.mean(axis=0), generated - generated.mean(axis=0)
    n, m, d = len(a) - 1, len(b) - 1, a.shape[1]
    if min(len(a), len(b)) <= d:
        root = np.linalg.norm(_small_product(a, b), ord="nuc") / np.sqrt(n * m)
    else:
        values, vectors = np.linalg.eigh(a.T @ a / n)
        half = vectors * np.sqrt(np.clip(values, 0, None))
        root = np.sqrt(np.clip(np.linalg.eigvalsh(half.T @ (b.T @ b / m) @ half), 0, None)).sum()
    shift = real.mean(axis=0) - generated.mean(axis=0)
    distance = shift @ shift + np.square(a).sum() / n + np.square(b).sum() / m - 2 * root
    return max(0.0, float(distance))


def kernel_distance(
    real: np.ndarray,
    generated: np.ndarray,
    *,
    real_clusters: np.ndarray | None = None,
    generated_clusters: np.ndarray | None = None,
) -> Distance:
    """Squared maximum mean discrepancy of features [n, d] and [m, d] with the kernel (x.y / d + 1)^3.

    Binkowski et al. 2018 (KID), the unbiased estimate in one block over all rows: no subsets, hence nothing
    random. It may be negative when the sets are alike. The error is a delete-one-cluster jackknife; clusters
    (int [n], int [m]) group rows that are not independent, such as crops of one frame, and default to row i with i.
    """
    real, generated = _checked(real, generated)
    clusters = ((real, real_clusters), (generated, generated_clusters))
    groups = [np.arange(len(x)) if given is None else given for x, given in clusters]
    names, index = np.unique(np.concatenate(groups), return_inverse=True)
    of_real, of_generated = index[: len(real)], index[len(real) :]
    count = len(names)

    xx, xx_own = _cluster_sums(real, real, of_real, of_real, count, diagonal=False)
    yy, yy_own = _cluster_sums(generated, generated, of_generated, of_generated, count, diagonal=False)
    xy, xy_own = _cluster_sums(real, generated, of_real, of_generated, count, diagonal=True)
    yx, _ = _cluster_sums(generated, real, of_generated, of_real, count, diagonal=True)
    n, m = np.bincount(of_real, minlength=count), np.bincount(of_generated, minlength=count)

    value = _unbiased(xx.sum(), yy.sum(), xy.sum(), len(real), len(generated))
    rest_n, rest_m = len(real) - n, len(generated) - m
    if count < 3 or min(rest_n.min(), rest_m.min()) < 2:
        return Distance(float(value), None)
    without = _unbiased(
        xx.sum() - 2 * xx + xx_own, yy.sum() - 2 * yy + yy_own, xy.sum() - xy - yx + xy_own, rest_n, rest_m
    )
    return Distance(float(value), jackknife_error(without))


def jackknife_error(without: np.ndarray) -> float:
    """Standard error from the estimates that leave one cluster out each (Efron & Tibshirani 1993, eq. 11.5)."""
    count = len(without)
    return float(np.sqrt((count - 1) / count * np.square(without - without.mean()).sum()))


def _unbiased(xx: Any, yy: Any, xy: Any, n: Any, m: Any) -> Any:
    """The estimate from the sums over i != j within each set and over all pairs between them; works on arrays too."""
    return xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * xy / (n * m)


def _cluster_sums(
    x: np.ndarray, y: np.ndarray, of_x: np.ndarray, of_y: np.ndarray, count: int, *, diagonal: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel sums per cluster of x's rows: against all of y, and against y's rows of the same cluster."""
    every, own = np.zeros(count), np.zeros(count)
    for start in range(0, len(x), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(x)))
        kernel = (x[rows] @ y.T / x.shape[1] + 1) ** 3
        if not diagonal:
            kernel[np.arange(len(rows)), rows] = 0
        every += np.bincount(of_x[rows], kernel.sum(axis=1), count)
        same = of_x[rows][:, None] == of_y[None, :]
        own += np.bincount(of_x[rows], (kernel * same).sum(axis=1), count)
    return every, own


def _small_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a matrix with the singular values of A B', no side longer than d."""
    d = a.shape[1]
    if len(a) > d:
        a = np.asarray(np.linalg.qr(a, mode="r"))
    if len(b) > d:
        b = np.asarray(np.linalg.qr(b, mode="r"))
    return a @ b.T


def _checked(real: np.ndarray, generated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sets in float64; HarnessError when they are not two or more finite vectors of one length."""
    for name, features in (("real", real), ("generated", generated)):
        if features.ndim != 2 or len(features) < 2 or features.shape[1] != real.shape[1]:
            raise HarnessError(
                f"a distance between sets needs two feature arrays [n >= 2, d], found {name} of shape {features.shape}"
            )
        if not np.isfinite(features).all():
            raise HarnessError(f"the {name} features hold values that are not finite")
    return real.astype(np.float64), generated.astype(np.float64)
