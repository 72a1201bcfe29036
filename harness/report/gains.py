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


SHARES = {
    "zoom": "zoom (focus − none)",
    "count": "count (duplicate − none)",
    "appearance": "generated appearance (generator − focus)",
    "whole": "the whole gain (generator − none)",
}
"""What a gain is made of, in the order of the answer."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """One difference between two rows of `group`, in the metric's unit (fractions for segmentation)."""

    name: str
    """One of SHARES."""
    group: str
    """Segmenter, backbone and what else the two rows have in common, as printed."""
    version: str
    """The generator as printed, less what `group` says, for `appearance` and `whole`."""
    metric: str
    value: float
    interval: Interval | None

    @property
    def label(self) -> str:
        """What is subtracted from what, for a figure."""
        what = {"zoom": "focus", "count": "duplicate"}.get(self.name, self.version)
        return f"{self.name}: {what} − {'focus' if self.name == 'appearance' else 'none'}"

    @property
    def certain(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


def decompose(rows: Sequence[Row], paired: Paired, *, metric: str = "AP") -> list[Gain]:
    """The gains of every segmenter, backbone, recipe and mix for which the rows they need have scores.

    Real frames alone know neither recipe nor mix: a group without such a row is compared with that of its network.
    """
    gains: list[Gain] = []
    measured = [row for row in rows if row.origin == "measured" and row.scores.get(metric) is not None]
    alone = {_group(row)[:2]: row for row in reversed(measured) if row.generator == "none" and not row.mix}
    several = {name: len({getattr(row, name) for row in measured}) > 1 for name in _GROUPED}
    for key in dict.fromkeys(_group(row) for row in measured):
        mine = {row.generator: row for row in measured if _group(row) == key}
        if key[:2] in alone:
            mine.setdefault("none", alone[key[:2]])
        parts = zip(_GROUPED, key, strict=True)
        said = [part or _UNSAID[name] for name, part in parts if name == "backbone" or several[name]]
        group = ", ".join(filter(None, said))
        for name, before, after in _differences(mine):
            if before in mine and after in mine:
                old, new = mine[before], mine[after]
                version = ", ".join(part for part in new.version.split(", ") if part not in said)
                version = version if name in ("appearance", "whole") else ""
                value = new.scores[metric] - old.scores[metric]
                interval = paired(old, new, metric)
                gains.append(
                    Gain(name=name, group=group, version=version, metric=metric, value=value, interval=interval)
                )
    return gains


def sentences(gains: Sequence[Gain]) -> list[str]:
    """The answer in words: one sentence per group."""
    return [_sentence(group, [g for g in gains if g.group == group]) for group in dict.fromkeys(g.group for g in gains)]


_GROUPED = ("segmenter", "backbone", "recipe", "mix")
_UNSAID = dict.fromkeys(_GROUPED, "") | {"mix": "concat"}


def _group(row: Row) -> tuple[str, ...]:
    return tuple(getattr(row, name) for name in _GROUPED)


def _differences(mine: dict[str, Row]) -> list[tuple[str, str, str]]:
    generators = [name for name in mine if name not in CONTROLS]
    return [
        ("zoom", "none", "focus"),
        ("count", "none", "duplicate"),
        *(("appearance", "focus", name) for name in generators),
        *(("whole", "none", name) for name in generators),
    ]


def _sentence(group: str, gains: Sequence[Gain]) -> str:
    shares = []
    for name, what in SHARES.items():
        if mine := [gain for gain in gains if gain.name == name]:
            shares.append(f"{what} is {', '.join(map(_amount, mine))}")
    unit = KNOWN[gains[0].metric].label
    return f"{group}, differences in {unit} with 95 % intervals: {'; '.join(shares)}."


def _amount(gain: Gain) -> str:
    entry = KNOWN[gain.metric]

    def printed(value: float) -> str:
        return number(value * entry.scale, entry.decimals, signed=True)

    text = f"{printed(gain.value)} {f'for {gain.version} ' if gain.version else ''}"
    if gain.interval is None:
        return f"{text}(no interval, so nothing can be concluded)"
    low, high = map(printed, gain.interval)
    return f"{text}({low} to {high}{'' if gain.certain else ', not distinguishable from zero'})"
