"""The card of a tiny checkpoint says what it is, what it learned from and how it does on held-out crops, with pictures.

Scores stand beside those of the really drawn crops and beside chance, because judges err and some colours are common.
"""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from harness.core.seeds import derive
from harness.tiny_training.pool_crops import Pool, box_of

if TYPE_CHECKING:
    from harness.tiny_training.loop import History

ROWS = 200
"""Held-out crops that a generator is judged on."""
_PROMPTS = {
    "person": ("a photo of a woman", "a photo of a man"),
    "rider": ("a photo of a male rider", "a photo of a female rider"),
    "car": ("a photo of a red car", "a photo of a white car"),
    "truck": ("a photo of a red truck", "a photo of a green truck"),
    "bus": ("a photo of a red bus", "a photo of a green bus"),
    "train": ("a photo of a red train", "a photo of a black train"),
    "motorcycle": ("a photo of a black motorcycle", "a photo of a white motorcycle"),
    "bicycle": ("a photo of a white bicycle", "a photo of a black bicycle"),
}
_ABOUT = {
    "text_encoder": "CLIPTextModel of transformers, 2 x 64: the text tower of a CLIP, frozen, that all generators "
    "hear.",
    "clip": "CLIPModel of transformers: image tower 3 x 128, 8 x 8 patches; text tower 2 x 64. Scores images; its "
    "seed\nand crops are others than those of ../text_encoder, so no generator was taught by it.",
    "vae": "AutoencoderKL of diffusers, factor 2, 4 channels: encoder from principal components, trained decoder.",
    "judge": "A small classifier of class and detail that judges the generators and had no part in training them.",
    "diff_inpainting": "UNet2DConditionModel, 9 channels, for StableDiffusionInpaintPipeline.",
    "blended": "UNet2DConditionModel, 4 channels: the text-to-image base of blended latent diffusion.",
    "gligen": "UNet2DConditionModel, 9 channels, gated attention to boxes and phrases: GLIGEN inpainting.",
    "oneformer_convnext": "OneFormerForUniversalSegmentation of transformers without its class head: what Mapillary's "
    "network is to\nthe paper's OneFormer with ConvNeXt.",
    "swin": "SwinBackbone of transformers, learnt in a OneFormer: what ImageNet's Swin is to the paper's OneFormer.",
    "resnet": "ResNetBackbone of transformers, learnt in a Mask2Former: what ImageNet's ResNet-50 is to the paper's "
    "Mask2Former\nand FastInst.",
    "panoptic_deeplab": "A whole Panoptic-DeepLab of this repository without its class head.",
    "axial_l": "A whole Axial-DeepLab-L of this repository, shrunk, without its class head.",
    "axial_xl": "A whole Axial-DeepLab-XL of this repository, shrunk, without its class head.",
    "kmax": "A whole kMaX-DeepLab of this repository without its class heads.",
}


STARTS = ("oneformer_convnext", "swin", "resnet", "panoptic_deeplab", "axial_l", "axial_xl", "kmax")
"""Parts that learn from whole scenes."""


