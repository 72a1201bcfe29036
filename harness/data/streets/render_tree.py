"""This module writes a streets data set as a Cityscapes tree; stopped anywhere, the next call goes on."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from harness.core.errors import HarnessError
from harness.core.pools import fresh
from harness.core.progress import Report, silent
from harness.core.seeds import derive
from harness.data.base import Frame
from harness.data.streets.cities import CITIES, frame_name
from harness.data.streets.scene import draw_scene
from harness.data.streets.street import PLAIN, Style
from harness.data.tree import Tree

_LOG = logging.getLogger(__name__)


class _Job(NamedTuple):
    """A frame to be drawn."""

    root: Path
    split: str
    city: str
    name: str
    seed: int
    size: tuple[int, int]
    style: Style


def render(
    root: Path,
    *,
    seed: int,
    counts: Mapping[str, int],
    size: tuple[int, int] = (256, 512),
    style: Style = PLAIN,
    workers: int = 1,
    report: Report = silent,
) -> dict[str, int]:
    """Writes `counts` frames a split under `root` (images, ids, panoptic) with `workers` processes; returns how many.

    A frame whose files are whole is kept, so a stopped run goes on and ends with the same bits.
    """
    tree = Tree(Path(root))
    for split, count in counts.items():
        if split not in CITIES:
            raise HarnessError(f"streets: split {split!r} is not known", hint=f"known: {', '.join(CITIES)}")
        if count < 0:
            raise HarnessError(f"streets: counts.{split} is {count}, expected 0 or more")
    missing: dict[str, list[_Job]] = {split: [] for split in counts}
    for split, count in counts.items():
        for index in range(count):
            city, name = frame_name(split, index, count)
            if not _is_whole(tree.frame(split, city, name)):
                missing[split].append(_Job(Path(root), split, city, name, frame_seed(seed, index), size, style))
    jobs = [job for split in counts for job in missing[split]]
    total = sum(counts.values())
    for done, name in enumerate(_drawn(jobs, workers), start=total - len(jobs) + 1):
        report(done, total, name)
    for split, count in counts.items():
        if count and split != "pool":  # which is learnt from and never scored as a panorama
            tree.write_panoptic(split)
    _LOG.info("streets: %s frames written under %s", len(jobs), root)
    return {split: len(missing[split]) for split in counts}


def frame_seed(seed: int, index: int) -> int:
    """Return the seed of the scene of frame `index` of a split."""
    return derive(seed, "render", index)


def _drawn(jobs: list[_Job], workers: int) -> Iterator[str]:
    if workers == 1 or len(jobs) < 2:
        yield from map(_draw, jobs)
        return
    with fresh(workers) as executor:
        yield from executor.map(_draw, jobs, chunksize=8)


def _draw(job: _Job) -> str:
    scene = draw_scene(job.seed, job.split, job.size, style=job.style)
    Tree(job.root).write_frame(job.split, job.city, job.name, scene.image, scene.instance_ids)
    return job.name


def _is_whole(frame: Frame) -> bool:
    """Return whether all files of a frame are there (each was moved into place complete)."""
    return all(path.is_file() for path in frame.files)
