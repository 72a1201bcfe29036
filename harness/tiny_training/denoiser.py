"""The UNets of the three tiny generators: what each is shown, what it must say, and the training they share.

    diff_inpainting   9 channels: noisy latents, hole, latents of the crop with the hole greyed
    blended           4 channels: noisy latents alone (a text-to-image base); starts from the inpainting weights
    gligen            9 channels: noisy latents, latents outside the hole, 1 - hole; with gated attention to (box,
    phrase);
                      starts from the inpainting weights

All predict v (Salimans and Ho 2022, appendix D) on Stable Diffusion's noise schedule and see the same frozen text
tower.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from harness.core.progress import Report, silent
from harness.core.seeds import derive
from harness.tiny_training.contrastive import class_name
from harness.tiny_training.loop import Budget, History, fit
from harness.tiny_training.pool import SIDE, Pool, box_of, hole, phrase
from harness.tiny_training.tokenizer import token_ids
from harness.tiny_training.vae import Patchwise, to_tensor

SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "prediction_type": "v_prediction",
}
WIDTHS = (24, 48, 96)
SLOTS = 30
"""Boxes that GLIGEN's attention always sees; those without a phrase hold its learned null tokens."""
_BATCH = 16
_LATENT = SIDE // 2
_FEW_STEPS = (999, 839, 679, 499, 339, 179)
"""Where a consistency sampler of 6 steps looks: half of the training draws lie round these."""


class Frozen(NamedTuple):
    """What the generators share and none of them trains."""

    encoder: Patchwise
    tokenizer: object
    text_encoder: nn.Module


class Views(NamedTuple):
    """A batch as tensors: latents [B, 4, 32, 32], the hole [B, 1, 32, 32] (1 = repaint), latents of the crop with
    the hole greyed, prompts, boxes of the hole (x0, y0, x1, y1 in 0..1) and their phrases."""

    latents: torch.Tensor
    hole: torch.Tensor
    around: torch.Tensor
    prompts: list[str]
    boxes: list[tuple[float, float, float, float]]
    phrases: list[str]


