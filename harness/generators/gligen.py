"""GLIGEN inpainting (Li et al. 2023) grounds a diffusion model on a box and a phrase through gated self-attention.

diffusers calls its own pipeline for it deprecated; that one also ignores its generator, takes one box set for a whole
batch and boxes for masks. The sampling loop here has the same formula with mask, box, phrase and noise of its own for
every row. Before each step the latents outside the hole are replaced by the source's, noised to that step.
"""

import inspect
from typing import Any, Literal

import numpy as np
from pydantic import Field

from harness.core.errors import HarnessError
from harness.generators import diffusion
from harness.generators.base import Prompt
from harness.generators.painter import Painter, remembered

SLOTS = 30
"""Grounding tokens the model was trained with; empty ones hold a learned null token and take part in attention."""


class GligenOptions(diffusion.DiffusionOptions):
    """Settings of GLIGEN, whose gated UNet has 9 channels: noisy latents 4, latents outside the hole 4, not-hole 1."""

    grounding: float = Field(default=1.0, ge=0, le=1)
    """Share of the steps, from the first on, in which box and phrase are heard."""
    box_decimals: int = Field(default=2, ge=1, le=6)
    """Boxes are rounded to so many decimals of the crop's side."""
    box: Literal["mask", "first_contour"] = "mask"
    """What is boxed: all of the mask; or the first outline that OpenCV finds in it, as the authors' scripts do, and
    nothing where it is empty."""


