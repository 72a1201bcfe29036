"""Batches against the authors' pattern: one crop a call, the same model, sampler and steps, in the same run."""

import time

import numpy as np
import pytest
import torch
from PIL import Image

from harness.generators.base import GeneratorPart, Prompt, load_generator
from harness.suite import load_part

ROWS = 16


@pytest.mark.parametrize("least", [1.2])
def test_diff_inpainting_in_batches(benchmark, least: float) -> None:
    data, _ = load_part("generators", "diff_inpainting", "mini")
    generator = load_generator(GeneratorPart(**data))
    rng = np.random.default_rng(0)
    crops = [rng.integers(0, 256, (96, 96, 3), dtype=np.uint8) for _ in range(ROWS)]
    mask = np.zeros((96, 96), bool)
    mask[20:80, 20:80] = True
    prompts = [Prompt(text="a photo of a red car", phrase="car", label_id=26)] * ROWS
    options, pipeline = generator.options, generator.pipeline

    def one_by_one() -> None:
        for row, crop in enumerate(crops):
            pipeline(
                prompt=prompts[row].text,
                image=Image.fromarray(crop).resize((options.size,) * 2, Image.Resampling.LANCZOS),
                mask_image=Image.fromarray(mask).resize((options.size,) * 2),
                height=options.size,
                width=options.size,
                num_inference_steps=options.steps,
                guidance_scale=options.guidance_scale,
                generator=torch.Generator().manual_seed(row),
            )

    benchmark(lambda: generator.edit(crops, [mask] * ROWS, prompts, list(range(ROWS))))
    start = time.process_time()
    one_by_one()
    alone = time.process_time() - start
    start = time.process_time()
    generator.edit(crops, [mask] * ROWS, prompts, list(range(ROWS)))
    together = time.process_time() - start
    benchmark.extra_info["CPU ms a crop"] = round(1000 * together / ROWS, 1)
    benchmark.extra_info["times as fast as one crop a call"] = round(alone / together, 2)
    assert alone / together > least
