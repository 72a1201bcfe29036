"""PSNR and SSIM compare one pair of images, over the whole image or over a region of it.

The numbers are scikit-image's (to 1e-9); SSIM is computed from exact integer box sums, band by band in the cache,
which is about ten times faster.
Not here: which sizes and regions are compared (the recipes in image.py), means over pairs (stages/assess.py).
"""

from typing import NamedTuple

import numpy as np

from harness.core.errors import HarnessError

WINDOW = 7
"""Side of SSIM's uniform window in pixels, as in Wang et al. 2004 without the Gaussian and scikit-image's default."""

_BAND = 32  # rows of windows at a time: what a band needs stays in the second-level cache

_RANGE = 255.0
_C1, _C2 = (0.01 * _RANGE) ** 2, (0.03 * _RANGE) ** 2


class Structure(NamedTuple):
    """This holds what a pair scores in one region: `psnr` in dB (inf when `identical`), `ssim` in [-1, 1] or None where
    no window fits."""

    psnr: float
    ssim: float | None
    identical: bool


def psnr(real: np.ndarray, generated: np.ndarray, region: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB, 10 log10(255^2 / MSE); inf for identical pixels.

    Images are uint8 of one shape ([H, W] or [H, W, 3]); with `region` (bool [H, W], not empty) the mean squared
    error is taken over its pixels and their channels only.
    """
    _checked(real, generated, region)
    # Differences of bytes and their squares fit in int32, so the sum is exact.
    error = np.square(real.astype(np.int32) - generated.astype(np.int32))
    mean = float(error.mean() if region is None else error[region].mean())
    return float("inf") if mean == 0 else float(10 * np.log10(_RANGE**2 / mean))


def ssim(real: np.ndarray, generated: np.ndarray, region: np.ndarray | None = None) -> float | None:
    """Mean structural similarity of two grey images, in [-1, 1] (Wang et al. 2004, eq. 13).

    Images are uint8 [H, W]; 7 x 7 uniform window, sample covariance, range 255, K1 0.01, K2 0.03, and the border
    of half a window left out: scikit-image's defaults. With `region` (bool [H, W]) it is the mean over the
    windows whose centre lies in it; None when there is none.
    """
    _checked(real, generated, region)
    if real.ndim != 2:
        raise HarnessError(f"SSIM is taken of grey images, found an array of shape {real.shape}")
    if min(real.shape) < WINDOW:
        return None
    border = WINDOW - 1
    bands = [slice(top, top + _BAND + border) for top in range(0, real.shape[0] - border, _BAND)]
    similarity = np.concatenate([_ssim_map(real[band], generated[band]) for band in bands])
    if region is None:
        return float(similarity.mean())
    inside = region[WINDOW // 2 : -(WINDOW // 2), WINDOW // 2 : -(WINDOW // 2)]
    return float(similarity[inside].mean()) if inside.any() else None


def structure(real: np.ndarray, generated: np.ndarray, region: np.ndarray | None = None) -> Structure:
    """PSNR in colour and SSIM in grey of a pair of uint8 [H, W, 3] images, over `region` or everywhere."""
    _checked(real, generated, region)
    differs = (real != generated).any(axis=2)
    identical = not bool(differs.any() if region is None else differs[region].any())
    return Structure(psnr(real, generated, region), ssim(grey(real), grey(generated), region), identical)


def grey(image: np.ndarray) -> np.ndarray:
    """Luma of a uint8 RGB image as uint8 (ITU-R BT.601 weights, rounded), as OpenCV has it."""
    import cv2

    return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)


def _ssim_map(real: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """Local similarity [H - 6, W - 6] of all windows that lie in the image."""
    import cv2

    def window_sum(values: np.ndarray) -> np.ndarray:
        # Doubles that hold integers below 2^53 add without rounding, so OpenCV's running sums are exact here.
        total = cv2.boxFilter(values, cv2.CV_64F, (WINDOW, WINDOW), normalize=False)
        return total[WINDOW // 2 : -(WINDOW // 2), WINDOW // 2 : -(WINDOW // 2)]

    n = WINDOW**2
    x, y = real.astype(np.float64), generated.astype(np.float64)
    sum_x, sum_y = window_sum(x), window_sum(y)
    mean_xy = sum_x * sum_y / n**2
    mean_squares = (sum_x**2 + sum_y**2) / n**2
    # Sample covariance: (sum of products - n * product of means) / (n - 1).
    variances = (window_sum(x * x + y * y) - n * mean_squares) / (n - 1)
    covariance = (window_sum(x * y) - n * mean_xy) / (n - 1)
    return ((2 * mean_xy + _C1) * (2 * covariance + _C2)) / ((mean_squares + _C1) * (variances + _C2))


def _checked(real: np.ndarray, generated: np.ndarray, region: np.ndarray | None) -> None:
    if real.shape != generated.shape or real.dtype != np.uint8 or generated.dtype != np.uint8:
        raise HarnessError(
            f"a pair is two uint8 arrays of one shape, found {real.dtype} {real.shape}"
            f" and {generated.dtype} {generated.shape}"
        )
    if region is not None and (region.shape != real.shape[:2] or region.dtype != bool or not region.any()):
        raise HarnessError(
            f"a region is a bool array of shape {real.shape[:2]} that is not empty, found {region.dtype} {region.shape}"
            f" with {int(np.count_nonzero(region))} pixels"
        )
