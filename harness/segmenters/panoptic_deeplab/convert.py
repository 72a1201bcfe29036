"""This module converts PyTorch checkpoints of Panoptic-DeepLab: those of its author (Bowen Cheng's repository, ResNets)
and those of detectron2's project.

One direction is written down, from our names to theirs. Nothing of either is imported. Both leave out the batch norm
after image pooling; ours then changes nothing.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.data.labels import LabelSet
from harness.segmenters import checkpoint
from harness.segmenters.base import SegmenterPart
from harness.segmenters.deeplab_backbones.axial_resnet import Block
from harness.segmenters.deeplab_backbones.layers import ConvNorm, SeparableConv
from harness.segmenters.deeplab_backbones.weights import fill
from harness.segmenters.panoptic_deeplab.decoder import AtrousPyramid, Decoder, Head
from harness.segmenters.panoptic_deeplab.network import PanopticDeepLabNetwork
from harness.weights.tensors import need_new, other_architecture, read_tensors

Names = Iterator[tuple[str, str]]
"""Beginnings of names, ours and theirs."""


def convert(file: Path, part: SegmenterPart, backbone: str, labels: LabelSet, output: Path) -> dict[str, Any]:
    """Write the weights of `file` as those of `part` on the backbone called so; facts about them.

    HarnessError when tensors are missing, are not expected or have other shapes, or `output` is not empty: then nothing
    is written.
    """
    need_new(output)
    theirs = read_tensors(file)
    chosen = part.chosen(backbone).model_copy(update={"weights": None, "checkpoint": None})
    network = part.kind.build(chosen, part.model, labels)
    if not isinstance(network, PanopticDeepLabNetwork):
        raise other_architecture(str(file), [f"{part.label} is no Panoptic-DeepLab"])
    fill(network, converted(theirs, network, source=str(file)), source=str(file))
    output.mkdir(parents=True, exist_ok=True)
    facts = {"converted from": file.name, "parameters": sum(p.numel() for p in network.parameters())}
    checkpoint.save(output, network, network.state_dict(), part, backbone, facts)
    return facts


def converted(theirs: Mapping[str, Tensor], network: PanopticDeepLabNetwork, *, source: str) -> dict[str, Tensor]:
    """The tensors under our names; HarnessError with the first that nobody asked for."""
    theirs = {name.removeprefix("module."): value for name, value in theirs.items()}
    names = _detectron2 if any(name.startswith("sem_seg_head.") for name in theirs) else _author
    found: dict[str, Tensor] = {}
    used = set()
    for ours, other in names(network):
        for name, value in theirs.items():
            if name.startswith(other):
                found[ours + name.removeprefix(other)] = value
                used.add(name)
    strange = [f"{name}: not expected" for name in theirs if name not in used and not _no_weight(name)]
    if strange:
        raise other_architecture(
            source, strange, hint="model and the backbone's config must be those of the checkpoint"
        )
    for branch in ("semantic_decoder", "instance_decoder"):
        pyramid = network.get_submodule(branch).get_submodule("pyramid")
        assert isinstance(pyramid, AtrousPyramid)
        if pyramid.pooled is not None:
            _plain_pooling(found, f"{branch}.pyramid.pooled.", pyramid.pooled)
    return found


def _plain_pooling(found: dict[str, Tensor], ours: str, pooled: ConvNorm) -> None:
    """A norm that adds the bias of the convolution and changes nothing else."""
    count = pooled.norm.num_features
    bias = found.pop(f"{ours}conv.bias", torch.zeros(count))
    found |= {
        f"{ours}norm.weight": torch.full((count,), math.sqrt(1 + pooled.norm.eps)),
        f"{ours}norm.bias": bias,
        f"{ours}norm.running_mean": torch.zeros(count),
        f"{ours}norm.running_var": torch.ones(count),
    }


def _detectron2(network: PanopticDeepLabNetwork) -> Names:
    def pair(ours: str, theirs: str) -> Names:
        yield f"{ours}norm.", f"{theirs}norm."
        yield f"{ours}conv.weight", f"{theirs}weight"

    for number, _ in enumerate(network.backbone.stem.children()):
        yield from pair(f"backbone.stem.{number}.", f"backbone.stem.conv{number + 1}.")
    for stage, place, block in _blocks(network):
        ours, theirs = f"backbone.stages.{stage}.{place}.", f"backbone.res{stage.removeprefix('stage')}.{place}."
        for number in range(3):
            yield from pair(f"{ours}branch.{number}.", f"{theirs}conv{number + 1}.")
        if block.shortcut is not None:
            yield from pair(f"{ours}shortcut.", f"{theirs}shortcut.")
    maps = ["res4", "res3", "res2"][-len(network.options.low_level) :]
    for branch, theirs in (("semantic", "sem_seg_head."), ("instance", "ins_embed_head.")):
        decoder = network.get_submodule(f"{branch}_decoder")
        assert isinstance(decoder, Decoder)
        ours, aspp = f"{branch}_decoder.", f"{theirs}decoder.res5.project_conv."
        for number, layer in enumerate(decoder.pyramid.branches):
            yield from _layers(f"{ours}pyramid.branches.{number}.", f"{aspp}convs.{number}.", layer, pair)
        yield f"{ours}pyramid.pooled.conv.", f"{aspp}convs.4.1."
        yield from pair(f"{ours}pyramid.project.", f"{aspp}project.")
        for number, (name, fusion) in enumerate(zip(maps, decoder.fusions, strict=True)):
            yield from pair(f"{ours}projections.{number}.", f"{theirs}decoder.{name}.project_conv.")
            yield from _layers(f"{ours}fusions.{number}.", f"{theirs}decoder.{name}.fuse_conv.", fusion, pair)
    heads = {
        "semantic_head": ("sem_seg_head.head.", "sem_seg_head.predictor."),
        "center_head": ("ins_embed_head.center_head.", "ins_embed_head.center_predictor."),
        "offset_head": ("ins_embed_head.offset_head.", "ins_embed_head.offset_predictor."),
    }
    for ours, (layers, last) in heads.items():
        head = network.get_submodule(ours)
        assert isinstance(head, Head)
        yield from _layers(f"{ours}.layers.", layers, head.layers, pair)
        yield f"{ours}.predict.", last


def _author(network: PanopticDeepLabNetwork) -> Names:
    def pair(ours: str, theirs: str) -> Names:
        yield f"{ours}conv.", f"{theirs}0."
        yield f"{ours}norm.", f"{theirs}1."

    def separable(ours: str, theirs: str) -> Names:
        yield from pair(f"{ours}depthwise.", f"{theirs}0.0.")
        yield f"{ours}pointwise.conv.", f"{theirs}0.1."
        yield f"{ours}pointwise.norm.", f"{theirs}0.2."

    yield "backbone.stem.0.conv.", "backbone.conv1."
    yield "backbone.stem.0.norm.", "backbone.bn1."
    for stage, place, block in _blocks(network):
        ours, theirs = f"backbone.stages.{stage}.{place}.", f"backbone.layer{int(stage[-1]) - 1}.{place}."
        for number in range(3):
            yield f"{ours}branch.{number}.conv.", f"{theirs}conv{number + 1}."
            yield f"{ours}branch.{number}.norm.", f"{theirs}bn{number + 1}."
        if block.shortcut is not None:
            yield from pair(f"{ours}shortcut.", f"{theirs}downsample.")
    for branch in ("semantic", "instance"):
        ours, theirs = f"{branch}_decoder.", f"decoder.{branch}_decoder."
        for number in range(4):
            yield from pair(f"{ours}pyramid.branches.{number}.", f"{theirs}aspp.convs.{number}.")
        yield f"{ours}pyramid.pooled.conv.", f"{theirs}aspp.convs.4.aspp_pooling.1."
        yield from pair(f"{ours}pyramid.project.", f"{theirs}aspp.project.")
        for number in range(len(network.options.low_level)):
            yield from pair(f"{ours}projections.{number}.", f"{theirs}project.{number}.")
            yield from separable(f"{ours}fusions.{number}.", f"{theirs}fuse.{number}.")
    for head, theirs in (("semantic", "semantic_head"), ("center", "instance_head"), ("offset", "instance_head")):
        yield from separable(f"{head}_head.layers.", f"decoder.{theirs}.classifier.{head}.0.")
        yield f"{head}_head.predict.", f"decoder.{theirs}.classifier.{head}.1."


def _layers(ours: str, theirs: str, layer: nn.Module, pair: Callable[[str, str], Names]) -> Names:
    """Of one convolution with norm, a separable one, or two in a row."""
    if isinstance(layer, ConvNorm):
        yield from pair(ours, theirs)
        return
    parts = ("depthwise", "pointwise") if isinstance(layer, SeparableConv) else ("0", "1")
    for part in parts:
        yield from pair(f"{ours}{part}.", f"{theirs}{part}.")


def _blocks(network: PanopticDeepLabNetwork) -> Iterator[tuple[str, int, Block]]:
    """Stage, place and block of the backbone."""
    for name, stage in network.backbone.stages.items():
        for place, block in enumerate(stage.children()):
            assert isinstance(block, Block)
            yield name, place, block


def _no_weight(name: str) -> bool:
    """Return whether a tensor of theirs is no weight of the network."""
    return name.endswith("num_batches_tracked") or name.startswith(("pixel_", "backbone.fc."))
