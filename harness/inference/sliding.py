"""Sliding inference predicts a large image window by window and joins the predictions.

Windows of one size cover the image evenly. Label ids: the votes of the classes are averaged over the windows that see a
pixel. Instances: two of one class, from two windows, are one object when their masks agree (IoU >= 0.5) where both
windows look; it has the union of the masks and the mean of the scores, weighted by pixels. Panoptic: segments of things
are joined by the same rule, stuff by class, and where windows disagree the one in which the pixel lies farthest from an
inner border decides. Queries are not averaged: query 7 of one window has nothing to do with query 7 of the next.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from harness.data.labels import LabelSet
from harness.data.prediction import Instance, Prediction, Segment

SAME = 0.5
"""Masks of two windows are one object from this IoU on, measured where both windows look."""


class Window(NamedTuple):
    """Rows y0..y1 and columns x0..x1 of an image, half-open."""

    y0: int
    x0: int
    y1: int
    x1: int

    @property
    def inside(self) -> tuple[slice, slice]:
        """The window as an index into an array."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)


class Piece(NamedTuple):
    """This holds what one window sees of an object; `mask` has the size of the window."""

    window: int
    mask: np.ndarray
    label_id: int
    score: float


def windows(size: tuple[int, int], crop: tuple[int, int], overlap: float) -> list[Window]:
    """Windows that cover an image, row by row, neighbours sharing at least `overlap` (0..1) of a side.

    A side of the image that is shorter than the crop's has one window of its own length.
    """
    rows, columns = (list(_places(side, part, overlap)) for side, part in zip(size, crop, strict=True))
    return [Window(y0, x0, y1, x1) for y0, y1 in rows for x0, x1 in columns]


def slide(
    image: np.ndarray,
    ask: Callable[[Sequence[np.ndarray]], Sequence[Prediction]],
    labels: LabelSet,
    *,
    crop: tuple[int, int],
    overlap: float,
) -> Prediction:
    """Return the joined prediction for an image (uint8 [H, W, 3]); `ask` predicts for windows of one size."""
    size = image.shape[:2]
    places = windows(size, crop, overlap)
    return joined(size, places, ask([image[place.inside] for place in places]), labels)


def joined(
    size: tuple[int, int], places: Sequence[Window], answers: Sequence[Prediction], labels: LabelSet
) -> Prediction:
    """Join the predictions of windows to one for the whole image; votes are used up on the way."""
    first, owner = answers[0], _owners(size, places)
    instances = semantic = panorama = None
    segments: tuple[Segment, ...] = ()
    if first.instances is not None:
        instances = _instances(size, places, answers)
    if first.votes is not None:
        votes = [answer.votes for answer in answers if answer.votes is not None]
        semantic = labels.evaluated_ids[_elected(size, places, votes)]
    elif first.semantic is not None:
        semantic = np.zeros(size, np.uint8)
        maps = [answer.semantic for answer in answers if answer.semantic is not None]
        for number, (place, answered) in enumerate(zip(places, maps, strict=True)):
            own = owner[place.inside] == number
            semantic[place.inside][own] = answered[own]
    if first.panoptic is not None:
        panorama, segments = _panoptic(size, places, answers, owner, labels)
    return Prediction(instances=instances, semantic=semantic, panoptic=panorama, segments=segments)


def objects(places: Sequence[Window], pieces: Sequence[Piece]) -> list[list[int]]:
    """Return which pieces are one object: lists of their indices. An object has at most one piece of each window.

    The pairs of which both are surest join first.
    """
    group = {index: [index] for index in range(len(pieces))}
    for _, _, i, j in sorted(_pairs(places, pieces)):
        seen = [pieces[k].window for k in group[i] + group[j]]
        if group[i] is not group[j] and len(set(seen)) == len(seen):
            whole = group[i] + group[j]
            group.update(dict.fromkeys(whole, whole))
    return [members for index, members in group.items() if members[0] == index]


def _places(side: int, part: int, overlap: float) -> Iterator[tuple[int, int]]:
    part = min(side, part)
    count = 1 + math.ceil((side - part) / max(1.0, part * (1 - overlap)))
    for number in range(count):
        start = round(number * (side - part) / max(1, count - 1))
        yield start, start + part


