"""These options of kMaX-DeepLab have the defaults of Google's DeepLab2 for Cityscapes, with MaX-S as the backbone."""

from typing import Literal

from pydantic import Field, model_validator

from harness.core.config import Strict
from harness.segmenters import options


class Model(Strict):
    """Sizes and weights."""

    decoder_channels: list[int] = Field(default=[512, 256, 128, 64, 32], min_length=4, max_length=5)
    """Base channels of the pixel decoder's stages, from stride 32 on; masks are drawn at the last one's: 4 or 2."""
    decoder_blocks: list[int] = Field(default=[1, 5, 1, 1, 1], min_length=4, max_length=5)
    """Blocks of these stages; the first two stages attend along axes, the others convolve."""
    layers: tuple[int, int, int] = (2, 2, 2)
    """Transformer layers that read the maps of stride 32, 16 and 8."""
    slots: int = Field(default=256, ge=1)
    """Cluster centres: masks that an image can have."""
    hidden: int = Field(default=256, ge=1)
    """Channels of a cluster centre."""
    key: int = Field(default=128, ge=1)
    """Channels of the keys of their self-attention, all heads together."""
    heads: int = Field(default=8, ge=1)
    feedforward: int = Field(default=2048, ge=1)
    head_channels: int = Field(default=256, ge=1)
    embedding: int = Field(default=128, ge=1)
    """Channels in which a pixel is compared with a cluster centre."""
    convolution: Literal["separable", "double"] = "separable"
    """Convolutions of the heads: a 5 x 5 depthwise separable one, or two of 3 x 3."""
    drop_path: float = Field(default=0.2, ge=0, lt=1)
    """Share of the transformer's residual branches that a training step drops."""
    pq_weight: float = Field(default=3.0, ge=0)
    """Of the two terms of the PQ-style loss: class and dice."""
    mask_weight: float = Field(default=0.3, ge=0)
    """Of the cross entropy of each pixel over the slots."""
    contrast_weight: float = Field(default=1.0, ge=0)
    """Of the contrastive loss of pixels that share a mask or do not."""
    semantic_weight: float = Field(default=1.0, ge=0)
    """Of the auxiliary classes of the backbone's last map."""
    samples: int = Field(default=4096, ge=2)
    """Pixels of an image that the contrastive loss compares."""
    sample_temperature: float = Field(default=0.6, ge=0)
    """How much more often pixels of small masks are sampled: chance ~ area ** -temperature."""
    contrast_temperature: float = Field(default=0.3, gt=0)
    hardest: float = Field(default=0.2, gt=0, le=1)
    """Share of the cells of an image that the semantic loss is a mean of."""
    small_area: int = Field(default=4096, ge=0)
    small_weight: float = Field(default=3.0, ge=0)
    """As in Panoptic-DeepLab: pixels of small instances weigh more in the semantic loss."""

    @model_validator(mode="after")
    def _fits(self) -> "Model":
        if len(self.decoder_channels) != len(self.decoder_blocks):
            raise ValueError("decoder_channels and decoder_blocks must name as many stages")
        if self.key % self.heads or self.hidden % self.heads:
            raise ValueError(f"heads {self.heads} must divide key {self.key} and hidden {self.hidden}")
        return self


class Inference(options.Inference):
    """This says how masks become a panoptic map and instances (mask-wise, section 3.3 of the paper)."""

    pixel_threshold: float = Field(default=0.4, ge=0, le=1)
    """A pixel is in the mask of a slot that has more than this of it."""
    thing_threshold: float = Field(default=0.5, ge=0, le=1)
    """Lowest class probability of a thing in the panoptic map."""
    stuff_threshold: float = Field(default=0.3, ge=0, le=1)
    overlap_threshold: float = Field(default=0.9, ge=0, le=1)
    """A mask is left out when this share of it, or less, is still free."""
    thing_area: int = Field(default=256, ge=0)
    stuff_area: int = Field(default=2048, ge=0)
    """Things and stuff with fewer pixels are void in the panoptic map."""
    topk: int = Field(default=100, ge=1)
    """Instances kept, by class probability."""
    min_score: float = Field(default=0.0, ge=0, le=1)
