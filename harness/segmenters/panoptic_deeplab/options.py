"""These options of Panoptic-DeepLab and Axial-DeepLab have the defaults of Google's DeepLab2 for Cityscapes."""

from typing import Literal

from pydantic import Field, model_validator

from harness.core.config import Strict
from harness.segmenters import options


class Model(Strict):
    """Sizes, targets and weights; the defaults are those of Google's DeepLab2 for Cityscapes."""

    low_level: list[int] = Field(default=[64, 32], min_length=2, max_length=3)
    """Channels that the finer maps are projected to in the semantic decoder: of strides 8 and 4, or 16, 8 and 4."""
    instance_low_level: list[int] = Field(default=[32, 16], min_length=2, max_length=3)
    aspp: Literal["atrous", "separable", "projection"] = "atrous"
    """What sees the coarsest map: atrous spatial pyramid pooling, the same with depthwise separable convolutions, or
    one 1 x 1 convolution (Axial-DeepLab).
    """
    aspp_rates: tuple[int, int, int] = (6, 12, 18)
    aspp_channels: int = Field(default=256, ge=1)
    instance_aspp_channels: int = Field(default=256, ge=1)
    aspp_crop: tuple[int, int] | None = None
    """Height and width of the training crop: the window of image pooling in larger images; null: the whole image."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Of the pyramid's output."""
    decoder_channels: int = Field(default=256, ge=1)
    instance_decoder_channels: int = Field(default=128, ge=1)
    head_channels: int = Field(default=256, ge=1)
    instance_head_channels: int = Field(default=32, ge=1)
    convolution: Literal["separable", "double"] = "separable"
    """Convolutions of decoders and heads: a 5 x 5 depthwise separable one, or two of 3 x 3."""
    center_convolution: Literal["separable", "double"] = "separable"
    """The same for the head of centres, in which detectron2 differs."""
    align_corners: bool = True
    """How maps are resized. Images are padded to multiples of the stride, and one pixel more when corners align."""
    normalisation: Literal["inception", "imagenet"] = "inception"
    """Of pixels: to -1..1, or by the mean and deviation of ImageNet."""
    sigma: float = Field(default=8.0, gt=0)
    """Of the Gaussian at each centre, in pixels of the crop."""
    semantic_weight: float = Field(default=1.0, ge=0)
    center_weight: float = Field(default=200.0, ge=0)
    offset_weight: float = Field(default=0.01, ge=0)
    hardest: float = Field(default=0.2, gt=0, le=1)
    """Share of the pixels of an image, those of the largest loss, that the semantic loss is a mean of."""
    small_area: int = Field(default=4096, ge=0)
    """Pixels of instances with fewer pixels than this weigh `small_weight` in the semantic loss."""
    small_weight: float = Field(default=3.0, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> "Model":
        if len(self.low_level) != len(self.instance_low_level):
            raise ValueError("low_level and instance_low_level must name as many maps")
        return self


class Inference(options.Inference):
    """This says how pixels are grouped into instances. DeepLab2 groups with 13 and 400, the authors with 7 and 200."""

    center_threshold: float = Field(default=0.1, ge=0)
    """Lowest heatmap value of a centre."""
    nms_kernel: int = Field(default=13, ge=1)
    """Side (odd) of the square in which a centre must be the maximum."""
    top_k: int = Field(default=400, ge=1)
    """Centres kept; where there are more, those at the k-th value go too, as published."""
    stuff_area: int = Field(default=2048, ge=0)
    """Stuff with fewer pixels is void in the panoptic map."""
    min_score: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _odd(self) -> "Inference":
        if self.nms_kernel % 2 == 0:
            raise ValueError(f"nms_kernel must be odd, found {self.nms_kernel}")
        return self
