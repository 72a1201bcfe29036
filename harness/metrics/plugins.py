"""Metrics that other packages register: run beside the built-in ones, stored and resampled like them.

A class names what it reads by `reads`: "semantic" (label ids [H, W]; the default), "panoptic" (a Segmentation) or
"instances" (a list of Detection). Its statistics are additive arrays with a leading image axis, one row for each frame;
that is all a bootstrap needs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from harness.core.errors import HarnessError, near
from harness.core.registry import METRICS
from harness.metrics.base import Arrays, Metric, Target, join

PREFIX = "plugin:"
"""Before the name of the metric: the part of the statistics that is its."""
KINDS = ("semantic", "panoptic", "instances")

TAKEN = ("format", "classes", "categories", "availability", "n_images", "signature")
TAKEN_BEGINNINGS = ("AP", "PQ", "SQ", "RQ", "IoU", "iIoU", "COCO")
"""Names of scores.json that a plug-in can't have."""


def check(metrics: Sequence[str]) -> None:
    """HarnessError unless every one of `metrics` is a plug-in's that can be loaded, and stands once."""
    extra = sorted(METRICS.entries.keys() - METRICS.builtin.keys())
    for place, name in enumerate(metrics):
        if name in TAKEN or name.startswith(TAKEN_BEGINNINGS):
            raise HarnessError(f"the metric {name!r} is the evaluation's own; extra ones are those of plug-ins")
        if name in metrics[:place]:
            raise HarnessError(f"the metric {name!r} stands twice")
        if not METRICS.has(name):
            raise HarnessError(f"unknown metric {name!r}", hint=near(name, extra) if extra else "no plug-in has any")
        reads(name)


def check_given(metrics: Sequence[str], given: Mapping[str, Any]) -> None:
    """As `check`, and HarnessError when what a metric reads is not `given`."""
    check(metrics)
    for name in metrics:
        if given.get(kind := reads(name)) is None:
            raise HarnessError(f"the metric {name!r} reads {kind} predictions, and none are given")


def reads(name: str) -> str:
    """What kind of prediction the metric reads."""
    kind = getattr(METRICS.load(name), "reads", KINDS[0])
    if kind not in KINDS:
        raise HarnessError(f"the metric {name!r} reads {kind!r}; expected one of {', '.join(KINDS)}")
    return kind


def observe(name: str, read: Callable[[str], Any], target: Target) -> dict[str, np.ndarray]:
    """Statistics of one frame; `read` gives the prediction of a kind. HarnessError for any of another shape."""
    found = _metric(name).observe(read(reads(name)), target)
    for key, array in found.items():
        shape = np.shape(array)
        if not shape or shape[0] != 1 or np.asarray(array).dtype.kind not in "biuf":
            raise HarnessError(
                f"the metric {name!r}: its statistic {key!r} of one frame has shape {shape}",
                hint="expected numbers with a leading axis of length 1",
            )
    return {key: np.asarray(array) for key, array in found.items()}


def collect(parts: Iterable[Arrays]) -> dict[str, np.ndarray]:
    """Statistics of several frames, in this order."""
    return join(parts, links={})


def scores(name: str, statistics: Arrays, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """{name: [B]}. `weights` [B, N]: a frame that counts twice has its row twice, as statistics are additive."""
    metric = _metric(name)
    n = len(next(iter(statistics.values()))) if statistics else 0
    if weights is None:
        return {name: np.array([metric.score(statistics)], np.float64)}
    found = [_drawn(statistics, np.asarray(weight)) for weight in weights]
    return {name: np.array([metric.score(drawn) if n else np.nan for drawn in found], np.float64)}


def installed(part: str) -> str:
    """Name of the metric whose statistics `part` holds; "" where it is none of a plug-in, or of one not installed."""
    name = part.removeprefix(PREFIX)
    return name if part.startswith(PREFIX) and METRICS.has(name) else ""


def names(parts: Iterable[str]) -> list[str]:
    """Names of the metrics of installed plug-ins among the parts of statistics."""
    return [name for part in parts if (name := installed(part))]


def signature(name: str) -> str:
    """How the score is made, as the plug-in says."""
    return _metric(name).signature


def _metric(name: str) -> Metric:
    return METRICS.load(name)()


def _drawn(statistics: Arrays, weight: np.ndarray) -> dict[str, np.ndarray]:
    """The rows of the frames, each as often as it was drawn."""
    times = np.repeat(np.arange(len(weight)), weight.astype(np.int64))
    return {key: array[times] for key, array in statistics.items()}
