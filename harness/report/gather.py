"""Gathers what the HTML report shows from the artifacts of a plan: samples, predictions, curves, cost, failures.

Reads manifests, logs and result files; runs no stage. What isn't there yet is left out, and the table says why.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness import __version__
from harness.core.numbers import number
from harness.core.store import Store
from harness.data.base import open_dataset
from harness.planning.plan import Plan, Step, chain
from harness.report import figures, table_for
from harness.report.answer import label, sentences
from harness.report.columns import Column, of_score
from harness.report.names import short_name, version
from harness.report.page import Failure, Page, Section
from harness.report.table import Cell, Line, Table
from harness.report.tables import class_table, cost_table, reproduction_table
from harness.results.gains import Gain, Paired, decompose
from harness.results.rows import Row, finished

MAIN = "AP"
LOG = "log.jsonl"


class Run(NamedTuple):
    """One seed of one row and the finished artifacts behind it, by kind of step."""

    row: Row
    seed: int
    folders: dict[str, Path]

    @property
    def label(self) -> str:
        """A short name for columns and legends."""
        return short_name(self.row)


def no_interval(before: Row, after: Row, metric: str) -> None:
    """A `Paired` for reports without statistics."""


def gather(
    plan: Plan, store: Store, rows: Sequence[Row], *, paired: Paired = no_interval, quality: Sequence[Row] = ()
) -> Page:
    """The report of a suite. `rows` as collected; `quality`: rows of the image-quality table, for the comparison."""
    profile, runs = plan.profile, _runs(plan, store, rows)
    gains = decompose(rows, paired) if plan.suite.kind == "segmentation" else []
    segmentation = plan.suite.kind == "segmentation"
    sections = [
        _answer(gains),
        Section(anchor="table", title="Results", tables=(table_for(plan.suite, profile, rows),)),
        _samples(runs),
        *([_predictions(runs, plan), _failures_seen(runs, plan), _classes(rows, plan)] if segmentation else []),
        _quality(gains, quality),
        _curves(runs),
        _reproduction(rows, plan),
        _cost(plan, store, rows),
        _environment(plan, store),
        Section(anchor="failures", title="Steps that failed", failures=tuple(_step_failures(plan, store))),
    ]
    commits = dict.fromkeys(run.commit for row in rows for run in row.seeds if run.commit)
    return Page(
        title=plan.suite.title,
        question=plan.suite.question,
        profile=profile.label,
        caption=profile.caption,
        comparable=profile.comparable,
        sections=tuple(sections),
        footer=f"harness {__version__}; results made at commit {', '.join(commits) or '–'}; suite {plan.name}.",
    )


def _runs(plan: Plan, store: Store, rows: Sequence[Row]) -> list[Run]:
    by_name = {row.name: row for row in rows if row.origin == "measured"}
    found = []
    for planned in plan.rows:
        for seed, final in sorted(planned.finals.items()):
            folders = {step.kind: folder for step in chain(final) if (folder := _folder(step, store))}
            found.append(Run(by_name[planned.cell.name], seed, folders))
    return found


def _folder(step: Step, store: Store) -> Path | None:
    if step.external:
        return step.external
    return store.path(step.kind, step.key) if store.has(step.kind, step.key) else None


def _first_seeds(runs: Iterable[Run]) -> list[Run]:
    return list({run.row.name: run for run in reversed(list(runs))}.values())[::-1]


ONE_SEED = (
    "One seed: these intervals hold what other images would change, not what another seed would, which is often more. "
    "Nothing is concluded from them about a method; give the suite several seeds."
)
"""Said with the answer where no row of a network has several seeds; with several, their spread is in the intervals."""


def _answer(gains: Sequence[Gain]) -> Section:
    several = len({gain.group for gain in gains}) > 1
    texts = sentences(gains)
    seeds: dict[tuple[str, str], int] = {}
    for row in (gain.after for gain in gains if gain.difference):
        network = row.segmenter, row.backbone
        seeds[network] = max(seeds.get(network, 0), len(finished(row.seeds)))
    if 1 in seeds.values():
        texts.append(ONE_SEED)
    items = [
        figures.Interval(
            ", ".join((label(gain), *gain.group)) if several else label(gain),
            gain.value * scale,
            gain.difference.low * scale if gain.difference else None,
            gain.difference.high * scale if gain.difference else None,
        )
        for gain in gains
        for scale in (of_score(gain.metric).scale,)
    ]
    drawn = (figures.intervals(f"Differences in {MAIN}", items, unit=f"{MAIN} points"),) if items else ()
    return Section(anchor="answer", title="The answer", texts=tuple(texts), figures=drawn)


def _samples(runs: Sequence[Run]) -> Section:
    from harness.report.pictures import sample_grid

    syntheses = {
        version(run.row): run.folders["synthesize"] for run in _first_seeds(runs) if "synthesize" in run.folders
    }
    grid = sample_grid(syntheses)
    return Section(anchor="samples", title="Samples", grids=(grid,) if grid else ())


def _predictions(runs: Sequence[Run], plan: Plan) -> Section:
    from harness.report.pictures import prediction_grid

    seen = [run for run in _first_seeds(runs) if {"dataset", "predict"} <= set(run.folders)]
    if not seen:
        return Section(anchor="predictions", title="Predictions")
    dataset = open_dataset(plan.dataset.spec, seen[0].folders["dataset"])
    grid = prediction_grid(dataset, {run.label: run.folders["predict"] for run in seen})
    return Section(anchor="predictions", title="Predictions", grids=(grid,) if grid else ())


def _failures_seen(runs: Sequence[Run], plan: Plan) -> Section:
    """The frames on which the best row does worst."""
    import numpy as np

    from harness.metrics import frame_statistics
    from harness.report.pictures import FAILURES, prediction_grid

    empty = Section(anchor="worst", title="Failure cases")
    done = [run for run in _first_seeds(runs) if {"dataset", "predict", "evaluate"} <= set(run.folders)]
    done = [run for run in done if run.row.scores.get("PQ") is not None]
    if not done:
        return empty
    best = max(done, key=lambda run: run.row.scores["PQ"])
    found = frame_statistics.load(best.folders["evaluate"])
    scores = found.scores(np.eye(len(found.images)), names=["PQ"])["PQ"]
    order = [index for index in np.argsort(scores, kind="stable") if not np.isnan(scores[index])][:FAILURES]
    grid = prediction_grid(
        open_dataset(plan.dataset.spec, best.folders["dataset"]),
        {best.label: best.folders["predict"]},
        names=[found.images[index] for index in order],
        title=f"Worst frames of {best.label}, by PQ of the frame",
        notes={found.images[index]: f", PQ {number(float(scores[index]) * 100, 1)}" for index in order},
    )
    return Section(anchor="worst", title="Failure cases", grids=(grid,) if grid else ())


def _classes(rows: Sequence[Row], plan: Plan) -> Section:
    things = [label.name for label in plan.labels.things]
    tables = [class_table(rows, plan.profile, metric=metric, things=things) for metric in (MAIN, "PQ", "IoU")]
    first = tables[0]
    lines = [line for line in first.lines if any(cell.status == "ok" for cell in line.cells[3:])]
    if not lines:
        return Section(anchor="classes", title="Per class")
    series = [
        (f"{line.cells[2].text}, {line.cells[1].text}", [cell.value for cell in line.cells[3:]]) for line in lines
    ]
    drawn = figures.bars(f"{MAIN} per class", [entry.label for entry in first.columns[3:]], series, unit=f"{MAIN} %")
    return Section(anchor="classes", title="Per class", figures=(drawn,), tables=tuple(tables))


_QUALITIES = ("CLIPScore", "FID", "SSIM", "PSNR")


def _quality(gains: Sequence[Gain], quality: Sequence[Row]) -> Section:
    """Image quality against the gain in AP, one figure per metric that at least two generators have."""
    whole = [gain for gain in gains if gain.before.role == "baseline" and gain.after.role == "generator"]
    groups = {gain.group for gain in whole}
    measured = [row for row in quality if row.origin == "measured"]
    pairs = [(row.scores, gain) for row in measured for gain in whole if _source(row) == _source(gain.after)]
    drawn = []
    for metric in dict.fromkeys(name for scores, _ in pairs for name in scores if _drawn(name)):
        there = [(scores[metric], gain) for scores, gain in pairs if scores.get(metric) is not None]
        if len({_source(gain.after) for _, gain in there}) > 1:
            points = [(_source_name(gain, groups), score, gain.value * 100) for score, gain in there]
            drawn.append(figures.scatter(f"{metric} and gain", points, x=metric, y=f"gain, {MAIN} points"))
    return Section(anchor="quality", title="Image quality against gain", figures=tuple(drawn))


def _source_name(gain: Gain, groups: set[tuple[str, ...]]) -> str:
    """The generator of a point; with the group where there are several."""
    return f"{gain.after.generator_label} ({', '.join(gain.group)})" if len(groups) > 1 else gain.after.generator_label


def _drawn(metric: str) -> bool:
    """Whether it is one of the paper's four as the table has it; FID may carry the name of a network, "FID (other)"."""
    plain, _, network = metric.partition(" (")
    return plain in _QUALITIES and (not network or network.endswith(")"))


