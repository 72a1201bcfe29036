"""Batches against the authors' pattern: diffusers' own pipeline, one crop a call, the same weights, sampler, steps and
guidance, in the same run and in turns, in processor time."""

import time

import numpy as np
import torch
from diffusers import StableDiffusionInpaintPipeline
from PIL import Image

from harness.generators.base import GeneratorPart, Prompt, load_generator
from harness.suite import load_part

ROWS = 16


def test_diff_inpainting_in_batches(benchmark) -> None:
    data, _ = load_part("generators", "diff_inpainting", "mini")
    generator = load_generator(GeneratorPart(**data))
    plain = load_generator(GeneratorPart(**data | {"options": data["options"] | {"channels_last": False}}))
    nothing = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    names = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
    pipeline = StableDiffusionInpaintPipeline(**{n: plain.pipeline.components[n] for n in names}, **nothing)
    pipeline.set_progress_bar_config(disable=True)
    rng = np.random.default_rng(0)
    crops = [rng.integers(0, 256, (96, 96, 3), dtype=np.uint8) for _ in range(ROWS)]
    mask = np.zeros((96, 96), bool)
    mask[20:80, 20:80] = True
    prompts = [Prompt(text="a photo of a red car", phrase="car", label_id=26)] * ROWS
    options = generator.options

    def together() -> list[np.ndarray]:
        return generator.edit(crops, [mask] * ROWS, prompts, list(range(ROWS)))

    def one_by_one() -> list[np.ndarray]:
        return [
            np.asarray(
                pipeline(
                    prompt=prompts[row].text,
                    image=Image.fromarray(crop).resize((options.size,) * 2, Image.Resampling.LANCZOS),
                    mask_image=Image.fromarray(mask.astype(np.uint8) * 255).resize(
                        (options.size,) * 2, Image.Resampling.LANCZOS
                    ),
                    height=options.size,
                    width=options.size,
                    num_inference_steps=options.steps,
                    guidance_scale=options.guidance_scale,
                    generator=torch.Generator().manual_seed(row),
                ).images[0]
            )
            for row, crop in enumerate(crops)
        ]

    def seconds(work) -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    same = [np.abs(a.astype(int) - b).max() for a, b in zip(together(), one_by_one(), strict=True)]
    assert max(same) <= 2, "the two paint the same pictures"
    benchmark(together)
    turns = [(seconds(one_by_one), seconds(together)) for _ in range(3)]
    ratio = float(np.median([alone / batch for alone, batch in turns]))
    benchmark.extra_info["CPU ms a crop"] = round(1000 * min(batch for _, batch in turns) / ROWS, 1)
    benchmark.extra_info["times as fast as one crop a call"] = round(ratio, 2)
    assert ratio > 1.5
