"""Models of published sizes at random weights, built from configurations: speed does not depend on the weights.

UNets, autoencoder and text encoders as Stable Diffusion 1.5 and SDXL have them, backbones as the paper's segmenters
have them. Everything else (sampler, steps, guidance, heads, losses, crops) is what the parts say under `paper`. The
tokenizer is the small one of this repository, with CLIP's 77 positions.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from harness.core.config import parse
from harness.data.cityscapes import CITYSCAPES
from harness.generators.base import Generator, GeneratorPart
from harness.planning.suite import load_part
from harness.segmenters.base import SegmenterPart
from harness.segmenters.options import Backbone
from harness.tiny_training.tokenizer import build_tokenizer, load_tokenizer

CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
CLIP_BIG_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20}
VAE = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2}


@dataclass(frozen=True, kw_only=True)
class Painter:
    """A generator: whose part it is, and the sizes of its networks."""

    name: str
    part: str
    unet: dict[str, Any]
    texts: tuple[dict[str, Any], ...]
    vae: dict[str, Any] = field(default_factory=lambda: VAE)
    positions: int = 77
    batch: int
    """Crops a call."""
    alone: int
    """Crops by which the time of one crop a call is taken."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of the part that differ."""

    def generator(self, folder: Path, device: str, *, precision: str, compiled: bool = False) -> Generator:
        """The adapter over the checkpoint in `folder`; channels last on a GPU, as the paper's parts have it."""
        data, path = load_part("generators", self.part, "paper")
        given = {"checkpoint": str(folder), "fallbacks": [], "precision": precision, "compile": compiled}
        # BlendedDiff is timed against diffusers' own loop, which looks one step ahead for the background.
        given |= {"background": "next"} if self.part == "blended" else {}
        given |= {"channels_last": device != "cpu", **self.options}
        return parse(GeneratorPart, data | {"options": data["options"] | given}, path).build(device)


SD15 = Painter(
    name="SD 1.5",
    part="diff_inpainting",
    unet={"in_channels": 9, "sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
    texts=(CLIP_L,),
    batch=16,
    alone=4,
)
SDXL = Painter(
    name="SDXL",
    part="blended",
    unet={
        "in_channels": 4,
        "sample_size": 128,
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),
        "use_linear_projection": True,
        "cross_attention_dim": 2048,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
    texts=(CLIP_L, CLIP_BIG_G),
    batch=8,
    alone=2,
)
PAINTERS = (SD15, SDXL)


def save_random(painter: Painter, folder: Path, *, device: str, dtype: torch.dtype) -> Path:
    """Write a checkpoint of the painter's sizes in diffusers' layout; the networks are drawn on `device`."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

    torch.manual_seed(0)
    build_tokenizer(folder / "words")
    words = load_tokenizer(folder / "words")
    words.model_max_length = painter.positions
    levels = len(painter.vae["block_out_channels"])
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * levels, "up_block_types": ("UpDecoderBlock2D",) * levels}
    drawn: dict[str, torch.nn.Module] = {}
    with torch.device(device):
        drawn["unet"] = UNet2DConditionModel(**painter.unet)
        drawn["vae"] = AutoencoderKL(latent_channels=4, **blocks, **painter.vae)
    for number, sizes in enumerate(painter.texts):
        ending = f"_{number + 1}" if number else ""
        drawn[f"text_encoder{ending}"] = _text(sizes, len(words), painter.positions, projected=bool(number))
        words.save_pretrained(folder / f"tokenizer{ending}")
    for name, network in drawn.items():
        network.to(dtype).save_pretrained(folder / name)
    noise = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False}
    DDIMScheduler(**noise, set_alpha_to_one=False, steps_offset=1).save_pretrained(folder / "scheduler")
    return folder


def _text(sizes: dict[str, Any], vocabulary: int, positions: int, *, projected: bool) -> torch.nn.Module:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    ids = {"bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1, "pad_token_id": vocabulary - 1}
    shape = {"vocab_size": vocabulary, "max_position_embeddings": positions, "projection_dim": sizes["hidden_size"]}
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(CLIPTextConfig(**shape, **ids, **sizes))


@dataclass(frozen=True, kw_only=True)
class Trainee:
    """A segmenter: a backbone of its part, and that backbone's published sizes."""

    name: str
    part: str
    backbone: str
    config: dict[str, Any]
    model: dict[str, Any] = field(default_factory=dict)
    """Options of the part that differ."""

    @property
    def extractor(self) -> Backbone:
        """The backbone, from nothing."""
        family = self.parsed().backbones[self.backbone].family
        return Backbone(label=self.name, family=family, config=self.config)

    def parsed(self) -> SegmenterPart:
        """The part under the paper's profile."""
        data, path = load_part("segmenters", self.part, "paper")
        return parse(SegmenterPart, data | {"model": data.get("model", {}) | self.model}, path)

    def network(self, device: str) -> torch.nn.Module:
        """The network in training mode; the same weights every time."""
        torch.manual_seed(0)
        part = self.parsed()
        found = part.kind.build(self.extractor, part.model, CITYSCAPES)
        return found.to(device).train()


SWIN_L = {
    "embed_dim": 192,
    "depths": [2, 2, 18, 2],
    "num_heads": [6, 12, 24, 48],
    "window_size": 12,
    "image_size": 384,
    "drop_path_rate": 0.3,
}
CONVNEXT_L = {"hidden_sizes": [192, 384, 768, 1536], "depths": [3, 3, 27, 3]}
TRAINEES = (
    Trainee(name="OneFormer, Swin-L", part="oneformer", backbone="swin", config=SWIN_L),
    Trainee(name="OneFormer, ConvNeXt-L", part="oneformer", backbone="convnext", config=CONVNEXT_L),
    Trainee(name="Mask2Former, R50", part="mask2former", backbone="resnet50", config={}),
    Trainee(name="FastInst, R50", part="fastinst", backbone="resnet50", config={}),
)
