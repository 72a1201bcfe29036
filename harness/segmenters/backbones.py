"""Backbones are feature extractors of transformers, new or with weights of others; this module makes them and their
input.

Four maps at strides 4, 8, 16, 32. Images are normalised with the ImageNet statistics and padded to multiples of 32
(ConvNeXt rounds odd sizes down, which would shift the masks).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from harness.core.errors import HarnessError
from harness.segmenters import resnet
from harness.segmenters.options import Backbone
from harness.segmenters.postprocess import ImageView
from harness.weights.tensors import fill_renamed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

STAGES = ["stage1", "stage2", "stage3", "stage4"]
_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)


def backbone_config(backbone: Backbone) -> Any:
    """Return the transformers configuration of `backbone`; HarnessError for an option that it doesn't take."""
    from transformers import CONFIG_MAPPING

    from harness.segmenters.pretrained import described

    known, family = {}, backbone.family
    if backbone.weights and not _named_by_torchvision(backbone.weights):
        known = described(backbone.weights)
        family = known.get("model_type")
        if family not in CONFIG_MAPPING or backbone.family not in (None, family):
            expected = backbone.family or "a backbone of transformers"
            raise HarnessError(
                f"{backbone.weights}: the checkpoint is of another architecture: expected {expected}, found {family}"
            )
    if family is None:
        hint = "swin, convnext, convnextv2 or resnet"
        raise HarnessError(f"backbone {backbone.label}: `family` is missing", hint=hint)
    try:
        if known:
            return CONFIG_MAPPING[family].from_dict(known, out_features=STAGES, **backbone.config)
        return CONFIG_MAPPING[family](**backbone.config | {"out_features": STAGES})
    except (TypeError, ValueError) as error:
        raise HarnessError(f"backbone {backbone.label}: config: {error}") from None


def pretrained_backbone(backbone: Backbone) -> "PreTrainedModel":
    """Return the backbone with the weights that it names: a folder or hub id of transformers or timm, or a file.

    Of timm and in files: a ResNet in the names of torchvision. HarnessError when a tensor is missing or has another
    shape; norms of the four maps, which classifiers lack, start anew.
    """
    from transformers import MODEL_FOR_BACKBONE_MAPPING

    from harness.segmenters.pretrained import named_tensors, whole_model

    assert backbone.weights is not None, "the caller has looked"
    config = backbone_config(backbone)
    # The class itself: AutoBackbone asks the hub first, for a folder and for a complete cache alike.
    kind: Any = MODEL_FOR_BACKBONE_MAPPING[type(config)]
    if _named_by_torchvision(backbone.weights):
        if backbone.family != "resnet":
            raise HarnessError(
                f"{backbone.weights}: weights of timm and torchvision are read for the family 'resnet' alone",
                hint="name a checkpoint of transformers",
            )
        network = kind(config)
        theirs = named_tensors(backbone.weights)
        hint = "the backbone's config must be that of the checkpoint"
        fill_renamed(network, theirs, resnet.torchvision_name, source=backbone.weights, unread=resnet.UNREAD, hint=hint)
        return network
    return whole_model(backbone.weights, kind, config, r"hidden_states_norms")[0]


def _named_by_torchvision(weights: str) -> bool:
    """Return whether weights have the names of torchvision: those of timm, and files."""
    if weights.startswith("timm/") or Path(weights).suffix in (".pth", ".pt", ".safetensors", ".bin"):
        return True
    from harness.segmenters.pretrained import described

    return described(weights).get("model_type") == "timm_wrapper"


def pixels(images: Sequence[np.ndarray]) -> Tensor:
    """Return images uint8 [H, W, 3] of one size as float32 [B, 3, H', W'], normalised, padded with 0 to multiples of
    32.
    """
    stack = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(values)[:, None, None] for values in (_MEAN, _STD))
    height, width = stack.shape[-2:]
    return torch.nn.functional.pad((stack - mean) / std, (0, -width % 32, 0, -height % 32))


def shown(images: Sequence[np.ndarray], short_side: int | None) -> tuple[Tensor, ImageView]:
    """Return images of one size as the network's input, resized so that the shorter side is `short_side`, and how they
    lie in it.
    """
    size = (images[0].shape[0], images[0].shape[1])
    scale = short_side / min(size) if short_side else 1.0
    smaller = (round(size[0] * scale), round(size[1] * scale))
    if smaller != size:
        images = [np.asarray(Image.fromarray(i).resize(smaller[::-1], Image.Resampling.BILINEAR)) for i in images]
    inputs = pixels(images)
    return inputs, ImageView(size=size, shown=smaller, padded=(inputs.shape[-2], inputs.shape[-1]))
