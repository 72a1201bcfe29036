"""This module converts the authors' OneFormer checkpoints (detectron2 .pth, ConvNeXt or Swin) to a folder that
transformers reads.

One direction is written down, from the names of transformers to theirs; sizes are read off the tensors. Nothing of
detectron2 is imported. transformers leaves out the causal mask of the text encoder, which concerns the contrastive loss
alone; network.py puts it back.
"""

import math
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.core.errors import HarnessError
from harness.segmenters.backbones import STAGES
from harness.weights.tensors import need_disk, need_new, other_architecture, read_tensors

_PIXEL, _PREDICTOR = r"sem_seg_head.pixel_decoder", r"sem_seg_head.predictor"
_CONVNEXT, _SWIN = "pixel_level_module.encoder.", "pixel_level_module.encoder.swin."
_RULES = [
    # ConvNeXt
    (rf"{_CONVNEXT}embeddings.patch_embeddings", r"backbone.downsample_layers.0.0"),
    (rf"{_CONVNEXT}embeddings.layernorm", r"backbone.downsample_layers.0.1"),
    (rf"{_CONVNEXT}encoder.stages.(\d+).downsampling_layer.(\d)", r"backbone.downsample_layers.\1.\2"),
    (rf"{_CONVNEXT}encoder.stages.(\d+).layers.(\d+).layer_scale_parameter", r"backbone.stages.\1.\2.gamma"),
    (rf"{_CONVNEXT}encoder.stages.(\d+).layers.(\d+).layernorm", r"backbone.stages.\1.\2.norm"),
    (rf"{_CONVNEXT}encoder.stages.(\d+).layers.(\d+).(dwconv|pwconv1|pwconv2)", r"backbone.stages.\1.\2.\3"),
    # Swin
    (rf"{_SWIN}embeddings.patch_embeddings.projection", r"backbone.patch_embed.proj"),
    (rf"{_SWIN}embeddings.norm", r"backbone.patch_embed.norm"),
    (rf"{_SWIN}encoder.layers.(\d+).downsample.(reduction|norm)", r"backbone.layers.\1.downsample.\2"),
    (rf"{_SWIN}encoder.layers.(\d+).blocks.(\d+).attention.([qkv])_proj", r"backbone.layers.\1.blocks.\2.attn.qkv:\3"),
    (rf"{_SWIN}encoder.layers.(\d+).blocks.(\d+).attention.o_proj", r"backbone.layers.\1.blocks.\2.attn.proj"),
    (
        rf"{_SWIN}encoder.layers.(\d+).blocks.(\d+).attention.relative_position_bias.(relative_position_bias_table)",
        r"backbone.layers.\1.blocks.\2.attn.\3",
    ),
    (rf"{_SWIN}encoder.layers.(\d+).blocks.(\d+).layernorm_before", r"backbone.layers.\1.blocks.\2.norm1"),
    (rf"{_SWIN}encoder.layers.(\d+).blocks.(\d+).layernorm_after", r"backbone.layers.\1.blocks.\2.norm2"),
    (rf"{_SWIN}encoder.layers.(\d+).blocks.(\d+).mlp.(fc[12])", r"backbone.layers.\1.blocks.\2.mlp.\3"),
    *((rf"{_CONVNEXT}hidden_states_norms.stage{n + 1}", rf"backbone.norm{n}") for n in range(4)),
    # pixel decoder
    (r"pixel_level_module.decoder.level_embed", rf"{_PIXEL}.transformer.level_embed"),
    (r"pixel_level_module.decoder.input_projections.(\d).([01])", rf"{_PIXEL}.input_proj.\1.\2"),
    (
        r"pixel_level_module.decoder.encoder.layers.(\d+).self_attn.(\w+)",
        rf"{_PIXEL}.transformer.encoder.layers.\1.self_attn.\2",
    ),
    *(
        (rf"pixel_level_module.decoder.encoder.layers.(\d+).{ours}", rf"{_PIXEL}.transformer.encoder.layers.\1.{other}")
        for ours, other in (
            ("self_attn_layer_norm", "norm1"),
            ("final_layer_norm", "norm2"),
            ("fc1", "linear1"),
            ("fc2", "linear2"),
        )
    ),
    (r"pixel_level_module.decoder.mask_projection", rf"{_PIXEL}.mask_features"),
    (r"pixel_level_module.decoder.(adapter|layer)_(\d).0", rf"{_PIXEL}.\1_\2"),
    (r"pixel_level_module.decoder.(adapter|layer)_(\d).1", rf"{_PIXEL}.\1_\2.norm"),
    # transformer decoder
    (r"transformer_module.queries_embedder", rf"{_PREDICTOR}.query_embed"),
    (r"transformer_module.level_embed", rf"{_PREDICTOR}.level_embed"),
    (r"transformer_module.decoder.query_transformer.decoder.(.+)", rf"{_PREDICTOR}.class_transformer.decoder.\1"),
    (r"transformer_module.decoder.query_input_projection", rf"{_PREDICTOR}.class_input_proj"),
    (r"transformer_module.decoder.(decoder_norm|class_embed)", rf"{_PREDICTOR}.\1"),
    (r"transformer_module.decoder.mask_embed.layers.(\d).0", rf"{_PREDICTOR}.mask_embed.layers.\1"),
    (
        r"transformer_module.decoder.layers.(\d+).self_attn.self_attn.([qkv])_proj",
        rf"{_PREDICTOR}.transformer_self_attention_layers.\1.self_attn.in_proj:\2",
    ),
    (
        r"transformer_module.decoder.layers.(\d+).(self|cross)_attn.(.+)",
        rf"{_PREDICTOR}.transformer_\2_attention_layers.\1.\3",
    ),
    (r"transformer_module.decoder.layers.(\d+).ffn.(\w+)", rf"{_PREDICTOR}.transformer_ffn_layers.\1.\2"),
    # task and text
    (r"task_encoder.task_mlp.layers.(\d).0", r"task_mlp.layers.\1"),
    (r"text_mapper.text_projector.layers.(\d).0", r"text_projector.layers.\1"),
    (r"text_mapper.prompt_ctx", r"prompt_ctx"),
    (r"text_mapper.text_encoder.(positional_embedding|ln_final|token_embedding)", r"text_encoder.\1"),
    (
        r"text_mapper.text_encoder.transformer.layers.(\d+).self_attn.(\w+)",
        r"text_encoder.transformer.resblocks.\1.attn.\2",
    ),
    *(
        (
            rf"text_mapper.text_encoder.transformer.layers.(\d+).{u}",
            rf"text_encoder.transformer.resblocks.\1.{other}",
        )
        for u, other in (
            ("layer_norm1", "ln_1"),
            ("layer_norm2", "ln_2"),
            ("mlp.fc1", "mlp.c_fc"),
            ("mlp.fc2", "mlp.c_proj"),
        )
    ),
    (r"criterion.logit_scale", r"criterion.logit_scale"),
]
_COMPILED = [(re.compile(ours.replace(".", r"\.").replace(r"(\.+)", "(.+)")), theirs) for ours, theirs in _RULES]
_MADE_HERE = re.compile(r".*swin\.layernorm\.(weight|bias)|criterion\.empty_weight")
"""Tensors of transformers that the authors' files lack: a norm that nothing reads, and a constant."""
_NOT_WEIGHTS = re.compile(r".*relative_position_index|criterion\.empty_weight|pixel_mean|pixel_std")


