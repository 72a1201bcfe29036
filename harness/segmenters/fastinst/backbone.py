"""The ResNet of FastInst: the model of transformers, with batch norms as constants and weights from wherever they lie.

FastInst starts from torchvision's first ImageNet weights (stride on the 3x3 convolution) and keeps their batch norm
statistics. Not here: how names map (convert.py).
"""

from typing import Any

from torch import nn

from harness.core.errors import HarnessError
from harness.segmenters.backbones import backbone_config, fetched, pretrained_backbone
from harness.segmenters.fastinst.convert import fill_backbone, torchvision_name
from harness.segmenters.options import Backbone
from harness.weights.tensors import read_tensors


def build(backbone: Backbone, *, shape: dict[str, Any] | None = None) -> nn.Module:
    """The feature extractor, with the weights that `backbone` names; `shape`: that of a trained one, without weights.

    `weights`: a file in torchvision's names (.pth, .safetensors), a hub id of timm ("timm/resnet50.tv_in1k" holds
    torchvision's), or what transformers reads.
    """
    from transformers import AutoBackbone, AutoConfig

    if backbone.family != "resnet":
        raise HarnessError(
            f"backbone {backbone.label}: FastInst takes the family 'resnet', found {backbone.family!r}",
            hint="oneformer and mask2former take the others",
        )
    if shape is not None:
        return AutoBackbone.from_config(AutoConfig.for_model(**shape))
    source = backbone.weights
    if source is None:
        return AutoBackbone.from_config(backbone_config(backbone))
    if not source.startswith("timm/") and not source.endswith((".pth", ".pt", ".safetensors")):
        return pretrained_backbone(backbone)
    network = AutoBackbone.from_config(backbone_config(backbone.model_copy(update={"weights": None})))
    path = fetched(source, _downloaded) if source.startswith("timm/") else source
    fill_backbone(network, read_tensors(path), torchvision_name, source=source)
    return network


def frozen_norms(module: nn.Module) -> nn.Module:
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


def _downloaded(source: str) -> str:
    from huggingface_hub import hf_hub_download

    return hf_hub_download(source, "model.safetensors")
