"""The grouping turns heatmap, offsets and classes into instances and a panoptic map (Panoptic-DeepLab, section 3.2).

A thing pixel belongs to the centre nearest to where its offset points; an instance has the class of most of its pixels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.data.labels import Label
from harness.data.prediction import Instance, Segment

AT_A_TIME = 2**16
"""Pixels whose distances to all centres are computed together."""


class Grouped(NamedTuple):
    """`owner` int64 [H, W]: the centre of each pixel counted from 1, 0 for stuff and where there is no centre.

    `classes` int64 [N]: of each centre's instance; `scores` float32 [N], in 0..1; `areas` int64 [N], 0 for a centre
    without pixels.
    """

    owner: Tensor
    classes: Tensor
    scores: Tensor
    areas: Tensor


def centres(heatmap: Tensor, *, threshold: float, kernel: int, top_k: int) -> Tensor:
    """Places (row, column) of peaks, int64 [N, 2]: above `threshold`, and the largest of a square of side `kernel`.

    Of more than `top_k` peaks, those above the `top_k`-th value.
    """
    raised = torch.where(heatmap > threshold, heatmap, torch.zeros_like(heatmap))
    pooled = F.max_pool2d(raised[None, None], kernel, stride=1, padding=kernel // 2)[0, 0]
    peaks = (raised == pooled) & (raised > 0)
    found = peaks.nonzero()
    if len(found) > top_k:
        values = heatmap[peaks]
        found = found[values > values.topk(top_k).values[-1]]
    return found


def group(chances: Tensor, heatmap: Tensor, offsets: Tensor, peaks: Tensor, things: Tensor) -> Grouped:
    """Assign thing pixels to their nearest peak.

    chances [K, H, W] of the classes, heatmap [H, W], offsets [2, H, W] in pixels, peaks [N, 2], things bool [K].
    A score is the mean chance of the instance's class in its mask times the heatmap at its peak.
    """
    kinds = chances.argmax(0)
    count, number = len(things), len(peaks)
    rows, columns = things[kinds].nonzero(as_tuple=True)
    owner = torch.zeros_like(kinds)
    if number == 0 or len(rows) == 0:
        empty = torch.zeros(number, device=kinds.device)
        return Grouped(owner, empty.long(), empty, empty.long())
    pointed = torch.stack([rows, columns], 1) + offsets[:, rows, columns].T.float()
    nearest = torch.cat([_nearest(part, peaks) for part in pointed.split(AT_A_TIME)])
    owner[rows, columns] = nearest + 1
    votes = torch.bincount(nearest * count + kinds[rows, columns], minlength=number * count).view(number, count)
    areas, classes = votes.sum(1), votes.argmax(1)
    inside = torch.bincount(nearest, chances[classes[nearest], rows, columns].double(), minlength=number)
    scores = inside / areas.clamp(min=1) * heatmap[peaks[:, 0], peaks[:, 1]]
    return Grouped(owner, classes, scores.clamp(0, 1).float(), areas)


def instances(grouped: Grouped, labels: Sequence[Label], *, min_score: float) -> list[Instance]:
    """Return the instances by falling score."""
    owner, classes, scores = (part.cpu().numpy() for part in grouped[:3])
    kept = [n for n in np.argsort(-scores, kind="stable") if grouped.areas[n] > 0 and scores[n] >= min_score]
    return [Instance(owner == n + 1, labels[classes[n]].id, float(scores[n])) for n in kept]


def panoptic(
    kinds: Tensor, grouped: Grouped, labels: Sequence[Label], *, stuff_area: int
) -> tuple[np.ndarray, tuple[Segment, ...]]:
    """Return the panoptic map (int32 [H, W], 0 = void) and its segments: instances, then stuff of `stuff_area` pixels
    or more.

    `kinds` int64 [H, W]: the class of each pixel. Thing pixels without a centre are void.
    """
    owner, classes, areas = (part.cpu().numpy() for part in (grouped.owner, grouped.classes, grouped.areas))
    shown = np.flatnonzero(areas)
    numbers = np.zeros(len(areas) + 1, np.int32)
    numbers[shown + 1] = np.arange(1, len(shown) + 1)
    segments = [Segment(place + 1, labels[classes[n]].id) for place, n in enumerate(shown)]
    panorama = numbers[owner]
    of_stuff = np.where(owner == 0, kinds.cpu().numpy(), -1)
    for index, label in enumerate(labels):
        here = of_stuff == index
        if not label.is_thing and here.sum() >= max(stuff_area, 1):
            segments.append(Segment(len(segments) + 1, label.id))
            panorama[here] = len(segments)
    return panorama, tuple(segments)


def _nearest(pointed: Tensor, peaks: Tensor) -> Tensor:
    """For each place [P, 2] the index of the nearest peak; the first of equals."""
    rows, columns = (pointed[:, axis, None] - peaks[None, :, axis] for axis in (0, 1))
    return (rows.square() + columns.square()).argmin(1)
