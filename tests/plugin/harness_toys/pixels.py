"""A segmenter that names every pixel and takes connected pixels of one thing class for one instance.

The options, and the adapter that the entry point names. No torch here: plans are made from this file.
"""

from typing import Any

from pydantic import Field

from harness.core.config import Strict
from harness.data.labels import LabelSet
from harness.segmenters.base import SegmenterAdapter
from harness.segmenters.options import Backbone, Inference


class PixelModel(Strict):
    """What a TOML may set under [model]."""

    width: int = Field(default=32, ge=4)
    """Channels of the hidden layers."""


class PixelInference(Inference):
    """What a TOML may set under [inference]."""

    least_pixels: int = Field(default=50, ge=1)
    """Smaller pieces are no instances."""


class Pixels(SegmenterAdapter[PixelModel]):
    """The adapter."""

    Model = PixelModel
    Inference = PixelInference
    tasks = ("instance", "semantic")

    @classmethod
    def build(
        cls, backbone: Backbone, model: PixelModel, labels: LabelSet, *, shape: dict[str, Any] | None = None
    ) -> Any:
        """A fresh network for the classes of `labels`; `shape` is what `network.shape` said of a trained one."""
        from harness_toys.pixels_network import PixelNetwork

        return PixelNetwork(model.width, backbone.config.get("layers", 4), labels)
