"""Checkpoints of DeepLab2: converted weights answer as TensorFlow's layers would, and what does not fit is named."""

import numpy as np
import pytest
import tensor_bundles
import torch
from deeplab_reference import Reference, kmax, panoptic_deeplab

from harness.cli import main
from harness.core.config import parse
from harness.core.errors import HarnessError
from harness.data.cityscapes import CITYSCAPES
from harness.segmenters import checkpoint
from harness.segmenters.base import SegmenterPart
from harness.segmenters.deeplab2.convert import convert
from harness.segmenters.panoptic_deeplab.options import Inference

SIZE = (33, 65)
MODEL = {
    "low_level": [6, 4],
    "instance_low_level": [4, 3],
    "aspp_channels": 8,
    "instance_aspp_channels": 6,
    "decoder_channels": 10,
    "instance_decoder_channels": 7,
    "head_channels": 9,
    "instance_head_channels": 5,
}
SIZES = {"low": (6, 4), "instance_low": (4, 3), "pyramids": (8, 6), "channels": (10, 7), "heads": (9, 5)}
KMAX = {
    "decoder_channels": [8, 8, 4, 4],
    "decoder_blocks": [1, 1, 1, 1],
    "layers": [1, 1, 1],
    "slots": 7,
    "hidden": 16,
    "key": 8,
    "heads": 2,
    "feedforward": 12,
    "head_channels": 8,
    "embedding": 6,
}


