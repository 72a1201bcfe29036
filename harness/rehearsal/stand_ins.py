"""Stand-ins are random networks in the place of missing checkpoints: the same classes and layouts, few weights.

They are written to disk as the public ones lie there, so that all code of an adapter runs. What they paint is noise.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.generators.base import GeneratorPart
from harness.generators.diffusion import component_classes
from harness.segmenters.options import Backbone
from harness.weights import public

SIDE = 32
"""Side in pixels at which they paint."""
WIDTH = 16
"""Of the texts."""


def generator(part: GeneratorPart, folder: Path) -> GeneratorPart:
    """`part` over a stand-in of its checkpoint, which is written into `folder`, at `SIDE` pixels and three steps.

    HarnessError for an adapter or a pipeline of which none is known.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    options: Any = part.options
    known: dict[str, Callable[[], dict[str, Any]]] = {
        "gligen": lambda: {"checkpoint": str(stable_diffusion(folder, channels=9, gated=True))},
        "diff_inpainting": lambda: {
            "checkpoint": str(stable_diffusion(folder, channels=9, xl=options.family == "sdxl"))
        },
        "blended": lambda: {"checkpoint": str(stable_diffusion(folder, channels=4, xl=options.family == "sdxl"))},
    }
    if part.adapter == "inpainting":
        known = {"inpainting": lambda: PIPELINES[options.pipeline](folder)} if options.pipeline in PIPELINES else {}
    if part.adapter not in known:
        raise HarnessError(f"generator {part.label!r}: no stand-in is known for it", hint="it needs its own checkpoint")
    placed = known[part.adapter]() | {"size": SIDE, "steps": 3, "revision": None, "variant": None}
    placed |= {"fallbacks": ()} if hasattr(options, "fallbacks") else {}
    return part.model_copy(update={"options": options.model_copy(update=placed)})


def backbone(given: Backbone) -> Backbone:
    """`given` without its weights, at its published sizes: what starts from it starts at random.

    HarnessError when they aren't known.
    """
    name = given.checkpoint or given.weights or ""
    known = public.backbones().get(name)
    if known is None and not given.config:
        raise HarnessError(
            f"backbone {given.label}: nothing is known of the sizes of {name!r}",
            hint="give its sizes beside it (`config`, and `family` of one of transformers), or bring the checkpoint",
        )
    sizes = {"family": known.family or given.family, "config": known.config | given.config} if known else {}
    return given.model_copy(update={"weights": None, "checkpoint": None, **sizes})


def stable_diffusion(folder: Path, *, channels: int, gated: bool = False, xl: bool = False, side: int = SIDE) -> Path:
    """Return a checkpoint in the layout of Stable Diffusion; its autoencoder halves the side. `gated`: for GLIGEN."""
    import torch
    from diffusers import DDIMScheduler

    from harness.tiny_training.tokenizer import POSITIONS

    torch.manual_seed(0)
    endings = ("", "_2") if xl else ("",)
    for ending in endings:
        words = len(_tokenizer(folder / f"tokenizer{ending}"))
        kind = "CLIPTextModelWithProjection" if ending else "CLIPTextModel"
        _clip_text(words, WIDTH, kind, positions=POSITIONS).save_pretrained(folder / f"text_encoder{ending}")
    _unet(channels, gated=gated, xl=xl, side=side // 2).save_pretrained(folder / "unet")
    _autoencoder(4, side).save_pretrained(folder / "vae")
    noise = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False}
    scheduler: Any = DDIMScheduler(**noise, set_alpha_to_one=False, steps_offset=1)
    scheduler.save_pretrained(folder / "scheduler")
    return folder


def _tokenizer(folder: Path, positions: int | None = None) -> Any:
    from harness.tiny_training.tokenizer import build_tokenizer, load_tokenizer

    build_tokenizer(folder)
    found = load_tokenizer(folder)
    if positions:
        found.model_max_length = positions
    return found


def _clip_text(vocabulary: int, width: int, kind: str, *, positions: int = 77) -> Any:
    import transformers

    ids: dict[str, Any] = {
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "pad_token_id": vocabulary - 1,
    }
    layers: dict[str, Any] = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 2 * width}
    shape: dict[str, Any] = {"vocab_size": vocabulary, "hidden_size": width, "projection_dim": width}
    return getattr(transformers, kind)(
        transformers.CLIPTextConfig(max_position_embeddings=positions, **shape, **layers, **ids)
    )


