"""The generic inpainting adapter on random tiny checkpoints of the five modern families."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_parts import batch, save_checkpoint

from harness.core.config import parse, read_toml
from harness.core.errors import HarnessError
from harness.core.paths import CONFIGS
from harness.generators.inpainting import Inpainting, InpaintingOptions
from harness.tiny_training.tokenizer import build_tokenizer, load_tokenizer

SIDE = 32


def _clip_text(vocabulary: int, width: int, kind: str):
    import transformers

    ids = {"bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1, "pad_token_id": vocabulary - 1}
    config = transformers.CLIPTextConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
        num_attention_heads=2, projection_dim=width, max_position_embeddings=77, **ids,
    )  # fmt: skip
    return getattr(transformers, kind)(config)


def _tokenizer(folder: Path):
    build_tokenizer(folder)
    tokenizer = load_tokenizer(folder)
    tokenizer.model_max_length = 77
    return tokenizer


def _t5(width: int):
    """A T5 encoder and its tokenizer, over single letters."""
    from transformers import T5Config, T5EncoderModel, T5TokenizerFast

    pieces = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("▁", -1.0),
        *((c, -2.0) for c in "abcdefghijklmnopqrstuvwxyz"),
    ]
    tokenizer = T5TokenizerFast(vocab=pieces, extra_ids=0)
    config = T5Config(vocab_size=len(pieces), d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    return T5EncoderModel(config), tokenizer


def _vae(latents: int, **more):
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8), norm_num_groups=2, latent_channels=latents, sample_size=SIDE, layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, **more,
    )  # fmt: skip


def _sdxl(folder: Path) -> dict:
    import diffusers
    from diffusers import StableDiffusionXLInpaintPipeline

    save_checkpoint(folder / "parts", channels=9, sdxl=True)
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    part = {
        "unet": diffusers.UNet2DConditionModel, "vae": diffusers.AutoencoderKL, "text_encoder": CLIPTextModel,
        "text_encoder_2": CLIPTextModelWithProjection, "tokenizer": CLIPTokenizer, "tokenizer_2": CLIPTokenizer,
        "scheduler": diffusers.DDIMScheduler,
    }  # fmt: skip
    parts = {name: kind.from_pretrained(folder / "parts" / name) for name, kind in part.items()}
    StableDiffusionXLInpaintPipeline(**parts, add_watermarker=False).save_pretrained(folder / "whole")
    return {"guidance_scale": 4.0, "negative_prompt": "", "strength": 0.99}


def _controlnet(folder: Path) -> dict:
    import diffusers
    from diffusers import ControlNetModel, StableDiffusionPipeline
    from transformers import CLIPTextModel, CLIPTokenizer

    save_checkpoint(folder / "parts", channels=4)
    part = {
        "unet": diffusers.UNet2DConditionModel, "vae": diffusers.AutoencoderKL, "text_encoder": CLIPTextModel,
        "tokenizer": CLIPTokenizer, "scheduler": diffusers.DDIMScheduler,
    }  # fmt: skip
    parts = {name: kind.from_pretrained(folder / "parts" / name) for name, kind in part.items()}
    nothing = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    StableDiffusionPipeline(**parts, **nothing).save_pretrained(folder / "whole")
    torch.manual_seed(1)
    net = ControlNetModel.from_unet(parts["unet"], conditioning_embedding_out_channels=(8, 8))
    for weight in net.parameters():  # its last layers start at zero, and would change nothing
        torch.nn.init.normal_(weight, std=0.2)
    net.save_pretrained(folder / "controlnet")
    return {"guidance_scale": 4.0, "controlnet": str(folder / "controlnet")}


def _sd3(folder: Path) -> dict:
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    torch.manual_seed(0)
    tokenizer = _tokenizer(folder / "words")
    t5, t5_tokenizer = _t5(32)
    transformer = SD3Transformer2DModel(
        sample_size=SIDE // 2, patch_size=1, in_channels=16, num_layers=1, attention_head_dim=8, num_attention_heads=4,
        joint_attention_dim=32, caption_projection_dim=32, pooled_projection_dim=64, out_channels=16,
    )  # fmt: skip
    texts = [_clip_text(len(tokenizer), 32, "CLIPTextModelWithProjection") for _ in range(2)]
    StableDiffusion3Pipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(16, shift_factor=0.0609, scaling_factor=1.5035, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=texts[0], tokenizer=tokenizer, text_encoder_2=texts[1], tokenizer_2=tokenizer,
        text_encoder_3=t5, tokenizer_3=t5_tokenizer,
    ).save_pretrained(folder / "whole")  # fmt: skip
    return {"guidance_scale": 4.0, "strength": 1.0, "call": {"max_sequence_length": 48}}


def _flux_fill(folder: Path) -> dict:
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxFillPipeline, FluxTransformer2DModel

    torch.manual_seed(0)
    tokenizer = _tokenizer(folder / "words")
    t5, t5_tokenizer = _t5(32)
    # Packed latents 4 x 4, packed latents of the crop without the hole 4 x 4, packed hole 4 x scale^2 (scale 2).
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=48, out_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8),
        guidance_embeds=True,
    )  # fmt: skip
    FluxFillPipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(4, shift_factor=0.0609, scaling_factor=1.5035, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=_clip_text(len(tokenizer), 32, "CLIPTextModel"), tokenizer=tokenizer,
        text_encoder_2=t5, tokenizer_2=t5_tokenizer,
    ).save_pretrained(folder / "whole")  # fmt: skip
    return {"pipeline": "FluxFillPipeline", "guidance_scale": 30.0, "call": {"max_sequence_length": 48}}


def _qwen(folder: Path) -> dict:
    from diffusers import (
        AutoencoderKLQwenImage,
        FlowMatchEulerDiscreteScheduler,
        QwenImagePipeline,
        QwenImageTransformer2DModel,
    )
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer

    torch.manual_seed(0)
    letters = sorted(ByteLevel.alphabet())
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {piece: number for number, piece in enumerate([*letters, *special])}
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=[])
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
    rope = {"mrope_section": [1, 1, 2], "rope_type": "default", "rope_theta": 1e6}
    text = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 2, "vocab_size": len(tokenizer) + 8, "rope_scaling": rope,
    }  # fmt: skip
    ids = {name: len(vocabulary) + number for number, name in enumerate(("image_token_id", "video_token_id"))}
    ids |= {"vision_start_token_id": len(vocabulary) + 2, "vision_end_token_id": len(vocabulary) + 3}
    QwenImagePipeline(
        transformer=QwenImageTransformer2DModel(
            patch_size=2, in_channels=16, out_channels=4, num_layers=1, attention_head_dim=16, num_attention_heads=2,
            joint_attention_dim=16, guidance_embeds=False, axes_dims_rope=(8, 4, 4),
        ),
        vae=AutoencoderKLQwenImage(
            base_dim=8, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True],
            latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
        ),
        text_encoder=Qwen2_5_VLForConditionalGeneration(
            Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids)
        ),
        tokenizer=tokenizer, scheduler=FlowMatchEulerDiscreteScheduler(),
    ).save_pretrained(folder / "whole")  # fmt: skip
    return {"negative_prompt": " ", "strength": 1.0, "call": {"true_cfg_scale": 2.0}}


FAMILIES = {"sdxl": _sdxl, "controlnet": _controlnet, "sd3": _sd3, "flux_fill": _flux_fill, "qwen": _qwen}


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def family(request, tmp_path_factory) -> tuple[Inpainting, dict]:
    folder = tmp_path_factory.mktemp(request.param)
    options = FAMILIES[request.param](folder)
    options = {"checkpoint": str(folder / "whole"), "size": SIDE, "steps": 3, "precision": "fp32"} | options
    return Inpainting(InpaintingOptions(**options), device="cpu"), options


def largest_difference(first, second):
    return max(int(np.abs(a.astype(int) - b.astype(int)).max()) for a, b in zip(first, second, strict=True))


def test_a_row_does_not_depend_on_its_batch_and_repeats(family) -> None:
    generator, _ = family
    crops, masks, prompts, seeds = batch(3)
    together = generator.edit(crops, masks, prompts, seeds)
    assert [image.shape for image in together] == [(SIDE, SIDE, 3)] * 3
    assert all(image.dtype == np.uint8 for image in together)
    again = generator.edit(crops, masks, prompts, seeds)
    assert all(np.array_equal(a, b) for a, b in zip(together, again, strict=True))
    alone = [generator.edit([c], [m], [p], [s])[0] for c, m, p, s in zip(crops, masks, prompts, seeds, strict=True)]
    assert largest_difference(together, alone) <= 1
    backwards = generator.edit(crops[::-1], masks[::-1], prompts[::-1], seeds[::-1])[::-1]
    assert largest_difference(together, backwards) <= 1


def test_seed_crop_and_hole_matter(family) -> None:
    generator, _ = family
    crops, masks, prompts, seeds = batch(1)
    first = generator.edit(crops, masks, prompts, seeds)
    assert largest_difference(first, generator.edit(crops, masks, prompts, [7])) > 1
    assert largest_difference(first, generator.edit([255 - crops[0]], masks, prompts, seeds)) > 1
    assert largest_difference(first, generator.edit(crops, [~masks[0]], prompts, seeds)) > 1


def test_half_precision_paints_nearly_the_same(family) -> None:
    generator, options = family
    crops, masks, prompts, seeds = batch(2)
    half = Inpainting(InpaintingOptions(**options | {"precision": "bf16"}), device="cpu")
    assert {part.dtype for part in half.pipeline.components.values() if isinstance(part, torch.nn.Module)} == {
        torch.bfloat16
    }
    for one, two in zip(
        generator.edit(crops, masks, prompts, seeds), half.edit(crops, masks, prompts, seeds), strict=True
    ):
        assert np.abs(one.astype(int) - two.astype(int)).mean() < 12


def test_pipeline_called_row_by_row_by_hand_agrees(family) -> None:
    """The adapter against diffusers used plainly: a prompt as a string, pictures as PIL, one generator."""
    from PIL import Image

    generator, options = family
    crops, masks, prompts, seeds = batch(1, side=SIDE)
    given = {name: options[name] for name in ("guidance_scale", "strength", "negative_prompt") if name in options}
    if "controlnet" in options:
        shown = torch.from_numpy(crops[0]).permute(2, 0, 1)[None].float() / 255
        shown[:, :, torch.from_numpy(masks[0])] = -1
        given["control_image"] = shown
    expected = generator.pipeline(
        prompt=prompts[0].text, image=Image.fromarray(crops[0]),
        mask_image=Image.fromarray(masks[0].astype(np.uint8) * 255), num_inference_steps=3, height=SIDE, width=SIDE,
        generator=torch.Generator().manual_seed(seeds[0]), **given, **options.get("call", {}),
    ).images[0]  # fmt: skip
    assert largest_difference(generator.edit(crops, masks, prompts, seeds), [np.asarray(expected)]) <= 1


def test_the_checkpoint_chooses_the_class_unless_it_is_named(family) -> None:
    generator, options = family
    # "auto" knows no Fill pipeline, so that row names its class; a ControlNet chooses the class that takes one.
    expected = options.get("pipeline", "ControlNetInpaintPipeline" if "controlnet" in options else "InpaintPipeline")
    assert type(generator.pipeline).__name__.endswith(expected)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    _controlnet(folder)
    return folder


def build(folder: Path, **options) -> Inpainting:
    given = {"checkpoint": str(folder / "whole"), "size": SIDE, "steps": 2, "precision": "fp32"} | options
    return Inpainting(parse(InpaintingOptions, given, "options"), device="cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"pipeline": "StableDiffusionXLInpaint"},
            r"no inpainting pipeline 'StableDiffusionXLInpaint'\n.*XLInpaintPipeline",
        ),
        ({"pipeline": "StableDiffusionPipeline"}, "no inpainting pipeline 'StableDiffusionPipeline'"),
        ({"call": {"true_cfg": 2.0}}, "StableDiffusionInpaintPipeline takes no argument 'true_cfg'"),
        ({"call": {"mask_image": 1}}, "'mask_image' is the adapter's"),
        ({"checkpoint": "/nowhere"}, "no such folder"),
        ({"controlnet": "/nowhere"}, "no such folder"),
        ({"size": 40}, "'size'.*multiple of 16"),
        ({"stepps": 3}, r"unknown key 'stepps'.*\n.*'steps'"),
    ],
)
def test_bad_options_are_named(folder: Path, options: dict, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        build(folder, **options)


def test_flux_has_no_negative_prompt(tmp_path: Path) -> None:
    options = _flux_fill(tmp_path)
    with pytest.raises(HarnessError, match="FluxFillPipeline takes no argument 'negative_prompt'"):
        build(tmp_path, **options | {"negative_prompt": "blurry"})


def test_incomplete_checkpoints_are_named(folder: Path, tmp_path: Path) -> None:
    import shutil

    whole = tmp_path / "whole"
    shutil.copytree(folder / "whole", whole)
    shutil.rmtree(whole / "tokenizer")
    with pytest.raises(HarnessError, match=r"checkpoint '.*whole' has no tokenizer in"):
        build(tmp_path)
    shutil.copytree(folder / "whole" / "tokenizer", whole / "tokenizer")
    (whole / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"nothing")
    with pytest.raises(HarnessError, match="can't be loaded"):
        build(tmp_path)
    (whole / "model_index.json").unlink()
    with pytest.raises(HarnessError, match=r"model_index\.json is not readable"):
        build(tmp_path)
    with pytest.raises(HarnessError, match="not a ControlNet"):
        build(folder, controlnet=str(folder / "whole" / "unet"))


def test_fingerprint_follows_the_files_of_both_checkpoints(folder: Path, tmp_path: Path) -> None:
    import shutil

    def key(root: Path) -> str:
        options = {"checkpoint": str(root / "whole"), "controlnet": str(root / "controlnet"), "size": 32, "steps": 1}
        return Inpainting.fingerprint(InpaintingOptions(**options))

    shutil.copytree(folder / "whole", tmp_path / "whole")
    shutil.copytree(folder / "controlnet", tmp_path / "controlnet")
    assert key(tmp_path) == key(folder)
    path = tmp_path / "controlnet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"global_pool_conditions": True}))
    changed = key(tmp_path)
    assert changed != key(folder)
    path = tmp_path / "whole" / "vae" / "config.json"
    path.write_text(path.read_text() + " ")
    assert key(tmp_path) != changed
    hub = InpaintingOptions(checkpoint="owner/name", revision="v1", size=32, steps=1)
    assert Inpainting.fingerprint(hub) == "hub:owner/name@v1"


def test_memory_that_ends_halves_the_batch(folder: Path, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    generator = build(folder)
    crops, masks, prompts, seeds = batch(4)
    expected = generator.edit(crops, masks, prompts, seeds)
    plain, counts = generator._paint, []

    def limited(rows, *rest):
        counts.append(len(rows))
        if len(rows) > 1:
            raise torch.OutOfMemoryError("no memory")
        return plain(rows, *rest)

    monkeypatch.setattr(generator, "_paint", limited)
    with caplog.at_level(logging.WARNING):
        found = generator.edit(crops, masks, prompts, seeds)
    assert largest_difference(found, expected) <= 1
    assert counts[:4] == [4, 2, 1, 1]
    assert "memory ran out on 4 crops" in caplog.text


MODERN = ("sdxl_inpainting", "sd35_inpainting", "flux_fill", "qwen_image_inpainting", "controlnet_inpainting")


@pytest.mark.parametrize("name", MODERN)
def test_each_row_is_one_part_that_parses_and_names_a_real_class(name: str) -> None:
    import inspect

    import diffusers

    from harness.generators.base import GeneratorPart

    path = CONFIGS / "generators" / f"{name}.toml"
    data = read_toml(path)
    data.pop("profiles", None)
    part = parse(GeneratorPart, data, path)
    options = part.options
    assert isinstance(options, InpaintingOptions) and part.adapter == "inpainting"
    known = inspect.signature(getattr(diffusers, options.pipeline).__call__).parameters
    for argument in ("guidance_scale", "negative_prompt", "strength"):
        assert getattr(options, argument) is None or argument in known
    assert set(options.call) <= set(known)
