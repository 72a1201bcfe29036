"""Batches against the authors' pattern: one crop a call, the same weights, sampler, steps and guidance, in the same run
and in turns, in seconds on the wall with all cores, as both would be run.

For DiffInpainting one crop a call is diffusers' own pipeline. diffusers' GLIGEN is deprecated and paints no such crop,
and blended diffusion it has not: there it is the same adapter, crop by crop.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline
from PIL import Image

from harness.core.config import parse
from harness.generators.base import Generator, GeneratorPart, Prompt
from harness.planning.suite import load_part

ROWS = 16
RNG = np.random.default_rng(0)
CROPS = [RNG.integers(0, 256, (96, 96, 3), dtype=np.uint8) for _ in range(ROWS)]
MASK = np.zeros((96, 96), bool)
MASK[20:80, 20:80] = True
PROMPTS = [Prompt(text="a photo of a red car", phrase="car", label_id=26)] * ROWS


@pytest.fixture
def cores(benchmark):
    """All of them where speed is measured; one where other tests want theirs."""
    before = torch.get_num_threads()
    torch.set_num_threads(len(os.sched_getaffinity(0)) if benchmark.enabled else 1)
    yield
    torch.set_num_threads(before)


def by_diffusers(data: dict, path: Path) -> Callable[[], list[np.ndarray]]:
    """The crops one by one through diffusers' inpainting pipeline, as its documentation calls it."""
    generator = parse(GeneratorPart, data | {"options": data["options"] | {"channels_last": False}}, path).build()
    options, parts = generator.options, generator.pipeline.components
    nothing = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    names = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
    pipeline = StableDiffusionInpaintPipeline(**{name: parts[name] for name in names}, **nothing)
    pipeline.set_progress_bar_config(disable=True)
    side = (options.size,) * 2

    def paint() -> list[np.ndarray]:
        return [
            np.asarray(
                pipeline(
                    prompt=PROMPTS[row].text,
                    image=Image.fromarray(crop).resize(side, Image.Resampling.LANCZOS),
                    mask_image=Image.fromarray(MASK.astype(np.uint8) * 255).resize(side, Image.Resampling.LANCZOS),
                    height=options.size,
                    width=options.size,
                    num_inference_steps=options.steps,
                    guidance_scale=options.guidance_scale,
                    generator=torch.Generator().manual_seed(row),
                ).images[0]
            )
            for row, crop in enumerate(CROPS)
        ]

    return paint


def one_a_call(generator: Generator) -> list[np.ndarray]:
    """The crops one by one through our adapter."""
    return [generator.edit([crop], [MASK], PROMPTS[:1], [row])[0] for row, crop in enumerate(CROPS)]


@pytest.mark.parametrize("name", ["diff_inpainting", "gligen", "blended"])
def test_batches_against_one_crop_a_call(benchmark, bar, name, cores) -> None:
    data, path = load_part("generators", name, "mini")
    generator = parse(GeneratorPart, data, path).build()
    alone = by_diffusers(data, path) if name == "diff_inpainting" else lambda: one_a_call(generator)

    def together() -> list[np.ndarray]:
        return generator.edit(CROPS, [MASK] * ROWS, PROMPTS, list(range(ROWS)))

    def seconds(work) -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    same = [np.abs(a.astype(int) - b).max() for a, b in zip(together(), alone(), strict=True)]
    assert max(same) <= 2, "the two paint the same pictures"
    benchmark.pedantic(together, rounds=1)
    if not benchmark.enabled:
        return
    turns = [(seconds(alone), seconds(together)) for _ in range(5)]
    ratio = float(np.median([single / batch for single, batch in turns]))
    benchmark.extra_info["cores"] = torch.get_num_threads()
    benchmark.extra_info["ms a crop"] = round(1000 * min(batch for _, batch in turns) / ROWS, 1)
    bar("times as fast as one crop a call", ratio, least=1.5)
    print(f"\n{name}: {benchmark.extra_info}")
