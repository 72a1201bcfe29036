"""Mask2Former (Cheng et al., CVPR 2022): masked-attention mask classification, one task per training.

Its options, and the adapter that the registry names. The network itself is in mask2former_network.py (it imports
torch).
"""

from typing import Any, Literal

from pydantic import Field

from harness.segmenters.base import Backbone
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
    """How answers are read; the defaults are the published ones."""


class Mask2Former:
    """The adapter."""

    Model = Model
    Inference = Inference

    @staticmethod
    def build(backbone: Backbone, model: Model, *, shape: dict[str, Any] | None = None) -> Any:
        """The network, with the weights that `backbone` names; `shape`: that of a trained one, without weights."""
        from harness.segmenters.mask2former.network import Mask2FormerNetwork

        return Mask2FormerNetwork.build(backbone, model, shape=shape)
