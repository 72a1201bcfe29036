"""Columns of tables as data: what each known metric and fact is called, which way is better, how it is printed.

A suite's table names columns by key. A metric that isn't known here is described in the suite's own [table], so that a
new table, and a plug-in's metric, is one TOML. `check` reads directions from here too.
"""

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from harness.core.config import Strict
from harness.core.errors import HarnessError, near

Direction = Literal["up", "down"]
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

    @property
    def numeric(self) -> bool:
        """Whether the column is set flush right, as numbers are."""
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


def _percent(key: str, label: str) -> Column:
    return Column(key=key, label=label, direction="up", scale=100.0, unit="%")


def _score(key: str, label: str, direction: Direction, unit: str = "", decimals: int = 2) -> Column:
    return Column(key=key, label=label, direction=direction, unit=unit, decimals=decimals)


def _count(key: str, label: str, unit: str = "") -> Column:
    return Column(key=key, label=label, kind="count", decimals=0, unit=unit)


KNOWN: dict[str, Column] = {
    column.key: column
    for column in (
        _text("method", "Method"),
        _text("backbone", "Backbone"),
        _text("version", "Version"),
        _text("generator", "Generator"),
        _text("segmenter", "Segmenter"),
        _text("recipe", "Recipe"),
        _text("crop", "Crop size"),
        _percent("PQ", "PQ"),
        _percent("SQ", "SQ"),
        _percent("RQ", "RQ"),
        _percent("PQ_things", "PQ things"),
        _percent("PQ_stuff", "PQ stuff"),
        _percent("IoU", "IoU"),
        _percent("IoU_category", "IoU cat."),
        _percent("iIoU", "iIoU"),
        _percent("iIoU_category", "iIoU cat."),
        _percent("AP", "AP"),
        _percent("AP50", "AP50"),
        _score("CLIPScore", "CLIPScore", "up"),
        _score("CLIPScore_text", "CLIPScore (text)", "up"),
        _score("FID", "FID", "down"),
        _score("KID", "KID", "down", decimals=4),
        _score("SSIM", "SSIM", "up"),
        _score("PSNR", "PSNR", "up", "dB"),
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


def column(entry: "str | Column") -> Column:
    """The column that a [table] names or describes; HarnessError for an unknown name."""
    if isinstance(entry, Column):
        return entry
    if entry not in KNOWN:
        raise HarnessError(
            f"[table] columns: unknown column {entry!r}",
            hint=f"{near(entry, KNOWN)} A metric of your own is described in its place: "
            '{key = "...", label = "...", direction = "up", decimals = 2}',
        )
    return KNOWN[entry]


def difference_to_paper(of: Column, *, comparable: bool) -> Column:
    """The column that stands beside `of` and holds measured minus published."""
    return Column(
        key=f"{of.key}_difference",
        label="Δ paper" if comparable else "[Δ paper]",
        kind="difference",
        decimals=of.decimals,
        scale=of.scale,
        unit=of.unit,
    )


def directions(columns: Iterable[Column] | None = None) -> dict[str, Direction]:
    """Metric name to the direction in which it gets better, for every known metric and for `columns`."""
    every = (*KNOWN.values(), *(columns or ()))
    return {entry.key: entry.direction for entry in every if entry.kind == "score" and entry.direction}