def _source(row: Row) -> tuple[str, str]:
    return row.generator, row.recipe


def _curves(runs: Sequence[Run]) -> Section:
    drawn = []
    for name, title in (("loss", "Training loss"), ("val_loss", "Validation loss")):
        series = []
        for run in runs:
            points = _points(run.folders["train"] / LOG, name) if "train" in run.folders else []
            if points:
                several = sum(other.row.name == run.row.name for other in runs) > 1
                series.append(figures.Series(f"{run.label}{f', seed {run.seed}' if several else ''}", points))
        if series:
            drawn.append(figures.curves(title, series, x="iteration", y="loss"))
    return Section(anchor="curves", title="Loss curves", figures=tuple(drawn))


def _points(path: Path, name: str) -> list[tuple[float, float]]:
    if not path.is_file():
        return []
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(record["step"], record[name]) for record in records if record.get(name) is not None]


def _reproduction(rows: Sequence[Row], plan: Plan) -> Section:
    table = reproduction_table(rows, plan.profile)
    return Section(anchor="reproduction", title="Beside the paper", tables=(table,) if table.lines else ())


def _cost(plan: Plan, store: Store, rows: Sequence[Row]) -> Section:
    columns = (
        Column(key="step", label="Step", kind="text"),
        Column(key="of", label="Of", kind="text"),
        Column(key="seconds", label="Seconds", kind="count", decimals=1),
        Column(key="memory", label="Peak memory, MiB", kind="count", decimals=0),
    )
    lines = [_cost_line(step, store.manifest(step.kind, step.key)) for step in _made(plan, store)]
    steps = Table(
        title="Steps",
        profile=plan.profile.label,
        comparable=plan.profile.comparable,
        caption=(f"All steps together: {number(sum(line.cells[2].value for line in lines), 0)} s.",),
        columns=columns,
        lines=tuple(lines),
        marks="none",
    )
    return Section(anchor="cost", title="Cost", tables=(cost_table(rows, plan.profile), *((steps,) if lines else ())))


