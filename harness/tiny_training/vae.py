"""The tiny autoencoder is an ordinary AutoencoderKL, factor 2, 4 channels, whose encoder is given and not trained.

Encoder: the four leading principal components of 2 x 2 pixel patches, partly whitened (divided by std ** 0.5), set into
the weights of the usual convolutions. A learned encoder needs far longer to keep colours. Decoder: trained, on latents
with a little noise and on pictures patched together, so that one odd object does not shift the rest.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from harness.core.progress import Report, silent
from harness.core.seeds import derive
from harness.tiny_training.loop import History, TimeBudget, fit
from harness.tiny_training.pool_crops import SIDE, Pool

CONFIG = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "block_out_channels": (16, 32),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "layers_per_block": 1,
    "mid_block_add_attention": False,
    "norm_num_groups": 2,
    "sample_size": SIDE,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
BATCH = 8
"""Crops a step on a CPU."""
_PIXELS = 12
"""Numbers of a 2 x 2 patch: for each offset (0,0), (0,1), (1,0), (1,1) red, green, blue."""
_LOUD = 16.0
"""Constant channels of this size (half of them negative) make the group norm of the encoder a fixed scale."""
_SHIFT = 6.0
"""SiLU is the identity to 0.3 % round here."""


def patches(images: torch.Tensor) -> torch.Tensor:
    """[N, 3, H, W] -> [N, 12, H/2, W/2], the order of `_PIXELS`."""
    parts = [images[:, :, dy::2, dx::2] for dy in (0, 1) for dx in (0, 1)]
    return torch.cat(parts, dim=1)


def to_tensor(images: np.ndarray, device: str = "cpu") -> torch.Tensor:
    """uint8 [N, H, W, 3] -> float32 [N, 3, H, W] in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


def noise(like: torch.Tensor, seed: int) -> torch.Tensor:
    """Standard normal numbers in the shape of `like`, drawn where it lies."""
    return torch.randn(like.shape, generator=torch.Generator(like.device).manual_seed(seed), device=like.device)


def principal_components(pool: Pool) -> tuple[torch.Tensor, torch.Tensor, float]:
    """(matrix [4, 12], mean [12], scaling factor): latent = scaling * matrix (patch - mean) has mean square 1."""
    rows = patches(to_tensor(pool.images[:2000])).permute(0, 2, 3, 1).reshape(-1, _PIXELS).double()
    mean = rows.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov(rows.T))
    values, vectors = values.flip(0)[:4], vectors.flip(1).T[:4]
    vectors = vectors * torch.sign(vectors.sum(1, keepdim=True) + 1e-9)
    matrix = vectors / values[:, None] ** 0.25
    scaling = float((4 / values.sqrt().sum()).sqrt())
    return matrix.float(), mean.float(), scaling


def build_vae(pool: Pool) -> Any:
    """The autoencoder with its encoder set from the pool and an untrained decoder."""
    from diffusers import AutoencoderKL

    matrix, mean, scaling = principal_components(pool)
    vae: Any = AutoencoderKL(**CONFIG, scaling_factor=round(scaling, 6))
    _set_encoder(vae.encoder, matrix, mean)
    return vae