def _t5(width: int) -> tuple[Any, Any]:
    """Return a T5 encoder and its tokenizer, over single letters."""
    import transformers
    from transformers import T5Config, T5EncoderModel

    kind = getattr(transformers, "T5TokenizerFast")  # noqa: B009, its types do not know it

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0)]
    pieces += [(letter, -2.0) for letter in "abcdefghijklmnopqrstuvwxyz"]
    config = T5Config(vocab_size=len(pieces), d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    return T5EncoderModel(config), kind(vocab=pieces, extra_ids=0)


def _unet(channels: int, *, gated: bool, xl: bool, side: int) -> Any:
    from diffusers import UNet2DConditionModel

    extra: dict[str, Any] = {"attention_type": "gated"} if gated else {}
    if xl:
        extra |= {"addition_embed_type": "text_time", "addition_time_embed_dim": 8}
        extra |= {"projection_class_embeddings_input_dim": WIDTH + 6 * 8}
    unet: Any = UNet2DConditionModel(
        sample_size=side,
        in_channels=channels,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=2 * WIDTH if xl else WIDTH,
        attention_head_dim=2,
        norm_num_groups=4,
        **extra,
    )
    for name, weight in unet.named_parameters():
        if name.endswith(("alpha_attn", "alpha_dense")):  # gates that are shut would change nothing
            weight.data.fill_(0.5)
    return unet


def _autoencoder(latents: int, side: int, **more: Any) -> Any:
    from diffusers import AutoencoderKL

    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    shape = {"block_out_channels": (8, 8), "norm_num_groups": 2, "layers_per_block": 1}
    return AutoencoderKL(latent_channels=latents, sample_size=side, **blocks, **shape, **more)


def _sdxl_pipeline(folder: Path) -> dict[str, Any]:
    from diffusers import StableDiffusionXLInpaintPipeline

    parts = _loaded(stable_diffusion(folder / "parts", channels=9, xl=True))
    whole: Any = StableDiffusionXLInpaintPipeline(**parts, add_watermarker=False)
    whole.save_pretrained(folder / "whole")
    return {"checkpoint": str(folder / "whole")}


def _controlnet_pipeline(folder: Path) -> dict[str, Any]:
    import torch
    from diffusers import ControlNetModel, StableDiffusionPipeline

    parts = _loaded(stable_diffusion(folder / "parts", channels=4))
    nothing = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    whole: Any = StableDiffusionPipeline(**parts, **nothing)
    whole.save_pretrained(folder / "whole")
    torch.manual_seed(1)
    net = ControlNetModel.from_unet(parts["unet"], conditioning_embedding_out_channels=(8, 8))
    for weight in net.parameters():  # its last layers start at zero, and would change nothing
        torch.nn.init.normal_(weight, std=0.2)
    net.save_pretrained(folder / "controlnet")
    return {"checkpoint": str(folder / "whole"), "controlnet": str(folder / "controlnet")}


def _loaded(folder: Path) -> dict[str, Any]:
    """Return the components of a checkpoint in the layout of Stable Diffusion."""
    kinds = component_classes()
    return {name: kind.from_pretrained(folder / name) for name, kind in kinds.items() if (folder / name).is_dir()}


_FLOW_VAE = {"shift_factor": 0.0609, "scaling_factor": 1.5035, "use_quant_conv": False, "use_post_quant_conv": False}


def _sd3_pipeline(folder: Path) -> dict[str, Any]:
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    torch.manual_seed(0)
    tokenizer = _tokenizer(folder / "words", 77)
    t5, t5_tokenizer = _t5(32)
    transformer = SD3Transformer2DModel(
        sample_size=SIDE // 2,
        patch_size=1,
        in_channels=16,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=32,
        caption_projection_dim=32,
        pooled_projection_dim=64,
        out_channels=16,
    )
    texts = [_clip_text(len(tokenizer), 32, "CLIPTextModelWithProjection") for _ in range(2)]
    whole: Any = StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_autoencoder(16, SIDE, **_FLOW_VAE),
        text_encoder=texts[0],
        tokenizer=tokenizer,
        text_encoder_2=texts[1],
        tokenizer_2=tokenizer,
        text_encoder_3=t5,
        tokenizer_3=t5_tokenizer,
    )
    whole.save_pretrained(folder / "whole")
    return {"checkpoint": str(folder / "whole")}


def _flux_fill_pipeline(folder: Path) -> dict[str, Any]:
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxFillPipeline, FluxTransformer2DModel

    torch.manual_seed(0)
    tokenizer = _tokenizer(folder / "words", 77)
    t5, t5_tokenizer = _t5(32)
    # Packed latents 4 x 4, packed latents of the crop without the hole 4 x 4, packed hole 4 x scale^2 (scale 2).
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=48,
        out_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=True,
    )
    whole: Any = FluxFillPipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_autoencoder(4, SIDE, **_FLOW_VAE),
        text_encoder=_clip_text(len(tokenizer), 32, "CLIPTextModel"),
        tokenizer=tokenizer,
        text_encoder_2=t5,
        tokenizer_2=t5_tokenizer,
    )
    whole.save_pretrained(folder / "whole")
    return {"checkpoint": str(folder / "whole")}


def _qwen_pipeline(folder: Path) -> dict[str, Any]:
    import torch
    from diffusers import (
        AutoencoderKLQwenImage,
        FlowMatchEulerDiscreteScheduler,
        QwenImagePipeline,
        QwenImageTransformer2DModel,
    )

    torch.manual_seed(0)
    text_encoder, tokenizer = _qwen_vl()
    transformer = QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        guidance_embeds=False,
        axes_dims_rope=(8, 4, 4),
    )
    vae = AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )
    whole: Any = QwenImagePipeline(
        transformer=transformer,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )
    whole.save_pretrained(folder / "whole")
    return {"checkpoint": str(folder / "whole")}


def _qwen_vl() -> tuple[Any, Any]:
    """Return a Qwen2.5-VL and its tokenizer, over single bytes."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer

    pieces = [*sorted(ByteLevel.alphabet()), "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Qwen2Tokenizer(vocab={piece: number for number, piece in enumerate(pieces)}, merges=[])
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
    text = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": len(tokenizer) + 8,
        "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "rope_theta": 1e6},
    }
    names = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    ids: dict[str, Any] = {name: len(pieces) + number for number, name in enumerate(names)}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids)
    return Qwen2_5_VLForConditionalGeneration(config), tokenizer


PIPELINES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "StableDiffusionXLInpaintPipeline": _sdxl_pipeline,
    "StableDiffusionControlNetInpaintPipeline": _controlnet_pipeline,
    "StableDiffusion3InpaintPipeline": _sd3_pipeline,
    "FluxFillPipeline": _flux_fill_pipeline,
    "QwenImageInpaintPipeline": _qwen_pipeline,
}
"""Writers of a whole pipeline into a folder, by the class that a part names; they give the options that name it."""
