"""A network is a torch module that predicts for images and can be built again from its shape.

How it is trained is its own matter; training.py has the engine and what it asks of a network.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from torch import Tensor, nn

from harness.core.progress import Report, silent
from harness.data.labels import LabelSet
from harness.data.mix import Stream
from harness.data.prediction import Prediction
from harness.segmenters.options import Budget, Inference

TrainingT = TypeVar("TrainingT", bound=Budget)
InferenceT = TypeVar("InferenceT", bound=Inference)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A training crop: image uint8 [H, W, 3], ids int32 [H, W]; `seed` for draws that belong to it."""

    name: str
    image: np.ndarray
    ids: np.ndarray
    seed: int


class Network(nn.Module, ABC, Generic[TrainingT, InferenceT]):
    """A network with the training and inference options that its adapter names."""

    labels: LabelSet
    """What the network tells apart, and what its answers mean."""
    keep_votes = False
    """Set: predictions hold `votes` where the network makes them, so that windows of one image can be joined."""

    @property
    def reads(self) -> Literal["ids", "outlines"]:
        """Return what it is taught by: ids of pixels; or, of a synthetic frame that has them, what polygons made of
        these."""
        return "ids"

    @property
    @abstractmethod
    def shape(self) -> dict[str, Any]:
        """JSON from which the adapter builds the network again, without weights."""

    @abstractmethod
    def fit(
        self, frames: Stream, validation: Stream | None, training: TrainingT, *, out: Path, report: Report = silent
    ) -> dict[str, Tensor]:
        """Train on `frames`, or go on from the state in `out`; return the weights to keep.

        `validation`: the val split, where the options ask for its loss. HarnessError when a loss is not finite.
        """

    @abstractmethod
    def predict(self, images: Sequence[np.ndarray], inference: InferenceT) -> list[Prediction]:
        """Predict for images of one size, uint8 [H, W, 3]."""
