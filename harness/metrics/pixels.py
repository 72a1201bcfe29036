"""This module counts pixels in numpy: which ids lie over which, how many times, and where.

The definition of what the compiled loops of `_kernels` do faster; all of it is integers, so the two never differ.
"""

from typing import NamedTuple

import numpy as np


class Pairs(NamedTuple):
    """Co-occurrence of two id maps: `counts[i]` pixels have `first[i]` in one and `second[i]` in the other.

    Ordered by (first, second); every pair once.
    """

    first: np.ndarray
    second: np.ndarray
    counts: np.ndarray


class Under(NamedTuple):
    """This holds what lies under a mask: ids of the ground truth, ascending, and how many pixels of each."""

    ids: np.ndarray
    counts: np.ndarray


def pairs(first: np.ndarray, second: np.ndarray) -> Pairs:
    """Joint histogram of two integer maps [H, W] with values below 2**31; one pass over runs of equal pairs."""
    a, b = first.ravel(), second.ravel()
    change = a[1:] != a[:-1]
    change |= b[1:] != b[:-1]
    starts = np.concatenate(([0], np.flatnonzero(change) + 1))
    lengths = np.diff(starts, append=a.size)
    keys = a[starts].astype(np.int64) << 31 | b[starts].astype(np.int64)
    unique, inverse = np.unique(keys, return_inverse=True)
    count = np.bincount(inverse, weights=lengths, minlength=len(unique)).astype(np.int64)
    return Pairs(unique >> 31, unique & 0x7FFFFFFF, count)


def regions(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids that occur in a uint16 map [H, W] (ascending), their areas, and boxes [K, 4] (top, left, bottom, right)."""
    height, width = ids.shape
    change = np.ones(ids.shape, bool)
    np.not_equal(ids[:, 1:], ids[:, :-1], out=change[:, 1:])  # a run ends with its row, so that boxes come out right
    starts = np.flatnonzero(change)
    lengths = np.diff(starts, append=height * width)
    unique, inverse = np.unique(ids.ravel()[starts], return_inverse=True)
    areas = np.bincount(inverse, weights=lengths, minlength=len(unique)).astype(np.int64)
    rows, columns = np.divmod(starts, width)
    boxes = np.empty((len(unique), 4), np.int64)
    boxes[:, :2] = height, width
    boxes[:, 2:] = 0
    np.minimum.at(boxes[:, 0], inverse, rows)
    np.minimum.at(boxes[:, 1], inverse, columns)
    np.maximum.at(boxes[:, 2], inverse, rows + 1)
    np.maximum.at(boxes[:, 3], inverse, columns + lengths)
    return unique.astype(np.int64), areas, boxes


def under(mask: np.ndarray, ids: np.ndarray) -> Under:
    """Return what lies under the non-zero pixels of `mask` [H, W]."""
    counts = np.bincount(ids[mask != 0], minlength=1)
    present = np.flatnonzero(counts)
    return Under(present, counts[present])


def under_runs(starts: np.ndarray, lengths: np.ndarray, ids: np.ndarray) -> Under:
    """As `under`, for a mask given as runs in the flat map `ids`."""
    before = np.cumsum(lengths) - lengths
    places = np.repeat(starts - before, lengths) + np.arange(lengths.sum())
    counts = np.bincount(ids[places], minlength=1)
    present = np.flatnonzero(counts)
    return Under(present, counts[present])
