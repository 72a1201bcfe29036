"""This module maps our tensors to DeepLab2's variables, and says how their values are laid out.

One direction is written down: each tensor of ours has its `Variable`. A name of DeepLab2 is the path of attributes that
leads to a variable (checkpoint_items of model/deeplab.py and model/kmax_deeplab.py). Nothing of DeepLab2 is imported.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from torch import nn

from harness.segmenters.deeplab_backbones.axial_attention import AxialAttention
from harness.segmenters.deeplab_backbones.axial_resnet import ActivatedAttention, AxialResNet, Block
from harness.segmenters.deeplab_backbones.layers import ConvNorm, GlobalContext, SeparableConv, SwitchableConv
from harness.segmenters.kmax.network import KMaXNetwork
from harness.segmenters.kmax.pixel_decoder import Fusion
from harness.segmenters.kmax.transformer import KMeansLayer, Predictor
from harness.segmenters.panoptic_deeplab.decoder import Decoder, Head
from harness.segmenters.panoptic_deeplab.network import PanopticDeepLabNetwork


class Variable(NamedTuple):
    """A variable of DeepLab2: its `name`, and the function that turns its value into ours."""

    name: str
    layout: Callable[[np.ndarray], np.ndarray]


Sources = Iterator[tuple[str, Variable]]
"""Our names with where their values come from."""


def sources(network: nn.Module) -> dict[str, Variable]:
    """Return the variable of each tensor of a network, by name; counts of batches are left out."""
    if isinstance(network, KMaXNetwork):
        return dict(_kmax(network))
    assert isinstance(network, PanopticDeepLabNetwork)
    return dict(_panoptic_deeplab(network))


def _panoptic_deeplab(network: PanopticDeepLabNetwork) -> Sources:
    yield from _backbone("backbone.", network.backbone)
    yield from _decoder("semantic_decoder.", "semantic_decoder/", network.semantic_decoder)
    yield from _decoder("instance_decoder.", "instance_decoder/", network.instance_decoder)
    heads = {
        "semantic_head.": (network.semantic_head, "semantic_head_without_last_layer/", "semantic_last_layer/"),
        "center_head.": (
            network.center_head,
            "instance_center_head_without_last_layer/",
            "instance_center_head_last_layer/",
        ),
        "offset_head.": (
            network.offset_head,
            "instance_regression_head_without_last_layer/",
            "instance_regression_head_last_layer/",
        ),
    }
    for ours, (head, layers, last) in heads.items():
        yield from _head(ours, layers, last, head)


def _kmax(network: KMaXNetwork) -> Sources:
    yield from _backbone("backbone.", network.backbone)
    decoder = network.pixel_decoder
    for number in range(len(decoder.stages)):
        for ours, theirs in (("weight", "gamma"), ("bias", "beta")):
            yield (
                f"pixel_decoder.norms.{number}.{ours}",
                Variable(f"pixel_decoder/_backbone_norms/{number}/{theirs}", _as_is),
            )
        for block, module in enumerate(decoder.stages[number].children()):
            theirs = f"pixel_decoder/_stages/{number}/_block{block + 1}/"
            yield from _block(f"pixel_decoder.stages.{number}.{block}.", theirs, module)
    for number, fusion in enumerate(decoder.fusions):
        yield from _fusion(f"pixel_decoder.fusions.{number}.", f"pixel_decoder/_skip_connections/{number}/", fusion)
    yield "transformer.centres.weight", Variable("transformer_decoder/cluster_centers", lambda x: x[0])
    for number, layer in enumerate(network.transformer.layers):
        theirs = f"transformer_decoder/_kmax_decoder/{number}/_block1_transformer/"
        yield from _kmeans_layer(f"transformer.layers.{number}.", theirs, layer)
    for kind in ("class", "mask"):
        yield from _conv_norm(
            f"transformer.{kind}_embedding.", f"transformer_decoder/_{kind}_embedding_projection/", _line
        )
    yield from _predictor("transformer.predictor.", "", network.transformer.predictor)
    yield from _head(
        "semantic_head.", "semantic_head_without_last_layer/", "semantic_last_layer/", network.semantic_head
    )


def _backbone(ours: str, backbone: AxialResNet) -> Sources:
    beta = backbone.options.kind == "resnet_beta"
    places = ["_conv1_bn_act/", "_conv2_bn_act/", "_conv3_bn/"] if beta else [""]
    for number, place in enumerate(places):
        yield from _conv_norm(f"{ours}stem.{number}.", f"encoder/_stem/{place}")
    for name, stage in backbone.stages.items():
        for number, block in enumerate(stage.children()):
            yield from _block(f"{ours}stages.{name}.{number}.", f"encoder/_{name}/_block{number + 1}/", block)


def _block(ours: str, theirs: str, block: nn.Module) -> Sources:
    assert isinstance(block, Block)
    if block.shortcut is not None:
        yield from _conv_norm(f"{ours}shortcut.", f"{theirs}_shortcut/")
    layers = list(block.branch.children())
    for number, layer in enumerate(layers):
        place = f"{ours}branch.{number}."
        if isinstance(layer, ActivatedAttention):
            for axis in ("height", "width"):
                attention = layer.attention.get_submodule(axis)
                assert isinstance(attention, AxialAttention)
                yield from _attention(f"{place}attention.{axis}.", f"{theirs}_attention/_{axis}_axis/", attention)
            continue
        assert isinstance(layer, ConvNorm)
        name = f"{theirs}_conv{number + 1}_bn{'' if number == len(layers) - 1 else '_act'}/"
        if isinstance(layer.conv, SwitchableConv):
            yield from _switchable(f"{place}conv.", name, layer.conv)
            yield from _norm(f"{place}norm.", f"{name}_batch_norm/")
        else:
            yield from _conv_norm(place, name)
    if block.squeeze_excite is not None:
        yield from _plain_conv(f"{ours}squeeze_excite.conv.", f"{theirs}_squeeze_and_excite/_se_conv/")


def _switchable(ours: str, theirs: str, conv: SwitchableConv) -> Sources:
    yield f"{ours}conv.weight", Variable(f"{theirs}_conv/kernel", _image)
    if conv.switch is not None:
        yield from _plain_conv(f"{ours}switch.", f"{theirs}_conv/_switch/")
    for mine, place in (("before", "pre"), ("after", "post")):
        assert isinstance(conv.get_submodule(mine), GlobalContext)
        yield from _plain_conv(f"{ours}{mine}.conv.", f"{theirs}_{place}_global_context/convolution/")


def _attention(ours: str, theirs: str, attention: AxialAttention) -> Sources:
    yield f"{ours}qkv.conv.weight", Variable(f"{theirs}qkv_kernel", lambda x: x.T[:, :, None, None])
    yield from _norm(f"{ours}qkv.norm.", f"{theirs}_batch_norm_qkv/")
    yield from _norm(f"{ours}similarity_norm.", f"{theirs}_batch_norm_similarity/")
    retrieved = f"{theirs}_batch_norm_retrieved_output/"
    yield from _norm(f"{ours}content_norm.", retrieved, lambda x: x[0].reshape(-1))
    yield from _norm(f"{ours}position_norm.", retrieved, lambda x: x[1].reshape(-1))
    for kind in ("query", "key", "value"):
        yield f"{ours}{kind}_position.weight", Variable(f"{theirs}_{kind}_rpe/embeddings", _as_is)


def _decoder(ours: str, theirs: str, decoder: Decoder) -> Sources:
    pyramid = decoder.pyramid
    for number in range(len(pyramid.branches)):
        place = f"_aspp_conv{number}/_conv_bn_act/" if number else "_conv_bn_act/"
        yield from _conv_norm(f"{ours}pyramid.branches.{number}.", f"{theirs}_aspp/{place}")
    if pyramid.pooled is not None:
        yield from _conv_norm(f"{ours}pyramid.pooled.", f"{theirs}_aspp/_aspp_pool/_conv_bn_act/")
    yield from _conv_norm(f"{ours}pyramid.project.", f"{theirs}_aspp/_proj_conv_bn_act/")
    for number, fusion in enumerate(decoder.fusions):
        yield from _conv_norm(f"{ours}projections.{number}.", f"{theirs}_low_level_conv{number + 1}/")
        yield from _separable(f"{ours}fusions.{number}.", f"{theirs}_fusion_conv{number + 1}/_conv1_bn_act/", fusion)


def _head(ours: str, theirs: str, last: str, head: Head) -> Sources:
    yield from _separable(f"{ours}layers.", f"{theirs}_conv1_bn_act/", head.layers)
    yield from _plain_conv(f"{ours}predict.", last)


def _separable(ours: str, theirs: str, layer: nn.Module) -> Sources:
    assert isinstance(layer, SeparableConv)
    depthwise = Variable(f"{theirs}_depthwise/_depthwise_conv/depthwise_kernel", lambda x: x.transpose(2, 3, 0, 1))
    yield f"{ours}depthwise.conv.weight", depthwise
    yield from _norm(f"{ours}depthwise.norm.", f"{theirs}_depthwise/_batch_norm/")
    yield from _conv_norm(f"{ours}pointwise.", f"{theirs}_pointwise/")


def _fusion(ours: str, theirs: str, fusion: nn.Module) -> Sources:
    assert isinstance(fusion, Fusion)
    for number, name in enumerate(("coarse", "fine")):
        if getattr(fusion, name) is not None:
            yield from _conv_norm(f"{ours}{name}.", f"{theirs}_resized_conv_bn{number + 1}/")


def _kmeans_layer(ours: str, theirs: str, layer: nn.Module) -> Sources:
    assert isinstance(layer, KMeansLayer)
    names = {
        "centre_in": "_memory_conv1_bn_act",
        "pixel_in": "_pixel_conv1_bn_act",
        "qkv": "_memory_qkv_conv_bn",
        "value": "_pixel_v_conv_bn",
        "gathered_out": "_kmeans_memory_conv3_bn",
        "attended_out": "_memory_conv3_bn",
        "thought_in": "_memory_ffn_conv1_bn_act",
        "thought_out": "_memory_ffn_conv2_bn",
    }
    for mine, name in names.items():
        yield from _conv_norm(f"{ours}{mine}.", f"{theirs}{name}/", _line)
    yield from _norm(f"{ours}gathered_norm.", f"{theirs}_kmeans_memory_batch_norm_retrieved_value/")
    yield from _norm(f"{ours}similarity_norm.", f"{theirs}_memory_attention/_batch_norm_similarity/")
    yield from _norm(f"{ours}retrieved_norm.", f"{theirs}_memory_attention/_batch_norm_retrieved_value/")
    yield from _predictor(f"{ours}predictor.", f"{theirs}_auxiliary_clustering_predictor/_", layer.predictor)


def _predictor(ours: str, theirs: str, predictor: nn.Module) -> Sources:
    assert isinstance(predictor, Predictor)
    head = f"{theirs}pixel_space_head/"
    yield from _head(f"{ours}pixel_head.", f"{head}conv_block/", f"{head}final_conv/", predictor.pixel_head)
    yield from _norm(f"{ours}pixel_norm.", f"{theirs}pixel_space_feature_batch_norm/")
    yield from _conv_norm(f"{ours}mask_head.", f"{theirs}transformer_mask_head/", _line)
    yield from _norm(f"{ours}mask_norm.", f"{theirs}pixel_space_mask_batch_norm/")
    yield f"{ours}class_head.weight", Variable(f"{theirs}transformer_class_head/_conv/kernel", _line)
    yield f"{ours}class_head.bias", Variable(f"{theirs}transformer_class_head/_conv/bias", _as_is)


def _conv_norm(ours: str, theirs: str, layout: Callable[[np.ndarray], np.ndarray] | None = None) -> Sources:
    yield f"{ours}conv.weight", Variable(f"{theirs}_conv/kernel", layout or _image)
    yield from _norm(f"{ours}norm.", f"{theirs}_batch_norm/")


def _plain_conv(ours: str, theirs: str) -> Sources:
    yield f"{ours}weight", Variable(f"{theirs}kernel", _image)
    yield f"{ours}bias", Variable(f"{theirs}bias", _as_is)


def _norm(ours: str, theirs: str, layout: Callable[[np.ndarray], np.ndarray] = np.ravel) -> Sources:
    names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    for mine, name in names.items():
        yield f"{ours}{mine}", Variable(f"{theirs}{name}", layout)


def _as_is(x: np.ndarray) -> np.ndarray:
    return x


def _image(x: np.ndarray) -> np.ndarray:
    """Height, width, inputs, outputs -> outputs, inputs, height, width."""
    return x.transpose(3, 2, 0, 1)


def _line(x: np.ndarray) -> np.ndarray:
    """Return the kernel of a convolution along a line, 1, inputs, outputs -> outputs, inputs, 1, 1."""
    return x.transpose(2, 1, 0)[..., None]
