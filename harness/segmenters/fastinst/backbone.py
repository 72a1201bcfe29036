"""FastInst uses the ResNet of transformers, with batch norms as constants.

FastInst starts from torchvision's first ImageNet weights (stride on the 3x3 convolution) and keeps their batch norm
statistics.
"""

from typing import Any, TypeVar

from torch import nn
from transformers import ResNetBackbone, ResNetConfig

from harness.core.errors import HarnessError
from harness.segmenters.backbones import backbone_config, pretrained_backbone
from harness.segmenters.options import Backbone

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def build(backbone: Backbone, *, shape: dict[str, Any] | None = None) -> ResNetBackbone:
    """Return the feature extractor, with the weights that `backbone` names; `shape`: that of a trained one, without
    weights.

    `weights`: see `pretrained_backbone`; the hub id "timm/resnet50.tv_in1k" holds torchvision's first.
    """
    if backbone.family != "resnet":
        raise HarnessError(
            f"backbone {backbone.label}: FastInst takes the family 'resnet', found {backbone.family!r}",
            hint="oneformer and mask2former take the others",
        )
    if shape is not None:
        return ResNetBackbone(ResNetConfig.from_dict(shape))
    found = pretrained_backbone(backbone) if backbone.weights else ResNetBackbone(backbone_config(backbone))
    assert isinstance(found, ResNetBackbone), "the family is checked"
    return found


def frozen_norms(module: ModuleT) -> ModuleT:
    """`module` with its batch norms turned into constants: their statistics stay, and nothing in them is trained."""
    from torchvision.ops import FrozenBatchNorm2d

    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(child.num_features, eps=child.eps)
            frozen.load_state_dict({k: v for k, v in child.state_dict().items() if k != "num_batches_tracked"})
            setattr(module, name, frozen)
        else:
            frozen_norms(child)
    return module
