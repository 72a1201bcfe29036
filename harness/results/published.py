"""This module reads the published numbers as rows: `results/published/*.toml`, as printed, with their sources.

The files hold percent, as the papers do; rows hold fractions. Not here: which measured row stands beside which printed
one (collect.py).
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from harness.core.config import Strict, parse, read_toml
from harness.core.errors import HarnessError, near
from harness.core.paths import shipped_results
from harness.results.rows import Row


def published(table: int | str) -> list[Row]:
    """Return the rows of a table as printed: 1, 2 or "ablation" (also "table1", "table2"); scores as fractions."""
    name = str(table).removeprefix("table")
    rows = [row for printed, row in _published() if printed == name]
    if not rows:
        raise HarnessError(f"no published table {table!r}", hint=near(name, {printed for printed, _ in _published()}))
    return rows


def published_row(name: str) -> Row:
    """Return the published row called `name`, such as "table1/oneformer/swin-l/original"."""
    rows = {row.name: row for _, row in _published()}
    if name not in rows:
        raise HarnessError(f"no published row {name!r}", hint=near(name, rows))
    return rows[name]


def published_facts() -> "PublishedFile":
    """Everything else that is printed: instance statistics, training settings, seconds per image."""
    return _published_file()


class PrintedSegmentation(Strict):
    """A printed segmentation row; percent."""

    table: int
    method: str
    backbone: str
    version: str = ""
    crop: tuple[int, int] | None = None
    PQ: float | None = None
    IoU: float | None = None
    AP: float | None = None
    AP50: float | None = None
    kind: Literal["published", "reproduced", "ours"]
    mark: str = ""
    note: str = ""
    source: str


class PrintedQuality(Strict):
    """A printed image-quality row. FID is the one column on which the sources disagree, so both are kept."""

    generator: str
    CLIPScore: float
    FID_poster: float
    FID_paper: float
    SSIM: float
    PSNR: float


class PrintedCount(Strict):
    """Instances of a class before and after augmentation."""

    original: int
    augmented: int


class PublishedFile(Strict):
    """`results/published/<dataset>.toml`."""

    dataset: str
    split: str
    sources: dict[str, str]
    segmentation: tuple[PrintedSegmentation, ...]
    image_quality: tuple[PrintedQuality, ...]
    is_cityscapes: dict[str, PrintedCount]
    training: dict[str, Any]
    seconds_per_synthesised_image: dict[str, float]


@cache
def _published_file() -> PublishedFile:
    path = shipped_results() / "published" / "cityscapes.toml"
    return parse(PublishedFile, read_toml(path), path)


@cache
def _published() -> tuple[tuple[str, Row], ...]:
    file = _published_file()
    segmentation = [(str(entry.table), _segmentation_row(entry, file.sources)) for entry in file.segmentation]
    return (*segmentation, *(("ablation", _quality_row(entry, file.sources)) for entry in file.image_quality))


def _segmentation_row(entry: PrintedSegmentation, sources: Mapping[str, str]) -> Row:
    percent = {metric: getattr(entry, metric) for metric in ("PQ", "IoU", "AP", "AP50")}
    parts = (f"table{entry.table}", entry.method, entry.backbone, entry.version)
    return Row(
        suite="published",
        name="/".join(part.lower().replace(" ", "-") for part in parts if part),
        profile="published",
        section="quoted" if entry.kind == "published" else entry.kind,
        method=entry.method,
        backbone=entry.backbone,
        generator_label=entry.version,
        crop=entry.crop,
        origin="reproduced" if entry.kind == "reproduced" else "published",
        mark=entry.mark,
        # 38.46 / 100 is not 0.3846 in binary for every number; rounding keeps the printed digits.
        scores={metric: None if value is None else round(value / 100, 6) for metric, value in percent.items()},
        note=entry.note,
        source=sources[entry.source],
    )


def _quality_row(entry: PrintedQuality, sources: Mapping[str, str]) -> Row:
    return Row(
        suite="published",
        name=f"ablation/{entry.generator.lower()}",
        profile="published",
        section="ours",
        method=entry.generator,
        generator_label=entry.generator,
        origin="published",
        scores={
            "CLIPScore": entry.CLIPScore,
            "FID": entry.FID_paper,
            "FID_poster": entry.FID_poster,
            "SSIM": entry.SSIM,
            "PSNR": entry.PSNR,
        },
        note=f"FID as in the paper; the poster prints {entry.FID_poster:.2f}",
        source=sources["paper"],
    )
