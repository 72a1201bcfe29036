"""Columns are data: what each fact and metric is called, which direction is better, how it is printed.

A suite's table names columns by key: a fact of the row (method, batch size, ...) or any metric of the table of metrics
(harness/metrics/table.py), plug-ins' too. What neither knows is described in the suite's own [table].
"""

from typing import Literal

from pydantic import Field

from harness.core.config import Strict
from harness.core.errors import HarnessError, near
from harness.metrics.info import Direction, MetricInfo
from harness.metrics.table import find, known

Kind = Literal["text", "score", "difference", "count"]


class Column(Strict):
    """A column. `scale` turns a row's value into the printed unit (fractions to percent: 100)."""

    key: str
    label: str
    kind: Kind = "score"
    direction: Direction | None = None
    decimals: int = Field(default=2, ge=0, le=6)
    scale: float = Field(default=1.0, gt=0)
    unit: str = ""
    published_only: bool = False
    """Whether only printed rows can have it: measured ones then show a dash."""

    with_reference: bool = False
    """Whether a difference says what it is taken from."""

    @property
    def numeric(self) -> bool:
        """Return whether the column is set flush right, as numbers are."""
        return self.kind != "text"

    @property
    def arrow(self) -> str:
        """The arrow behind the label: which way is better."""
        return {"up": "↑", "down": "↓", None: ""}[self.direction if self.kind == "score" else None]

    @property
    def heading(self) -> str:
        """Label, unit and arrow. Percent go without saying, as in the papers."""
        unit = f"({self.unit})" if self.unit not in ("", "%") else ""
        return " ".join(part for part in (self.label, unit, self.arrow) if part)


def _text(key: str, label: str) -> Column:
    return Column(key=key, label=label, kind="text", decimals=0)


def _count(key: str, label: str, unit: str = "") -> Column:
    return Column(key=key, label=label, kind="count", decimals=0, unit=unit)


FACTS: dict[str, Column] = {
    column.key: column
    for column in (
        _text("method", "Method"),
        _text("backbone", "Backbone"),
        _text("version", "Version"),
        _text("generator", "Generator"),
        _text("segmenter", "Segmenter"),
        _text("recipe", "Recipe"),
        _text("crop", "Crop size"),
        _count("images_seen", "Images seen"),
        _count("iterations", "Iterations"),
        _count("batch_size", "Batch"),
        _count("real_images", "Real"),
        _count("synthetic_images", "Synthetic"),
        _count("seeds", "Seeds"),
        _count("images", "n"),
        _count("seconds", "Time", "s"),
        _count("gpu_seconds", "GPU time", "s"),
        _count("peak_memory_mb", "Peak memory", "MiB"),
    )
}
"""What a row knows beside its scores."""


def column(entry: "str | Column") -> Column:
    """Return the column that a [table] names or describes; HarnessError for an unknown name."""
    if isinstance(entry, Column):
        return entry
    if entry in FACTS:
        return FACTS[entry]
    if info := find(entry):
        return of_metric(info)
    raise HarnessError(
        f"[table] columns: unknown column {entry!r}",
        hint=f"{near(entry, [*FACTS, *(info.key for info in known())])} A score that no metric describes is described "
        'in its place: {key = "...", label = "...", direction = "up", decimals = 2}',
    )


def of_metric(info: MetricInfo) -> Column:
    """Return the column of a metric."""
    return Column(
        key=info.key,
        label=info.label,
        direction=info.direction,
        decimals=info.decimals,
        scale=info.scale,
        unit=info.unit,
    )


def of_score(key: str) -> Column:
    """The column of a score whatever it is: as stored, with four decimals, where no metric describes it."""
    info = find(key)
    return of_metric(info) if info else Column(key=key, label=key or "–", decimals=4)


def difference_to_paper(of: Column, *, comparable: bool) -> Column:
    """Return the column that stands beside `of` and holds measured minus published."""
    return Column(
        key=f"{of.key}_difference",
        label="Δ paper (paper)" if comparable else "[Δ paper] (paper)",
        kind="difference",
        decimals=of.decimals,
        scale=of.scale,
        unit=of.unit,
        with_reference=True,
    )
