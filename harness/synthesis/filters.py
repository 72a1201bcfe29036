"""These quality filters need a network: a generated crop must still look like what was asked for. They are off unless a
threshold is set.

CAMUL keeps crops with CLIP-I >= 0.8 and SSIM >= 0.75; X-Paste those whose CLIP logit with the text is at least 21
(a cosine of 0.21). Mask agreement asks a frozen segmenter whether the instance still fills its mask. Not here: what
becomes of a refused crop (stages/synthesize.py), thresholds on plain pixel change (quality.py).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from harness.core.config import Strict
from harness.core.errors import HarnessError
from harness.generators.base import Prompt
from harness.quality import weight_files
from harness.quality.measurement import ClipSpec, LocalWeights, caption, resized, resized_mask
from harness.quality.structural import grey, ssim

if TYPE_CHECKING:
    import torch


class SegmenterSpec(LocalWeights):
    """The frozen segmenter of mask agreement: CLIPSeg (Lüddecke & Ecker 2022), a `model.safetensors` of transformers
    with its configuration and tokenizer beside it."""

    what: ClassVar[str] = "CLIPSeg"
    hint: ClassVar[str] = (
        "where there is a network: hf download CIDAS/clipseg-rd64-refined --local-dir DIR; then set segmenter.weights"
        " to DIR/model.safetensors"
    )

    side: int = Field(default=352, ge=32)
    """Input side in pixels; 352 is what it was trained at."""


class Filters(Strict):
    """Least values that a generated crop must reach; null: not asked. All null: no network is loaded."""

    clip_image: float | None = Field(default=None, ge=-1, le=1)
    """CLIP-I: cosine of the real and the generated crop."""
    clip_text: float | None = Field(default=None, ge=-1, le=1)
    """Cosine of the generated crop and its prompt, without the factor of CLIP-T."""
    ssim: float | None = Field(default=None, ge=-1, le=1)
    """SSIM with the real crop, at the real crop's side."""
    mask_iou: float | None = Field(default=None, ge=0, le=1)
    """Mask agreement: intersection over union of the instance's mask with what the segmenter finds for its class."""
    clip: ClipSpec = ClipSpec()
    segmenter: SegmenterSpec = SegmenterSpec()

    @model_validator(mode="after")
    def _named(self) -> "Filters":
        if self.mask_iou is not None and not self.segmenter.weights:
            raise ValueError("mask_iou needs segmenter.weights, the file of a frozen segmenter")
        return self

    @property
    def active(self) -> bool:
        """Return whether any threshold is set."""
        return any(value is not None for value in (self.clip_image, self.clip_text, self.ssim, self.mask_iou))

    @property
    def networks(self) -> list[LocalWeights]:
        """The networks that the thresholds need."""
        needed: list[LocalWeights] = []
        if self.clip_image is not None or self.clip_text is not None:
            needed.append(self.clip)
        if self.mask_iou is not None:
            needed.append(self.segmenter)
        return needed


class Judgement(NamedTuple):
    """This holds what the filters say of one crop: why it is refused (empty: it isn't), and the values they saw."""

    reason: str
    values: dict[str, float]


def fingerprint(filters: Filters) -> str:
    """Return what the filters' weights add to a content key; empty where none are needed."""
    return weight_files.fingerprint(list(filters.networks))


