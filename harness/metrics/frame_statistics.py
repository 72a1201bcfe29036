"""Frame statistics hold everything that the scores of an evaluated set need, frame by frame, and nothing of its pixels.

They lie as statistics.npz beside the scores; `harness.metrics.intervals` resamples them, reports and checks read them.
"""

import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.errors import HarnessError, near
from harness.core.files import write_bytes
from harness.data.base import IMPLIED, labels_key
from harness.data.labels import LabelSet
from harness.metrics.base import Arrays, Metric
from harness.metrics.table import METRICS, in_order, metric_for

FORMAT = 1
FILE = "statistics.npz"


@dataclass(frozen=True, kw_only=True, eq=False)
class Statistics:
    """`images` and `cities` name the frames, in the order of every image axis; `parts`: metric to its statistics.

    `labels` are those of the frames: what the classes in the statistics are.
    """

    images: tuple[str, ...]
    cities: tuple[str, ...]
    labels: LabelSet
    parts: Mapping[str, Arrays]

    def scores(
        self, weights: np.ndarray | None = None, *, names: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Return all scores (or at least `names`), each [B]; `weights` [B, N]: how often each frame counts in each
        replicate.

        NaN where a score is undefined. HarnessError for a name that these statistics don't give.
        """
        wanted = set(self.parts) if names is None else {self._metric_of(name) for name in names}
        result: dict[str, np.ndarray] = {}
        for name, metric in self.metrics.items():
            if name in wanted:
                result |= metric.replicates(self.parts[name], weights, names=names)
        for name in names or ():
            if name not in result:
                raise HarnessError(f"no score {name!r} in these statistics", hint=near(name, result))
        return result

    @cached_property
    def metrics(self) -> dict[str, Metric]:
        """The metrics that can score these statistics. They outlive the package of a plug-in: one that isn't installed
        is left out."""
        known = [name for name in self.parts if METRICS.has(name)]
        return {name: metric_for(name, self.labels) for name in in_order(known)}

    @cached_property
    def city_index(self) -> np.ndarray:
        """Index of every frame's city among the sorted city names."""
        return np.unique(self.cities, return_inverse=True)[1]

    def save(self, folder: Path) -> None:
        """Write statistics.npz, whole or not at all; the same statistics give the same bytes."""
        arrays: dict[str, Any] = {
            "format": np.array(FORMAT),
            "images": np.array(self.images),
            "cities": np.array(self.cities),
        }
        if labels_key(self.labels):
            arrays["labels"] = np.array(self.labels.model_dump_json())
        arrays |= {f"{part}/{name}": array for part, named in self.parts.items() for name, array in named.items()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        write_bytes(folder / FILE, buffer.getvalue())

    def _metric_of(self, score: str) -> str:
        """Return the metric whose statistics give a score."""
        key = score.partition("/")[0]
        for name, metric in self.metrics.items():
            if any(info.key == key for info in metric.infos):
                return name
        raise HarnessError(
            f"no score {score!r} in these statistics", hint=f"evaluated: {', '.join(self.parts) or 'nothing'}"
        )


def read_arrays(path: Path, what: str, *, hint: str) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file by name; HarnessError about `what` when it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise HarnessError(f"{path}: no such file", hint=hint) from None
    except Exception as error:  # of zip, zlib, tokenize and numpy alike, for bytes that are no arrays
        raise HarnessError(f"{path}: not readable {what}: {error}", hint=hint) from None


def load(folder: Path) -> Statistics:
    """Return what `Statistics.save` wrote; HarnessError when the file is missing, damaged or of another format."""
    path, hint = folder / FILE, "evaluate again to make it"
    content = read_arrays(path, "statistics", hint=hint)
    try:
        if int(content.pop("format", np.array(-1))) != FORMAT:
            raise HarnessError(f"{path}: expected statistics of format {FORMAT}", hint=hint)
        images, cities = content.pop("images").tolist(), content.pop("cities").tolist()
        labels = LabelSet.model_validate_json(str(content.pop("labels"))) if "labels" in content else IMPLIED
    except (KeyError, TypeError, ValueError) as error:
        raise HarnessError(f"{path}: not statistics of format {FORMAT}: {error}", hint=hint) from None
    parts: dict[str, dict[str, np.ndarray]] = {}
    for name, array in content.items():
        part, _, key = name.partition("/")
        parts.setdefault(part, {})[key] = array
    return Statistics(images=tuple(images), cities=tuple(cities), labels=labels, parts=parts)
