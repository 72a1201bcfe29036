"""Times generators and segmenters on a device and writes what it found: rows as JSON, a table as Markdown.

Every model is timed against its own reference in the same run, after a warm-up that is not counted; a GPU is waited
for before and after. Peak memory is torch's, weights included. Files are written row by row, so that a model that
doesn't fit loses no other's numbers.
"""

import gc
import json
import platform
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gpu_models import Painter, Trainee
from PIL import Image

from harness.core import environment
from harness.core.files import write_text
from harness.generators.base import Generator, Prompt
from harness.segmenters.network import Sample

ROUNDS = 2
ALONE = "one crop a call"


class Spent(NamedTuple):
    """Least seconds of a piece of work, and the most memory it had, in MB (none on a processor)."""

    seconds: float
    peak_mb: float | None


def spent(work: Callable[[], Any], device: str, *, rounds: int = ROUNDS) -> Spent:
    """Time `work` after doing it once for nothing."""
    on_gpu = torch.device(device).type == "cuda"
    work()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    seconds = []
    for _ in range(rounds):
        _wait(device)
        start = time.perf_counter()
        work()
        _wait(device)
        seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated(device) / 1e6 if on_gpu else None
    return Spent(min(seconds), peak)


def paint_speeds(
    painter: Painter, folder: Path, device: str, *, precisions: Sequence[str], compiled: bool
) -> Iterator[dict[str, Any]]:
    """One crop a call of diffusers' own pipeline in fp32 (its default) and in each precision, and the adapter's batches
    in each, at the same weights, steps and seeds; with `compiled` once more in the first, with the UNet compiled.
    """
    seconds: dict[str, float] = {}
    for precision in ("fp32", *(p for p in precisions if p != "fp32")):
        generator = painter.generator(folder, device, precision=precision)
        pictures, found = _alone(generator, painter, device)
        seconds[precision] = found.seconds / painter.alone
        yield _row(painter, ALONE, precision, seconds, seconds[precision], found.peak_mb)
        if precision in precisions:
            yield _batched(generator, painter, device, precision, seconds, pictures)
            if compiled and precision == precisions[0]:
                del generator
                _free(device)
                generator = painter.generator(folder, device, precision=precision, compiled=True)
                yield _batched(generator, painter, device, f"{precision}, compiled", seconds, pictures)
        del generator
        _free(device)


def _alone(generator: Generator, painter: Painter, device: str) -> tuple[list[np.ndarray], Spent]:
    """The authors' pattern on the generator's own pipeline, in the memory format it has by default."""
    pipeline, wanted = generator.pipeline, generator.options
    pipeline.unet.to(memory_format=torch.contiguous_format)
    pipeline.vae.to(memory_format=torch.contiguous_format)
    crops, mask, prompts, seeds = _rows(painter.alone, wanted.size)
    kept: list[np.ndarray] = []

    def work() -> None:
        kept[:] = [
            pipeline(
                prompt=prompt.text,
                image=Image.fromarray(crop),
                mask_image=Image.fromarray(mask.astype(np.uint8) * 255),
                height=wanted.size,
                width=wanted.size,
                num_inference_steps=wanted.steps,
                guidance_scale=wanted.guidance_scale,
                generator=torch.Generator().manual_seed(seed),
                strength=wanted.strength,
                output_type="np",
            ).images[0]
            for crop, prompt, seed in zip(crops, prompts, seeds, strict=True)
        ]

    found = spent(work, device)
    if wanted.channels_last:
        pipeline.unet.to(memory_format=torch.channels_last)
        pipeline.vae.to(memory_format=torch.channels_last)
    return [image * 255 for image in kept], found


def _batched(
    generator: Generator,
    painter: Painter,
    device: str,
    how: str,
    seconds: dict[str, float],
    pictures: list[np.ndarray],
) -> dict[str, Any]:
    crops, mask, prompts, seeds = _rows(painter.batch, generator.options.size)
    kept: list[np.ndarray] = []

    def work() -> None:
        kept[:] = generator.edit(crops, [mask] * len(crops), prompts, seeds)

    found = spent(work, device)
    # Memory may have ended: then the adapter went on with fewer at a time.
    size = min(generator._halving.most or painter.batch, painter.batch)
    row = _row(painter, f"{size} crops a call", how, seconds, found.seconds / painter.batch, found.peak_mb)
    apart = [np.abs(a - b) for a, b in zip(pictures, kept, strict=False)]
    return row | {"mean_difference": float(np.mean(apart)), "largest_difference": float(np.max(apart))}