def _cost_line(step: Step, manifest: dict[str, Any]) -> Line:
    seconds, memory = manifest["facts"]["wall_s"], manifest["peak_memory_bytes"] / 2**20
    return Line(
        name=step.key,
        group="measured",
        section=step.kind,
        cells=(
            Cell(value=step.kind, text=step.kind),
            Cell(value=step.label, text=step.label),
            Cell(value=seconds, n=1, text=number(seconds, 1)),
            Cell(value=memory, n=1, text=number(memory, 0)),
        ),
        provenance=f"key {step.key}",
    )


def _environment(plan: Plan, store: Store) -> Section:
    """What the steps ran on; several values where they differ."""
    found: dict[str, dict[str, None]] = {}
    for step in _made(plan, store):
        for name, value in sorted(_flat(store.manifest(step.kind, step.key)["environment"])):
            found.setdefault(name, {})[value] = None
    facts = tuple((name, ", ".join(values)) for name, values in found.items())
    return Section(anchor="environment", title="Environment", facts=facts)


def _flat(environment: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in environment.items():
        if isinstance(value, dict):
            yield from ((key, str(inner)) for key, inner in value.items())
        else:
            yield name, ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _made(plan: Plan, store: Store) -> list[Step]:
    return [step for step in plan.steps().values() if not step.external and store.has(step.kind, step.key)]


def _step_failures(plan: Plan, store: Store) -> Iterable[Failure]:
    for step in plan.steps().values():
        if record := store.failure(step.kind, step.key):
            yield Failure(f"{step.kind} {step.label}", record.message, record.traceback)
