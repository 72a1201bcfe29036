"""The evidence of a report is its samples, predictions, failure cases, scores per class and loss curves.

Pictures are embedded by pictures.py, drawn figures by figures.py. Not here: gains (answer.py), cost (provenance.py).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.config import parse_json
from harness.core.numbers import number
from harness.planning.plan import Step
from harness.report import figures
from harness.report.cells import Cell, Intervals, no_intervals
from harness.report.page import Section
from harness.report.row_names import version
from harness.report.runs import SeedRun, dataset_of, first_seeds
from harness.report.tables import class_table
from harness.results.gains import MAIN
from harness.results.rows import Row

if TYPE_CHECKING:
    from harness.planning.suite import Profile

LOG = "log.jsonl"


def samples(runs: Sequence[SeedRun], data: Step) -> Section:
    """Return what each generator made of the same instances, and whole images beside their frames."""
    from harness.report.pictures import sample_grids, whole_grid

    ordered = sorted(first_seeds(runs), key=lambda run: run.row.role != "generator")
    syntheses = {version(run.row): run.folders["synthesize"] for run in ordered if "synthesize" in run.folders}
    grids = sample_grids(syntheses)
    given = {version(run.row): run for run in first_seeds(runs) if {"images", "dataset"} <= set(run.folders)}
    for label, run in given.items():
        frames = {frame.name: frame for frame in dataset_of(run, data).frames("train")}
        grids.append(whole_grid(run.folders["images"], frames, label))
    return Section(anchor="samples", title="Samples", grids=tuple(grids))


def predictions(runs: Sequence[SeedRun], data: Step, confidence: float) -> Section:
    """Return what each row predicts on the same frames, beside ground truth."""
    from harness.report.pictures import prediction_grid

    seen = [run for run in first_seeds(runs) if {"dataset", "predict"} <= set(run.folders)]
    if not seen:
        return Section(anchor="predictions", title="Predictions")
    folders = {run.label: run.folders["predict"] for run in seen}
    grid = prediction_grid(dataset_of(seen[0], data), folders, confidence=confidence)
    return Section(anchor="predictions", title="Predictions", grids=(grid,) if grid else (), folded=True)


def worst_frames(runs: Sequence[SeedRun], data: Step, confidence: float) -> Section:
    """Return the frames on which the best row does worst."""
    import numpy as np

    from harness.metrics import frame_statistics
    from harness.report.pictures import FAILURES, prediction_grid

    empty = Section(anchor="worst", title="Failure cases")
    done = [run for run in first_seeds(runs) if {"dataset", "predict", "evaluate"} <= set(run.folders)]
    ranked = [(score, run) for run in done if (score := run.row.scores.get("PQ")) is not None]
    if not ranked:
        return empty
    best = max(ranked, key=lambda one: one[0])[1]
    found = frame_statistics.load(best.folders["evaluate"])
    scores = found.scores(np.eye(len(found.images)), names=["PQ"])["PQ"]
    order = [index for index in np.argsort(scores, kind="stable") if not np.isnan(scores[index])][:FAILURES]
    grid = prediction_grid(
        dataset_of(best, data),
        {best.label: best.folders["predict"]},
        names=[found.images[index] for index in order],
        confidence=confidence,
        title=f"Worst frames of {best.label}, by PQ of the frame",
        notes={found.images[index]: f", PQ {number(float(scores[index]) * 100, 1)}" for index in order},
    )
    return Section(anchor="worst", title="Failure cases", grids=(grid,) if grid else (), folded=True)


def classes(
    rows: Sequence[Row], profile: "Profile", *, things: Sequence[str], intervals: Intervals = no_intervals
) -> Section:
    """Return scores of every class, AP also as bars."""
    tables = [
        class_table(rows, profile, metric=metric, things=things, intervals=intervals) for metric in (MAIN, "PQ", "IoU")
    ]
    first = tables[0]
    lines = [line for line in first.lines if any(cell.status == "ok" for cell in line.cells[3:])]
    if not lines:
        return Section(anchor="classes", title="Per class")
    series = [(f"{line.cells[2].text}, {line.cells[1].text}", list(map(_height, line.cells[3:]))) for line in lines]
    names = [entry.label for entry in first.columns[3:]]
    drawn = figures.bars(f"{MAIN} per class", names, series, units=["%"] * len(names))
    return Section(anchor="classes", title="Per class", figures=(drawn,), tables=tuple(tables), folded=True)


def curves(runs: Sequence[SeedRun]) -> Section:
    """Losses over the iterations of each training."""
    drawn = []
    for name, title in (("loss", "Training loss"), ("val_loss", "Validation loss")):
        series = []
        for run in runs:
            points = _points(run.folders["train"] / LOG, name) if "train" in run.folders else []
            if points:
                several = sum(other.row.name == run.row.name for other in runs) > 1
                names = (f"seed {run.seed}", run.label) if several else (run.label, "")
                series.append(figures.Series(names[0], points, names[1]))
        if series:
            drawn.append(figures.curves(title, series, x="iteration", y="loss"))
    return Section(anchor="curves", title="Loss curves", figures=tuple(drawn), folded=True)


def _height(cell: Cell) -> float | None:
    return cell.value if isinstance(cell.value, float) else None


def _points(path: Path, name: str) -> list[tuple[float, float]]:
    if not path.is_file():
        return []
    return list(filter(None, (_point(line, name) for line in path.read_bytes().splitlines())))


def _point(line: bytes, name: str) -> tuple[float, float] | None:
    """Return (step, value) of a log line; None for one without the value, or that a kill cut short."""
    try:
        record = parse_json(line)
        return float(record["step"]), float(record[name])
    except (ValueError, KeyError, TypeError):
        return None