def beta_backbone(r, x, *, width, axial_from, stride):
    """ResNet-beta with one block a stage at most twice; raw maps, stem first."""
    for number, outputs in enumerate((16, 16, 32), 1):
        name = f"encoder/_stem/_conv{number}_bn{'_act' if number < 3 else ''}"
        x = r.conv_norm(x, name, outputs, 3, stride=2 if number == 1 else 1, act=number < 3)
    maps = [x]
    for stage, count in zip((2, 3, 4, 5), (1, 1, 2, 2), strict=True):
        base = round(16 * 2**stage * width)
        for block in range(count):
            current = 2 ** (stage - 1) if block == 0 else 2**stage
            axial = current >= axial_from > 0
            x = r.block(
                x,
                f"encoder/_stage{stage}/_block{block + 1}",
                (2 * base, base, 4 * base) if axial else (base, base, 4 * base),
                stride=2 if block == 0 and current < stride else 1,
                rates=(max(1, current // stride),),
                axial=(base, 2 * base) if axial else None,
            )
        maps.append(x)
    return maps


def wide_backbone(r, x, *, width):
    """Wide-ResNet with switchable atrous convolutions in the last stage."""
    x = r.conv_norm(x, "encoder/_stem", 16, 3, stride=2, act=False)
    maps = [x]
    for stage, count in zip((1, 2, 3, 4, 5), (3, 1, 1, 1, 2), strict=True):
        base = round(16 * 2**stage * (0.25 if stage == 1 else width))
        for block in range(count):
            current = 2 ** (stage - 1) if block == 0 and stage > 1 else 2**stage
            last = stage == 5
            x = r.block(
                x,
                f"encoder/_stage{stage}/_block{block + 1}",
                (base, 2 * base, 4 * base) if last else (4 * base, 4 * base),
                stride=2 if block == 0 and 1 < stage < 5 else 1,
                rates=(max(1, current // 16), max(1, 2**stage // 16)),
                sac=last,
            )
        if stage > 1:
            maps.append(x)
    return maps


def images(seed=5):
    return np.random.default_rng(seed).uniform(-1, 1, (1, *SIZE, 3))


def part(adapter, config, model):
    return parse(
        SegmenterPart,
        {
            "label": "converted",
            "adapter": adapter,
            "backbones": {"b": {"label": "b", "config": config}},
            "model": model,
            "training": {
                "iterations": 1,
                "batch_size": 1,
                "crop": [64, 64],
                "short_sides": [64],
                "learning_rate": 1e-3,
            },
            "inference": {},
        },
        "part",
    )


BETA = {"kind": "resnet_beta", "blocks": [1, 1, 2, 2], "width": 0.125, "stem_width": 0.25}
WIDE = {"kind": "wide_resnet", "blocks": [1, 1, 1, 2], "width": 0.125, "stem_width": 0.25, "sac_from": 32}
SYSTEMS = {
    "beta": (
        BETA | {"output_stride": 32},
        {},
        (1, 2, 3),
        lambda r, x: beta_backbone(r, x, width=0.125, axial_from=0, stride=32),
    ),
    "sac": (WIDE, {}, (6, 12, 18), lambda r, x: wide_backbone(r, x, width=0.125)),
    "axial": (
        BETA | {"axial_from": 16},
        {"aspp": "projection"},
        None,
        lambda r, x: beta_backbone(r, x, width=0.125, axial_from=16, stride=16),
    ),
}


def converted(tmp_path, variables, chosen):
    tensor_bundles.write(tmp_path / "ckpt-60000", variables, packed=True)
    facts = convert(tmp_path / "ckpt-60000", chosen, "b", CITYSCAPES, tmp_path / "out")
    return facts


def test_first_the_backbone_alone(tmp_path):
    r = Reference()
    beta_backbone(r, images(), width=0.125, axial_from=16, stride=16)
    facts = converted(tmp_path, r.variables, part("panoptic_deeplab", BETA | {"axial_from": 16}, MODEL))
    assert facts["what"] == "backbone"
    chosen = part("panoptic_deeplab", BETA | {"axial_from": 16}, MODEL)
    backbone = chosen.chosen("b").model_copy(update={"weights": str(tmp_path / "out")})
    network = chosen.kind.build(backbone, chosen.model, CITYSCAPES).eval()
    expected = beta_backbone(r, images(), width=0.125, axial_from=16, stride=16)
    found = network.backbone(torch.from_numpy(images()).permute(0, 3, 1, 2).float())
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours.detach().permute(0, 2, 3, 1).numpy(), theirs, atol=1e-4)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_converted_panoptic_deeplab_computes_what_tensorflows_layers_do(tmp_path, name):
    config, model, rates, backbone = SYSTEMS[name]
    r, x = Reference(seed=1), images()
    if rates:
        model = model | {"aspp_rates": list(rates)}
    maps = dict(zip(("res1", "res2", "res3", "res4", "res5"), map(r.act, backbone(r, x)), strict=True))
    expected = panoptic_deeplab(r, x, maps, rates=rates, **SIZES)
    facts = converted(tmp_path, r.variables, part("panoptic_deeplab", config, MODEL | model))
    assert facts["what"] == "whole model"
    statistics = ("moving_mean", "moving_variance")
    assert facts["parameters"] == sum(v.size for n, v in r.variables.items() if not n.endswith(statistics))
    network = checkpoint.load(tmp_path / "out").eval()
    with torch.no_grad():
        found = network.answers(torch.from_numpy(x).permute(0, 3, 1, 2).float())
    for kind, theirs in expected.items():
        ours = getattr(found, kind)
        ours = ours[..., None] if kind == "heatmap" else ours.permute(0, 2, 3, 1)
        assert np.abs(theirs).max() > 0.01
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())


def test_a_converted_kmax_computes_what_tensorflows_layers_do(tmp_path):
    r, x = Reference(seed=2, gelu=True), images()
    stages = beta_backbone(r, x, width=0.125, axial_from=16, stride=32)
    names = {"bases": "decoder_channels", "blocks": "decoder_blocks", "head": "head_channels"}
    sizes = {
        name: KMAX[names.get(name, name)]
        for name in ("bases", "blocks", "layers", "slots", "hidden", "key", "heads", "feedforward", "head", "embedding")
    }
    expected, semantic = kmax(r, stages, **sizes)
    chosen = part("kmax", BETA | {"axial_from": 16, "activation": "gelu"}, KMAX)
    converted(tmp_path, r.variables, chosen)
    network = checkpoint.load(tmp_path / "out").eval()
    with torch.no_grad():
        found, auxiliary = network.answers(torch.from_numpy(x).permute(0, 3, 1, 2).float())
    np.testing.assert_allclose(auxiliary.permute(0, 2, 3, 1).numpy(), semantic, atol=1e-4)
    assert len(found) == len(expected) == 4
    for ours, (classes, masks) in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours.classes.numpy(), classes, atol=1e-4)
        np.testing.assert_allclose(ours.masks.permute(0, 2, 3, 1).numpy(), masks, atol=1e-4)


def test_what_does_not_fit_is_named_and_nothing_is_written(tmp_path):
    r = Reference()
    beta_backbone(r, images(), width=0.125, axial_from=0, stride=16)
    good = part("panoptic_deeplab", BETA, MODEL)
    name = "encoder/_stage3/_block1/_conv2_bn_act/_conv/kernel"
    wrong = {
        "missing": {n: v for n, v in r.variables.items() if n != name},
        "not expected": r.variables | {"encoder/_stage9/_conv/kernel": np.zeros(2, np.float32)},
        r"expected shape \(16, 16, 3, 3\), found": r.variables | {name: np.zeros((3, 3, 16, 8), np.float32)},
    }
    for problem, variables in wrong.items():
        with pytest.raises(HarnessError, match=problem):
            converted(tmp_path, variables, good)
    with pytest.raises(HarnessError, match=r"must be those of the checkpoint|missing"):
        converted(tmp_path, r.variables, part("panoptic_deeplab", BETA | {"axial_from": 16}, MODEL))
    assert not (tmp_path / "out").exists()


TOML = """label = "mine"
adapter = "panoptic_deeplab"
[backbones.b]
label = "b"
config = { kind = "resnet_beta", blocks = [1, 1, 2, 2], width = 0.125, stem_width = 0.25 }
[training]
iterations = 1
batch_size = 1
crop = [64, 64]
short_sides = [64]
learning_rate = 1e-3
[model]
"""


def test_the_command_writes_a_segmenter_or_says_in_one_message_why_not(tmp_path, monkeypatch, capsys):
    r, x = Reference(seed=2), images()
    backbone = beta_backbone(r, x, width=0.125, axial_from=0, stride=16)
    maps = dict(zip(("res1", "res2", "res3", "res4", "res5"), map(r.act, backbone), strict=True))
    panoptic_deeplab(r, x, maps, rates=(6, 12, 18), **SIZES)
    (tmp_path / "configs/segmenters").mkdir(parents=True)
    text = TOML + "\n".join(f"{name} = {value}" for name, value in MODEL.items())
    (tmp_path / "configs/segmenters/mine.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    tensor_bundles.write(tmp_path / "good/ckpt-1", r.variables)
    tensor_bundles.write(tmp_path / "bad/ckpt-1", r.variables)
    data = bytearray((tmp_path / "bad/ckpt-1.data-00000-of-00001").read_bytes())
    data[100] ^= 1
    (tmp_path / "bad/ckpt-1.data-00000-of-00001").write_bytes(data)

    def told(prefix, segmenter="mine", backbone="b"):
        arguments = [
            "--segmenter",
            segmenter,
            "--backbone",
            backbone,
            "--output",
            f"{prefix.split('/')[0]}-{segmenter}",
        ]
        with pytest.raises(SystemExit) as ended:
            main(["convert", "deeplab2", prefix, *arguments])
        return ended.value.code, " ".join(capsys.readouterr().err.split())

    code, said = told("good/ckpt-1")
    assert code == 0 and "what: whole model" in said
    network = checkpoint.load(tmp_path / "good-mine")
    (found,) = network.predict([np.zeros((*SIZE, 3), np.uint8)], Inference())
    assert found.panoptic.shape == SIZE
    assert told("good/ckpt-1") == (2, "error: good-mine is there already name a new folder, or remove it")
    code, said = told("bad/ckpt-1")
    assert code == 2 and "ckpt-1.data-00000-of-00001: damaged: the checksum of encoder/" in said
    code, said = told("good/ckpt-1", "oneformer", "convnext")
    assert code == 2 and "adapter 'oneformer', expected 'panoptic_deeplab' or 'kmax'" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "configs", "good", "good-mine"]