def _pairs(places: Sequence[Window], pieces: Sequence[Piece]) -> Iterator[tuple[float, float, int, int]]:
    """(-score of the less sure, -IoU, index, index) of pieces that agree."""
    kinds: dict[tuple[int, int], list[int]] = {}
    for index, piece in enumerate(pieces):
        kinds.setdefault((piece.window, piece.label_id), []).append(index)
    for a, b in combinations(range(len(places)), 2):
        one, two = places[a], places[b]
        shared = Window(max(one.y0, two.y0), max(one.x0, two.x0), min(one.y1, two.y1), min(one.x1, two.x1))
        if shared.y0 >= shared.y1 or shared.x0 >= shared.x1:
            continue
        for label in {label for window, label in kinds if window == a} & {
            label for window, label in kinds if window == b
        }:
            left, right = kinds[a, label], kinds[b, label]
            ours, theirs = (_seen(pieces, who, place, shared) for who, place in ((left, one), (right, two)))
            both = ours @ theirs.T
            union = ours.sum(1)[:, None] + theirs.sum(1)[None] - both
            for i, j in zip(*np.nonzero(both >= SAME * np.maximum(union, 1)), strict=True):
                sure = min(pieces[left[i]].score, pieces[right[j]].score)
                yield -sure, -float(both[i, j] / union[i, j]), left[i], right[j]


def _seen(pieces: Sequence[Piece], which: Sequence[int], place: Window, shared: Window) -> np.ndarray:
    """Masks inside a shared region, flat, float32 [n, pixels]."""
    inside = slice(shared.y0 - place.y0, shared.y1 - place.y0), slice(shared.x0 - place.x0, shared.x1 - place.x0)
    return np.stack([pieces[index].mask[inside].ravel() for index in which]).astype(np.float32)


def _owners(size: tuple[int, int], places: Sequence[Window]) -> np.ndarray:
    """For each pixel the window in which it lies farthest from a border that is not the image's own. int32 [H, W]."""
    owner, best = np.zeros(size, np.int32), np.full(size, -1.0)
    for number, place in enumerate(places):
        down = _depth(place.y0, place.y1, size[0])
        along = _depth(place.x0, place.x1, size[1])
        depth = np.minimum(down[:, None], along[None])
        better = depth > best[place.inside]
        owner[place.inside][better] = number
        best[place.inside][better] = depth[better]
    return owner


def _depth(start: int, end: int, side: int) -> np.ndarray:
    at = np.arange(end - start) + 0.5
    before = at if start > 0 else np.full_like(at, np.inf)
    after = at[::-1] if end < side else np.full_like(at, np.inf)
    return np.minimum(before, after)


def _instances(size: tuple[int, int], places: Sequence[Window], answers: Sequence[Prediction]) -> list[Instance]:
    pieces = [
        Piece(number, found.mask, found.label_id, found.score)
        for number, answer in enumerate(answers)
        for found in answer.instances or ()
        if found.mask.any()
    ]
    whole = []
    for members in objects(places, pieces):
        mask = np.zeros(size, bool)
        for index in members:
            mask[places[pieces[index].window].inside] |= pieces[index].mask
        areas = [int(pieces[index].mask.sum()) for index in members]
        score = sum(pieces[index].score * area for index, area in zip(members, areas, strict=True)) / sum(areas)
        whole.append(Instance(mask, pieces[members[0]].label_id, score))
    return sorted(whole, key=lambda instance: -instance.score)


def _elected(size: tuple[int, int], places: Sequence[Window], votes: Sequence[np.ndarray]) -> np.ndarray:
    """Train ids [H, W] with most votes."""
    total, seen = np.zeros((len(votes[0]), *size), np.float32), np.zeros(size, np.float32)
    for place, cast in zip(places, votes, strict=True):
        total[:, *place.inside] += cast
        seen[place.inside] += 1
    return (total / seen).argmax(0)


def _panoptic(
    size: tuple[int, int],
    places: Sequence[Window],
    answers: Sequence[Prediction],
    owner: np.ndarray,
    labels: LabelSet,
) -> tuple[np.ndarray, tuple[Segment, ...]]:
    things = [
        (number, segment)
        for number, answer in enumerate(answers)
        for segment in answer.segments
        if labels.by_id[segment.label_id].is_thing
    ]
    maps = [answer.panoptic for answer in answers if answer.panoptic is not None]
    pieces = [Piece(number, maps[number] == s.id, s.label_id, 1.0) for number, s in things]
    groups = [
        (pieces[members[0]].label_id, [things[index] for index in members]) for members in objects(places, pieces)
    ]
    stuff: dict[int, list[tuple[int, Segment]]] = {}
    for number, answer in enumerate(answers):
        for segment in answer.segments:
            if not labels.by_id[segment.label_id].is_thing:
                stuff.setdefault(segment.label_id, []).append((number, segment))
    panorama = np.zeros(size, np.int32)
    found: list[Segment] = []
    for label_id, members in [*groups, *stuff.items()]:
        name = len(found) + 1
        for number, segment in members:
            inside = places[number].inside
            panorama[inside][(owner[inside] == number) & (maps[number] == segment.id)] = name
        if (panorama == name).any():
            found.append(Segment(name, label_id))
    return panorama, tuple(found)