@torch.no_grad()
def _set_encoder(encoder: Any, matrix: torch.Tensor, mean: torch.Tensor) -> None:
    for weight in encoder.parameters():
        weight.zero_()
    first, half = encoder.conv_in, encoder.down_blocks[0].downsamplers[0].conv
    for offset, (dy, dx) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        for colour in range(3):
            first.weight[3 * offset + colour, colour, 1 + dy, 1 + dx] = 1
    loud = torch.tensor([_LOUD, _LOUD, -_LOUD, -_LOUD])
    first.bias[_PIXELS:] = loud
    half.weight[range(16), range(16), 0, 0] = 1
    # Either norm group holds six numbers, their negatives and the constants: its mean is 0 and its deviation nearly
    # fixed, whatever the picture; and the difference of the two signs cancels what SiLU is not linear in.
    widen = encoder.down_blocks[1].resnets[0].conv_shortcut
    scale = (_LOUD**2 / 4 + 0.75 * 0.25) ** 0.5
    bend = torch.sigmoid(torch.tensor(_SHIFT))
    slope = bend * (1 + _SHIFT * (1 - bend))
    for number in range(_PIXELS):
        plus = 16 * (number // 6) + number % 6
        for channel, sign in ((plus, 1), (plus + 6, -1)):
            widen.weight[channel, number, 0, 0] = sign
            encoder.conv_norm_out.weight[channel] = scale
            encoder.conv_norm_out.bias[channel] = _SHIFT
            encoder.conv_out.weight[:4, channel, 1, 1] = sign * matrix[:, number] / (2 * slope)
    for channel in range(4):
        widen.weight[[12 + channel, 28 + channel], 12 + channel, 0, 0] = 1
    encoder.conv_out.bias[:4] = -matrix @ mean
    encoder.conv_out.bias[4:] = -20.0


@torch.no_grad()
def encode(vae: Any, images: torch.Tensor) -> torch.Tensor:
    """Scaled latents [N, 4, H/2, W/2] of images in -1..1."""
    return vae.encode(images).latent_dist.mean * vae.config.scaling_factor


class Patchwise:
    """Computes the encoder as a linear map: 100 times cheaper and equal to 1e-3, so that training needs no stored
    latents."""

    def __init__(self, vae: Any) -> None:
        last = vae.encoder.conv_out
        bend = torch.sigmoid(torch.tensor(_SHIFT))
        slope = bend * (1 + _SHIFT * (1 - bend))
        plus = [16 * (number // 6) + number % 6 for number in range(_PIXELS)]
        scaling = vae.config.scaling_factor
        self.matrix = (scaling * 2 * slope * last.weight[:4, plus, 1, 1]).detach().float()[:, :, None, None]
        self.bias = (scaling * last.bias[:4]).detach().float()

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Scaled latents [N, 4, H/2, W/2] of images [N, 3, H, W] in -1..1."""
        return functional.conv2d(patches(images), self.matrix.to(images.device), self.bias.to(images.device))


def train_vae(
    pool: Pool, *, seed: int, batch: int = BATCH, budget: TimeBudget, state: Path, device: str, report: Report = silent
) -> tuple[torch.nn.Module, History]:
    """Train the decoder; mean square plus a little absolute error in -1..1."""
    torch.manual_seed(derive(seed, "vae"))
    vae = build_vae(pool).to(device)
    vae.encoder.requires_grad_(False)

    def loss_of(step: int) -> torch.Tensor:
        rng = np.random.default_rng(derive(seed, "vae", step))
        images = to_tensor(_patched(pool.images[rng.integers(0, len(pool), batch)], rng), device)
        latents = encode(vae, images) / vae.config.scaling_factor
        loudness = torch.from_numpy(rng.uniform(0, 0.12, (len(images), 1, 1, 1)).astype(np.float32)).to(device)
        found = vae.decode(latents + loudness * noise(latents, step)).sample
        return functional.mse_loss(found, images) + 0.2 * functional.l1_loss(found, images)

    return fit(vae, loss_of, budget=budget, state=state, device=device, rate=3e-3, report=report)


def _patched(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every second picture gets a rectangle of its neighbour; half of all are mirrored."""
    result = images.copy()
    for row in range(0, len(images), 2):
        y, x = rng.integers(0, SIDE // 2, 2)
        h, w = rng.integers(8, SIDE // 2, 2)
        result[row, y : y + h, x : x + w] = images[row - 1, y : y + h, x : x + w]
    if rng.random() < 0.5:
        result = result[:, :, ::-1]
    return result


@torch.no_grad()
def decibels(vae: Any, images: np.ndarray) -> float:
    """Peak signal-to-noise ratio of the round trip, in dB, over all pixels."""
    source = to_tensor(images)
    found = vae.decode(vae.encode(source).latent_dist.mode()).sample.clamp(-1, 1)
    return float(10 * torch.log10(4 / functional.mse_loss(found, source)))