def convert(source: Path | str, output: Path | str) -> dict[str, Any]:
    """Write the checkpoint `source` as the folder `output` (config.json, model.safetensors); what was found in it.

    HarnessError for a file that is no OneFormer (with the first tensors that differ), a folder that is not empty, or
    too little disk. The folder appears whole or not at all.
    """
    output = Path(output)
    need_new(output)
    theirs = read_tensors(source)
    model = converted(theirs, source=str(source))
    size = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    part = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        need_disk(output.parent, size, "the converted checkpoint")
        model.save_pretrained(part)
        os.replace(part, output)
    except OSError as error:
        raise HarnessError(f"{output}: can't be written: {error}", hint="is the disk full?") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    backbone = model.config.backbone_config
    return {
        "backbone": backbone.model_type,
        "classes": model.config.num_labels,
        "queries": model.config.num_queries,
        "text branch": model.config.is_training,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def converted(theirs: Mapping[str, Tensor], *, source: str) -> Any:
    """transformers' OneFormerForUniversalSegmentation with the tensors of a checkpoint of the authors."""
    from transformers import OneFormerForUniversalSegmentation

    config = config_of(theirs, source=source)
    with torch.device("meta"):
        model = OneFormerForUniversalSegmentation(config)
    state, problems, used = {}, [], set()
    for name, value in model.state_dict().items():
        if _MADE_HERE.fullmatch(name):
            state[name] = _made(name, value)
            continue
        other, part = authors_name(name)
        used.add(other)
        if other not in theirs:
            problems.append(f"{other}: missing")
            continue
        found = theirs[other] if part is None else theirs[other].chunk(3)["qkv".index(part)]
        if found.shape != value.shape:
            problems.append(f"{other}: expected shape {_whole(value, part)}, found {tuple(theirs[other].shape)}")
        state[name] = found.to(value.dtype).contiguous()
    problems += [f"{o}: not expected" for o in theirs if o not in used and not _NOT_WEIGHTS.fullmatch(o)]
    if problems:
        raise other_architecture(source, problems, hint="expected OneFormer with ConvNeXt or Swin, of its authors")
    if "criterion.empty_weight" in state:
        state["criterion.empty_weight"][-1] = config.no_object_weight
    model.load_state_dict(state, assign=True)
    return model


def authors_name(name: str) -> tuple[str, str | None]:
    """Return the authors' name of a tensor of transformers' OneFormer; "q", "k" or "v" where it is a third of
    theirs."""
    bare = name.removeprefix("model.")
    stem, _, kind = bare.rpartition(".")
    for text, end in ((stem, f".{kind}"), (bare, "")):
        for pattern, theirs in _COMPILED:
            match = pattern.fullmatch(text)
            if match:
                found, _, part = match.expand(theirs).partition(":")
                # torch's MultiheadAttention calls its parameters in_proj_weight and in_proj_bias.
                joint = "_" if found.endswith(".in_proj") else "."
                return found + end.replace(".", joint, 1), part or None
    raise AssertionError(name)


def config_of(theirs: Mapping[str, Tensor], *, source: str) -> Any:
    """Return the configuration that the sizes of the tensors say; the rest as the authors' configurations have it."""
    from transformers import OneFormerConfig

    def size(name: str, side: int = 0) -> int:
        if name not in theirs or theirs[name].ndim <= side:
            problem = f"{name}: missing" if name not in theirs else f"{name}: found shape {tuple(theirs[name].shape)}"
            raise other_architecture(source, [problem], hint="expected OneFormer with ConvNeXt or Swin, of its authors")
        return theirs[name].shape[side]

    text = "text_encoder.positional_embedding" in theirs
    known: dict[str, Any] = {"is_training": text, "text_encoder_n_ctx": 0}
    if text:
        known |= {
            "text_encoder_width": size("text_encoder.positional_embedding", 1),
            "text_encoder_context_length": size("text_encoder.positional_embedding"),
            "text_encoder_vocab_size": size("text_encoder.token_embedding.weight"),
            "text_encoder_num_layers": _count(theirs, r"text_encoder\.transformer\.resblocks\.(\d+)\."),
            "text_encoder_proj_layers": _count(theirs, r"text_projector\.layers\.(\d+)\."),
            "text_encoder_n_ctx": size("prompt_ctx.weight") if "prompt_ctx.weight" in theirs else 0,
        }
    deformable = f"{_PIXEL}.transformer.encoder.layers.0"
    known["backbone_config"] = _backbone_config(theirs, size)
    known["num_labels"] = size(f"{_PREDICTOR}.class_embed.weight") - 1
    return OneFormerConfig(
        num_queries=size(f"{_PREDICTOR}.query_embed.weight"),
        hidden_dim=size(f"{_PREDICTOR}.query_embed.weight", 1),
        conv_dim=size(f"{_PIXEL}.mask_features.weight", 1),
        mask_dim=size(f"{_PIXEL}.mask_features.weight"),
        # one logit for each head, of three levels and four points
        num_attention_heads=max(1, size(f"{deformable}.self_attn.attention_weights.bias") // 12),
        encoder_layers=_count(theirs, re.escape(_PIXEL) + r"\.transformer\.encoder\.layers\.(\d+)\."),
        encoder_feedforward_dim=size(f"{deformable}.linear1.weight"),
        decoder_layers=_count(theirs, re.escape(_PREDICTOR) + r"\.transformer_ffn_layers\.(\d+)\.") + 1,
        dim_feedforward=size(f"{_PREDICTOR}.transformer_ffn_layers.0.linear1.weight"),
        query_dec_layers=_count(theirs, re.escape(_PREDICTOR) + r"\.class_transformer\.decoder\.layers\.(\d+)\."),
        task_seq_len=size("task_mlp.layers.0.weight", 1),
        dropout=0.1,
        **known,
    )


def _backbone_config(theirs: Mapping[str, Tensor], size: Any) -> Any:
    from transformers import AutoConfig

    if "backbone.patch_embed.proj.weight" in theirs:
        depths = [_count(theirs, rf"backbone\.layers\.{n}\.blocks\.(\d+)\.") for n in range(4)]
        tables = [f"backbone.layers.{n}.blocks.0.attn.relative_position_bias_table" for n in range(4)]
        return AutoConfig.for_model(
            "swin",
            embed_dim=size("backbone.patch_embed.proj.weight"),
            depths=depths,
            num_heads=[size(table, 1) for table in tables],
            window_size=(math.isqrt(size(tables[0])) + 1) // 2,
            drop_path_rate=0.3,
            out_features=STAGES,
        )
    size("backbone.downsample_layers.0.0.weight")
    return AutoConfig.for_model(
        "convnext",
        hidden_sizes=[size(f"backbone.norm{n}.weight") for n in range(4)],
        depths=[_count(theirs, rf"backbone\.stages\.{n}\.(\d+)\.") for n in range(4)],
        layer_scale_init_value=1.0,
        drop_path_rate=0.4,
        out_features=STAGES,
    )


def _count(theirs: Mapping[str, Tensor], pattern: str) -> int:
    """Return how many numbers stand at the group of `pattern`: one more than the largest; at least 1."""
    return 1 + max((int(match[1]) for name in theirs if (match := re.match(pattern, name))), default=0)


def _made(name: str, like: Tensor) -> Tensor:
    return torch.zeros(like.shape) if name.endswith("bias") else torch.ones(like.shape)


def _whole(value: Tensor, part: str | None) -> tuple[int, ...]:
    """Return the shape of the authors' tensor that `value` is (a third of)."""
    return tuple(value.shape) if part is None else (3 * value.shape[0], *value.shape[1:])
