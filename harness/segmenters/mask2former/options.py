"""These options of Mask2Former have the published values."""

from typing import Literal

from pydantic import Field

from harness.segmenters.options import MaskInference, MaskModel


class Model(MaskModel):
    """Sizes and loss weights; the defaults are those of the published Cityscapes models (R50)."""

    task: Literal["instance", "panoptic"] = "instance"
    """instance: the eight thing classes, AP alone. panoptic: all nineteen classes, all three answers from one network.
    """
    hidden: int = Field(default=256, ge=8)
    queries: int = Field(default=100, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)


class Inference(MaskInference):
    """This says how predictions are read; the defaults are the published ones."""
