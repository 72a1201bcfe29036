"""Writes a streets data set as a Cityscapes tree; stopped anywhere, the next call goes on."""

import logging
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.progress import Report, silent
from harness.core.seeds import derive
from harness.data.base import Frame
from harness.data.streets.scene import draw_scene
from harness.data.streets.street import PLAIN, Style
from harness.data.tree import Tree

_LOG = logging.getLogger(__name__)

CITIES = {
    "train": ("altenfurt", "brueckhaven", "crailsum", "dornwede", "eschlingen", "falkenmoor"),
    "val": ("grauwick", "hollerbach", "ilmstedt", "jarnsund"),
}


def frame_name(split: str, index: int, count: int) -> tuple[str, str]:
    """City and name of frame `index` of `count`, '<city>_<sequence>_<frame>'; cities take equal runs of frames."""
    cities = CITIES[split]
    city = cities[index * len(cities) // max(count, len(cities))]
    return city, f"{city}_{index:06d}_000019"


def render(
    root: Path,
    *,
    seed: int,
    counts: dict[str, int],
    size: tuple[int, int] = (256, 512),
    style: Style = PLAIN,
    report: Report = silent,
) -> dict[str, int]:
    """Writes `counts` frames a split under `root` (images, ids, panoptic); returns how many.

    A frame whose files are whole is kept, so a stopped run goes on and ends with the same bits.
    """
    tree = Tree(Path(root))
    for split, count in counts.items():
        if split not in CITIES:
            raise HarnessError(f"streets: split {split!r} is not known", hint=f"known: {', '.join(CITIES)}")
        if count < 0:
            raise HarnessError(f"streets: counts.{split} is {count}, expected 0 or more")
    done, total, written = 0, sum(counts.values()), {}
    for split, count in counts.items():
        written[split] = 0
        for index in range(count):
            city, name = frame_name(split, index, count)
            if not _is_whole(tree.frame(split, city, name)):
                scene = draw_scene(derive(seed, "render", index), split, size, style=style)
                tree.write_frame(split, city, name, scene.image, scene.instance_ids)
                written[split] += 1
            done += 1
            report(done, total, name)
        if count:
            tree.write_panoptic(split)
    _LOG.info("streets: %s frames written under %s", sum(written.values()), root)
    return written


def _is_whole(frame: Frame) -> bool:
    """Whether all files of a frame are there (each was moved into place complete)."""
    return all(path.is_file() for path in frame.files)