class ImageFilters:
    """The filters with their networks loaded: as much as the thresholds need, nothing when all are null."""

    def __init__(self, filters: Filters, *, device: str = "cpu") -> None:
        """HarnessError when weights are missing or of another format."""
        self.filters = filters
        self._clip = self._segmenter = None
        if filters.clip_image is not None or filters.clip_text is not None:
            from harness.quality.clip import Clip

            self._clip = Clip(filters.clip, device=device)
        if filters.mask_iou is not None:
            self._segmenter = _Segmenter(filters.segmenter, device=device)

    def __call__(
        self,
        real: Sequence[np.ndarray],
        generated: Sequence[np.ndarray],
        masks: Sequence[np.ndarray],
        prompts: Sequence[Prompt],
    ) -> list[Judgement]:
        """Return one judgement per crop: real uint8 [S, S, 3], generated uint8 [T, T, 3], mask bool [S, S], its
        prompt."""
        values: list[dict[str, float]] = [{} for _ in generated]
        if not values:
            return []
        self._compare_with_clip(values, real, generated, prompts)
        if self.filters.ssim is not None:
            for found, one, two in zip(values, real, generated, strict=True):
                value = ssim(grey(one), grey(resized(two, one.shape[0], "lanczos")))
                found["ssim"] = 1.0 if value is None else value  # too small for one window: nothing to object to
        if self._segmenter is not None:
            phrases = [prompt.phrase for prompt in prompts]
            for found, mask, seen in zip(values, masks, self._segmenter(generated, phrases), strict=True):
                found["mask_iou"] = intersection_over_union(mask, resized_mask(seen, mask.shape[0]))
        return [Judgement(self._objection(found), found) for found in values]

    def _compare_with_clip(
        self,
        values: list[dict[str, float]],
        real: Sequence[np.ndarray],
        generated: Sequence[np.ndarray],
        prompts: Sequence[Prompt],
    ) -> None:
        if self._clip is None:
            return
        embedded = self._clip.images(generated)
        others = {}
        if self.filters.clip_image is not None:
            others["clip_image"] = self._clip.images(real)
        if self.filters.clip_text is not None:
            others["clip_text"] = self._clip.texts([caption(prompt.text) for prompt in prompts])
        for name, vectors in others.items():
            for found, cosine in zip(values, (embedded * vectors).sum(axis=1), strict=True):
                found[name] = float(cosine)

    def _objection(self, values: dict[str, float]) -> str:
        names = {
            "clip_image": "CLIP-I below the threshold",
            "clip_text": "CLIP similarity to the prompt below the threshold",
            "ssim": "SSIM below the threshold",
            "mask_iou": "mask agreement below the threshold",
        }
        for name, reason in names.items():
            least = getattr(self.filters, name)
            if least is not None and values[name] < least:
                return reason
        return ""


def intersection_over_union(one: np.ndarray, two: np.ndarray) -> float:
    """|A and B| / |A or B| of two bool masks of one shape; 1 when both are empty."""
    union = np.count_nonzero(one | two)
    return np.count_nonzero(one & two) / union if union else 1.0


_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class _Segmenter:
    """CLIPSeg: what in an image fits a word."""

    def __init__(self, spec: SegmenterSpec, *, device: str) -> None:
        from safetensors import SafetensorError
        from transformers import CLIPSegForImageSegmentation, CLIPTokenizer

        folder = weight_files.locate(spec).path.parent
        try:
            model = CLIPSegForImageSegmentation.from_pretrained(folder, local_files_only=True)
            self._tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            raise HarnessError(f"{folder}: not a CLIPSeg of transformers: {str(error).splitlines()[0]}") from None
        self._model, self._side, self._device = model.float().eval().to(device), spec.side, device

    def __call__(self, images: Sequence[np.ndarray], phrases: Sequence[str]) -> list[np.ndarray]:
        """Return where each image shows its phrase: bool [side, side], probability at least 0.5."""
        import torch

        found = []
        for image, phrase in zip(images, phrases, strict=True):
            pixels = torch.from_numpy(resized(image, self._side, "bicubic").copy()).permute(2, 0, 1)[None].float() / 255
            mean, deviation = (torch.tensor(value)[:, None, None] for value in (_MEAN, _DEVIATION))
            found.append(self._probability((pixels - mean) / deviation, phrase) >= 0.5)
        return found

    def _probability(self, pixels: "torch.Tensor", phrase: str) -> np.ndarray:
        import torch

        tokens = self._tokenizer([phrase], return_tensors="pt", truncation=True)
        with torch.inference_mode():
            logits = self._model(
                input_ids=tokens.input_ids.to(self._device),
                attention_mask=tokens.attention_mask.to(self._device),
                pixel_values=pixels.to(self._device),
            ).logits
        return torch.sigmoid(logits).reshape(self._side, self._side).cpu().numpy()
