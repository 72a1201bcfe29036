"""The one table of metrics: what each is called, which way is better, how it is printed, how far a rerun may stray.

Evaluation, reports, checks and the leaderboard read it and list no metric of their own. A new built-in metric is one
file with a `Metric` (harness/metrics/base.py) and one entry here; a plug-in's metric brings its own infos. Imports no
array library: `report` and `check` answer at once.
"""

from dataclasses import dataclass
from typing import Literal

from harness.core.numbers import number

Direction = Literal["up", "down"]
Reads = Literal["instances", "panoptic", "semantic", "coco", "crops"]
"""What a metric is made from: a kind of prediction, or (crops) pairs of real and generated crops. `coco` are instance
masks too, given apart because COCO's AP may be asked of other files."""

SIGNATURE_JOINT = " + "
"""Stands between the parts of a signature, one for each way in which scores are made."""


@dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """All that anybody but the metric itself must know of one score."""

    key: str
    """Name of the score in scores.json, in rows and as a column."""
    label: str
    """Heading of a column."""
    reads: Reads
    """What it is made from."""
    direction: Direction
    """Which way is better."""
    scale: float = 1.0
    """Factor from the stored value to the printed one: 100 for fractions that are printed as percent."""
    unit: str = ""
    """Unit of the printed value; "%" goes without saying."""
    decimals: int = 2
    """Printed digits behind the point."""
    tolerance: float | None = None
    """How far a rerun may stray from an accepted row, in the stored unit; `check` compares no metric without one."""
    each: Literal["", "class", "thing", "category"] = ""
    """Of what else it is known apart, as `key/name`: every class, every class of things, every category."""

    def printed(self, value: float, *, signed: bool = False) -> str:
        """A stored value as text in the printed unit."""
        return number(value * self.scale, self.decimals, signed=signed)


def _percent(key: str, label: str, reads: Reads, *, tolerance: float | None = None, each: str = "") -> MetricInfo:
    return MetricInfo(
        key=key, label=label, reads=reads, direction="up", scale=100.0, unit="%", tolerance=tolerance, each=each
    )


def _crops(key: str, label: str, direction: Direction, *, tolerance: float | None = None, **more: object) -> MetricInfo:
    return MetricInfo(key=key, label=label, reads="crops", direction=direction, tolerance=tolerance, **more)


BUILTIN: tuple[MetricInfo, ...] = (
    _percent("PQ", "PQ", "panoptic", tolerance=0.02, each="class"),
    _percent("SQ", "SQ", "panoptic", each="class"),
    _percent("RQ", "RQ", "panoptic", each="class"),
    _percent("PQ_things", "PQ things", "panoptic"),
    _percent("PQ_stuff", "PQ stuff", "panoptic"),
    _percent("IoU", "IoU", "semantic", tolerance=0.02, each="class"),
    _percent("IoU_category", "IoU cat.", "semantic", each="category"),
    _percent("iIoU", "iIoU", "semantic", each="thing"),
    _percent("iIoU_category", "iIoU cat.", "semantic", each="category"),
    _percent("AP", "AP", "instances", tolerance=0.02, each="thing"),
    _percent("AP50", "AP50", "instances", tolerance=0.03, each="thing"),
    _percent("AP_100m", "AP 100 m", "instances"),
    _percent("AP_50m", "AP 50 m", "instances"),
    _percent("AP50_50m", "AP50 50 m", "instances"),
    _percent("COCO_AP", "COCO AP", "coco", each="thing"),
    _percent("COCO_AP50", "COCO AP50", "coco", each="thing"),
    _percent("COCO_AP75", "COCO AP75", "coco"),
    _percent("COCO_AP_small", "COCO AP small", "coco"),
    _percent("COCO_AP_medium", "COCO AP medium", "coco"),
    _percent("COCO_AP_large", "COCO AP large", "coco"),
    _crops("CLIPScore", "CLIPScore", "up", tolerance=0.01),
    _crops("CLIPScore_text", "CLIPScore (text)", "up", tolerance=0.03),
    _crops("FID", "FID", "down", tolerance=2.0),
    _crops("FID (efficientnet-lite0)", "FID (efficientnet-lite0)", "down"),
    _crops("KID", "KID", "down", tolerance=0.005, decimals=4),
    _crops("KID (efficientnet-lite0)", "KID (efficientnet-lite0)", "down", decimals=4),
    _crops("SSIM", "SSIM", "up", tolerance=0.01),
    _crops("PSNR", "PSNR", "up", tolerance=0.2, unit="dB"),
    _crops("LPIPS", "LPIPS", "down"),
)
"""Scores in the order of the papers' tables."""

_BY_KEY = {info.key: info for info in BUILTIN}


def known() -> tuple[MetricInfo, ...]:
    """Every score that has a name here, in the order of the table."""
    return BUILTIN


def find(key: str) -> MetricInfo | None:
    """What is known of the score `key`, or of "IoU/car" as of "IoU"; None for a score that nobody describes."""
    return _BY_KEY.get(key.partition("/")[0])
