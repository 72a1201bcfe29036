"""DiffInpainting: repaint the hole with an inpainting diffusion model, a UNet that sees the noise, the hole and
what is around.

Adapter over diffusers' StableDiffusionInpaintPipeline (9 channels). A whole heterogeneous batch is one pipeline
call; texts are encoded once. No composite and no feathering here: the paste is harness/synthesis.
"""

from typing import Any

import numpy as np

from harness.generators import diffusion
from harness.generators.base import Prompt


class DiffInpainting:
    """The generator "DiffInpainting" of the paper: Stable Diffusion inpainting, or the tiny one trained on streets."""

    class Options(diffusion.DiffusionOptions):
        """See `DiffusionOptions`; the checkpoint needs a UNet of 9 channels."""

    name = "diff_inpainting"
    channels = (9,)

    def __init__(self, options: Options, *, device: str) -> None:
        from diffusers import StableDiffusionInpaintPipeline

        self.options, self.device = options, device
        self._halving = diffusion.Halving(self.name)
        found = diffusion.load(options, device=device, channels=self.channels)
        self.pipeline = StableDiffusionInpaintPipeline(
            **found.parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
        self.pipeline.set_progress_bar_config(disable=True)
        self._texts: dict[str, Any] = {}

    @staticmethod
    def fingerprint(options: Options) -> str:
        """What the checkpoint adds to a content key."""
        return diffusion.fingerprint(options)

    def edit(
        self, crops: list[np.ndarray], masks: list[np.ndarray], prompts: list[Prompt], seeds: list[int]
    ) -> list[np.ndarray]:
        """Repaint each crop inside its mask (see `Generator.edit`); results have the side `size` of the options."""
        diffusion.check_rows(crops, masks, prompts, seeds)

        def paint(rows: range) -> list[np.ndarray]:
            part = slice(rows.start, rows.stop)
            return self._paint(crops[part], masks[part], prompts[part], seeds[part])

        return self._halving(len(crops), paint)

    def _paint(
        self, crops: list[np.ndarray], masks: list[np.ndarray], prompts: list[Prompt], seeds: list[int]
    ) -> list[np.ndarray]:
        import torch

        wanted = self.options
        rule = {"how": wanted.mask_resize, "threshold": wanted.mask_threshold}
        with torch.inference_mode():
            images = self.pipeline(
                prompt_embeds=torch.cat([self._text(prompt.text) for prompt in prompts]),
                negative_prompt_embeds=torch.cat([self._text(wanted.negative_prompt)] * len(prompts)),
                image=diffusion.resized(crops, wanted.size),
                mask_image=diffusion.resized_masks(masks, wanted.size, **rule),
                height=wanted.size,
                width=wanted.size,
                strength=wanted.strength,
                num_inference_steps=wanted.steps,
                guidance_scale=wanted.guidance_scale,
                generator=diffusion.generators(seeds),
                output_type="np",
            ).images
        return diffusion.to_uint8(images, self.name)

    def _text(self, text: str) -> Any:
        """Hidden states [1, positions, width] of a text, encoded alone and once, so that no batch changes them."""
        if text not in self._texts:
            found, _ = self.pipeline.encode_prompt(text, self.device, 1, False)
            self._texts[text] = found
        return self._texts[text]
