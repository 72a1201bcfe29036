"""Backbones from transformers, and weights from the hub or a folder, with errors that say how to get them.

Four maps at strides 4, 8, 16, 32. Images are normalised with the ImageNet statistics and padded to multiples of 32
(ConvNeXt rounds odd sizes down, which would shift the masks).
"""

import logging
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from harness.core.errors import HarnessError
from harness.segmenters.options import Backbone
from harness.segmenters.postprocess import View
from harness.weights.tensors import other_architecture

logger = logging.getLogger(__name__)

STAGES = ["stage1", "stage2", "stage3", "stage4"]
_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)


def backbone_config(backbone: Backbone) -> Any:
    """The transformers configuration of `backbone`; HarnessError for an option it doesn't take."""
    from transformers import AutoConfig

    if backbone.weights:
        return fetched(backbone.weights, AutoConfig.from_pretrained, out_features=STAGES, **backbone.config)
    if backbone.family is None:
        hint = "swin, convnext, convnextv2 or resnet"
        raise HarnessError(f"backbone {backbone.label}: `family` is missing", hint=hint)
    try:
        return AutoConfig.for_model(backbone.family, out_features=STAGES, **backbone.config)
    except (TypeError, ValueError) as error:
        raise HarnessError(f"backbone {backbone.label}: config: {error}") from None


def pretrained_backbone(backbone: Backbone) -> torch.nn.Module:
    """The backbone with the weights it names."""
    from transformers import AutoBackbone

    return fetched(backbone.weights, AutoBackbone.from_pretrained, out_features=STAGES, **backbone.config)


def fetched(source: str, load: Any, **options: Any) -> Any:
    """`load(source)`: a hub id or a local folder; HarnessError that says how to fetch it when it isn't there."""
    try:
        return load(source, **options)
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise HarnessError(
            f"the checkpoint {source!r} can't be read: {first}",
            hint=f"with network: hf download {source}; or name a folder that holds config.json and model.safetensors",
        ) from None


def whole_config(source: str, kind: Any) -> Any:
    """The configuration (`kind`) of a whole model; HarnessError when it is of another network."""
    found = fetched(source, kind.get_config_dict)[0].get("model_type")
    if found != kind.model_type:
        raise HarnessError(
            f"{source}: the checkpoint is of another architecture: expected {kind.model_type}, found {found}"
        )
    return fetched(source, kind.from_pretrained)


def whole_model(source: str, kind: Any, config: Any, may_differ: str) -> Any:
    """A model of transformers (`kind`) with the weights of `source`, a hub id or a local folder.

    Tensors whose name matches `may_differ` may be missing or have another shape; they start anew. HarnessError that
    names the first other ones: the checkpoint is then of another architecture.
    """
    asked = {"config": config, "ignore_mismatched_sizes": True, "output_loading_info": True}
    model, info = fetched(source, kind.from_pretrained, **asked)
    odd = {name: f"{name}: missing" for name in info["missing_keys"]}
    odd |= {n: f"{n}: expected shape {tuple(want)}, found {tuple(found)}" for n, found, want in info["mismatched_keys"]}
    anew = sorted(name for name in odd if re.search(may_differ, name))
    problems = [text for name, text in sorted(odd.items()) if name not in anew]
    if problems:
        raise other_architecture(source, problems, hint=f"expected a checkpoint of {kind.__name__} of transformers")
    if anew:
        logger.info("%s: these tensors start anew: %s", source, ", ".join(anew))
    return model


def pixels(images: Sequence[np.ndarray]) -> Tensor:
    """Images uint8 [H, W, 3] of one size as float32 [B, 3, H', W'], normalised, padded with 0 to multiples of 32."""
    stack = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(values)[:, None, None] for values in (_MEAN, _STD))
    height, width = stack.shape[-2:]
    return torch.nn.functional.pad((stack - mean) / std, (0, -width % 32, 0, -height % 32))


def shown(images: Sequence[np.ndarray], short_side: int | None) -> tuple[Tensor, View]:
    """Images of one size as the network's input, resized so that the shorter side is `short_side`, and how they lie in
    it.
    """
    size = images[0].shape[:2]
    scale = short_side / min(size) if short_side else 1.0
    smaller = (round(size[0] * scale), round(size[1] * scale))
    if smaller != size:
        images = [np.asarray(Image.fromarray(i).resize(smaller[::-1], Image.Resampling.BILINEAR)) for i in images]
    inputs = pixels(images)
    return inputs, View(size=size, shown=smaller, padded=tuple(inputs.shape[-2:]))
