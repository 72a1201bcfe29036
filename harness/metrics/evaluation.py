"""Evaluates anybody's predictions on a Cityscapes tree: instance AP, panoptic quality, pixel IoU, and COCO's mask AP.

Every frame is read once: one joint histogram of ground truth and prediction for each result gives all its scores.
What is kept of a frame are statistics (`harness.metrics.frame_statistics`): intervals and reports never read an image.
"""

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from harness.core.errors import HarnessError
from harness.core.files import write_bytes
from harness.core.progress import Report, silent
from harness.data import png
from harness.data.cityscapes import EVALUATED
from harness.metrics import coco as coco_metric
from harness.metrics import frame_statistics, inputs, instance, panoptic, pixels, plugins, rle, semantic
from harness.metrics.anatomy import anatomy
from harness.metrics.base import Arrays, Regions, Target
from harness.metrics.frame_statistics import Statistics
from harness.metrics.reader import Reader, is_compiled, reader, sized
from harness.metrics.table import SIGNATURE_JOINT

log = logging.getLogger(__name__)

SCORES = "scores.json"
ANATOMY = "anatomy.json"
FORMAT = 1

COMPILED_FROM = 1 << 22
"""Pixels in a split from which compiled loops save more than loading them takes: two full-size frames."""
COMPILE_FROM = 1 << 25
"""The same where they must be compiled first, once on a machine: 16 full-size frames, or 256 of 256 x 512."""

