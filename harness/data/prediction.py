"""A prediction holds a segmenter's output for one image: instances, label ids and a panoptic map, as far as it does
these tasks."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Instance(NamedTuple):
    """A predicted thing: mask bool [H, W], label id and score in 0..1."""

    mask: np.ndarray
    label_id: int
    score: float


class Segment(NamedTuple):
    """A segment of a panoptic map: its id there (> 0) and its label id."""

    id: int
    label_id: int


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """This holds the prediction for one image; None for a task that the segmenter does not do.

    `instances` by falling score; `semantic` uint8 [H, W] label ids; `panoptic` int32 [H, W] segment ids, 0 = void.
    `votes` float32 [K, H, W]: what `semantic` is the largest of, K evaluated classes in train-id order; only from a
    network that is told to `keep_votes`.
    """

    instances: list[Instance] | None = None
    semantic: np.ndarray | None = None
    panoptic: np.ndarray | None = None
    segments: tuple[Segment, ...] = ()
    votes: np.ndarray | None = None
