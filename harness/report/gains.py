"""What a gain is made of: zoom, count and generated appearance, from the control rows of one segmenter.

    zoom = focus - none, count = duplicate - none, appearance = generator - focus, whole = generator - none

Each difference comes with a paired interval over images and seeds, and is called indistinguishable from zero where the
interval holds zero. Without an interval nothing is concluded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.report.columns import KNOWN
from harness.report.table import number
from harness.results import Row

CONTROLS = ("none", "duplicate", "focus", "recolor", "copy_paste")
Interval = tuple[float, float]
Paired = Callable[[Row, Row, str], Interval | None]
"""(row before, row after, metric) to the 95 % interval of after minus before; None where there are no statistics."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """One difference between two rows, in the metric's unit (fractions for segmentation)."""

    name: str
    label: str
    metric: str
    value: float
    interval: Interval | None

    @property
    def certain(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


def decompose(rows: Sequence[Row], paired: Paired, *, metric: str = "AP") -> list[Gain]:
    """The gains of every segmenter and backbone for which the rows they need have scores, in the order above."""
    gains: list[Gain] = []
    measured = [row for row in rows if row.origin == "measured" and row.scores.get(metric) is not None]
    for group in dict.fromkeys((row.segmenter, row.backbone, row.recipe) for row in measured):
        mine = {row.generator: row for row in measured if (row.segmenter, row.backbone, row.recipe) == group}
        gains += [
            _gain(name, f"{label}, {group[1]}", mine[before], mine[after], metric, paired)
            for name, label, before, after in _differences(mine)
            if before in mine and after in mine
        ]
    return gains


def sentences(gains: Sequence[Gain]) -> list[str]:
    """The answer in words, one sentence per gain."""
    return [_sentence(gain) for gain in gains]


def _differences(mine: dict[str, Row]) -> list[tuple[str, str, str, str]]:
    generators = [name for name in mine if name not in CONTROLS]
    found = [
        ("zoom", "zoom (focus − none)", "none", "focus"),
        ("count", "count (duplicate − none)", "none", "duplicate"),
    ]
    for name in generators:
        version = mine[name].version
        found.append(("appearance", f"appearance ({version} − focus)", "focus", name))
        found.append(("whole", f"whole gain ({version} − none)", "none", name))
    return found


def _gain(name: str, label: str, before: Row, after: Row, metric: str, paired: Paired) -> Gain:
    value = after.scores[metric] - before.scores[metric]
    return Gain(name=name, label=label, metric=metric, value=value, interval=paired(before, after, metric))


def _sentence(gain: Gain) -> str:
    entry = KNOWN[gain.metric]
    value = number(gain.value * entry.scale, entry.decimals, signed=True)
    text = f"{gain.label[0].upper()}{gain.label[1:]}: {value} {entry.label}"
    if gain.interval is None:
        return f"{text}; no interval, so nothing can be concluded."
    low, high = (number(end * entry.scale, entry.decimals, signed=True) for end in gain.interval)
    verdict = "" if gain.certain else ", not distinguishable from zero"
    return f"{text} (95 % interval {low} to {high}){verdict}."