INSTANCE_SCORES = ("AP", "AP50")
PANOPTIC_SCORES = ("PQ", "SQ", "RQ", "PQ_things", "PQ_stuff")
SEMANTIC_SCORES = ("IoU", "IoU_category", "iIoU", "iIoU_category")
DEPTH_SCORES = ("AP_100m", "AP_50m", "AP50_50m")
COCO_SCORES = ("COCO_AP", "COCO_AP50", "COCO_AP75", "COCO_AP_small", "COCO_AP_medium", "COCO_AP_large")
COLUMNS = ("AP", "AP50", "PQ", "SQ", "RQ", "IoU", "iIoU", "COCO_AP", "COCO_AP50")
CLASS_SCORES = ("AP", "AP50", "PQ", "SQ", "RQ", "IoU", "iIoU")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of a set of predictions and the statistics they were made from.

    `scores`: the headline scores as fractions or None, `classes` (class name to the same and to `instances`, a count),
    `categories`, `availability` (score to why it is None), `n_images`, `signature`.
    """

    scores: Mapping[str, Any]
    statistics: Statistics

    def save(self, folder: Path) -> None:
        """Write statistics.npz, anatomy.json (of instances) and scores.json into `folder`, each whole or not at all."""
        self.statistics.save(folder)
        if "instances" in self.statistics.parts:
            errors = anatomy(self.statistics.parts["instances"])
            write_bytes(folder / ANATOMY, (json.dumps(errors, indent=2, allow_nan=False) + "\n").encode())
        write_bytes(folder / SCORES, (render_json(self) + "\n").encode())


def evaluate(
    root: Path,
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
    """Score predictions of `split` against gtFine of `root`; what is not given is not scored.

    `instances`: a folder with <frame>*.txt, or a COCO result JSON; `semantic`: a folder with <frame>*.png of label ids;
    `panoptic`: a folder with cityscapes_panoptic_<split>.json (or that file) and its PNG folder; `coco`: masks for
    COCO's mask AP, in either form of `instances`. `metrics`: names of plug-in metrics, of whichever of the first three
    they ask for. AP within 100 m and 50 m needs disparity/ and camera/ beside gtFine, for every frame.
    `workers` processes share the frames. `engine` never changes a number: compiled loops pay from some full-size frames
    on, and "auto" decides. HarnessError for whatever is missing or malformed.
    """
    truths = inputs.truths(Path(root), split)
    compiled = engine == "compiled" or (engine == "auto" and _pays(truths))
    jobs = _jobs(truths, split, instances, semantic, panoptic, coco, compiled)
    plugins.check_given(metrics, {"instances": instances, "semantic": semantic, "panoptic": panoptic})
    jobs = [job._replace(metrics=tuple(metrics)) for job in jobs]
    if instances is not None:
        depths = inputs.depths(Path(root), split, truths)
        jobs = [job._replace(depth=depths.get(job.name)) for job in jobs]
    parts: dict[str, list[Arrays]] = {}
    for done, result in enumerate(_map(jobs, workers), start=1):
        for part, arrays in result.items():
            parts.setdefault(part, []).append(arrays)
        report(done, len(jobs), jobs[done - 1].name)
    statistics = Statistics(
        images=tuple(job.name for job in jobs),
        cities=tuple(job.city for job in jobs),
        parts={part: _collect(part, arrays) for part, arrays in parts.items()},
    )
    return Evaluation(scores=summarize(statistics), statistics=statistics)


def load(folder: Path) -> Evaluation:
    """What `Evaluation.save` wrote."""
    path = folder / SCORES
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HarnessError(f"{path}: not readable scores: {error}", hint="evaluate again to make it") from None
    if not isinstance(scores, dict) or scores.get("format") != FORMAT:
        raise HarnessError(f"{path}: expected scores of format {FORMAT}", hint="evaluate again to make it")
    return Evaluation(scores=scores, statistics=frame_statistics.load(folder))


def summarize(statistics: Statistics) -> dict[str, Any]:
    """The content of scores.json from statistics alone."""
    values = {name: _plain(array[0]) for name, array in statistics.scores().items()}
    headline = [*INSTANCE_SCORES, *PANOPTIC_SCORES, *SEMANTIC_SCORES]
    extra = [*COCO_SCORES] if "coco" in statistics.parts else []
    scores: dict[str, Any] = {"format": FORMAT}
    scores |= {name: values.get(name) for name in (*headline, *DEPTH_SCORES, *extra)}
    class_names = [*CLASS_SCORES, *(("COCO_AP", "COCO_AP50") if extra else ())]
    scores["classes"] = {
        label.name: {name: values.get(f"{name}/{label.name}") for name in class_names} for label in EVALUATED
    }
    if "instances" in statistics.parts:
        for name, count in instance.instances(statistics.parts["instances"]).items():
            scores["classes"][name]["instances"] = count
    scores["categories"] = {
        name: {score: values.get(f"{score}_category/{name}") for score in ("IoU", "iIoU")}
        for name in semantic.CATEGORIES
    }
    if "instances" not in statistics.parts or "AP_50m" not in values:
        reason = "not available: it needs depth (disparity and camera files)"
        scores["availability"] = dict.fromkeys(DEPTH_SCORES, reason)
    scores |= {name: values.get(name) for name in plugins.names(statistics.parts)}
    scores["n_images"] = len(statistics.images)
    scores["signature"] = signature(statistics)
    return scores


def signature(statistics: Statistics) -> str:
    """How the scores were made, one part for each kind of result."""
    kinds = {
        "instances": instance.signature,
        "panoptic": panoptic.signature,
        "semantic": semantic.signature,
        "coco": coco_metric.signature,
    }
    signs = [sign() for part, sign in kinds.items() if part in statistics.parts]
    return SIGNATURE_JOINT.join(signs + [plugins.signature(name) for name in plugins.names(statistics.parts)])


def render_json(evaluation: Evaluation) -> str:
    """The scores as JSON text; undefined ones are null."""
    return json.dumps(evaluation.scores, indent=2, allow_nan=False)


def table(evaluation: Evaluation) -> tuple[list[str], list[list[str | float | None]]]:
    """The scores as columns and rows (first cell the name, then fractions): all, things, stuff, then every class."""
    scores = evaluation.scores
    columns = [name for name in COLUMNS if scores.get(name) is not None]
    rows: list[list[str | float | None]] = [["all", *(scores[name] for name in columns)]]
    for group in ("things", "stuff"):
        if any(scores.get(f"{name}_{group}") is not None for name in columns):
            rows.append([group, *(scores.get(f"{name}_{group}") for name in columns)])
    rows += [[name, *(values.get(column) for column in columns)] for name, values in scores["classes"].items()]
    return ["", *columns], rows


def render_table(evaluation: Evaluation) -> str:
    """The scores as text in percent, with the number of frames, what is not available, and the signature below."""
    columns, rows = table(evaluation)
    scores = evaluation.scores
    width = max(len(str(row[0])) for row in rows)
    lines = [" " * width + "".join(f"{name:>10}" for name in columns[1:])]
    for name, *values in rows:
        cells = "".join("-".rjust(10) if value is None else f"{100 * value:10.2f}" for value in values)
        lines.append(f"{name:<{width}}{cells}")
    for name in plugins.names(evaluation.statistics.parts):
        lines.append(f"{name}: {'-' if scores[name] is None else format(scores[name], '.6g')}")
    for name in ("IoU_category", "iIoU_category"):
        if scores.get(name) is not None:
            lines.append(f"{name}: {100 * scores[name]:.2f}")
    for reason in sorted(set(scores.get("availability", {}).values())) if scores.get("AP") is not None else ():
        names = [name for name, why in scores["availability"].items() if why == reason]
        lines.append(f"{', '.join(names)}: {reason}")
    lines += [f"{scores['n_images']} frames", *scores["signature"].split(SIGNATURE_JOINT)]
    return "\n".join(lines)


class _Masks(NamedTuple):
    """Predicted instances of one frame: a text file with its root, or entries of a COCO result JSON."""

    text: Path | None
    root: Path
    entries: list[inputs.RleMask] | None


class _Job(NamedTuple):
    """One frame and where its predictions are; picklable and small."""

    name: str
    city: str
    truth: Path
    instances: _Masks | None
    semantic: Path | None
    panoptic: inputs.Segments | None
    coco: _Masks | None
    compiled: bool
    depth: tuple[Path, Path] | None = None
    metrics: tuple[str, ...] = ()


def _pays(truths: list[inputs.Truth]) -> bool:
    """Whether there are so many pixels that compiled loops save more time than they cost."""
    with open(truths[0].path, "rb") as file:
        header = file.read(24)
    in_all = len(truths) * int.from_bytes(header[16:20], "big") * int.from_bytes(header[20:24], "big")
    return in_all >= (COMPILED_FROM if is_compiled() else COMPILE_FROM)


def _jobs(
    truths: list[inputs.Truth],
    split: str,
    instances: Path | None,
    semantic: Path | None,
    panoptic: Path | None,
    coco: Path | None,
    compiled: bool,
) -> list[_Job]:
    if instances is None and semantic is None and panoptic is None and coco is None:
        raise HarnessError("nothing to evaluate", hint="give predictions: instances, semantic, panoptic or coco")
    names = [truth.name for truth in truths]
    masks = _masks(instances, names)
    coco_masks = masks if coco == instances else _masks(coco, names)
    maps = inputs.find(Path(semantic), names, ".png") if semantic is not None else {}
    segments = inputs.panoptic(Path(panoptic), split, names) if panoptic is not None else {}
    return [
        _Job(
            name=truth.name,
            city=truth.city,
            truth=truth.path,
            instances=masks.get(truth.name),
            semantic=maps.get(truth.name),
            panoptic=segments.get(truth.name),
            coco=coco_masks.get(truth.name),
            compiled=compiled,
        )
        for truth in truths
    ]


def _masks(source: Path | None, names: list[str]) -> dict[str, _Masks]:
    """Where the predicted instances of every frame are; nothing without a source."""
    if source is None:
        return {}
    root = Path(source)
    if root.suffix == ".json":
        return {name: _Masks(None, root, entries) for name, entries in inputs.coco(root, names).items()}
    return {name: _Masks(path, root, None) for name, path in inputs.find(root, names, ".txt").items()}


def _map(jobs: list[_Job], workers: int) -> Iterator[dict[str, Arrays]]:
    """Statistics of every job, in order; in this process, or in `workers` fresh ones."""
    if workers < 1:
        raise HarnessError(f"workers: expected at least 1, found {workers}")
    if min(workers, len(jobs)) == 1:
        yield from map(observe, jobs)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    # Fresh processes: a fork of a process that runs threads (torch, OpenMP) can hang.
    pool = ProcessPoolExecutor(min(workers, len(jobs)), mp_context=multiprocessing.get_context("spawn"))
    try:
        yield from pool.map(observe, jobs, chunksize=max(1, min(8, len(jobs) // (4 * workers))))
    finally:
        pool.shutdown(cancel_futures=True)


def observe(job: _Job) -> dict[str, Arrays]:
    """Statistics of one frame by kind of result."""
    read = reader(compiled=job.compiled)
    target = read.target(job.truth)
    result: dict[str, Arrays] = {}
    if job.instances is not None or job.coco is not None:
        regions = read.regions(target)
        candidates = _candidates(job.instances, read, target, regions) if job.instances is not None else []
        if job.instances is not None:
            depth = _depth(job, target) if job.depth else None
            result["instances"] = instance.observe([c.overlap for c in candidates], target, regions, depth)
        if job.coco is not None:
            same = job.coco is job.instances or job.coco == job.instances
            found = candidates if same else _candidates(job.coco, read, target, regions)
            result["coco"] = coco_metric.observe(found, regions)
    if job.semantic is not None:
        counts = read.labels(job.semantic, target)
        result["semantic"] = semantic.observe(counts, target, source=str(job.semantic))
    if job.panoptic is not None:
        path, labels = job.panoptic
        result["panoptic"] = panoptic.observe(read.segments(path, target), labels, target, source=str(path))
    if job.metrics:
        result |= _observe_plugins(job)
    return result


def _observe_plugins(job: _Job) -> dict[str, Arrays]:
    """Statistics of the plug-in metrics: they get whole arrays, so what they ask for is read as a definition reads."""
    target = reader(compiled=False).target(job.truth)

    def read(kind: str) -> Any:
        if kind == "semantic":
            return sized(png.read_labels(job.semantic), job.semantic, target)
        if kind == "panoptic":
            path, labels = job.panoptic
            return panoptic.Segmentation(sized(png.read_segments(path), path, target), labels)
        return list(_detections(job.instances, target))

    return {plugins.PREFIX + name: plugins.observe(name, read, target) for name in job.metrics}


def _detections(masks: _Masks, target: Target) -> Iterator[instance.Detection]:
    """Predicted instances with their masks."""
    for line in inputs.mask_lines(masks.text, masks.root) if masks.text is not None else ():
        yield instance.Detection(line.label_id, line.score, sized(png.read_mask(line.path), line.path, target))
    for entry in masks.entries or ():
        flat = np.zeros(target.ids.size, np.uint8)
        for start, length in zip(*_runs(entry, target), strict=True):
            flat[start : start + length] = 1
        yield instance.Detection(entry.label_id, entry.score, flat.reshape(target.size[::-1]).T)


def _depth(job: _Job, target: Target) -> np.ndarray:
    """Depth in metres [H, W], 0 where unknown, from a disparity file: (value - 1) / 256 pixels, 0 for unknown."""
    disparity = png.read_ids(job.depth[0]).astype(np.float64)
    if disparity.shape != target.size:
        raise HarnessError(f"{job.depth[0]}: its size is not that of {target.source}")
    known = disparity > 1
    factor = inputs.focal_baseline(job.depth[1])
    return np.divide(256 * factor, disparity - 1, out=np.zeros(target.size), where=known)


def _candidates(masks: _Masks, read: Reader, target: Target, regions: Regions) -> list[coco_metric.Candidate]:
    if masks.entries is not None:
        return list(_from_coco(masks.entries, target))
    return list(_from_text(masks, read, target, regions))


def _from_text(masks: _Masks, read: Reader, target: Target, regions: Regions) -> Iterator[coco_metric.Candidate]:
    for line in inputs.mask_lines(masks.text, masks.root):
        if line.label_id not in instance.THING_INDEX:
            continue
        try:
            ids, counts = read.under(line.path, target, regions)
        except HarnessError as error:
            raise HarnessError(f"{line.where}: {error.message}", hint=error.hint) from None
        yield coco_metric.Candidate(instance.Overlap(line.label_id, line.score, ids, counts))


def _from_coco(entries: list[inputs.RleMask], target: Target) -> Iterator[coco_metric.Candidate]:
    columns = np.ascontiguousarray(target.ids.T).ravel()
    for mask in entries:
        overlap = instance.Overlap(mask.label_id, mask.score, *pixels.under_runs(*_runs(mask, target), columns))
        yield coco_metric.Candidate(overlap, mask.box_area)


def _runs(mask: inputs.RleMask, target: Target) -> rle.Runs:
    if mask.size != target.size:
        found, expected = (f"{side[1]} x {side[0]}" for side in (mask.size, target.size))
        raise HarnessError(f"{mask.where}: {found} pixels, but its ground truth {target.source} has {expected}")
    try:
        return rle.decode(mask.counts, *target.size)
    except HarnessError as error:
        raise HarnessError(f"{mask.where}: {error.message}") from None


def _collect(part: str, arrays: list[Arrays]) -> Arrays:
    if part == "instances":
        return instance.collect(arrays)
    if part == "coco":
        return coco_metric.collect(arrays)
    if part.startswith(plugins.PREFIX):
        return plugins.collect(arrays)
    return {name: np.concatenate([a[name] for a in arrays]) for name in arrays[0]}


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
