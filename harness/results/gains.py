"""What a gain is made of: zoom, count and generated appearance, from the control rows of one segmenter.

    zoom = focus - none, count = duplicate - none, appearance = generator - focus, whole = generator - none

Where a suite has several recipes or mixes, each is also compared with the first one, generator by generator. Each
difference comes with a paired interval over images and seeds, and is called indistinguishable from zero where the
interval holds zero. Without an interval nothing is concluded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.results.rows import Row

CONTROLS = ("none", "duplicate", "focus", "recolor", "copy_paste")
Interval = tuple[float, float]
Paired = Callable[[Row, Row, str], Interval | None]
"""(row before, row after, metric) to the 95 % interval of after minus before; None where there are no statistics."""


SHARES = {
    "zoom": "zoom",
    "count": "count",
    "appearance": "generated appearance",
    "whole": "the whole gain",
    "recipe": "the recipe",
    "mix": "the mix",
}
"""What a difference is called, in the order of the answer."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """One difference between two rows of `group`, in the metric's unit (fractions for segmentation)."""

    name: str
    """One of SHARES."""
    new: str
    """From what `old` is subtracted, "focus" or "released"; empty for a generator, which `version` names."""
    old: str
    group: str
    """Segmenter, backbone and what else the two rows have in common, as printed."""
    version: str
    """The generator as printed, less what `group`, `new` and `old` say; empty for `zoom` and `count`."""
    after: Row
    """The row whose gain it is."""
    metric: str
    value: float
    interval: Interval | None

    @property
    def minus(self) -> str:
        """What is subtracted from what, for a sentence about several versions."""
        return f"{self.new or 'generator'} − {self.old}"

    @property
    def label(self) -> str:
        """What is subtracted from what, for a figure."""
        about = f", {self.version}" if self.new and self.version else ""
        return f"{self.name}: {self.new or self.version} − {self.old}{about}"

    @property
    def certain(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


def decompose(rows: Sequence[Row], paired: Paired, *, metric: str = "AP") -> list[Gain]:
    """The gains of every segmenter, backbone, recipe and mix for which the rows they need have scores.

    Real frames alone know neither recipe nor mix: a group without such a row is compared with that of its network.
    """
    measured = [row for row in rows if row.origin == "measured" and row.scores.get(metric) is not None]
    several = {name: len({getattr(row, name) for row in measured}) > 1 for name in _GROUPED}
    alone = {_group(row)[:2]: row for row in measured[::-1] if row.generator == "none" and not row.mix}

    def gain(name: str, before: Row, after: Row, new: str, old: str, shared: Sequence[str]) -> Gain:
        group = ", ".join(filter(None, (_said(after, n) for n in shared if n == "backbone" or several[n])))
        known = f"{group}, {new}".split(", ")
        version = ", ".join(part for part in after.version.split(", ") if part not in known)
        return Gain(
            name=name,
            new=new,
            old=old,
            group=group,
            version="" if name in ("zoom", "count") else version,
            after=after,
            metric=metric,
            value=after.scores[metric] - before.scores[metric],
            interval=paired(before, after, metric),
        )

    gains: list[Gain] = []
    for key in dict.fromkeys(map(_group, measured)):
        mine = {row.generator: row for row in measured if _group(row) == key}
        if key[:2] in alone:
            mine.setdefault("none", alone[key[:2]])
        for name, before, after in _differences(mine):
            if before in mine and after in mine:
                new = after if after in CONTROLS else ""
                gains.append(gain(name, mine[before], mine[after], new, before, _GROUPED))
    for name in ("recipe", "mix"):
        shared = [field for field in _GROUPED if field != name]
        first: dict[tuple[str, ...], Row] = {}
        for row in measured:
            before = first.setdefault((row.generator, *(getattr(row, field) for field in shared)), row)
            if getattr(before, name) != getattr(row, name):
                gains.append(gain(name, before, row, _said(row, name), _said(before, name), shared))
    return gains


_GROUPED = ("segmenter", "backbone", "recipe", "mix")


def _said(row: Row, field: str) -> str:
    return getattr(row, field) or ("concat" if field == "mix" else "")


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