def _row(
    painter: Painter, way: str, how: str, seconds: dict[str, float], a_crop: float, peak_mb: float | None
) -> dict[str, Any]:
    return {
        "model": painter.name,
        "part": painter.part,
        "way": way,
        "precision": how,
        "seconds_a_crop": a_crop,
        "peak_memory_mb": peak_mb,
        "times_alone": seconds[how.split(",")[0]] / a_crop,
        "times_alone_fp32": seconds["fp32"] / a_crop,
    }


def _rows(count: int, size: int) -> tuple[list[np.ndarray], np.ndarray, list[Prompt], list[int]]:
    """Crops that need no resizing, so that only the models differ, one mask, prompts, seeds."""
    rng = np.random.default_rng(0)
    mask = np.zeros((size, size), bool)
    mask[size // 4 : -size // 4, size // 4 : -size // 4] = True
    prompt = Prompt(text="a photo of a red car", phrase="car", label_id=26)
    return (
        [rng.integers(0, 256, (size, size, 3), dtype=np.uint8) for _ in range(count)],
        mask,
        [prompt] * count,
        list(range(count)),
    )


def train_speeds(
    trainee: Trainee, samples: Sequence[Sample], device: str, *, rounds: int = 10
) -> Iterator[dict[str, Any]]:
    """Forward and backward of one ready batch, in fp32 eager and under bf16 autocast: images a second, memory, the loss
    of the last step.
    """
    seconds: dict[str, float] = {}
    for precision in ("fp32", "bf16"):
        network = trainee.network(device)
        batch = _to(network.collate(samples), device)
        losses: list[float] = []

        def work(network: Any = network, batch: Any = batch, low: bool = precision == "bf16", losses=losses) -> None:
            with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=low):
                found = network(batch)
            total = sum(found.values())
            total.backward()
            network.zero_grad(set_to_none=True)
            losses[:] = [float(total.detach())]

        found = spent(work, device, rounds=rounds)
        seconds[precision] = found.seconds
        yield {
            "model": trainee.name,
            "part": trainee.part,
            "backbone": trainee.backbone,
            "crop": list(samples[0].image.shape[:2]),
            "precision": precision,
            "parameters_m": sum(p.numel() for p in network.parameters()) / 1e6,
            "images_a_second": len(samples) / found.seconds,
            "peak_memory_mb": found.peak_mb,
            "times_fp32": seconds["fp32"] / found.seconds,
            "loss": losses[0],
        }
        del network, batch, work
        _free(device)


def _to(value: Any, device: str) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: _to(item, device) for name, item in value.items()}
    return [_to(item, device) for item in value] if isinstance(value, list) else value


def write(root: Path, name: str, note: str, rows: Sequence[dict[str, Any]], device: str) -> Path:
    """Write `<root>/<device>/<name>.json` and `.md`; the folder. Rows of other models stay where they are of the same
    commit and software.
    """
    called = device_name(device)
    folder = root / (re.sub(r"[^a-z0-9]+", "-", called.lower()).strip("-") or "unknown")
    settings = {
        "matmul_tf32": torch.backends.cuda.matmul.allow_tf32,
        "convolution_tf32": torch.backends.cudnn.allow_tf32,
        "cuda": torch.version.cuda,
    }
    facts = {"format": 1, "device": called, "note": note, "settings": settings, "environment": environment.describe()}
    rows = [*_others(folder / f"{name}.json", facts, {row["model"] for row in rows}), *rows]
    facts["rows"] = rows
    write_text(folder / f"{name}.json", json.dumps(facts, indent=2) + "\n")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    heads = [column.replace("_", " ") for column in columns]
    lines = [heads, ["---"] * len(columns), *([_cell(row.get(column)) for column in columns] for row in rows)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    versions = ", ".join(f"{key} {value}" for key, value in environment.describe()["packages"].items())
    write_text(
        folder / f"{name}.md", f"# {called}: {name}\n\n{note}\n\n{table}\n\n{versions}, CUDA {torch.version.cuda}\n"
    )
    return folder


def _others(path: Path, facts: dict[str, Any], models: set[str]) -> list[dict[str, Any]]:
    """The rows in `path` of other models, if all else there is as in `facts`."""
    if not path.is_file():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    rows = found.pop("rows")
    return [row for row in rows if row["model"] not in models] if found == facts else []


def device_name(device: str) -> str:
    """What the device calls itself."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"processor {platform.machine()}"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _wait(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def _free(device: str) -> None:
    gc.collect()
    torch.compiler.reset()
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
