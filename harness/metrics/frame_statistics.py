"""Statistics of an evaluated set: everything its scores need, frame by frame, and nothing of its pixels.

They lie as statistics.npz beside the scores; `harness.metrics.intervals` resamples them, reports and checks read them.
"""

import io
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType

import numpy as np

from harness.core.errors import HarnessError, near
from harness.core.files import write_bytes
from harness.metrics import coco, instance, panoptic, plugins, semantic
from harness.metrics.base import Arrays

FORMAT = 1
FILE = "statistics.npz"

PARTS: dict[str, ModuleType] = {"instances": instance, "panoptic": panoptic, "semantic": semantic, "coco": coco}
"""Kinds of statistics and the module whose `scores` reads them."""

_PREFIX = (
    ("COCO", "coco"),
    ("AP", "instances"),
    ("PQ", "panoptic"),
    ("SQ", "panoptic"),
    ("RQ", "panoptic"),
    ("IoU", "semantic"),
    ("iIoU", "semantic"),
)


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """`images` and `cities` name the frames, in the order of every image axis in `parts` (see PARTS)."""

    images: tuple[str, ...]
    cities: tuple[str, ...]
    parts: Mapping[str, Arrays]

    def scores(
        self, weights: np.ndarray | None = None, *, names: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """All scores (or at least `names`), each [B]; `weights` [B, N]: how often each frame counts in each replicate.

        NaN where a score is undefined. HarnessError for a name that these statistics don't give.
        """
        wanted = set(self.parts) if names is None else {self._part(name) for name in names}
        result: dict[str, np.ndarray] = {}
        for part in PARTS:
            if part in wanted:
                result |= PARTS[part].scores(self.parts[part], weights, names=names)
        for part in self.parts:
            # Statistics outlive the package of a plug-in: what can't be scored here is no score of these.
            if part in wanted and (name := plugins.installed(part)):
                result |= plugins.scores(name, self.parts[part], weights)
        for name in names or ():
            if name not in result:
                raise HarnessError(f"no score {name!r} in these statistics", hint=near(name, result))
        return result

    @cached_property
    def city_index(self) -> np.ndarray:
        """Index of every frame's city among the sorted city names."""
        return np.unique(self.cities, return_inverse=True)[1]

    def save(self, folder: Path) -> None:
        """Write statistics.npz, whole or not at all; the same statistics give the same bytes."""
        arrays = {f"{part}/{name}": array for part, named in self.parts.items() for name, array in named.items()}
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer, format=np.array(FORMAT), images=np.array(self.images), cities=np.array(self.cities), **arrays
        )
        write_bytes(folder / FILE, buffer.getvalue())

    def _part(self, name: str) -> str:
        if plugins.PREFIX + name in self.parts:
            return plugins.PREFIX + name
        part = next((part for prefix, part in _PREFIX if name.startswith(prefix)), None)
        if part not in self.parts:
            raise HarnessError(
                f"no score {name!r} in these statistics", hint=f"evaluated: {', '.join(self.parts) or 'nothing'}"
            )
        return part


def load(folder: Path) -> Statistics:
    """What `Statistics.save` wrote; HarnessError when the file is missing, damaged or of another format."""
    path = folder / FILE
    try:
        with np.load(path, allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise HarnessError(f"{path}: no such file", hint="evaluate again to make it") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise HarnessError(f"{path}: not readable statistics: {error}", hint="evaluate again to make it") from None
    if int(content.pop("format", -1)) != FORMAT:
        raise HarnessError(f"{path}: expected statistics of format {FORMAT}", hint="evaluate again to make it")
    images, cities = content.pop("images").tolist(), content.pop("cities").tolist()
    parts: dict[str, dict[str, np.ndarray]] = {}
    for name, array in content.items():
        part, _, key = name.partition("/")
        parts.setdefault(part, {})[key] = array
    return Statistics(images=tuple(images), cities=tuple(cities), parts=parts)