def asked(pool: Pool) -> tuple[np.ndarray, list[str]]:
    """For the first crops of `pool` a prompt of the paper that names another detail than is there, where there is
    one."""
    from harness.tiny_training.contrastive import class_name

    prompts = []
    for row, (label, drawn) in enumerate(zip(pool.label_ids[:ROWS], pool.prompts[:ROWS], strict=True)):
        both = _PROMPTS[class_name(label)]
        other = [prompt for prompt in both if prompt != drawn]
        prompts.append(other[row // 8 % len(other)])
    return np.arange(len(prompts)), prompts


def followed(
    part: str, out: Path, pool: Pool, *, rows: int = ROWS, device: str = "cpu", box: bool = False
) -> tuple[dict[str, float], Image.Image]:
    """Return how well generator `part` of folder `out` follows its prompts on held-out crops, and a sheet of them.

    Results are pasted through the silhouette as in synthesis (`box`: through the box). "drawn": the same judges on
    the untouched crops and their true captions; "chance": on the untouched crops and the prompts asked for, whose class
    is always the one that is there, so for the class "grey hole": on crops with nothing painted in.
    """
    from harness.tiny_training import judge as judges

    index, prompts = asked(pool)
    index, prompts = index[:rows], prompts[:rows]
    pool = pool.take(index)
    masks = np.stack([_boxed(mask) for mask in pool.masks]) if box else pool.masks
    images = _paint(part, out, pool, masks, prompts, device)
    pasted = np.where(masks[..., None], images, pool.images)
    judge = judges.load(out / "judge")
    facts = (pool.masks, pool.label_ids)
    scores = dict(judges.judged(judge, pasted, *facts, prompts).shares())
    drawn = judges.judged(judge, pool.images, *facts, pool.prompts.tolist()).shares()
    chance = judges.judged(judge, pool.images, *facts, prompts).shares()
    grey = np.where(masks[..., None], 128, pool.images).astype(np.uint8)
    empty = judges.judged(judge, grey, *facts, prompts).shares()
    scores |= {f"{name}, drawn": value for name, value in drawn.items()}
    scores |= {f"{name}, chance": chance[name] for name in ("colour", "colour (classifier)", "figure")}
    scores |= {"class, grey hole": empty["class"]}
    return scores, sheet(pool, masks, prompts, pasted)


def _boxed(mask: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = box_of(mask)
    result = np.zeros_like(mask)
    result[y0:y1, x0:x1] = True
    return result


def _paint(part: str, out: Path, pool: Pool, masks: np.ndarray, prompts: list[str], device: str = "cpu") -> np.ndarray:
    """Return the generator with the settings of its mini profile, on the weights in `out`."""
    from harness.core.config import parse
    from harness.generators.base import GeneratorPart, Prompt
    from harness.planning.suite import load_part
    from harness.tiny_training.contrastive import class_name

    data, path = load_part("generators", part, "mini")
    data["options"] = data["options"] | {"checkpoint": str(out.resolve() / part)}
    setup = parse(GeneratorPart, data, path)
    generator = setup.build(device)
    labels = [int(label) for label in pool.label_ids]
    asked_for = [
        Prompt(text=text, phrase=class_name(label), label_id=label) for text, label in zip(prompts, labels, strict=True)
    ]
    seeds = [derive(0, "card", row) for row in range(len(prompts))]
    images = []
    for start in range(0, len(prompts), setup.batch_size):
        part_of = slice(start, start + setup.batch_size)
        images += generator.edit(list(pool.images[part_of]), list(masks[part_of]), asked_for[part_of], seeds[part_of])
    return np.stack(images)


def sheet(
    pool: Pool, masks: np.ndarray, prompts: list[str], results: np.ndarray, *, cells: int = 32, across: int = 8
) -> Image.Image:
    """Source, hole and result of the first crops, one column each, with the prompt below."""
    side, text = 96, 12
    rows = math.ceil(min(cells, len(prompts)) / across)
    picture = Image.new("RGB", (across * (side + 4), rows * (3 * side + text + 6)), "white")
    draw = ImageDraw.Draw(picture)
    for cell in range(min(cells, len(prompts))):
        x, y = cell % across * (side + 4), cell // across * (3 * side + text + 6)
        hole = np.where(masks[cell][..., None], 128, pool.images[cell]).astype(np.uint8)
        for line, image in enumerate((pool.images[cell], hole, results[cell])):
            picture.paste(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC), (x, y + line * side))
        draw.text((x, y + 3 * side), prompts[cell].removeprefix("a photo of a ")[:18], "black")
    return picture


def write(
    folder: Path,
    part: str,
    *,
    facts: dict[str, str],
    history: "History",
    scores: dict[str, float],
    sheet: Image.Image | None = None,
) -> None:
    """README.md with training.json beside it, the loss curve, and the sample sheet where there is one."""
    curve(history.losses).save(folder / "loss.png", optimize=True)
    if sheet is not None:
        sheet.convert("P", palette=Image.Palette.ADAPTIVE).save(folder / "samples.png", optimize=True)
    training = {"part": part, "steps": history.steps, "seconds": round(history.seconds), **facts, "scores": scores}
    losses = [round(loss, 5) for loss in history.losses]
    text = json.dumps(training | {"losses_of_50_steps": losses}, indent=1) + "\n"
    (folder / "training.json").write_text(text, encoding="utf-8")
    (folder / "README.md").write_text(_readme(folder, training, losses), encoding="utf-8")


def _readme(folder: Path, training: dict, losses: list[float]) -> str:
    part = training["part"]
    size = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    kind = "scenes" if part in STARTS else "crops of 64 x 64"
    lines = [
        f"# {part}",
        "",
        _ABOUT[part],
        "",
        f"- Data: {training['crops']} {kind} from the pool of streets (seed {training['seed']}), drawn by",
        "  harness/data/streets; no frame of a train or val split, no photograph.",
        f"- Training: {training['steps']} steps, {training['seconds']} s on {training['device']},",
        f"  seed {training['seed']}.",
        f"- Again: `python -m harness.tiny_training {part} --minutes {training['minutes']}",
        f"  --crops {training['crops']} --seed {training['seed']} --scale {training['scale']}",
        f"  --device {training['device']} --out DIR`",
        "- Licence: Apache-2.0, as the code.",
    ]
    if size:
        lines.append(f"- Size: {size / 2**20:.1f} MiB, fp16 safetensors.")
    if losses:
        lines += ["", f"Loss, mean of 50 steps: first {losses[0]:.3f}, last {losses[-1]:.3f}.", "", "![loss](loss.png)"]
    lines += ["", f"| on held-out {kind.split()[0]} | |", "|---|---|"]
    lines += [f"| {name} | {value:.3f} |" for name, value in training["scores"].items()]
    if (folder / "samples.png").exists():
        lines += ["", "Source, hole, result (first held-out crops, not chosen):", "", "![samples](samples.png)"]
    return "\n".join(lines) + "\n"


def curve(losses: list[float], width: int = 480, height: int = 160) -> Image.Image:
    """Return the losses as a line, logarithmic upwards, with the ends written beside it."""
    picture = Image.new("L", (width, height), 255)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((40, 8, width - 8, height - 16), outline=160)
    if len(losses) > 1:
        levels = [math.log(max(loss, 1e-6)) for loss in losses]
        low, high = min(levels), max(max(levels), min(levels) + 1e-6)
        points = [
            (40 + (width - 48) * k / (len(levels) - 1), height - 16 - (height - 24) * (level - low) / (high - low))
            for k, level in enumerate(levels)
        ]
        draw.line(points, fill=0, width=1)
        draw.text((2, 8), f"{math.exp(high):.3f}", fill=0)
        draw.text((2, height - 28), f"{math.exp(low):.3f}", fill=0)
    draw.text((40, height - 14), f"{50 * len(losses)} steps", fill=0)
    return picture
