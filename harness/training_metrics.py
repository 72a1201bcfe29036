"""Other trainers score with these metrics of torchmetrics: the benchmark's AP, PQ and IoU from tensors, by `update` and
`compute`.

What is counted is what harness.metrics counts from files, so the numbers are the same to the last bit when the frames
come in the same order, and up to the order of additions otherwise. Processes of a distributed training join what they
have counted.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torchmetrics import Metric as Base

from harness.core.errors import HarnessError
from harness.data.cityscapes import CITYSCAPES
from harness.data.labels import IGNORE, LabelSet
from harness.metrics.base import Metric, Target
from harness.metrics.prediction_views import Detection, LabelMap, Segmentation
from harness.metrics.table import metric_for

Maps = torch.Tensor | Sequence[torch.Tensor]
"""Maps of images, [N, H, W] or a sequence of [H, W]."""

_LENGTHS = "lengths"


class _Scores(Base):
    """This holds what the three have in common: statistics of frames as states, which concatenate over processes."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    lengths: list[torch.Tensor]

    def __init__(self, name: str, blank: Any, labels: LabelSet, classwise: bool, **options: Any) -> None:
        super().__init__(**options)
        self.labels, self.classwise = labels, classwise
        self.scores: Metric = metric_for(name, labels)
        ids = np.full((1, 1), labels.void, np.uint16)
        self._arrays = {
            key: np.asarray(array) for key, array in self.scores.observe(blank, Target(ids=ids, labels=labels)).items()
        }
        for key in self._arrays:
            self.add_state(key, default=[], dist_reduce_fx="cat")
        self.add_state(_LENGTHS, default=[], dist_reduce_fx="cat")

    def _observe(self, prediction: Any, ids: np.ndarray) -> None:
        """Count one frame."""
        found = self.scores.observe(prediction, Target(ids=ids, labels=self.labels, source="the target"))
        for key in self._arrays:
            getattr(self, key).append(torch.from_numpy(np.ascontiguousarray(found[key])).to(self.device))
        lengths = torch.tensor([[len(found[key]) for key in self._arrays]], dtype=torch.int64, device=self.device)
        self.lengths.append(lengths)

    def compute(self) -> dict[str, torch.Tensor]:
        """Return every score by name as a fraction, float64; NaN where it is undefined. With `classwise` also "AP/car".

        HarnessError before the first update.
        """
        lengths = _joined(self.lengths)
        if lengths is None:
            raise HarnessError("nothing was counted yet: call update before compute")
        arrays = {key: _joined(getattr(self, key)) for key in self._arrays}
        frames: list[dict[str, np.ndarray]] = [{} for _ in range(len(lengths))]
        for column, (key, empty) in enumerate(self._arrays.items()):
            ends = np.cumsum(lengths[:, column])
            whole = arrays[key]
            for frame, start, end in zip(frames, [0, *ends[:-1]], ends, strict=True):
                frame[key] = empty[:0] if whole is None else whole[start:end].astype(empty.dtype)
        found = self.scores.score(self.scores.collect(frames))
        named = {key: value for key, value in found.items() if self._shown(key)}
        return {key: torch.tensor(value, dtype=torch.float64, device=self.device) for key, value in named.items()}

    def _shown(self, key: str) -> bool:
        return self.classwise or "/" not in key


class InstanceAP(_Scores):
    """Cityscapes' instance AP: AP, AP50."""

    def __init__(self, labels: LabelSet = CITYSCAPES, *, classwise: bool = False, **options: Any) -> None:
        """`labels`: those of the data; `options` as of every metric of torchmetrics."""
        super().__init__("instances", [], labels, classwise, **options)

    def update(self, preds: Sequence[Mapping[str, torch.Tensor]], target: Maps) -> None:
        """Count a batch. `preds`: of each image "masks" bool [K, H, W], "labels" [K] label ids, "scores" [K].

        `target`: ids of pixels of each image, in the encoding of the label set (instanceIds of Cityscapes).
        """
        for found, ids in _pairs(preds, target):
            lacking = {"masks", "labels", "scores"} - set(found)
            if lacking:
                raise HarnessError(f"a prediction of instances lacks {', '.join(sorted(lacking))}")
            masks, names, scores = (_array(found[key]) for key in ("masks", "labels", "scores"))
            if not len(masks) == len(names) == len(scores):
                raise HarnessError(f"{len(masks)} masks, {len(names)} labels and {len(scores)} scores of one image")
            detections = [
                Detection(int(label), float(score), np.asarray(mask).astype(np.uint8))
                for mask, label, score in zip(masks, names, scores, strict=True)
            ]
            self._observe(detections, _ids(ids))


