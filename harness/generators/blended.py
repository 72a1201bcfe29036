"""BlendedDiff is blended latent diffusion (Avrahami, Fried, Lischinski 2023): a text-to-image model that inpaints.

After every step the latents outside the hole are replaced by the source's, noised; the model itself knows of no hole.
That is what diffusers' inpainting pipelines do with a UNet of 4 channels, so this adapter only asks for one, and on
request noises as the authors do. They start after a quarter of the steps from the noised source: `strength` is the
share that is run.
"""

from typing import Any, Literal

import numpy as np

from harness.generators import diffusion
from harness.generators.diff_inpainting import DiffInpainting, InpaintOptions


class BlendedOptions(InpaintOptions):
    """Settings of blended latent diffusion; the checkpoint needs a UNet of 4 channels."""

    background: Literal["next", "current"] = "next"
    """Outside the hole after a step: the source noised to the step that comes next, by one noise all along, so that it
    ends clean (diffusers); or to the step just done, by fresh noise, so that it ends a little noisy (the authors, who
    take the mean of the autoencoder, too, and bring the mask to the latent grid at once)."""


class BlendedDiff(DiffInpainting[BlendedOptions]):
    """The generator "BlendedDiff" of the paper, over any text-to-image base: SDXL as there, SD 1.5, SD 2.1, the
    tiny one.

    An empty mask gives the autoencoder's round trip of the crop; a full one, at strength 1, plain text-to-image.
    """

    Options = BlendedOptions

    name = "blended"
    channels = (4,)

    def _picture(self, crops: list[np.ndarray], masks: list[np.ndarray], sources: list[Any]) -> dict[str, Any]:
        if self.options.background == "next":
            return super()._picture(crops, masks, sources)
        pixels = diffusion.resized(crops, self.options.size, self.options.image_resize)
        source, factor = self._means(pixels), self.pipeline.vae_scale_factor
        hole = diffusion.resized_masks(
            masks, self.options.size // factor, how=self.options.mask_resize, threshold=self.options.mask_threshold
        ).to(source)
        schedule = type(self.pipeline.scheduler).from_config(self.pipeline.scheduler.config)
        schedule.set_timesteps(self.options.steps, device=self.device)  # the pipeline's own has moved on by one step

        def blend(_: Any, __: int, time: Any, values: dict[str, Any]) -> dict[str, Any]:
            around = schedule.add_noise(source, diffusion.noise_like(source, sources), time[None])
            return {"latents": values["latents"] * hole + around * (1 - hole)}

        shown = hole.repeat_interleave(factor, -2).repeat_interleave(factor, -1)
        return {
            "image": source,
            "mask_image": shown,
            "masked_image_latents": source,  # a UNet of 4 channels never sees it
            "callback_on_step_end": blend,
        }

    def _means(self, pixels: Any) -> Any:
        """Latents [N, 4, h, w] of pixels in 0..1: the mean of the autoencoder, in full precision where it asks for
        it."""
        import torch

        vae = self.pipeline.vae
        precision = vae.dtype
        if precision == torch.float16 and vae.config.force_upcast:
            vae.to(torch.float32)
        found = vae.encode((pixels * 2 - 1).to(self.device, vae.dtype)).latent_dist.mean
        vae.to(precision)
        return (found * vae.config.scaling_factor).to(precision)
