"""This module reads the distance of ground truth in metres from Cityscapes' disparity and camera files."""

from pathlib import Path

import numpy as np

from harness.core.errors import HarnessError
from harness.data import png
from harness.metrics.inputs import focal_baseline


def read_depth(files: tuple[Path, Path], size: tuple[int, int], source: str) -> np.ndarray:
    """Metres [H, W] of a frame of `size`, 0 where unknown; `source` names its ground truth in errors.

    A disparity file holds (value - 1) / 256 pixels, 0 for unknown; depth is focal length times baseline over it.
    """
    disparity_file, camera_file = files
    disparity = png.read_ids(disparity_file).astype(np.float64)
    if disparity.shape != size:
        raise HarnessError(f"{disparity_file}: its size is not that of {source}")
    factor = focal_baseline(camera_file)
    return np.divide(256 * factor, disparity - 1, out=np.zeros(size), where=disparity > 1)
