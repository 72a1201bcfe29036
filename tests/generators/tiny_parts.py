"""Random checkpoints of a few thousand weights in diffusers' layout, and batches to paint on."""

import json

import numpy as np
import torch

from harness.generators.base import Prompt
from harness.tiny_training.tokenizer import POSITIONS, build_tokenizer, load_tokenizer

SIDE = 16
WIDTH = 16


def save_checkpoint(folder, *, channels=9, gated=False, sdxl=False):
    """A checkpoint with random weights; the autoencoder halves the side."""
    from diffusers import DDIMScheduler

    torch.manual_seed(0)
    build_tokenizer(folder / "tokenizer")
    size = len(load_tokenizer(folder / "tokenizer"))
    _text(size, projected=False).save_pretrained(folder / "text_encoder")
    if sdxl:
        build_tokenizer(folder / "tokenizer_2")
        _text(size, projected=True).save_pretrained(folder / "text_encoder_2")
    _unet(channels, gated=gated, sdxl=sdxl).save_pretrained(folder / "unet")
    _vae().save_pretrained(folder / "vae")
    noise = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False}
    DDIMScheduler(**noise, set_alpha_to_one=False, steps_offset=1).save_pretrained(folder / "scheduler")
    return folder


def _text(vocabulary, *, projected):
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    layers = {"hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1, "pad_token_id": vocabulary - 1}
    config = CLIPTextConfig(
        vocab_size=vocabulary, max_position_embeddings=POSITIONS, projection_dim=WIDTH, **layers, **ids
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def _unet(channels, *, gated, sdxl):
    from diffusers import UNet2DConditionModel

    extra = {"attention_type": "gated"} if gated else {}
    if sdxl:
        extra |= {"addition_embed_type": "text_time", "addition_time_embed_dim": 8}
        extra |= {"projection_class_embeddings_input_dim": WIDTH + 6 * 8}
    unet = UNet2DConditionModel(
        sample_size=SIDE // 2,
        in_channels=channels,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=2 * WIDTH if sdxl else WIDTH,
        attention_head_dim=2,
        norm_num_groups=4,
        **extra,
    )
    for name, weight in unet.named_parameters():
        if name.endswith(("alpha_attn", "alpha_dense")):
            weight.data.fill_(0.5)
    return unet


def _vae():
    from diffusers import AutoencoderKL

    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    return AutoencoderKL(block_out_channels=(8, 8), norm_num_groups=2, latent_channels=4, sample_size=SIDE, **blocks)


def batch(count, side=20):
    """Crops, masks, prompts and seeds of `count` rows."""
    rng = np.random.default_rng(3)
    crops = [rng.integers(0, 256, (side + row, side + row, 3), dtype=np.uint8) for row in range(count)]
    masks = [np.zeros((side + row, side + row), bool) for row in range(count)]
    for row, mask in enumerate(masks):
        mask[4 : 12 + row, 3:15] = True
    asked = [("red car", "car", 26), ("woman", "person", 24), ("green bus", "bus", 28)] * count
    prompts = [
        Prompt(text=f"a photo of a {what}", phrase=phrase, label_id=label) for what, phrase, label in asked[:count]
    ]
    return crops, masks, prompts, [100 + row for row in range(count)]


def edit_config(folder, part, **changes):
    """Change keys of a component's configuration."""
    path = folder / part / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
