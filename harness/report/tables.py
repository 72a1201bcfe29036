"""These tables stand beside a suite's own: reproduction, per class, cost, and the instances of an augmented training
set.

All are the one Table of table.py, so every renderer prints them.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.core.numbers import number
from harness.core.progress import Report, silent
from harness.data.base import Dataset
from harness.metrics.table import find
from harness.report.cells import Cell, Cells, Intervals, difference_cell, no_intervals, score_cell
from harness.report.columns import FACTS, Column, column
from harness.report.result_table import (
    STATUS_NOTES,
    Line,
    Note,
    Table,
    TableSpec,
    about_intervals,
    build,
    provenance,
    rank,
)
from harness.report.row_names import version
from harness.results.published import PrintedCount
from harness.results.rows import Row, competes

if TYPE_CHECKING:
    from harness.planning.suite import Profile


def reproduction_table(
    rows: Sequence[Row],
    profile: "Profile",
    *,
    tolerance: float = 0.01,
    intervals: Intervals = no_intervals,
    with_intervals: bool = False,
) -> Table:
    """Measured beside published, for every published fraction, and whether they agree within `tolerance` (a fraction).

    Under a profile that isn't the paper's nothing is reproduced: the verdict of every line is "not comparable".
    """
    columns = (
        *(FACTS[key] for key in ("method", "backbone", "version")),
        Column(key="metric", label="Metric", kind="text"),
        Column(key="measured", label="Measured"),
        Column(key="published", label="Published"),
        Column(key="measured_difference", label="Difference", kind="difference"),
        Column(key="verdict", label="Verdict", kind="text"),
    )
    cells = Cells(intervals, with_intervals, profile.comparable)
    lines = [
        _reproduction_line(row, metric, published, tolerance, cells)
        for row in rows
        if row.origin == "measured"
        for metric, published in row.paper.items()
        if published is not None and (info := find(metric)) and info.unit == "%"
    ]
    warning = () if profile.comparable else ("NOT COMPARABLE with the paper: nothing here is a reproduction.",)
    return Table(
        title="Reproduction" if profile.comparable else f"Reproduction [profile {profile.label}, not comparable]",
        profile=profile.label,
        comparable=profile.comparable,
        caption=(
            f"Profile {profile.label}: {profile.caption}.",
            *warning,
            f"Within: the difference is at most {number(tolerance * 100, 2)} points.",
            *(about_intervals(columns, lines) if with_intervals else ()),
        ),
        columns=columns,
        lines=tuple(lines),
        notes=_status_notes(lines),
        groups={"measured": f"Measured here, profile {profile.label}"},
        marks="none",
        intervals=with_intervals,
    )


def class_table(
    rows: Sequence[Row],
    profile: "Profile",
    *,
    metric: str,
    things: Sequence[str],
    intervals: Intervals = no_intervals,
    with_intervals: bool = False,
) -> Table:
    """`metric` of every class, with the number of ground-truth instances in the heading where it is known.

    Of `things` alone (classes with instances, by name) where the metric is one of instances.
    """
    measured = [row for row in rows if row.origin == "measured"]
    names = list(dict.fromkeys(name for row in measured for run in row.seeds for name in run.classes))
    names = [
        name for name in names if any(metric in run.classes.get(name, {}) for row in measured for run in row.seeds)
    ]
    if (info := find(metric)) and info.each == "thing":
        names = [name for name in names if name in things] or [*things]
    entry = column(metric)
    columns = [FACTS[key] for key in ("method", "backbone", "version")]
    columns += [
        Column(
            key=name,
            label=_class_label(name, measured),
            direction=entry.direction,
            scale=entry.scale,
            decimals=1,
            unit=entry.unit,
        )
        for name in names
    ]
    cells = Cells(intervals, with_intervals, profile.comparable)
    lines = [_class_line(row, metric, columns, cells) for row in measured]
    base = build(TableSpec(columns=("method",), marks="three"), measured, title=f"{metric} per class", profile=profile)
    return base.model_copy(
        update={
            "columns": tuple(columns),
            "lines": tuple(rank(lines, columns, "three", apart={row.name for row in measured if not competes(row)})),
            "notes": _status_notes(lines),
            "caption": (
                *base.caption,
                "In parentheses behind a class: its ground-truth instances.",
                *(about_intervals(columns, lines) if with_intervals else ()),
            ),
            "intervals": with_intervals,
        }
    )


def cost_table(rows: Sequence[Row], profile: "Profile") -> Table:
    """Budget and cost of every measured row."""
    columns = ("method", "backbone", "version", "real_images", "synthetic_images", "images_seen", "seeds", "seconds")
    gpu = ("gpu_seconds",) if any(row.cost.gpu_seconds is not None for row in rows) else ()
    spec = TableSpec(
        columns=(*columns, *gpu, "peak_memory_mb"),
        difference=(),
        marks="none",
        note="Time of a row includes steps that it shares with others.",
    )
    return build(spec, [row for row in rows if row.origin == "measured"], title="Budget and cost", profile=profile)


def instance_table(
    original: Mapping[str, int],
    augmented: Mapping[str, int],
    printed: Mapping[str, PrintedCount],
    profile: "Profile",
    *,
    title: str = "Instances per class, original and augmented",
) -> Table:
    """Instances of the training set before and after augmentation, beside the paper's IS-Cityscapes (Table I).

    Both counts have the same classes, by name.
    """
    columns = (
        Column(key="class", label="Class", kind="text"),
        Column(key="original", label="Original", kind="count", decimals=0),
        Column(key="augmented", label="Augmented", kind="count", decimals=0),
        Column(key="factor", label="Factor", kind="count", decimals=2),
        Column(key="printed_original", label="Original (paper)", kind="count", decimals=0),
        Column(key="printed_augmented", label="Augmented (paper)", kind="count", decimals=0),
        Column(key="printed_factor", label="Factor (paper)", kind="count", decimals=2),
    )
    comparable = set(original) <= set(printed)  # the paper counts the classes of Cityscapes
    lines = []
    for name in (*original, "total"):
        ours = [sum(counts.values()) if name == "total" else counts[name] for counts in (original, augmented)]
        theirs = _counts(printed[name].original, printed[name].augmented) if comparable else [Cell(status="blank")] * 3
        cells = (Cell(value=name, text=name), *_counts(*ours), *theirs)
        lines.append(Line(name=name, group="measured", section="total" if name == "total" else "class", cells=cells))
    warning = (
        () if profile.comparable else ("NOT COMPARABLE with the paper: other data; only the factors may be read.",)
    )
    return Table(
        title=title if profile.comparable else f"{title} [profile {profile.label}]",
        profile=profile.label,
        comparable=profile.comparable,
        caption=(f"Profile {profile.label}: {profile.caption}.", *warning, "Factor: augmented over original."),
        columns=columns,
        lines=tuple(lines),
        groups={"measured": ""},
        marks="none",
    )


def count_instances(dataset: Dataset, split: str, report: Report = silent) -> dict[str, int]:
    """Instances of every evaluated class that has some, by its name, as the ids of the frames have them."""
    import numpy as np

    labels = dataset.labels
    counts = {label.name: 0 for label in labels.things}
    every = dataset.frames(split)
    for done, frame in enumerate(every, start=1):
        found = np.unique(frame.read_ids())
        for label_id in labels.label_of(found[labels.is_instance(found)]).tolist():
            if label_id in labels.thing_index:
                counts[labels.by_id[label_id].name] += 1
        report(done, len(every), frame.name)
    return counts


def _reproduction_line(row: Row, metric: str, published: float, tolerance: float, cells: Cells) -> Line:
    entry = column(metric).model_copy(update={"key": "measured"})
    there = row.status == "ok"
    measured = cells.score(row, metric, entry) if there else Cell(text=row.status, status=row.status)
    value = row.measurement(metric).mean if there else None
    verdict = _agreement(value, published, tolerance, comparable=cells.comparable)
    texts = [Cell(value=text, text=text or "–") for text in (row.method, row.backbone, version(row), metric)]
    return Line(
        name=f"{row.name} {metric}",
        group="measured",
        section=row.name,
        cells=(
            *texts,
            measured,
            score_cell(published, entry),
            difference_cell(value, published, entry, comparable=cells.comparable),
            Cell(value=verdict, text=verdict),
        ),
        provenance=f"{provenance(row)}; published row {row.paper_name}",
    )


def _agreement(measured: float | None, published: float, tolerance: float, *, comparable: bool) -> str:
    if not comparable:
        return "not comparable"
    if measured is None:
        return "not measured"
    if abs(measured - published) <= tolerance:
        return "within"
    return "above" if measured > published else "below"


def _class_label(name: str, rows: Sequence[Row]) -> str:
    counts = {run.classes.get(name, {}).get("instances") for row in rows for run in row.seeds} - {None}
    return f"{name} ({counts.pop():.0f})" if len(counts) == 1 else name


def _class_line(row: Row, metric: str, columns: Sequence[Column], cells: Cells) -> Line:
    found = [Cell(value=text, text=text or "–") for text in (row.method, row.backbone, version(row))]
    for entry in columns[3:]:
        there = row.status == "ok"
        found.append(
            cells.score(row, f"{metric}/{entry.key}", entry) if there else Cell(text=row.status, status=row.status)
        )
    return Line(name=row.name, group="measured", section=row.section, cells=tuple(found), provenance=provenance(row))


def _status_notes(lines: Sequence[Line]) -> tuple[Note, ...]:
    used = {cell.status for line in lines for cell in line.cells}
    return tuple(Note(mark="", text=text) for status, text in STATUS_NOTES.items() if status in used)


def _counts(original: int, augmented: int) -> list[Cell]:
    cells = [Cell(value=value, n=1, text=number(value, 0)) for value in (original, augmented)]
    if not original:
        return [*cells, Cell(status="blank")]
    factor = round(augmented / original, 10)
    return [*cells, Cell(value=factor, n=1, text=number(factor, 2))]
