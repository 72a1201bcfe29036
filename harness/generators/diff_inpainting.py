"""DiffInpainting repaints the hole with an inpainting diffusion model, whose UNet sees the noise, the hole and its
surroundings.

Adapter over diffusers' StableDiffusionInpaintPipeline and its SDXL twin. A whole heterogeneous batch is one pipeline
call; texts are encoded once. No composite and no feathering here: the paste is harness/synthesis.
"""

from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from pydantic import Field

from harness.generators import diffusion
from harness.generators.base import Prompt
from harness.generators.painter import Painter, remembered


class InpaintOptions(diffusion.DiffusionOptions):
    """Settings of a generator that runs one of diffusers' inpainting pipelines.

    DiffInpainting needs a UNet of 9 channels: noisy latents 4, hole 1, latents of the crop without the hole 4.
    BlendedDiff needs one of 4.
    """

    family: Literal["sd", "sdxl"] = "sd"
    """Stable Diffusion 1 and 2 (one text encoder), or SDXL (two, and a condition on the picture's size)."""
    strength: float = Field(default=1.0, gt=0, le=1)
    """Share of the sampler's steps that are run; less than 1 starts from the noised source and keeps some of its
    colour."""


InpaintT = TypeVar("InpaintT", bound=InpaintOptions)


class DiffInpainting(Painter[InpaintT]):
    """The generator "DiffInpainting" of the paper: Stable Diffusion inpainting, or the tiny one trained on streets."""

    Options = InpaintOptions

    name = "diff_inpainting"
    channels: ClassVar[tuple[int, ...]] = (9,)
    """Input channels of the UNet."""

    @classmethod
    def parts_of(cls, options: InpaintT) -> tuple[str, ...]:
        """Return the components of a checkpoint; SDXL has two text encoders."""
        second = ("text_encoder_2", "tokenizer_2") if options.family == "sdxl" else ()
        return (*diffusion.PARTS, *second)

    def _load(self) -> None:
        import diffusers

        options, self._text = self.options, remembered(self._encoded)
        found = diffusion.load(options, device=self.device, channels=self.channels, parts=self.parts_of(options))
        self.pipeline: Any
        if options.family == "sdxl":
            self.pipeline = diffusers.StableDiffusionXLInpaintPipeline(**found.parts, add_watermarker=False)
        else:
            nothing = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
            self.pipeline = diffusers.StableDiffusionInpaintPipeline(**found.parts, **nothing)
        self.pipeline.set_progress_bar_config(disable=True)

    def _paint(
        self, crops: list[np.ndarray], masks: list[np.ndarray], prompts: list[Prompt], seeds: list[int]
    ) -> list[np.ndarray]:
        import torch

        wanted, sources = self.options, diffusion.noise_sources(seeds)
        with torch.inference_mode():
            images = self.pipeline(
                **self._conditions([prompt.text for prompt in prompts]),
                **self._picture(crops, masks, sources),
                height=wanted.size,
                width=wanted.size,
                strength=wanted.strength,
                num_inference_steps=wanted.steps,
                guidance_scale=wanted.guidance_scale,
                generator=sources,
                output_type="np",
            ).images
        return diffusion.to_uint8(images, self.name)

    def _picture(self, crops: list[np.ndarray], masks: list[np.ndarray], sources: list[Any]) -> dict[str, Any]:
        """Return the pipeline's picture arguments for a batch; `sources`: the noise of each row."""
        wanted = self.options
        holes = diffusion.resized_masks(masks, wanted.size, how=wanted.mask_resize, threshold=wanted.mask_threshold)
        return {"image": diffusion.resized(crops, wanted.size, wanted.image_resize), "mask_image": holes}

    def _conditions(self, texts: list[str]) -> dict[str, Any]:
        """Return the pipeline's text arguments for a batch, from the cache."""
        import torch

        rows = [self._text(text) for text in texts]
        against = self._text(self.options.negative_prompt)
        if not self.options.negative_prompt and getattr(self.pipeline.config, "force_zeros_for_empty_prompt", False):
            against = {name: torch.zeros_like(value) for name, value in against.items()}
        found = {name: torch.cat([row[name] for row in rows]) for name in against}
        return found | {f"negative_{name}": torch.cat([value] * len(rows)) for name, value in against.items()}

    def _encoded(self, text: str) -> dict[str, Any]:
        """Return a text's encodings [1, ...] by argument of the pipeline: alone, so that no other text of a batch
        changes them.
        """
        if self.options.family == "sdxl":
            hidden, _, pooled, _ = self.pipeline.encode_prompt(
                text, device=self.device, num_images_per_prompt=1, do_classifier_free_guidance=False
            )
            return {"prompt_embeds": hidden, "pooled_prompt_embeds": pooled}
        hidden, _ = self.pipeline.encode_prompt(text, self.device, 1, False)
        return {"prompt_embeds": hidden}
