"""The tiny checkpoints learn from the pool: captioned crops of streets, as arrays.

The pool is drawn apart from every train and val split, so nothing here has seen a frame that a segmenter is trained or
scored on. Drawn once per folder in chunks, so that a killed run draws nothing twice.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from harness.core.pools import fresh
from harness.core.progress import Report, silent
from harness.core.seeds import derive

SIDE = 64
"""Side of a crop in pixels."""

_CHUNK = 500


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Crops uint8 [N, 64, 64, 3], masks bool [N, 64, 64], label ids int64 [N], and prompts as the paper words them."""

    images: np.ndarray
    masks: np.ndarray
    label_ids: np.ndarray
    prompts: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def take(self, index: np.ndarray) -> "Pool":
        """Return the rows of `index`, in its order."""
        return Pool(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    @property
    def phrases(self) -> list[str]:
        """Prompts without "a photo of a": "red car", "woman", "male rider"."""
        return [phrase(prompt) for prompt in self.prompts]


def phrase(prompt: str) -> str:
    """Return what a prompt of the paper speaks of: "a photo of a red car" -> "red car"."""
    return prompt.removeprefix("a photo of ").removeprefix("an ").removeprefix("a ")


def detail(prompt: str) -> str:
    """Return the word beside the class: "red" of a red car, "woman", "male" of a male rider."""
    return phrase(prompt).split()[0]


def draw_pool(folder: Path, *, seed: int, count: int, workers: int = 1, report: Report = silent) -> Pool:
    """`count` crops of the pool of `seed`, kept in `folder` and drawn only where they are missing there."""
    starts = range(0, count, _CHUNK)
    paths = [folder / f"pool-{seed}-{start}.npz" for start in starts]
    missing = [(path, seed, start) for path, start in zip(paths, starts, strict=True) if not path.exists()]
    for done, _ in enumerate(_drawn(missing, workers), start=1):
        report(done, len(missing), "of the pool's crops")
    chunks = []
    for path in paths:
        with np.load(path) as stored:
            chunks.append(dict(stored))
    return Pool(**{name: np.concatenate([chunk[name] for chunk in chunks])[:count] for name in chunks[0]})


def _drawn(missing: list[tuple[Path, int, int]], workers: int) -> Iterator[None]:
    if workers == 1 or len(missing) < 2:
        yield from itertools.starmap(_draw, missing)
        return
    with fresh(workers) as executor:
        yield from executor.map(_draw, *zip(*missing, strict=True))


def _draw(path: Path, seed: int, start: int) -> None:
    from harness.data.streets import pool_crops

    crops = list(pool_crops(derive(seed, "pool"), _CHUNK, side=SIDE, start=start))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez(
        part,
        images=np.stack([crop.image for crop in crops]),
        masks=np.stack([crop.mask for crop in crops]),
        label_ids=np.array([crop.label_id for crop in crops], np.int64),
        prompts=np.array([crop.prompt for crop in crops]),
    )
    part.replace(path)


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1), half open, of the true pixels of `mask`; the whole square when there are none."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0, 0, mask.shape[1], mask.shape[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