def build_unet(kind: str):
    """An untrained UNet of one of the three kinds: widths 24, 48, 96, cross-attention on the 8 x 8 level."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=_LATENT,
        in_channels=4 if kind == "blended" else 9,
        out_channels=4,
        block_out_channels=WIDTHS,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        cross_attention_dim=64,
        attention_head_dim=4,
        norm_num_groups=4,
        **({"attention_type": "gated"} if kind == "gligen" else {}),
    )


def train_unet(
    kind: str,
    pool: Pool,
    frozen: Frozen,
    *,
    start: nn.Module | None = None,
    seed: int,
    budget: Budget,
    state: Path,
    device: str,
    report: Report = silent,
) -> tuple[nn.Module, History]:
    """Train a UNet of `kind`; `start`: the inpainting UNet whose weights the other two begin with."""
    torch.manual_seed(derive(seed, kind))
    unet = build_unet(kind)
    if start is not None:
        inherit(unet, start, kind)
    unet = unet.to(device)
    kept = _alphas().to(device)
    inputs = {"diff_inpainting": _inpainting, "blended": _blended, "gligen": _gligen}[kind]
    texts = Texts(frozen, device)

    def loss_of(step: int) -> torch.Tensor:
        rng = np.random.default_rng(derive(seed, kind, step))
        views = look(pool.take(rng.integers(0, len(pool), _BATCH)), frozen.encoder, rng, kind=kind, device=device)
        times = torch.from_numpy(draw_times(rng, _BATCH)).to(device)
        noise = torch.randn(views.latents.shape, generator=torch.Generator().manual_seed(step)).to(device)
        signal, spread = kept[times].sqrt().view(-1, 1, 1, 1), (1 - kept[times]).sqrt().view(-1, 1, 1, 1)
        noisy = signal * views.latents + spread * noise
        with torch.autocast(device, torch.bfloat16, enabled=_bfloat16(device)):
            found = unet(**inputs(noisy, times, views, texts, rng)).sample.float()
        wanted = signal * noise - spread * views.latents
        weight = torch.ones_like(views.hole) if kind == "blended" else views.hole + 0.1 * (1 - views.hole)
        return ((found - wanted).square() * weight).sum() / (4 * weight.sum())

    return fit(
        unet, loss_of, budget=budget, state=state, device=device, rate=1.5e-3 if start is None else 1e-3, report=report
    )


def _bfloat16(device: str) -> bool:
    return device != "cpu" or torch.cpu._is_avx512_bf16_supported()


def _alphas() -> torch.Tensor:
    from diffusers import DDIMScheduler

    return DDIMScheduler(**SCHEDULE).alphas_cumprod


def draw_times(rng: np.random.Generator, count: int) -> np.ndarray:
    """Time steps: half round those of the 6-step sampler, a third anywhere, a sixth below 300 (against grain)."""
    kind = rng.random(count)
    near = np.asarray(_FEW_STEPS)[rng.integers(0, len(_FEW_STEPS), count)] + rng.integers(-15, 16, count)
    found = np.where(kind < 0.5, near, np.where(kind < 0.83, rng.integers(0, 1000, count), rng.integers(0, 300, count)))
    return found.clip(0, 999)


def look(pool: Pool, encoder: Patchwise, rng: np.random.Generator, *, kind: str, device: str) -> Views:
    """A batch of crops, half of them mirrored, with a hole drawn into each."""
    images, masks = pool.images.copy(), pool.masks.copy()
    mirrored = rng.random(len(pool)) < 0.5
    images[mirrored], masks[mirrored] = images[mirrored, :, ::-1], masks[mirrored, :, ::-1]
    holes = np.stack([hole(mask, rng, box_share=0.35) for mask in masks])
    pixels = to_tensor(images, device)
    covered = torch.from_numpy(holes).to(device)[:, None].float()
    boxes = [tuple(side / SIDE for side in box_of(region)) for region in holes]
    phrases = [_phrase(prompt, label, rng) for prompt, label in zip(pool.prompts, pool.label_ids, strict=True)]
    return Views(
        latents=encoder(pixels),
        hole=covered[:, :, ::2, ::2],
        around=encoder(pixels * (1 - covered)),
        prompts=[str(prompt) for prompt in pool.prompts],
        boxes=boxes,
        phrases=phrases,
    )


def _phrase(prompt: str, label_id: int, rng: np.random.Generator) -> str:
    return class_name(label_id) if rng.random() < 0.5 else phrase(prompt)


class Texts:
    """Encoded texts, each encoded once: hidden states [16, 64] and pooled [64]."""

    def __init__(self, frozen: Frozen, device: str) -> None:
        self.frozen, self.device = frozen, device
        self.known: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    @torch.no_grad()
    def __call__(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """(hidden [N, 16, 64], pooled [N, 64]) on the device."""
        for text in texts:
            if text not in self.known:
                found = self.frozen.text_encoder(token_ids(self.frozen.tokenizer, [text]))
                self.known[text] = (found.last_hidden_state[0].to(self.device), found.pooler_output[0].to(self.device))
        hidden, pooled = zip(*(self.known[text] for text in texts), strict=True)
        return torch.stack(hidden), torch.stack(pooled)


def _dropped(texts: list[str], rng: np.random.Generator, share: float) -> list[str]:
    return ["" if rng.random() < share else text for text in texts]


def _inpainting(noisy: torch.Tensor, times: torch.Tensor, views: Views, texts: Texts, rng: np.random.Generator) -> dict:
    hidden, _ = texts(_dropped(views.prompts, rng, 0.1))
    return {
        "sample": torch.cat([noisy, views.hole, views.around], 1),
        "timestep": times,
        "encoder_hidden_states": hidden,
    }


def _blended(noisy: torch.Tensor, times: torch.Tensor, views: Views, texts: Texts, rng: np.random.Generator) -> dict:
    hidden, _ = texts(_dropped(views.prompts, rng, 0.1))
    return {"sample": noisy, "timestep": times, "encoder_hidden_states": hidden}


def _gligen(noisy: torch.Tensor, times: torch.Tensor, views: Views, texts: Texts, rng: np.random.Generator) -> dict:
    draws = rng.random(len(views.prompts))
    hidden, _ = texts(["" if draw < 0.4 else text for draw, text in zip(draws, views.prompts, strict=True)])
    phrases = ["" if draw < 0.1 else text for draw, text in zip(draws, views.phrases, strict=True)]
    sample = torch.cat([noisy, views.latents * (1 - views.hole), 1 - views.hole], 1)
    grounding = ground(views.boxes, phrases, texts)
    return {
        "sample": sample,
        "timestep": times,
        "encoder_hidden_states": hidden,
        "cross_attention_kwargs": {"gligen": grounding},
    }


def ground(
    boxes: list[tuple[float, float, float, float]], phrases: list[str], texts: Callable
) -> dict[str, torch.Tensor]:
    """GLIGEN's condition: one box and phrase a row in the first of 30 slots; a row without a phrase holds none."""
    _, pooled = texts(phrases)
    rows = len(boxes)
    found = {
        "boxes": torch.zeros(rows, SLOTS, 4, device=pooled.device),
        "masks": torch.zeros(rows, SLOTS, device=pooled.device),
        "positive_embeddings": torch.zeros(rows, SLOTS, pooled.shape[1], device=pooled.device),
    }
    for row, (box, text) in enumerate(zip(boxes, phrases, strict=True)):
        if text:
            found["boxes"][row, 0] = torch.tensor(box)
            found["masks"][row, 0] = 1
            found["positive_embeddings"][row, 0] = pooled[row]
    return found


@torch.no_grad()
def inherit(unet: nn.Module, start: nn.Module, kind: str) -> None:
    """Copy the inpainting weights; conv_in is re-ordered to what `kind` is shown, GLIGEN's gates are opened.

    The zero gates of the paper open to 0.1 in the time that a tiny net is given, and then no phrase is ever heard. Open
    gates on layers whose last map is zero start from the same function and learn at the full rate.
    """
    given = dict(start.state_dict())
    first, bias = given.pop("conv_in.weight"), given.pop("conv_in.bias")
    missing = set(unet.load_state_dict(given, strict=False).missing_keys)
    if kind == "blended":
        unet.conv_in.weight.copy_(first[:, :4])
        unet.conv_in.bias.copy_(bias + first[:, 4:5].sum((1, 2, 3)))
    else:
        unet.conv_in.weight.copy_(torch.cat([first[:, :4], first[:, 5:], -first[:, 4:5]], 1))
        unet.conv_in.bias.copy_(bias + first[:, 4:5].sum((1, 2, 3)))
    for name, weight in unet.named_parameters():
        if name.endswith(("alpha_attn", "alpha_dense")):
            weight.fill_(0.7)
        elif ".fuser." in name and (".to_out.0." in name or ".ff.net.2." in name):
            weight.zero_()
    allowed = ("conv_in.", "position_net.")
    assert all(name.startswith(allowed) or ".fuser." in name for name in missing), missing
