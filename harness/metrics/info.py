"""MetricInfo describes one score: its name, unit, direction, decimals, tolerance and the prediction it reads.

The infos of all metrics stand in one table (table.py). Imports no array library.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from harness.core.numbers import number

Direction = Literal["up", "down"]
Each = Literal["", "class", "thing", "category"]
Reads = Literal["instances", "panoptic", "semantic", "coco", "crops"]
"""What a metric is made from: a kind of prediction, or (crops) pairs of real and generated crops. `coco` are instance
masks too, given apart because COCO's AP may be asked of other files."""

READ_FROM_FRAMES = tuple(kind for kind in get_args(Reads) if kind != "crops")
"""The kinds of prediction of a frame, in the order in which they are evaluated."""

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
    each: Each = ""
    """Of what else it is known apart, as `key/name`: every class, every class of things, every category."""

    def printed(self, value: float, *, signed: bool = False) -> str:
        """Return a stored value as text in the printed unit."""
        return number(value * self.scale, self.decimals, signed=signed)
