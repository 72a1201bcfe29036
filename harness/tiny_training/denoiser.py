"""The UNets of the three tiny generators share this training; the module says what each sees and what it must predict.

    diff_inpainting   9 channels: noisy latents, hole, latents of the crop with the hole greyed
    blended           4 channels: noisy latents alone (a text-to-image base); starts from the inpainting weights
    gligen            9 channels: noisy latents, latents outside the hole, 1 - hole; with gated attention to (box,
    phrase);
                      starts from the inpainting weights

All predict v (Salimans and Ho 2022, appendix D) on Stable Diffusion's noise schedule and see the same frozen text
tower.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from harness.core.progress import Report, silent
from harness.core.seeds import derive
from harness.tiny_training.contrastive import class_name
from harness.tiny_training.loop import History, TimeBudget, fit
from harness.tiny_training.pool_crops import SIDE, Pool, phrase
from harness.tiny_training.tokenizer import token_ids
from harness.tiny_training.vae import Patchwise, noise

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
WIDTHS = (32, 64, 80)
SLOTS = 30
"""Boxes that GLIGEN's attention always sees; those without a phrase hold its learned null tokens."""
BATCH = 16
"""Crops a step on a CPU; a GPU takes many times that."""
_LATENT = SIDE // 2
_FEW_STEPS = (999, 839, 679, 499, 339, 179)
"""Where a consistency sampler of 6 steps looks: half of the training draws lie round these."""


class Frozen(NamedTuple):
    """This holds the encoders and the tokenizer that the generators share and none of them trains."""

    encoder: Patchwise
    tokenizer: object
    text_encoder: nn.Module


class Views(NamedTuple):
    """A batch as tensors: latents [B, 4, 32, 32], the hole [B, 1, 32, 32] (1 = repaint), latents of the crop with the
    hole greyed, and boxes of the hole [B, 4] (x0, y0, x1, y1 in 0..1)."""

    latents: torch.Tensor
    hole: torch.Tensor
    around: torch.Tensor
    boxes: torch.Tensor