class PanopticQuality(_Scores):
    """Panoptic quality: PQ, SQ, RQ, and those of things and of stuff."""

    def __init__(self, labels: LabelSet = CITYSCAPES, *, classwise: bool = False, **options: Any) -> None:
        """As of `InstanceAP`."""
        blank = Segmentation(np.zeros((1, 1), np.int64), {})
        super().__init__("panoptic", blank, labels, classwise, **options)

    def update(self, preds: Sequence[tuple[torch.Tensor, Mapping[int, int]]], target: Maps) -> None:
        """Count a batch. `preds`: of each image the map of segment ids [H, W] (0: void) and the label id of each
        segment; `target` as of `InstanceAP`.
        """
        for (segments, labels), ids in _pairs(preds, target):
            drawn = Segmentation(_map(segments).astype(np.int64), {int(k): int(v) for k, v in labels.items()})
            self._observe(drawn, _ids(ids))


class MeanIoU(_Scores):
    """The IoU of classes and of categories, over all pixels of a set."""

    def __init__(
        self, labels: LabelSet = CITYSCAPES, *, train_ids: bool = False, classwise: bool = False, **options: Any
    ) -> None:
        """`train_ids`: maps hold train ids, 255 ignored, and not label ids; the rest as of `InstanceAP`."""
        super().__init__("semantic", LabelMap(np.zeros((1, 1), np.int64)), labels, classwise, **options)
        self.train_ids = train_ids
        self._label_ids = np.full(256, labels.void, np.int64)
        self._label_ids[: len(labels.evaluated_ids)] = labels.evaluated_ids

    def update(self, preds: Maps, target: Maps) -> None:
        """Count a batch of predicted and of true maps: label ids, or train ids; the truth may be ids of pixels, too."""
        for found, ids in _pairs(preds, target):
            maps = [_map(found).astype(np.int64), _map(ids).astype(np.int64)]
            if self.train_ids:
                for one in maps:
                    if ((one < 0) | (one > IGNORE)).any():
                        raise HarnessError(f"train ids from 0 to {IGNORE} were expected, found {int(one.max())}")
                maps = [self._label_ids[one] for one in maps]
            self._observe(LabelMap(maps[0]), _ids(maps[1]))

    def _shown(self, key: str) -> bool:
        """Train ids tell no instances apart, so there is no iIoU of them."""
        return super()._shown(key) and not (self.train_ids and key.startswith("iIoU"))


def _pairs(preds: Sequence[Any] | torch.Tensor, target: Maps) -> Any:
    if len(preds) != len(target):
        raise HarnessError(f"{len(preds)} predictions and {len(target)} targets")
    return zip(preds, target, strict=True)


def _array(value: torch.Tensor | np.ndarray) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def _map(value: torch.Tensor | np.ndarray) -> np.ndarray:
    """Return a map of whole numbers [H, W]; HarnessError for what is none."""
    found = _array(value)
    if found.ndim != 2 or found.dtype.kind not in "iu":
        raise HarnessError(f"a map is {found.dtype} {found.shape}: expected whole numbers [H, W]")
    return found


def _ids(value: torch.Tensor | np.ndarray) -> np.ndarray:
    """Ids of pixels as uint16; HarnessError for what is none."""
    ids = _map(value)
    if ids.size and not 0 <= ids.min() <= ids.max() < 1 << 16:
        raise HarnessError(f"a target holds ids from {ids.min()} to {ids.max()}: expected 0 to 65535")
    return ids.astype(np.uint16)


def _joined(state: Sequence[torch.Tensor] | torch.Tensor) -> np.ndarray | None:
    """Return a state as one array, whether torchmetrics has concatenated it or not; None: nothing was counted."""
    parts = [state] if isinstance(state, torch.Tensor) else list(state)
    return np.concatenate([_array(part) for part in parts]) if parts else None
