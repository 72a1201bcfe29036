"""These options decide a backbone of the DeepLab line; torch-free. The defaults are those of ResNet-50.

The family is that of Axial-DeepLab (Wang et al., ECCV 2020), MaX-DeepLab (Wang et al., CVPR 2021) and SWideRNet (Chen
et al., 2020). A stride here is a ratio to the image: a map of stride 16 has 1/16 of its height and width.
"""

from typing import Any, Literal

from pydantic import Field, model_validator

from harness.core.config import Strict, parse


class AxialResNetOptions(Strict):
    """The keys of a backbone's `config`."""

    kind: Literal["resnet", "resnet_beta", "wide_resnet"] = "resnet"
    """Stem and blocks: one 7 x 7 convolution and bottlenecks; three 3 x 3 convolutions and bottlenecks; or one 3 x 3
    convolution, a stage more and basic blocks in all stages but the last (Wide-ResNet-41).
    """
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    """Residual blocks of stages 2 to 5, which end at strides 4, 8, 16 and 32."""
    layers: float = Field(default=1.0, gt=0)
    """Factor on `blocks`, rounded down: the third number of SWideRNet-(1, 1, 4.5)."""
    width: float = Field(default=1.0, gt=0)
    """Factor on the channels of stages 2 to 5: the second number of SWideRNet."""
    stem_width: float = Field(default=1.0, gt=0)
    """Factor on the channels of the stem (and stage 1): the first number of SWideRNet."""
    pool: bool = False
    """The map is halved after the stem by a 3 x 3 max pool, as in the papers; else by the first block of stage 2."""
    output_stride: Literal[16, 32] = 16
    """Stride of the last map; at 16 the last stage dilates its convolutions instead of striding."""
    multi_grid: tuple[int, ...] | None = None
    """Dilations of the last stage's blocks as multiples of its own (1, 2, 4 in detectron2's DeepLab); null: equal."""
    axial_from: Literal[0, 2, 4, 8, 16] = 0
    """Blocks whose input has this stride or a larger one attend instead of convolving; 0: none."""
    expansion: int = Field(default=2, ge=1)
    """Channels that an axial block attends to, as a multiple of the stage's base."""
    key_expansion: int = Field(default=1, ge=1)
    value_expansion: int = Field(default=2, ge=1)
    heads: int = Field(default=8, ge=1)
    span: int | None = Field(default=None, ge=3)
    """Pixels of its row or column that a pixel attends to (odd, itself in the middle); null: all."""
    distances: int = Field(default=255, ge=1)
    """Distances that the position tables tell apart; larger ones count as the largest."""
    sac_from: Literal[0, 8, 16, 32] = 0
    """Stages whose original stride is this or larger have switchable atrous convolutions; 0: none."""
    squeeze_excite: bool = False
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Share of residual branches that a training step drops at the end of the last stage; less before, linearly."""
    drop_path_from: Literal[2, 4, 8, 16] = 16
    """Stride from which branches are dropped."""
    activation: Literal["relu", "gelu"] = "relu"
    norm_eps: float = Field(default=1e-3, gt=0)
    norm_momentum: float = Field(default=0.01, gt=0, le=1)
    """Share of a batch in the running statistics. 0.01 suits ten thousands of steps; a few hundred need more."""

    @model_validator(mode="after")
    def _fits(self) -> "AxialResNetOptions":
        if self.span is not None and self.span % 2 == 0:
            raise ValueError(f"span must be odd, found {self.span}")
        if self.pool and self.kind == "wide_resnet":
            raise ValueError("pool: a wide_resnet has none")
        if self.multi_grid is not None and len(self.multi_grid) != int(self.blocks[3] * self.layers):
            raise ValueError("multi_grid needs one number for each block of the last stage")
        return self


def backbone_options(config: dict[str, Any], label: str) -> AxialResNetOptions:
    """`config` as options; HarnessError with the backbone's `label` and the key."""
    return parse(AxialResNetOptions, config, f"backbone {label}, config")
