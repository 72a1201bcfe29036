"""Options that the segmenters share, with their published values. Torch-free."""

from pydantic import Field

from harness.core.config import Strict


class SetLoss(Strict):
    """How predictions are compared with targets (criterion.py), and the aids of networks without weights (aids.py)."""

    class_weight: float = Field(default=2.0, ge=0)
    mask_weight: float = Field(default=5.0, ge=0)
    dice_weight: float = Field(default=5.0, ge=0)
    no_object_weight: float = Field(default=0.1, ge=0)
    points: int = Field(default=12544, ge=0)
    """Points per mask at which masks are compared; 0: every cell of the mask map."""
    min_pixels: int = Field(default=1, ge=1)
    """Objects of which a crop shows fewer pixels are no targets."""
    located: bool = False
    """Published: no. Add the position to the features that masks (FastInst: queries too) come from, so that objects
    that look alike come apart sooner.
    """
    semantic_weight: float = Field(default=0.0, ge=0)
    """Published: 0. More: every cell of the mask features also learns its class, for networks without weights."""


class MaskModel(SetLoss):
    """Sizes of a network that answers with one class and one mask per query (Mask2Former, OneFormer)."""

    encoder_layers: int = Field(default=6, ge=1)
    """Deformable attention layers of the pixel decoder."""
    decoder_layers: int = Field(default=10, ge=2)
    """Predictions that are supervised: one before the first decoder layer and one after each."""
    heads: int = Field(default=8, ge=1)
    encoder_feedforward: int = Field(default=1024, ge=1)
    decoder_feedforward: int = Field(default=2048, ge=1)


class InstanceInference(Strict):
    """How instances are read from answers; the defaults are the published ones."""

    topk: int = Field(default=100, ge=1)
    min_score: float = Field(default=0.0, ge=0, le=1)
    short_side: int | None = Field(default=None, ge=32)
    """Images are resized to this shorter side before the network sees them; null: as they are."""
    batch_size: int = Field(default=1, ge=1)


class MaskInference(InstanceInference):
    """The panoptic map too."""

    object_threshold: float = Field(default=0.8, ge=0, le=1)
    overlap_threshold: float = Field(default=0.8, ge=0, le=1)
