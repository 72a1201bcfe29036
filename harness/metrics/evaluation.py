"""This module evaluates anybody's predictions on a data set, by every metric whose kind of prediction is given.

What is kept of a frame are statistics (frame_statistics.py): intervals and reports never read an image. Which metrics
there are stands in table.py; this file knows none by name.
"""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.core.config import read_json
from harness.core.errors import HarnessError
from harness.core.files import write_bytes
from harness.core.progress import Report, silent
from harness.data.base import Dataset, labels_key
from harness.metrics import frame_statistics, observing
from harness.metrics.base import Arrays
from harness.metrics.frame_statistics import Statistics
from harness.metrics.info import SIGNATURE_JOINT, MetricInfo
from harness.metrics.table import METRICS, TABLE, check_extra, in_order, load_metric, metric_for, reads

log = logging.getLogger(__name__)

SCORES = "scores.json"
FORMAT = 1

ALWAYS_NAMED = ("instances", "panoptic", "semantic")
"""Kinds of prediction whose scores stand in scores.json in any case, as null where none is given."""

UNDEFINED = "undefined: the ground truth holds nothing that is scored"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of a set of predictions and the statistics they were made from.

    `scores`: the headline scores as fractions or None, `classes` (class name to the same and to `instances`, a count),
    `categories`, `availability` (score to why it is None), `n_images`, `signature`.
    """

    scores: Mapping[str, Any]
    statistics: Statistics

    def save(self, folder: Path) -> None:
        """Write statistics.npz, the files of single metrics, and scores.json, each whole or not at all."""
        self.statistics.save(folder)
        for name, metric in self.statistics.metrics.items():
            for file, content in metric.details(self.statistics.parts[name]).items():
                write_bytes(folder / file, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())
        write_bytes(folder / SCORES, (render_json(self) + "\n").encode())


def evaluate(
    dataset: Dataset,
    split: str,
    *,
    instances: Path | None = None,
    semantic: Path | None = None,
    panoptic: Path | None = None,
    coco: Path | None = None,
    metrics: Sequence[str] = (),
    workers: int = 1,
    engine: Literal["auto", "numpy", "compiled"] = "auto",
    report: Report = silent,
) -> Evaluation:
    """Score predictions of a split of a data set; what is not given is not scored.

    `instances`: a folder with <frame>*.txt, or a COCO result JSON; `semantic`: a folder with <frame>*.png of label ids;
    `panoptic`: a folder with <labels>_panoptic_<split>.json (or that file) and its PNG folder; `coco`: masks for
    COCO's mask AP, in either form of `instances`. `metrics`: names of plug-in metrics, of whichever of the first three
    they ask for. AP within 100 m and 50 m needs disparity/ and camera/ beside gtFine, for every frame.
    `workers` processes share the frames. `engine` never changes a number: compiled loops pay from some full-size frames
    on, and "auto" decides. HarnessError for whatever is missing or malformed.
    """
    sources = {"instances": instances, "panoptic": panoptic, "semantic": semantic, "coco": coco}
    given = {kind: Path(source) for kind, source in sources.items() if source is not None}
    if not given:
        raise HarnessError("nothing to evaluate", hint="give predictions: instances, semantic, panoptic or coco")
    check_extra(metrics, given)
    names = in_order([*(name for name in METRICS.builtin if reads(name) in given), *metrics])
    compiled = None if engine == "auto" else engine == "compiled"
    jobs = observing.jobs(dataset, split, given, tuple(names), compiled=compiled)
    parts: dict[str, list[Arrays]] = {name: [] for name in names}
    for done, result in enumerate(observing.observed(jobs, workers), start=1):
        for name, arrays in result.items():
            parts[name].append(arrays)
        report(done, len(jobs), jobs[done - 1].frame.name)
    statistics = Statistics(
        images=tuple(job.frame.name for job in jobs),
        cities=tuple(job.frame.city for job in jobs),
        labels=dataset.labels,
        parts={name: metric_for(name, dataset.labels).collect(arrays) for name, arrays in parts.items()},
    )
    for name, metric in statistics.metrics.items():
        if doubt := metric.doubt(statistics.parts[name]):
            log.warning("%s", doubt)
    return Evaluation(scores=summarize(statistics), statistics=statistics)


def load(folder: Path) -> Evaluation:
    """Return what `Evaluation.save` wrote."""
    path = folder / SCORES
    scores = read_json(path, "file of scores", hint="evaluate again to make it")
    if not isinstance(scores, dict) or scores.get("format") != FORMAT:
        raise HarnessError(f"{path}: expected scores of format {FORMAT}", hint="evaluate again to make it")
    return Evaluation(scores=scores, statistics=frame_statistics.load(folder))


def summarize(statistics: Statistics) -> dict[str, Any]:
    """Return the content of scores.json from statistics alone."""
    values = {name: _plain(array[0]) for name, array in statistics.scores().items()}
    infos, evaluated = _named(statistics), statistics.labels.evaluated
    scores: dict[str, Any] = {"format": FORMAT, **{info.key: values.get(info.key) for info in infos}}
    by_class = [info.key for info in infos if info.each in ("class", "thing")]
    scores["classes"] = {
        label.name: {key: values.get(f"{key}/{label.name}") for key in by_class} for label in evaluated
    }
    by_category = [info.key for info in infos if info.each == "category"]
    scores["categories"] = {
        name: {key.removesuffix("_category"): values.get(f"{key}/{name}") for key in by_category}
        for name in dict.fromkeys(label.category for label in evaluated if label.category)
    }
    missing: dict[str, str] = {}
    for name, metric in statistics.metrics.items():
        if name in METRICS.builtin:
            missing |= {info.key: UNDEFINED for info in metric.infos if values.get(info.key) is None}
        missing |= metric.unavailable(statistics.parts[name])
        for label, counts in metric.counts(statistics.parts[name]).items():
            scores["classes"][label] |= counts
    scores |= {"availability": missing} if missing else {}
    return scores | {"n_images": len(statistics.images), "signature": signature(statistics)}


def signature(statistics: Statistics) -> str:
    """Return how the scores were made, one part for each metric."""
    key = labels_key(statistics.labels)
    said = f"|labels:{statistics.labels.name}-{key}" if key else ""
    return SIGNATURE_JOINT.join(metric.signature + said for metric in statistics.metrics.values())


def render_json(evaluation: Evaluation) -> str:
    """Return the scores as JSON text; undefined ones are null."""
    return json.dumps(evaluation.scores, indent=2, allow_nan=False)


def table(evaluation: Evaluation) -> tuple[list[MetricInfo], list[tuple[str, list[float | None]]]]:
    """Return the scores of classes that are known, or undefined on this data, and rows (name, values as stored): all,
    things, stuff, then every class.
    """
    scores, missing = evaluation.scores, evaluation.scores.get("availability", {})
    infos = [info for info in _named(evaluation.statistics) if info.each in ("class", "thing")]
    infos = [info for info in infos if scores[info.key] is not None or missing.get(info.key) == UNDEFINED]
    rows = [("all", [scores[info.key] for info in infos])]
    for group in ("things", "stuff"):
        found = [scores.get(f"{info.key}_{group}") for info in infos]
        rows += [(group, found)] if any(value is not None for value in found) else []
    rows += [(name, [values.get(info.key) for info in infos]) for name, values in scores["classes"].items()]
    return infos, rows


def render_table(evaluation: Evaluation) -> str:
    """Return the scores as text in their printed units, with what is not available, the number of frames and the
    signature.
    """
    infos, rows = table(evaluation)
    scores = evaluation.scores
    width = max(len(name) for name, _ in rows)
    lines = [" " * width + "".join(f"{info.key:>10}" for info in infos)]
    for name, values in rows:
        cells = ("-" if value is None else info.printed(value) for info, value in zip(infos, values, strict=True))
        lines.append(f"{name:<{width}}{''.join(cell.rjust(10) for cell in cells)}")
    for info in _named(evaluation.statistics):
        if info not in infos and not info.key.endswith(("_things", "_stuff")) and scores[info.key] is not None:
            lines.append(f"{info.key}: {info.printed(scores[info.key])}")
    missing = scores.get("availability", {})
    for reason in sorted(set(missing.values())):
        lines.append(f"{', '.join(name for name, why in missing.items() if why == reason)}: {reason}")
    lines += [f"{scores['n_images']} frames", *scores["signature"].split(SIGNATURE_JOINT)]
    return "\n".join(lines)


def _named(statistics: Statistics) -> list[MetricInfo]:
    """Return the scores that scores.json names, in the order of evaluation."""
    always = [entry.name for entry in TABLE if entry.place and entry.infos[0].reads in ALWAYS_NAMED]
    names = in_order([*dict.fromkeys((*always, *statistics.metrics))])
    return [info for name in names for info in load_metric(name).infos]


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