class Gligen(Painter[GligenOptions]):
    """The generator "GLIGEN" of the paper, or the tiny one trained on streets."""

    Options = GligenOptions

    name = "gligen"

    def _load(self) -> None:
        self._text = remembered(self._encoded)
        self.parts = diffusion.load(self.options, device=self.device, channels=(9,))
        if getattr(self.parts.unet, "position_net", None) is None:
            raise HarnessError(
                f"checkpoint {self.parts.source.name!r}: its UNet has no grounding layers",
                hint="GLIGEN needs a UNet with attention_type gated; plain inpainting models belong to diff_inpainting",
            )

    def _paint(
        self, crops: list[np.ndarray], masks: list[np.ndarray], prompts: list[Prompt], seeds: list[int]
    ) -> list[np.ndarray]:
        import torch

        with torch.inference_mode():
            sources = diffusion.noise_sources(seeds)
            latents = self._encode(crops, sources)
            wanted = self.options
            holes = diffusion.resized_masks(
                masks, latents.shape[-1], how=wanted.mask_resize, threshold=wanted.mask_threshold
            )
            keep = 1 - holes.to(latents)
            images = self._decode(self._sample(latents, keep, masks, prompts, sources))
        return diffusion.to_uint8(images, self.name)

    def _sample(
        self, source: Any, keep: Any, masks: list[np.ndarray], prompts: list[Prompt], sources: list[Any]
    ) -> Any:
        """Return the denoised latents [N, 4, h, w]; `source`: the crops' latents, `keep`: 1 outside the hole."""
        import torch

        sampler, guided = self.parts.scheduler, self.options.guidance_scale > 1
        sampler.set_timesteps(self.options.steps, device=self.device)
        texts, grounding = self._conditions(masks, prompts, guided)
        around = torch.cat([source * keep, keep], 1)
        extra = {"generator": sources} if "generator" in inspect.signature(sampler.step).parameters else {}
        latents = diffusion.noise_like(source, sources) * sampler.init_noise_sigma
        heard = int(self.options.grounding * len(sampler.timesteps))
        for number, time in enumerate(sampler.timesteps):
            self._listen(number < heard)
            if not self._looks_ahead(number):
                background = sampler.add_noise(source, diffusion.noise_like(source, sources), time[None])
                latents = background * keep + latents * (1 - keep)
            rows = torch.cat([sampler.scale_model_input(latents, time), around], 1)
            rows = torch.cat([rows] * 2) if guided else rows
            kwargs = {"cross_attention_kwargs": {"gligen": grounding}}
            found = self.parts.unet(rows, time, encoder_hidden_states=texts, **kwargs, return_dict=False)[0]
            if guided:
                without, with_text = found.chunk(2)
                found = without + self.options.guidance_scale * (with_text - without)
            latents = sampler.step(found, time, latents, **extra, return_dict=False)[0]
        return latents

    def _looks_ahead(self, number: int) -> bool:
        """Return whether this call only improves the step before it, from where that one ended (the second call of
        PLMS)."""
        times = self.parts.scheduler.timesteps
        return number == 1 and number + 1 < len(times) and bool(times[number] == times[number + 1])

    def _conditions(self, masks: list[np.ndarray], prompts: list[Prompt], guided: bool) -> tuple[Any, dict[str, Any]]:
        """Texts [N or 2N, positions, width] and the grounding of each row; with guidance the unconditional half
        first."""
        import torch

        texts = torch.cat([self._text(prompt.text)[0] for prompt in prompts])
        phrases = torch.cat([self._text(prompt.phrase)[1] for prompt in prompts])
        boxes = texts.new_zeros(len(prompts), SLOTS, 4)
        of_mask = self.options.box == "mask"
        parts = masks if of_mask else [first_contour(mask) for mask in masks]
        boxes[:, 0] = torch.tensor([box_of(part, self.options.box_decimals) for part in parts]).to(boxes)
        used = texts.new_zeros(len(prompts), SLOTS)
        used[:, 0] = torch.tensor([of_mask or part.any() for part in parts]).to(used)
        embeddings = texts.new_zeros(len(prompts), SLOTS, phrases.shape[-1])
        embeddings[:, 0] = phrases
        grounding = {"boxes": boxes, "masks": used, "positive_embeddings": embeddings}
        if guided:
            texts = torch.cat([self._text(self.options.negative_prompt)[0]] * len(prompts) + [texts])
            grounding = {name: torch.cat([value] * 2) for name, value in grounding.items()}
            grounding["masks"][: len(prompts)] = 0
        return texts, grounding

    def _encoded(self, text: str) -> tuple[Any, Any]:
        """(hidden states [1, positions, width], pooled [1, width]) of a text, encoded alone."""
        tokenizer = self.parts.tokenizer
        longest = {"padding": "max_length", "max_length": tokenizer.model_max_length, "truncation": True}
        ids = tokenizer([text], **longest, return_tensors="pt").input_ids.to(self.device)
        found = self.parts.text_encoder(ids)
        return found.last_hidden_state, found.pooler_output

    def _listen(self, enabled: bool) -> None:
        from diffusers.models.attention import GatedSelfAttentionDense

        for module in self.parts.unet.modules():
            if isinstance(module, GatedSelfAttentionDense):
                module.enabled = enabled

    def _encode(self, crops: list[np.ndarray], sources: list[Any]) -> Any:
        import torch

        vae = self.parts.vae
        pixels = (
            diffusion.resized(crops, self.options.size, self.options.image_resize).to(self.device, vae.dtype) * 2 - 1
        )
        found = [vae.encode(row[None]).latent_dist.sample(noise) for row, noise in zip(pixels, sources, strict=True)]
        return torch.cat(found) * vae.config.scaling_factor

    def _decode(self, latents: Any) -> np.ndarray:
        vae = self.parts.vae
        pixels = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
        return (pixels / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).float().cpu().numpy()


def box_of(mask: np.ndarray, decimals: int) -> tuple[float, float, float, float]:
    """(x0, y0, x1, y1) of the true pixels in shares of the side, rounded; the whole crop for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0.0, 0.0, 1.0, 1.0
    corners = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    x0, y0, x1, y1 = (round(float(corner) / len(mask), decimals) for corner in corners)
    return x0, y0, x1, y1


def first_contour(mask: np.ndarray) -> np.ndarray:
    """`mask` with nothing but the part whose outline OpenCV finds first, bool [S, S]."""
    import cv2

    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    drawn = np.zeros(mask.shape, np.uint8)
    cv2.drawContours(drawn, contours[:1], -1, 1, cv2.FILLED)
    return drawn > 0
