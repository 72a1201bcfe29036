"""One table lists all metrics: name, direction, printed form, and how far a rerun may deviate.

Evaluation, reports, checks and the leaderboard read it and list no metric of their own. A new built-in metric is one
file with a `Metric` (harness/metrics/base.py) and one entry here; a plug-in's metric brings its own infos. Nothing here
imports an array library, unless a plug-in does: `report` and `check` answer at once.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.core.errors import HarnessError, near
from harness.core.registry import Registry
from harness.metrics.info import READ_FROM_FRAMES, Direction, Each, MetricInfo, Reads

if TYPE_CHECKING:
    from harness.data.labels import LabelSet
    from harness.metrics.base import Metric

log = logging.getLogger(__name__)


def _percent(key: str, label: str, reads: Reads, *, tolerance: float | None = None, each: Each = "") -> MetricInfo:
    return MetricInfo(
        key=key, label=label, reads=reads, direction="up", scale=100.0, unit="%", tolerance=tolerance, each=each
    )


def _crops(
    key: str, label: str, direction: Direction, *, tolerance: float | None = None, unit: str = "", decimals: int = 2
) -> MetricInfo:
    return MetricInfo(
        key=key, label=label, reads="crops", direction=direction, tolerance=tolerance, unit=unit, decimals=decimals
    )


class MetricEntry(NamedTuple):
    """A metric: its name, the class that makes its scores ("module:Class"), and what is known of each."""

    name: str
    place: str
    infos: tuple[MetricInfo, ...]


TABLE: tuple[MetricEntry, ...] = (
    MetricEntry(
        "panoptic",
        "harness.metrics.panoptic:PanopticQuality",
        (
            _percent("PQ", "PQ", "panoptic", tolerance=0.02, each="class"),
            _percent("SQ", "SQ", "panoptic", each="class"),
            _percent("RQ", "RQ", "panoptic", each="class"),
            _percent("PQ_things", "PQ things", "panoptic"),
            _percent("PQ_stuff", "PQ stuff", "panoptic"),
        ),
    ),
    MetricEntry(
        "semantic",
        "harness.metrics.semantic:PixelIoU",
        (
            _percent("IoU", "IoU", "semantic", tolerance=0.02, each="class"),
            _percent("IoU_category", "IoU cat.", "semantic", each="category"),
            _percent("iIoU", "iIoU", "semantic", each="thing"),
            _percent("iIoU_category", "iIoU cat.", "semantic", each="category"),
        ),
    ),
    MetricEntry(
        "instances",
        "harness.metrics.instance:InstanceAP",
        (
            _percent("AP", "AP", "instances", tolerance=0.02, each="thing"),
            _percent("AP50", "AP50", "instances", tolerance=0.03, each="thing"),
            _percent("AP_100m", "AP 100 m", "instances"),
            _percent("AP_50m", "AP 50 m", "instances"),
            _percent("AP50_50m", "AP50 50 m", "instances"),
        ),
    ),
    MetricEntry(
        "coco",
        "harness.metrics.coco_ap:CocoAP",
        (
            _percent("COCO_AP", "COCO AP", "coco", each="thing"),
            _percent("COCO_AP50", "COCO AP50", "coco", each="thing"),
            _percent("COCO_AP75", "COCO AP75", "coco"),
            _percent("COCO_AP_small", "COCO AP small", "coco"),
            _percent("COCO_AP_medium", "COCO AP medium", "coco"),
            _percent("COCO_AP_large", "COCO AP large", "coco"),
        ),
    ),
    MetricEntry(
        "image quality",
        "",  # made of a whole synthesis by the stage `assess`, not of frames
        (
            _crops("CLIPScore", "CLIPScore", "up", tolerance=0.01),
            _crops("CLIPScore_text", "CLIPScore (text)", "up", tolerance=0.03),
            _crops("FID", "FID", "down", tolerance=2.0),
            _crops("FID (efficientnet-lite0)", "FID (efficientnet-lite0)", "down"),
            _crops("KID", "KID", "down", tolerance=0.005, decimals=4),
            _crops("KID (efficientnet-lite0)", "KID (efficientnet-lite0)", "down", decimals=4),
            _crops("SSIM", "SSIM", "up", tolerance=0.01),
            _crops("PSNR", "PSNR", "up", tolerance=0.2, unit="dB"),
            _crops("LPIPS", "LPIPS", "down"),
        ),
    ),
)
"""Built-in metrics, in the order of the papers' tables."""

