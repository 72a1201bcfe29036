"""The authors' OneFormer files: every tensor has a name, the forward pass stays, and what doesn't fit is told."""

import os

import numpy as np
import pytest
import torch
import toy
from transformers import OneFormerForUniversalSegmentation

from harness.cli import main
from harness.core.config import parse
from harness.core.errors import HarnessError
from harness.data.cityscapes import CITYSCAPES
from harness.segmenters.oneformer.adapter import OneFormer
from harness.segmenters.oneformer.convert import convert
from harness.segmenters.oneformer.options import Model
from harness.segmenters.options import Backbone
from harness.weights import tensors
from harness.weights.tensors import read_tensors

HEAD, PIXEL = "sem_seg_head.predictor", "sem_seg_head.pixel_decoder"
SETTINGS = toy.ONEFORMER | {
    "dropout": 0.1,
    "decoder_layers": 3,
    "query_layers": 2,
    "encoder_layers": 2,
    "text_layers": 2,
    "heads": 4,
}


def theirs_of(model):
    """The state of a model of transformers as the authors' code would have saved it: their module tree, walked."""
    left = {name.removeprefix("model."): value.clone() for name, value in model.state_dict().items()}
    found = {}

    def both(theirs, ours):
        for kind in ("weight", "bias"):
            found[f"{theirs}.{kind}"] = left.pop(f"{ours}.{kind}")

    def one(theirs, ours):
        found[theirs] = left.pop(ours)

    def joint(theirs, ours, joint_name):
        for kind in ("weight", "bias"):
            thirds = [left.pop(f"{ours}.{part}_proj.{kind}") for part in "qkv"]
            found[f"{theirs}.{joint_name.format(kind)}"] = torch.cat(thirds)

    def attention(theirs, ours):
        one(f"{theirs}.in_proj_weight", f"{ours}.in_proj_weight")
        one(f"{theirs}.in_proj_bias", f"{ours}.in_proj_bias")
        both(f"{theirs}.out_proj", f"{ours}.out_proj")

    if model.config.backbone_config.model_type == "swin":
        _swin(both, one, joint, left)
        found["backbone.layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(16, 16, dtype=torch.int64)
    else:
        _convnext(both, one)
    for n in range(4):
        both(f"backbone.norm{n}", f"pixel_level_module.encoder.hidden_states_norms.stage{n + 1}")
    _pixel_decoder(both, one, model.config)
    _decoder(both, one, joint, attention, model.config)
    for n in range(2):
        both(f"task_mlp.layers.{n}", f"task_encoder.task_mlp.layers.{n}.0")
    if model.config.is_training:
        _text(both, one, attention, model.config)
    one("criterion.logit_scale", "criterion.logit_scale")
    one("criterion.empty_weight", "criterion.empty_weight")
    assert list(left) == []
    return found


def _convnext(both, one):
    ours = "pixel_level_module.encoder"
    both("backbone.downsample_layers.0.0", f"{ours}.embeddings.patch_embeddings")
    both("backbone.downsample_layers.0.1", f"{ours}.embeddings.layernorm")
    for stage in range(4):
        for n in range(2) if stage else ():
            both(f"backbone.downsample_layers.{stage}.{n}", f"{ours}.encoder.stages.{stage}.downsampling_layer.{n}")
        block, other = f"backbone.stages.{stage}.0", f"{ours}.encoder.stages.{stage}.layers.0"
        one(f"{block}.gamma", f"{other}.layer_scale_parameter")
        both(f"{block}.norm", f"{other}.layernorm")
        for unit in ("dwconv", "pwconv1", "pwconv2"):
            both(f"{block}.{unit}", f"{other}.{unit}")


def _swin(both, one, joint, left):
    ours = "pixel_level_module.encoder.swin"
    both("backbone.patch_embed.proj", f"{ours}.embeddings.patch_embeddings.projection")
    both("backbone.patch_embed.norm", f"{ours}.embeddings.norm")
    for kind in ("weight", "bias"):  # the classifier's norm, which the authors' backbone doesn't have
        left.pop(f"{ours}.layernorm.{kind}")
    for stage in range(4):
        block, other = f"backbone.layers.{stage}.blocks.0", f"{ours}.encoder.layers.{stage}.blocks.0"
        joint(f"{block}.attn", f"{other}.attention", "qkv.{}")
        both(f"{block}.attn.proj", f"{other}.attention.o_proj")
        table = "relative_position_bias_table"
        one(f"{block}.attn.{table}", f"{other}.attention.relative_position_bias.{table}")
        both(f"{block}.norm1", f"{other}.layernorm_before")
        both(f"{block}.norm2", f"{other}.layernorm_after")
        both(f"{block}.mlp.fc1", f"{other}.mlp.fc1")
        both(f"{block}.mlp.fc2", f"{other}.mlp.fc2")
        if stage < 3:
            theirs, other = f"backbone.layers.{stage}.downsample", f"{ours}.encoder.layers.{stage}.downsample"
            one(f"{theirs}.reduction.weight", f"{other}.reduction.weight")
            both(f"{theirs}.norm", f"{other}.norm")


def _pixel_decoder(both, one, config):
    ours = "pixel_level_module.decoder"
    one(f"{PIXEL}.transformer.level_embed", f"{ours}.level_embed")
    both(f"{PIXEL}.mask_features", f"{ours}.mask_projection")
    for level in range(3):
        both(f"{PIXEL}.input_proj.{level}.0", f"{ours}.input_projections.{level}.0")
        both(f"{PIXEL}.input_proj.{level}.1", f"{ours}.input_projections.{level}.1")
    for unit in ("adapter_1", "layer_1"):
        one(f"{PIXEL}.{unit}.weight", f"{ours}.{unit}.0.weight")
        both(f"{PIXEL}.{unit}.norm", f"{ours}.{unit}.1")
    for n in range(config.encoder_layers):
        layer, other = f"{PIXEL}.transformer.encoder.layers.{n}", f"{ours}.encoder.layers.{n}"
        for unit in ("sampling_offsets", "attention_weights", "value_proj", "output_proj"):
            both(f"{layer}.self_attn.{unit}", f"{other}.self_attn.{unit}")
        both(f"{layer}.norm1", f"{other}.self_attn_layer_norm")
        both(f"{layer}.linear1", f"{other}.fc1")
        both(f"{layer}.linear2", f"{other}.fc2")
        both(f"{layer}.norm2", f"{other}.final_layer_norm")


def _decoder(both, one, joint, attention, config):
    ours = "transformer_module.decoder"
    one(f"{HEAD}.query_embed.weight", "transformer_module.queries_embedder.weight")
    one(f"{HEAD}.level_embed.weight", "transformer_module.level_embed.weight")
    both(f"{HEAD}.class_input_proj", f"{ours}.query_input_projection")
    both(f"{HEAD}.decoder_norm", f"{ours}.decoder_norm")
    both(f"{HEAD}.class_embed", f"{ours}.class_embed")
    for n in range(3):
        both(f"{HEAD}.mask_embed.layers.{n}", f"{ours}.mask_embed.layers.{n}.0")
    both(f"{HEAD}.class_transformer.decoder.norm", f"{ours}.query_transformer.decoder.norm")
    for n in range(config.query_dec_layers):
        layer, other = f"{HEAD}.class_transformer.decoder.layers.{n}", f"{ours}.query_transformer.decoder.layers.{n}"
        attention(f"{layer}.self_attn", f"{other}.self_attn")
        attention(f"{layer}.multihead_attn", f"{other}.multihead_attn")
        for unit in ("linear1", "linear2", "norm1", "norm2", "norm3"):
            both(f"{layer}.{unit}", f"{other}.{unit}")
    for n in range(config.decoder_layers - 1):
        other = f"{ours}.layers.{n}"
        cross = f"{HEAD}.transformer_cross_attention_layers.{n}"
        attention(f"{cross}.multihead_attn", f"{other}.cross_attn.multihead_attn")
        both(f"{cross}.norm", f"{other}.cross_attn.norm")
        within = f"{HEAD}.transformer_self_attention_layers.{n}"
        joint(f"{within}.self_attn", f"{other}.self_attn.self_attn", "in_proj_{}")
        both(f"{within}.self_attn.out_proj", f"{other}.self_attn.self_attn.out_proj")
        both(f"{within}.norm", f"{other}.self_attn.norm")
        for unit in ("linear1", "linear2", "norm"):
            both(f"{HEAD}.transformer_ffn_layers.{n}.{unit}", f"{other}.ffn.{unit}")


def _text(both, one, attention, config):
    ours = "text_mapper.text_encoder"
    one("text_encoder.positional_embedding", f"{ours}.positional_embedding")
    one("text_encoder.token_embedding.weight", f"{ours}.token_embedding.weight")
    both("text_encoder.ln_final", f"{ours}.ln_final")
    one("prompt_ctx.weight", "text_mapper.prompt_ctx.weight")
    for n in range(2):
        both(f"text_projector.layers.{n}", f"text_mapper.text_projector.layers.{n}.0")
    for n in range(config.text_encoder_num_layers):
        block, other = f"text_encoder.transformer.resblocks.{n}", f"{ours}.transformer.layers.{n}"
        attention(f"{block}.attn", f"{other}.self_attn")
        both(f"{block}.ln_1", f"{other}.layer_norm1")
        both(f"{block}.ln_2", f"{other}.layer_norm2")
        both(f"{block}.mlp.c_fc", f"{other}.mlp.fc1")
        both(f"{block}.mlp.c_proj", f"{other}.mlp.fc2")


def original(backbone="convnext", classes=19, **settings):
    """A tiny OneFormer of transformers with random weights, every one of them."""
    torch.manual_seed(0)
    chosen = parse(Backbone, toy.BACKBONES[backbone], "toy")
    config = OneFormer.build(chosen, parse(Model, SETTINGS | settings, "toy"), CITYSCAPES).model.config
    config.update({"num_labels": classes})
    model = OneFormerForUniversalSegmentation(config).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.normal_(0, 0.05)
    return model


def saved(folder, tensors, **beside):
    torch.save({"model": tensors, "iteration": 299999, **beside}, folder / "authors.pth")
    return folder / "authors.pth"


def answers(model):
    for layer in model.model.pixel_level_module.decoder.encoder.layers:
        layer.is_training = False  # transformers leaves this dropout on wherever there is a text branch
    config, generator = model.config, torch.Generator().manual_seed(1)
    texts = None
    if config.is_training:
        shape = (2, config.num_queries - config.text_encoder_n_ctx, config.text_encoder_context_length)
        texts = torch.randint(0, config.text_encoder_vocab_size, shape, generator=generator)
    with torch.no_grad():
        return model(
            torch.randn(2, 3, 64, 96, generator=generator),
            torch.randint(0, 30, (2, config.task_seq_len), generator=generator),
            texts,
        )


@pytest.mark.parametrize("backbone", ["convnext", "swin"])
@pytest.mark.parametrize("text", [True, False])
def test_the_folder_answers_as_the_network_did_to_the_last_bit(backbone, text, tmp_path):
    model = original(backbone, text_contrastive=text)
    facts = convert(saved(tmp_path, theirs_of(model)), tmp_path / "folder")
    assert (facts["backbone"], facts["classes"], facts["text branch"]) == (backbone, 19, text)
    read = OneFormerForUniversalSegmentation.from_pretrained(tmp_path / "folder").eval()
    before, after = answers(model), answers(read)
    assert torch.equal(before.class_queries_logits, after.class_queries_logits)
    assert torch.equal(before.masks_queries_logits, after.masks_queries_logits)
    if text:
        assert torch.equal(before.text_queries, after.text_queries)
    ours, again = model.state_dict(), read.state_dict()
    assert ours.keys() == again.keys()
    assert all(torch.equal(ours[name], again[name]) for name in ours if "swin.layernorm" not in name)


def test_the_folder_is_a_start_for_our_segmenter_with_a_new_class_head(tmp_path):
    convert(saved(tmp_path, theirs_of(original(classes=65))), tmp_path / "folder")
    chosen = Backbone(label="x", family="convnext", checkpoint=str(tmp_path / "folder"))
    network = OneFormer.build(chosen, parse(Model, SETTINGS, "toy"), CITYSCAPES)
    assert network.model.model.transformer_module.decoder.class_embed.out_features == 20


def test_arrays_of_numpy_are_read_and_code_is_not(tmp_path):
    found = read_tensors(saved(tmp_path, {"a": np.arange(3.0), "b": torch.ones(2)}, best=np.float64(1.5)))
    assert found["a"].tolist() == [0, 1, 2]

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    with pytest.raises(HarnessError, match=r"not a checkpoint of plain tensors and arrays") as error:
        read_tensors(saved(tmp_path, {"a": Evil()}))
    assert not (tmp_path / "ran").exists()
    assert "could run code" in error.value.hint


def test_arrays_of_objects_and_other_values_are_refused(tmp_path):
    with pytest.raises(HarnessError, match=r"authors\.pth"):
        read_tensors(saved(tmp_path, {"a": np.array([None], dtype=object)}))
    with pytest.raises(HarnessError, match="not a tensor: note"):
        read_tensors(saved(tmp_path, {"note": "text"}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("backbone.stages.2.0.gamma"), r"1 tensors differ.*backbone\.stages\.2\.0\.gamma: missing"),
        (lambda t: t.update({"roi_heads.weight": torch.ones(1)}), r"roi_heads\.weight: not expected"),
        (
            lambda t: t.update({f"{HEAD}.transformer_self_attention_layers.1.self_attn.in_proj_bias": torch.ones(9)}),
            r"layers\.1\.self_attn\.in_proj_bias: expected shape \(192,\), found \(9,\)",
        ),
        (lambda t: t.pop(f"{HEAD}.query_embed.weight"), r"query_embed\.weight: missing"),
        (lambda t: t.update({"task_mlp.layers.0.weight": torch.ones(4)}), r"task_mlp\.layers\.0\.weight: found shape"),
        (lambda t: (t.clear(), t.update({"conv1.weight": torch.ones(1)})), r"downsample_layers\.0\.0\.weight: missing"),
    ],
)
def test_a_file_of_another_architecture_names_the_first_tensors_and_writes_nothing(change, message, tmp_path):
    tensors = theirs_of(original())
    change(tensors)
    with pytest.raises(HarnessError, match=message):
        convert(saved(tmp_path, tensors), tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["authors.pth"]


def test_a_folder_with_something_in_it_and_a_full_disk_are_told_before_writing(tmp_path, monkeypatch):
    source = saved(tmp_path, theirs_of(original()))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(HarnessError, match="is there already"):
        convert(source, tmp_path / "full")
    usage = tensors.shutil._ntuple_diskusage(10, 9, 2**20)
    monkeypatch.setattr(tensors.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(HarnessError, match=r"too little disk: the converted checkpoint needs \d+ MiB, 1 MiB are free"):
        convert(source, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_the_command_says_what_it_found(tmp_path, capsys):
    source = saved(tmp_path, theirs_of(original(classes=65)))
    with pytest.raises(SystemExit) as ended:
        main(["convert", "oneformer", str(source), "--output", str(tmp_path / "folder")])
    assert ended.value.code == 0
    assert "classes: 65" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["convert", "oneformer", str(tmp_path / "none.pth"), "--output", str(tmp_path / "other")])
    assert ended.value.code == 2
    assert "no such checkpoint" in capsys.readouterr().err
