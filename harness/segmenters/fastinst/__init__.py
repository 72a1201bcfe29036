"""FastInst (He et al., CVPR 2023): instance segmentation with queries that are picked from the image.

Its options, and the adapter that the registry names. Our own implementation from the paper; no detectron2. The modules
beside this file import torch: backbone.py, pixel_decoder.py (PPM-FPN), proposals.py (queries), decoder.py (dual path),
network.py (training, answers), convert.py (checkpoints of the authors).
"""

from typing import Any, Literal

from pydantic import Field

from harness.config import Strict
from harness.segmenters.base import Backbone


class Model(Strict):
    """Sizes and weights; the defaults are those of the published FastInst-D3 (R50)."""

    hidden: int = Field(default=256, ge=32, multiple_of=32)
    queries: int = Field(default=100, ge=1)
    """Queries picked from the 1/16 map; fewer where that map has fewer cells."""
    auxiliary_queries: int = Field(default=8, ge=0)
    """Learned queries that take part in attention and are never read."""
    peak_floor: float = Field(default=1e-6, ge=0, lt=1)
    """A cell less likely than this to be an object is no peak. Peaks are picked before all other cells; where objects
    are few cells wide and share a peak, faint peaks of the background would otherwise take their queries.
    """
    stride: Literal[4, 8] = 8
    """Stride of the map in which masks are drawn. 4 is for small frames."""
    coarser: int = Field(default=1, ge=1, le=2)
    """By how many levels the map that queries come from is coarser than that of the masks. 2 is for objects that fill
    much of the frame: fewer cells of one object compete for queries.
    """
    located: bool = False
    """Add the position table to the maps that queries and masks come from; published, only attention sees it. Objects
    that look alike then come apart in hundreds of steps.
    """
    layers: int = Field(default=3, ge=1)
    """Decoder layers: D1 .. D6 of the paper."""
    heads: int = Field(default=8, ge=1)
    feedforward: int = Field(default=1024, ge=1)
    frozen_norms: bool = True
    """Batch norms of the backbone as constants: right for pretrained weights, wrong from scratch."""
    guided: bool = True
    """Ground-truth mask-guided learning: in training each layer runs once more with the matched masks as attention."""
    class_weight: float = Field(default=2.0, ge=0)
    mask_weight: float = Field(default=5.0, ge=0)
    dice_weight: float = Field(default=5.0, ge=0)
    no_object_weight: float = Field(default=0.1, ge=0)
    proposal_weight: float = Field(default=20.0, ge=0)
    semantic_weight: float = Field(default=0.0, ge=0)
    """Published: 0. More: every cell of the finest map also learns its class (cross entropy), which gives the features
    of a network without pretrained weights something to hold on to long before the queries agree.
    """
    location_cost: float = Field(default=1000.0, ge=0)
    """Matching: what it costs that a query's pixel lies outside the target."""
    points: int = Field(default=12544, ge=0)
    """Points per mask at which masks are compared; 0: every cell of the mask map."""
    min_pixels: int = Field(default=1, ge=1)
    """Objects of which a crop shows fewer pixels are no targets."""


class Inference(Strict):
    """How answers are read; the default is the published one."""

    topk: int = Field(default=100, ge=1)
    min_score: float = Field(default=0.0, ge=0, le=1)
    short_side: int | None = Field(default=None, ge=32)
    """Images are resized to this shorter side before the network sees them; null: as they are."""
    batch_size: int = Field(default=1, ge=1)


class FastInst:
    """The adapter."""

    Model = Model
    Inference = Inference
    tasks = ("instance",)

    @staticmethod
    def build(backbone: Backbone, model: Model, *, shape: dict[str, Any] | None = None) -> Any:
        """The network, with the weights that `backbone` names; `shape`: that of a trained one, without weights."""
        from harness.segmenters.fastinst.network import FastInstNetwork

        return FastInstNetwork.build(backbone, model, shape=shape)
