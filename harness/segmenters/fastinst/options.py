"""These options of FastInst have the published values."""

from typing import Literal

from pydantic import Field

from harness.segmenters.options import InstanceInference, SetLoss


class Model(SetLoss):
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
    layers: int = Field(default=3, ge=1)
    """Decoder layers: D1 .. D6 of the paper."""
    heads: int = Field(default=8, ge=1)
    feedforward: int = Field(default=1024, ge=1)
    frozen_norms: bool = True
    """Batch norms of the backbone as constants: right for pretrained weights, wrong from scratch."""
    guided: bool = True
    """Ground-truth mask-guided learning: in training each layer runs once more with the matched masks as attention."""
    proposal_weight: float = Field(default=20.0, ge=0)
    location_cost: float = Field(default=1000.0, ge=0)
    """Matching: what it costs that a query's pixel lies outside the target."""


class Inference(InstanceInference):
    """This says how predictions are read; the defaults are the published ones."""
