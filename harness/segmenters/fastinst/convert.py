"""This module reads checkpoints of the authors' FastInst (detectron2), by name.

One direction is written down, from our names to theirs. Reading looks each of our tensors up under their name, and
`exported` hands a trained network back to the original code. Nothing of detectron2 is imported.
"""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from harness.segmenters import resnet
from harness.weights.tensors import fill_renamed

_ATTENTION = {"query_attention": "query_cross_attention", "pixel_attention": "mask_cross_attention"}
_ATTENTION |= {"self_attention": "query_self_attention"}
_LEVEL = {"lateral": "adapter", "output": "layer"}
_DECODER = {
    "positions": "meta_pos_embed",
    "auxiliary_content.": "empty_query_features.",
    "auxiliary_position.": "empty_query_pos_embed.",
    "proposal.head.": "query_proposal.conv_proposal_cls_logits.",
}
_CLASS_HEADS = re.compile(r"decoder\.(predictors\.\d+\.classes\.4|proposal\.head\.2)\.(weight|bias)")
_NOT_WEIGHTS = re.compile(r"(.*\.)?(criterion\..*|num_batches_tracked|pixel_mean|pixel_std)")
_HINT = "layers, queries, hidden and the backbone's config must be those of the checkpoint"


def fill(network: nn.Module, theirs: Mapping[str, Tensor], *, source: str) -> list[str]:
    """Load a checkpoint of the authors into a FastInstNetwork; our names of the class heads that stay as they are.

    Those are left out when the checkpoint knows another number of classes. HarnessError for any other difference.
    """
    return fill_renamed(
        network, theirs, detectron2_name, source=source, unread=_NOT_WEIGHTS, anew=_CLASS_HEADS, hint=_HINT
    )


def exported(network: nn.Module) -> dict[str, Tensor]:
    """The state of a FastInstNetwork under the authors' names: what their code loads as {"model": ...}."""
    state = {detectron2_name(name): value for name, value in network.state_dict().items()}
    return {name: value for name, value in state.items() if not _NOT_WEIGHTS.fullmatch(name)}


def detectron2_name(name: str) -> str:
    """Return the authors' name of one of our tensors."""
    part, _, rest = name.partition(".")
    return {"backbone": _backbone_name, "pixel_decoder": _pixel_decoder_name, "decoder": _decoder_name}[part](rest)


def _backbone_name(name: str) -> str:
    kind, stage, block, unit, rest = resnet.place(name)
    norm = "norm." if unit == "normalization" else ""
    if kind == "stem":
        return f"backbone.stem.conv1.{norm}{rest}"
    return f"backbone.res{stage + 2}.{block}.{'shortcut' if kind == 'shortcut' else f'conv{kind}'}.{norm}{rest}"


def _pixel_decoder_name(name: str) -> str:
    level = re.fullmatch(r"(lateral|output)\.(\d+)\.([01])\.(.*)", name)
    if level:
        norm = "norm." if level[3] == "1" else ""
        return f"sem_seg_head.pixel_decoder.{_LEVEL[level[1]]}_{int(level[2]) + 1}.{norm}{level[4]}"
    pooled = re.sub(r"^stages\.(\d+)\.", r"stages.\1.1.", name.removeprefix("pooling."))
    return f"sem_seg_head.pixel_decoder.ppm.{pooled}"


def _decoder_name(name: str) -> str:
    return f"sem_seg_head.predictor.{_layer_name(name) or _predictor_name(name) or _table_name(name)}"


def _layer_name(name: str) -> str | None:
    place = re.fullmatch(r"layers\.(\d+)\.(\w+)\.(\w+)\.(.*)", name)
    if not place:
        return None
    number, block, unit, rest = place.groups()
    if block in _ATTENTION:
        inner = "self_attn" if block == "self_attention" else "multihead_attn"
        unit = inner if unit == "attention" else unit
        return f"transformer_{_ATTENTION[block]}_layers.{number}.{unit}.{rest}"
    path = "query" if block == "query_feedforward" else "mask"
    unit = {"inner": "linear1", "outer": "linear2"}.get(unit, unit)
    return f"transformer_{path}_ffn_layers.{number}.{unit}.{rest}"


def _predictor_name(name: str) -> str | None:
    place = re.fullmatch(r"predictors\.(\d+)\.(norm|classes|embed|features)\.(.*)", name)
    if not place:
        return None
    number, unit, rest = place.groups()
    if unit in ("classes", "embed"):
        layer, _, rest = rest.partition(".")
        return f"{'class' if unit == 'classes' else 'mask'}_embed_layers.{number}.layers.{int(layer) // 2}.{rest}"
    return f"{'decoder_query_norm' if unit == 'norm' else 'mask_features'}_layers.{number}.{rest}"


def _table_name(name: str) -> str:
    for ours, theirs in _DECODER.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    raise AssertionError(name)
