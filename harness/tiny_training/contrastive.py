"""The tiny CLIP has an image and a text tower, trained against each other on captioned crops.

Trained twice: of one the text tower, then frozen, is the text encoder of all three generators, as OpenAI's CLIP is
Stable Diffusion's; the other, of another seed and other crops, scores their images. Without the first (text encoder
trained with the UNet) colours separate and classes do not, since silhouettes give classes away.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from harness.core.progress import Report, silent
from harness.core.seeds import derive
from harness.data.cityscapes import CITYSCAPES
from harness.tiny_training.loop import History, TimeBudget, fit
from harness.tiny_training.pool_crops import SIDE, Pool, detail, phrase
from harness.tiny_training.tokenizer import CLASSES, POSITIONS, token_ids
from harness.tiny_training.vae import noise, to_tensor

BATCH = 64
"""Crops a step on a CPU."""
_FORMS = ("prompt", "phrase", "class")


@dataclass(frozen=True, kw_only=True)
class Caption:
    """A text and what it claims: a class, and a detail (colour, woman, male) or none."""

    text: str
    label_id: int
    detail: str | None


def build_clip(vocabulary: int, end: int) -> Any:
    """Return an untrained CLIPModel: vision 3 layers of 128 on 8 x 8 patches, text 2 layers of 64, 64 shared
    dimensions.
    """
    from transformers import CLIPConfig, CLIPModel

    text = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
    text |= {"vocab_size": vocabulary, "max_position_embeddings": POSITIONS, "projection_dim": 64}
    text |= {"bos_token_id": end - 1, "eos_token_id": end, "pad_token_id": end}
    vision = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 3, "num_attention_heads": 4}
    vision |= {"image_size": SIDE, "patch_size": 8, "projection_dim": 64}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=64))


def train_clip(
    pool: Pool,
    tokenizer: Any,
    *,
    seed: int,
    batch: int = BATCH,
    budget: TimeBudget,
    state: Path,
    device: str,
    report: Report = silent,
) -> tuple[torch.nn.Module, History]:
    """Contrastive training (Radford et al. 2021), with every true caption of a batch as a target, not only a crop's
    own."""
    torch.manual_seed(derive(seed, "clip"))
    model = build_clip(len(tokenizer), tokenizer.eos_token_id).to(device)

    def loss_of(step: int) -> torch.Tensor:
        rng = np.random.default_rng(derive(seed, "clip", step))
        crops = pool.take(rng.integers(0, len(pool), batch))
        captions = _captions(crops, rng)
        images = crops.images[:, :, ::-1] if rng.random() < 0.5 else crops.images
        pixels = to_tensor(images, device)
        pixels = pixels + 0.08 * noise(pixels, step)
        ids = token_ids(tokenizer, [caption.text for caption in captions]).to(device)
        logits = model(input_ids=ids, pixel_values=pixels).logits_per_image
        truth = torch.from_numpy(_truth(crops, captions)).to(device).float()
        return (_soft(logits, truth) + _soft(logits.T, truth.T)) / 2

    return fit(model, loss_of, budget=budget, state=state, device=device, rate=1e-3, report=report)


def _truth(crops: Pool, captions: list[Caption]) -> np.ndarray:
    """Return which caption (second axis) is true of which crop, bool [N, N]."""
    details = np.array([detail(prompt) for prompt in crops.prompts])
    claims = np.array([caption.detail or "" for caption in captions])
    labels = np.array([caption.label_id for caption in captions])
    return (crops.label_ids[:, None] == labels) & ((claims == "") | (details[:, None] == claims))


def _captions(batch: Pool, rng: np.random.Generator) -> list[Caption]:
    """Return one text per crop: the prompt in half of the draws, else its phrase or the bare class."""
    found = []
    for prompt, label in zip(batch.prompts, batch.label_ids, strict=True):
        form = rng.choice(_FORMS, p=(0.55, 0.25, 0.2))
        text = {"prompt": str(prompt), "phrase": phrase(prompt), "class": class_name(label)}[form]
        found.append(Caption(text=text, label_id=int(label), detail=None if form == "class" else detail(prompt)))
    return found


def class_name(label_id: int) -> str:
    """Return the name of a thing class: 26 -> "car"."""
    return CITYSCAPES.by_id[int(label_id)].name


LABEL_IDS = tuple(CITYSCAPES.by_name[name].id for name in CLASSES)
"""Ids of the eight classes, in the order of CLASSES."""


def _soft(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits, truth / truth.sum(1, keepdim=True).clamp(min=1))


@torch.no_grad()
def zero_shot(model: Any, tokenizer: Any, pool: Pool) -> dict[str, float]:
    """Share of crops whose class, and whose whole prompt among all prompts of the pool, is the nearest text."""
    prompts = sorted(set(pool.prompts.tolist()))
    names = token_ids(tokenizer, prompts + list(CLASSES))
    logits = model(input_ids=names, pixel_values=to_tensor(pool.images)).logits_per_image.numpy()
    found = np.array(prompts)[logits[:, : len(prompts)].argmax(1)]
    classes = np.array(LABEL_IDS)[logits[:, len(prompts) :].argmax(1)]
    return {
        "class": float((classes == pool.label_ids).mean()),
        "prompt": float((found == pool.prompts).mean()),
        "prompts": float(len(prompts)),
    }