def build_unet(kind: str) -> Any:
    """Return an untrained UNet of one of the three kinds, with cross-attention on the 16 x 16 and 8 x 8 levels."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=_LATENT,
        in_channels=4 if kind == "blended" else 9,
        out_channels=4,
        block_out_channels=WIDTHS,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
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
    batch: int = BATCH,
    budget: TimeBudget,
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
    images, masks = (torch.from_numpy(part).to(device) for part in (pool.images, pool.masks))
    texts = EncodedTexts(frozen, pool, device)

    def loss_of(step: int) -> torch.Tensor:
        rng = np.random.default_rng(derive(seed, kind, step))
        drawn = rng.integers(0, len(pool), batch)
        rows = torch.from_numpy(drawn).to(device)
        views = look(images[rows], masks[rows], frozen.encoder, rng)
        times = torch.from_numpy(draw_times(rng, batch)).to(device)
        added = noise(views.latents, derive(seed, kind, "noise", step))
        signal, spread = kept[times].sqrt().view(-1, 1, 1, 1), (1 - kept[times]).sqrt().view(-1, 1, 1, 1)
        noisy = signal * views.latents + spread * added
        with torch.autocast(device, torch.bfloat16, enabled=_bfloat16(device)):
            found = unet(timestep=times, **inputs(noisy, views, texts, drawn, rng)).sample.float()
        wanted = signal * added - spread * views.latents
        weight = torch.ones_like(views.hole) if kind == "blended" else views.hole + 0.1 * (1 - views.hole)
        return ((found - wanted).square() * weight).sum() / (4 * weight.sum())

    return fit(
        unet, loss_of, budget=budget, state=state, device=device, rate=1.5e-3 if start is None else 1e-3, report=report
    )


def _bfloat16(device: str) -> bool:
    return device != "cpu" or torch.cpu._is_avx512_bf16_supported()


def _alphas() -> torch.Tensor:
    from diffusers import DDIMScheduler

    scheduler: Any = DDIMScheduler(**SCHEDULE)
    return scheduler.alphas_cumprod


def draw_times(rng: np.random.Generator, count: int) -> np.ndarray:
    """Time steps: half round those of the 6-step sampler, a third anywhere, a sixth below 300 (against grain)."""
    kind = rng.random(count)
    near = np.asarray(_FEW_STEPS)[rng.integers(0, len(_FEW_STEPS), count)] + rng.integers(-15, 16, count)
    found = np.where(kind < 0.5, near, np.where(kind < 0.83, rng.integers(0, 1000, count), rng.integers(0, 300, count)))
    return found.clip(0, 999)


def look(images: torch.Tensor, masks: torch.Tensor, encoder: Patchwise, rng: np.random.Generator) -> Views:
    """Return a batch of crops (uint8 [B, 64, 64, 3], masks bool [B, 64, 64]), half of them mirrored, with a hole in
    each.
    """
    mirrored = _like(rng.random(len(images)) < 0.5, images)[:, None, None]
    masks = torch.where(mirrored, masks.flip(2), masks)
    images = torch.where(mirrored[..., None], images.flip(2), images)
    covered = holes(masks, rng, box_share=0.35)
    pixels = images.permute(0, 3, 1, 2).float() / 127.5 - 1
    hidden = covered[:, None].float()
    return Views(
        latents=encoder(pixels),
        hole=hidden[:, :, ::2, ::2],
        around=encoder(pixels * (1 - hidden)),
        boxes=boxes_of(covered).float() / SIDE,
    )


def holes(masks: torch.Tensor, rng: np.random.Generator, *, box_share: float) -> torch.Tensor:
    """Return the regions to repaint, bool [B, H, W]: each silhouette grown by 1 or 2 pixels, or in `box_share` of the
    draws its box grown by 1 to 3.

    Grown, because a rim of the old object would tell its colour and the net would copy that instead of reading the
    prompt.
    """
    count, side = len(masks), masks.shape[-1]
    x0, y0, x1, y1 = boxes_of(masks).T[..., None]
    grow = _like(rng.integers(1, 4, count), masks)[:, None]
    place = torch.arange(side, device=masks.device)
    columns, rows = (place >= x0 - grow) & (place < x1 + grow), (place >= y0 - grow) & (place < y1 + grow)
    once = grown(masks)
    outline = torch.where(_like(rng.random(count) < 0.3, masks)[:, None, None], grown(once), once)
    boxed = _like(rng.random(count) < box_share, masks)[:, None, None]
    return torch.where(boxed, rows[:, :, None] & columns[:, None, :], outline)


def grown(masks: torch.Tensor) -> torch.Tensor:
    """Masks bool [B, H, W] with their 8-neighbours."""
    return functional.max_pool2d(masks.float(), 3, stride=1, padding=1) > 0


def boxes_of(masks: torch.Tensor) -> torch.Tensor:
    """(x0, y0, x1, y1), half open, of the true pixels of masks bool [B, H, W]; the whole square when there are none."""
    found = []
    for seen in (masks.any(1), masks.any(2)):
        length = seen.shape[1]
        seen = seen | ~seen.any(1, keepdim=True)
        found.append((seen.int().argmax(1), length - seen.flip(1).int().argmax(1)))
    (x0, x1), (y0, y1) = found
    return torch.stack([x0, y0, x1, y1], 1)


def _like(values: np.ndarray, other: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(values).to(other.device)


class EncodedTexts:
    """The texts of a pool, each encoded once: prompts, their phrases ("red car"), class names, and nothing."""

    @torch.no_grad()
    def __init__(self, frozen: Frozen, pool: Pool, device: str) -> None:
        told = [[str(prompt) for prompt in pool.prompts], [phrase(str(prompt)) for prompt in pool.prompts]]
        told.append([class_name(label) for label in pool.label_ids])
        every = ["", *sorted({text for texts in told for text in texts})]
        number = {text: k for k, text in enumerate(every)}
        self.prompts, self.phrases, self.classes = (np.array([number[text] for text in texts]) for texts in told)
        found = frozen.text_encoder(token_ids(frozen.tokenizer, every))
        self.hidden, self.pooled = found.last_hidden_state.to(device), found.pooler_output.to(device)

    def read(self, numbers: np.ndarray) -> torch.Tensor:
        """Hidden states [B, 16, 64] of texts by number; 0 is nothing."""
        return self.hidden[_like(numbers, self.hidden)]


def _dropped(numbers: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    return np.where(rng.random(len(numbers)) < share, 0, numbers)


def _inpainting(
    noisy: torch.Tensor, views: Views, texts: EncodedTexts, rows: np.ndarray, rng: np.random.Generator
) -> dict[str, object]:
    hidden = texts.read(_dropped(texts.prompts[rows], rng, 0.1))
    return {"sample": torch.cat([noisy, views.hole, views.around], 1), "encoder_hidden_states": hidden}


def _blended(
    noisy: torch.Tensor, views: Views, texts: EncodedTexts, rows: np.ndarray, rng: np.random.Generator
) -> dict[str, object]:
    return {"sample": noisy, "encoder_hidden_states": texts.read(_dropped(texts.prompts[rows], rng, 0.1))}


def _gligen(
    noisy: torch.Tensor, views: Views, texts: EncodedTexts, rows: np.ndarray, rng: np.random.Generator
) -> dict[str, object]:
    hidden = texts.read(_dropped(texts.prompts[rows], rng, 0.4))
    named = np.where(rng.random(len(rows)) < 0.5, texts.classes[rows], texts.phrases[rows])
    grounding = ground(views.boxes, _dropped(named, rng, 0.1), texts)
    return {
        "sample": torch.cat([noisy, views.latents * (1 - views.hole), 1 - views.hole], 1),
        "encoder_hidden_states": hidden,
        "cross_attention_kwargs": {"gligen": grounding},
    }


def ground(boxes: torch.Tensor, phrases: np.ndarray, texts: EncodedTexts) -> dict[str, torch.Tensor]:
    """GLIGEN's condition: one box and phrase a row in the first of 30 slots; a row without a phrase holds none."""
    rows, pooled = len(boxes), texts.pooled
    there = _like(phrases > 0, pooled).float()
    found = {
        "boxes": torch.zeros(rows, SLOTS, 4, device=pooled.device),
        "masks": torch.zeros(rows, SLOTS, device=pooled.device),
        "positive_embeddings": torch.zeros(rows, SLOTS, pooled.shape[1], device=pooled.device),
    }
    found["boxes"][:, 0] = boxes * there[:, None]
    found["masks"][:, 0] = there
    found["positive_embeddings"][:, 0] = pooled[_like(phrases, pooled)] * there[:, None]
    return found


@torch.no_grad()
def inherit(unet: Any, start: nn.Module, kind: str) -> None:
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
