"""The targets of a crop are the class of each pixel, a heatmap of centres and the offset from each pixel to its centre.

As DeepLab2 has it: a centre is the rounded centre of mass, a group region (a thing class without a number) keeps its
class and teaches neither centres nor offsets.
"""

from typing import NamedTuple

import numpy as np

from harness.data.labels import IGNORE, LabelSet


class Targets(NamedTuple):
    """The targets of a crop [H, W]: `classes` int64, train ids or IGNORE; `weights` float32 of the semantic loss;
    `heatmap` float32 in 0..1; `heatmap_weights` float32, 0 on void and groups; `offsets` float32 [2, H, W], (dy, dx) in
    pixels; `offset_weights` float32, 1 on numbered things.
    """

    classes: np.ndarray
    weights: np.ndarray
    heatmap: np.ndarray
    heatmap_weights: np.ndarray
    offsets: np.ndarray
    offset_weights: np.ndarray


def targets(ids: np.ndarray, labels: LabelSet, *, sigma: float, small_area: int, small_weight: float) -> Targets:
    """Return the targets of `ids` (int [H, W], in the encoding of `labels`).

    Pixels of instances of fewer than `small_area` pixels weigh `small_weight`.
    """
    kinds = labels.train_ids[labels.label_of(ids)].astype(np.int64)
    thing = labels.thing_of_id[ids] >= 0
    numbered = thing & labels.is_instance(ids)
    weights = np.ones(ids.shape, np.float32)
    heatmap = np.zeros(ids.shape, np.float32)
    offsets = np.zeros((2, *ids.shape), np.float32)
    rows, columns = np.nonzero(numbered)
    if len(rows):
        _, owner, areas = np.unique(ids[rows, columns], return_inverse=True, return_counts=True)
        centres = np.stack([np.rint(np.bincount(owner, place) / areas) for place in (rows, columns)], 1)
        for centre in centres.astype(int):
            _stamp(heatmap, centre, sigma)
        offsets[:, rows, columns] = centres[owner].T - np.stack([rows, columns])
        weights[rows, columns] = np.where(areas[owner] < small_area, np.float32(small_weight), np.float32(1))
    return Targets(
        classes=kinds,
        weights=weights,
        heatmap=heatmap,
        heatmap_weights=((kinds != IGNORE) & (numbered | ~thing)).astype(np.float32),
        offsets=offsets,
        offset_weights=numbered.astype(np.float32),
    )


def _stamp(heatmap: np.ndarray, centre: np.ndarray, sigma: float) -> None:
    """Raise the heatmap to a Gaussian about `centre`, three sigma and a pixel wide."""
    reach = int(3 * sigma) + 1
    first, end = np.maximum(centre - reach, 0), np.minimum(centre + reach + 1, heatmap.shape)
    y, x = (np.arange(a, b) - c for a, b, c in zip(first, end, centre, strict=True))
    bump = np.exp(-(y[:, None] ** 2 + x[None] ** 2) / (2 * sigma**2)).astype(np.float32)
    window = heatmap[first[0] : end[0], first[1] : end[1]]
    np.maximum(window, bump, out=window)
