"""Each checkpoint has one function: which data and parts it uses, what it measures on held-out crops, what it writes.

Left to train.py: the command line. Left to clip, vae, judge, denoiser: the models and their losses.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from harness.core.progress import Report
from harness.tiny_training import card, contrastive, denoiser, judge, segmenter, vae
from harness.tiny_training.loop import History, TimeBudget
from harness.tiny_training.pool_crops import Pool, draw_pool
from harness.tiny_training.tokenizer import build_tokenizer, load_tokenizer
from harness.tiny_training.training_order import TrainingOrder, need

if TYPE_CHECKING:
    from PIL.Image import Image

HELD_OUT = 1_000_000
"""Pool seed of the crops that nothing is trained on."""
_HELD = 500
_HELD_SCENES = 100


def _pool(order: TrainingOrder, report: Report) -> Pool:
    return draw_pool(order.out / "work", seed=order.seed, count=order.crops, workers=order.workers, report=report)


def held_out(order: TrainingOrder) -> Pool:
    """500 crops that no part has seen."""
    return draw_pool(order.out / "work", seed=HELD_OUT, count=_HELD)


def _common(order: TrainingOrder, report: Report) -> dict:
    torch.set_float32_matmul_precision("high")
    state = order.out / "work" / f"{order.part}-{order.seed}.pt"
    budget = TimeBudget(minutes=order.minutes, steps=order.steps)
    batch = order.scale * BATCHES[order.part]
    return {
        "seed": order.seed,
        "batch": batch,
        "budget": budget,
        "state": state,
        "device": order.device,
        "report": report,
    }


def _finish(
    order: TrainingOrder, folder: Path, history: History, scores: dict[str, float], sheet: "Image | None" = None
) -> Path:
    facts = {key: str(value) for key, value in asdict(order).items() if key not in ("out", "part", "steps", "workers")}
    card.write(folder, order.part, facts=facts, history=history, scores=scores, sheet=sheet)
    return folder


def train_text_encoder(order: TrainingOrder, report: Report) -> Path:
    """Train the tokenizer and the text tower of a CLIP, by which the generators read prompts."""
    from transformers import CLIPTextModel

    build_tokenizer(order.out / "tokenizer")
    model, history, scores = _contrast(order, report)
    folder = order.out / "text_encoder"
    text_encoder = CLIPTextModel(model.config.text_config)
    text_encoder.load_state_dict(model.text_model.state_dict())
    save(text_encoder, folder)
    return _finish(order, folder, history, scores)


def train_clip(order: TrainingOrder, report: Report) -> Path:
    """Train the CLIP that scores images; it is not the one of the generators, or they would be judged by what taught
    them."""
    need(order.out, "tokenizer")
    model, history, scores = _contrast(order, report)
    save(model, order.out / "clip")
    return _finish(order, order.out / "clip", history, scores)


def _contrast(order: TrainingOrder, report: Report) -> tuple[Any, History, dict[str, float]]:
    """Return a trained CLIP, its history, and what it finds on held-out crops."""
    tokenizer = load_tokenizer(order.out / "tokenizer")
    model, history = contrastive.train_clip(_pool(order, report), tokenizer, **_common(order, report))
    return model, history, contrastive.zero_shot(model.cpu(), tokenizer, held_out(order))


def train_vae(order: TrainingOrder, report: Report) -> Path:
    """Train the autoencoder."""
    model, history = vae.train_vae(_pool(order, report), **_common(order, report))
    folder = order.out / "vae"
    save(model, folder)
    return _finish(order, folder, history, {"PSNR, dB": vae.decibels(model.cpu(), held_out(order).images)})


def train_judge(order: TrainingOrder, report: Report) -> Path:
    """Train the classifier that judges the generators."""
    from safetensors.torch import save_file

    model, history = judge.train_judge(_pool(order, report), **_common(order, report))
    folder = order.out / "judge"
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: weight.half() if weight.is_floating_point() else weight for name, weight in model.state_dict().items()
    }
    save_file({name: weight.cpu().contiguous() for name, weight in weights.items()}, folder / "model.safetensors")
    held = held_out(order)
    found = judge.judged(model.cpu(), held.images, held.masks, held.label_ids, held.prompts.tolist())
    return _finish(order, folder, history, found.shares())


def train_unet(order: TrainingOrder, report: Report) -> Path:
    """Train one of the three UNets, and write its scheduler and a sample sheet."""
    from diffusers import DDIMScheduler, UNet2DConditionModel

    frozen = load_frozen(order.out)
    start = None
    if order.part != "diff_inpainting":
        start = UNet2DConditionModel.from_pretrained(need(order.out, "diff_inpainting") / "unet")
    pool = _pool(order, report)
    unet, history = denoiser.train_unet(order.part, pool, frozen, start=start, **_common(order, report))
    folder = order.out / order.part
    save(unet, folder / "unet")
    scheduler: Any = DDIMScheduler(**denoiser.SCHEDULE)
    scheduler.save_pretrained(folder / "scheduler")
    need(order.out, "judge")
    held = held_out(order)
    scores, sheet = card.followed(order.part, order.out, held, device=order.device)
    boxed, _ = card.followed(order.part, order.out, held, device=order.device, box=True)
    scores |= {f"{name}, box masks": boxed[name] for name in ("class", "colour")}
    return _finish(order, folder, history, scores, sheet=sheet)


def train_segmenter(order: TrainingOrder, report: Report) -> Path:
    """Train the weights that a mini segmenter starts from; `crops` counts scenes."""
    start = segmenter.STARTS[order.part]
    common = _common(order, report)
    work = order.out / "work"
    root = segmenter.scenes(work, seed=order.seed, count=order.crops, workers=order.workers, report=report)
    network, history = segmenter.train_start(start, root, before=order.before, workers=min(order.workers, 4), **common)
    folder = order.out / order.part
    segmenter.save(network, start, folder)
    held = segmenter.scenes(work, seed=HELD_OUT, count=_HELD_SCENES)
    return _finish(order, folder, history, segmenter.scores(network.to("cpu"), start, held))


def load_frozen(out: Path) -> denoiser.Frozen:
    """Tokenizer, text tower and autoencoder of `out`, or the shipped ones."""
    from diffusers import AutoencoderKL
    from transformers import CLIPTextModel

    autoencoder = AutoencoderKL.from_pretrained(need(out, "vae")).eval()
    text_encoder = CLIPTextModel.from_pretrained(need(out, "text_encoder"), dtype=torch.float32).eval()
    tokenizer = load_tokenizer(need(out, "tokenizer"))
    return denoiser.Frozen(vae.Patchwise(autoencoder), tokenizer, text_encoder.requires_grad_(False))


def save(model: Any, folder: Path) -> None:
    """`model` as fp16 safetensors with its configuration; the model itself stays as it is."""
    import copy

    copy.deepcopy(model).cpu().half().save_pretrained(folder, safe_serialization=True)


BATCHES = {
    "text_encoder": contrastive.BATCH,
    "clip": contrastive.BATCH,
    "vae": vae.BATCH,
    "judge": judge.BATCH,
    **dict.fromkeys(("diff_inpainting", "blended", "gligen"), denoiser.BATCH),
    **dict.fromkeys(segmenter.STARTS, segmenter.BATCH),
}
TRAININGS = {
    "text_encoder": train_text_encoder,
    "clip": train_clip,
    "vae": train_vae,
    "judge": train_judge,
    "diff_inpainting": train_unet,
    "blended": train_unet,
    "gligen": train_unet,
    **dict.fromkeys(segmenter.STARTS, train_segmenter),
}
