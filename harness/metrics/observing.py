"""This module turns files into statistics, frame by frame, in this process or in several.

Every frame is read once: its ground truth, and each prediction that a metric asks for. Which metrics run, and what
becomes of the statistics, is evaluation.py's business.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.core.environment import cores
from harness.core.errors import HarnessError
from harness.data import frame_names
from harness.data.base import Dataset, Frame
from harness.data.labels import LabelSet
from harness.metrics import prediction_views
from harness.metrics.base import Arrays, Metric, Target
from harness.metrics.reader import Reader, is_compiled, reader
from harness.metrics.table import metric_for, reads

COMPILED_FROM = 1 << 22
"""Pixels in a split from which compiled loops save more than loading them takes: two full-size frames."""
COMPILE_FROM = 1 << 25
"""The same where they must be compiled first, once on a machine: 16 full-size frames, or 256 of 256 x 512."""
WORTH = 2.0
"""Seconds of work from which one more process pays: starting it and loading compiled loops takes one."""


class FrameJob(NamedTuple):
    """One frame, where its predictions are by kind, and the metrics to compute; picklable and small."""

    frame: Frame
    labels: LabelSet
    predictions: Mapping[str, prediction_views.Located]
    metrics: tuple[str, ...]
    compiled: bool
    depth_files: tuple[Path, Path] | None


def jobs(
    dataset: Dataset, split: str, given: Mapping[str, Path], metrics: tuple[str, ...], *, compiled: bool | None
) -> list[FrameJob]:
    """Return a job for every frame of `split`; `given`: kind of prediction to where it is. `compiled` None: when it
    pays.
    """
    frames, labels = dataset.truths(split), dataset.labels
    names = [frame_names.checked(frame.name, frame.instance_ids) for frame in frames]
    located = {
        source: prediction_views.locate(*source, split, names, labels)
        for source in dict.fromkeys(map(_source, given.items()))
    }
    depths = [frame.depth_files() for frame in frames]
    deep = all(depths)  # scores by distance are of all frames or of none
    compiled = _pays(frames) if compiled is None else compiled
    return [
        FrameJob(
            frame=frame,
            labels=labels,
            predictions={one[0]: located[_source(one)][frame.name] for one in given.items()},
            metrics=metrics,
            compiled=compiled,
            depth_files=files if deep else None,
        )
        for frame, files in zip(frames, depths, strict=True)
    ]


def observed(jobs: list[FrameJob], workers: int) -> Iterator[dict[str, Arrays]]:
    """Statistics of every job, in order: of the first ones in this process, of the others in up to `workers` fresh
    ones: as many as pay, and no more than there are cores.

    The first frame loads what the others need too, and compiles it once for all processes; the second one tells how
    long a frame takes.
    """
    if workers < 1:
        raise HarnessError(f"workers: expected at least 1, found {workers}")
    start = time.monotonic()
    for number, job in enumerate(jobs):
        yield observe(job)
        now = time.monotonic()
        if number == 0:
            start = now
            continue
        left = jobs[number + 1 :]
        pays = int((now - start) / number * len(left) / WORTH)
        if (processes := min(workers, cores(), pays, len(left))) > 1:
            yield from _shared(left, processes)
            return


def _shared(jobs: list[FrameJob], workers: int) -> Iterator[dict[str, Arrays]]:
    from harness.core import pools

    pool = pools.fresh(workers)
    try:
        yield from pool.map(observe, jobs, chunksize=max(1, min(8, len(jobs) // (4 * workers))))
    finally:
        pool.shutdown(cancel_futures=True)


def observe(job: FrameJob) -> dict[str, Arrays]:
    """Statistics of one frame by metric."""
    read = reader(compiled=job.compiled)
    target = _target(job, read)
    opened: dict[int, object] = {}
    result: dict[str, Arrays] = {}
    for name in job.metrics:
        located = job.predictions[reads(name)]
        if id(located) not in opened:
            opened[id(located)] = located.open(read, target)
        metric = metric_for(name, job.labels)
        result[name] = _checked(name, metric, metric.observe(opened[id(located)], target))
    return result


def _target(job: FrameJob, read: Reader) -> Target:
    """Return the ground truth of a frame; only files of ids as they are can be read by compiled loops."""
    frame, labels = job.frame, job.labels
    if frame.is_plain:
        return read.target(frame.instance_ids, labels, depth_files=job.depth_files)
    source = str(frame.instance_ids)
    return Target(ids=frame.read_ids(), labels=labels, source=source, depth_files=job.depth_files)


def _source(given: tuple[str, Path]) -> tuple[str, Path]:
    """Return what is read, and where. Instance masks given as two kinds are one source, so that none is read twice."""
    kind, path = given
    return "instances" if kind == "coco" else kind, path


def _checked(name: str, metric: Metric, statistics: Arrays) -> dict[str, np.ndarray]:
    """Return the statistics of one frame; HarnessError for additive ones that are no row."""
    arrays = {key: np.asarray(array) for key, array in statistics.items()}
    for key, array in arrays.items() if not metric.links else ():
        if array.shape[:1] != (1,) or array.dtype.kind not in "biuf":
            raise HarnessError(
                f"the metric {name!r}: its statistic {key!r} of one frame has shape {array.shape}",
                hint="expected numbers with a leading axis of length 1",
            )
    return arrays


def _pays(frames: Sequence[Frame]) -> bool:
    """Return whether there are so many pixels that compiled loops save more time than they cost."""
    with open(frames[0].instance_ids, "rb") as file:
        header = file.read(24)
    in_all = len(frames) * int.from_bytes(header[16:20], "big") * int.from_bytes(header[20:24], "big")
    return in_all >= (COMPILED_FROM if is_compiled() else COMPILE_FROM)