METRICS: Registry[object] = Registry("metric", {entry.name: entry.place for entry in TABLE if entry.place}, base=object)
"""Names to classes, plug-ins' too: what `metrics` of a suite and `--metric` name."""

RESERVED = ("format", "classes", "categories", "availability", "n_images", "signature")
"""What scores.json holds beside scores."""

_BUILTIN = {info.key: info for entry in TABLE for info in entry.infos}


def known() -> tuple[MetricInfo, ...]:
    """Return every score that a metric describes: the built-in ones in the order of the table, then those of plug-
    ins."""
    return (*_BUILTIN.values(), *_of_plugins().values())


def find(key: str) -> MetricInfo | None:
    """Return what is known of the score `key`, or of "IoU/car" as of "IoU"; None for a score that no metric
    describes."""
    name = key.partition("/")[0]
    return _BUILTIN.get(name) or _of_plugins().get(name) if name else None


def infos_of(name: str) -> tuple[MetricInfo, ...]:
    """Return the scores of a built-in metric."""
    return next(entry.infos for entry in TABLE if entry.name == name)


def plugins() -> list[str]:
    """Return names of the metrics of plug-ins, sorted."""
    return sorted(METRICS.entries.keys() - METRICS.builtin.keys())


@cache
def load_metric(name: str) -> "type[Metric]":
    """Return the class of the metric called `name`; HarnessError when there is none, or it is no metric."""
    from harness.metrics.base import Metric

    found = METRICS.load(name)
    if not issubclass(found, Metric):
        raise HarnessError(
            f"the metric {name!r}: {METRICS.entries[name]!r} does not derive from Metric",
            hint=f"write: class {found.__name__}(Metric), from harness.metrics.base",
        )
    infos = getattr(found, "infos", ())
    if not infos or not all(isinstance(info, MetricInfo) for info in infos):
        raise HarnessError(f"the metric {name!r}: `infos` must be a tuple of MetricInfo, found {infos!r}")
    taken = [info.key for info in infos if info.key in RESERVED or "/" in info.key or not info.key]
    taken += [info.key for info in infos if info.key in _BUILTIN and name not in METRICS.builtin]
    if taken:
        raise HarnessError(f"the metric {name!r} can't call a score {taken[0]!r}: the name is taken, or holds a slash")
    if len({info.reads for info in infos}) > 1 or infos[0].reads not in READ_FROM_FRAMES:
        kinds = ", ".join(dict.fromkeys(str(info.reads) for info in infos))
        raise HarnessError(f"the metric {name!r} reads {kinds}; expected one of {', '.join(READ_FROM_FRAMES)}")
    return found


@cache
def metric_for(name: str, labels: "LabelSet") -> "Metric":
    """The metric called `name` for a label set."""
    return load_metric(name)(labels)


def reads(name: str) -> Reads:
    """Return what kind of prediction a metric reads."""
    return load_metric(name).infos[0].reads


def in_order(names: Sequence[str]) -> list[str]:
    """Built-in metrics by what they read, then those of plug-ins as they stand: the order of scores and signatures."""
    own = [entry.name for entry in TABLE if entry.name in names]
    return [*sorted(own, key=lambda name: READ_FROM_FRAMES.index(reads(name))), *(n for n in names if n not in own)]


def check_extra(names: Sequence[str], given: Mapping[str, Any] | None = None) -> None:
    """Raise HarnessError unless each of `names` is a plug-in's metric, stands once, and what it reads is `given`."""
    keys: set[str] = set()
    for name in names:
        if name in METRICS.builtin or name in _BUILTIN:
            raise HarnessError(f"the metric {name!r} is the evaluation's own; extra ones are those of plug-ins")
        if not METRICS.has(name):
            raise HarnessError(
                f"unknown metric {name!r}", hint=near(name, plugins()) if plugins() else "no plug-in has any"
            )
        mine = {info.key for info in load_metric(name).infos}
        if keys & mine:
            raise HarnessError(f"the score {min(keys & mine)!r} stands twice: {name!r} gives it, and another metric")
        keys |= mine
        if given is not None and given.get(reads(name)) is None:
            raise HarnessError(f"the metric {name!r} reads {reads(name)} predictions, and none are given")


@cache
def _of_plugins() -> dict[str, MetricInfo]:
    """Return the scores of all plug-ins that can be loaded, by key; those of the others are told of and left out."""
    found: dict[str, MetricInfo] = {}
    for name in plugins():
        try:
            found = {info.key: info for info in load_metric(name).infos} | found
        except HarnessError as error:
            log.warning("a metric is left out: %s", error.message)
    return found
