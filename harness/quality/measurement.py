"""A measurement says how image quality is measured: which networks, at what size, over which region. It computes
nothing but the pixels that the networks see.

A generator that changes nothing wins every one of these metrics, so a score without its region, size and network says
little: each one carries a signature made here. The numbers come from structural.py, clip.py, features.py with
frechet.py, and lpips.py; the loop over pairs is stages/assess.py.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from harness.core.config import Grown, Strict
from harness.core.errors import HarnessError

Region = Literal["whole", "inside", "outside"]
"""All of the crop; the pixels of the instance; the others."""

FILL = 127
"""Grey level that hides the other region from a network, in real and generated crop alike."""


class LocalWeights(Strict):
    """A file of weights, never fetched: it is there or the score is not."""

    weights: str = ""
    """Path, or `embedded:` and a path among the shipped checkpoints; empty: where the public tool keeps the file."""
    sha256: str = Field(default="", pattern="^([0-9a-f]{64})?$")
    """What the file must hash to; empty: any, and the hash is recorded."""
    optional: bool = False
    """Whether the scores are given up ("not available") when the file isn't there, instead of an error."""


class ClipSpec(LocalWeights):
    """The network of CLIP-I and CLIP-T: OpenAI's format as the `clip` package loads it, or a `model.safetensors` of
    transformers with its `config.json` beside it."""

    model: str = "ViT-B/32"
    """What it is called in signatures; also the name in the cache of the `clip` package."""
    tokenizer: str = ""
    """Folder with the `tokenizer.json` of a reduced vocabulary; empty: CLIP's own 49408 words."""
    pixels: Literal["clip", "signed"] = "clip"
    """How pixels go in: normalised by OpenAI's mean and deviation, or from -1 to 1."""


class FeatureSpec(LocalWeights):
    """The network whose features FID and KID compare."""

    network: Literal["inception", "efficientnet-lite0"] = "inception"
    """inception: the 2015-12-05 graph, 2048 features, what FID means in papers. efficientnet-lite0: 1280 ImageNet
    features from a package with weights; its distances are on another scale."""
    preprocess: Literal["pytorch-fid", "torch-fidelity"] = "pytorch-fid"
    """Whose resize to 299 and range (inception only)."""
    side: int = Field(default=224, ge=32)
    """Input side of efficientnet-lite0 in pixels; inception always takes 299."""


class LpipsSpec(LocalWeights):
    """LPIPS 0.1 over AlexNet: torchvision's ImageNet trunk is the file; the linear heads ship with torchmetrics."""

    optional: bool = True


class Measurement(Grown):
    """A measurement recipe: what is made of a pair before it is compared."""

    LATER = frozenset({"clip_squash"})

    name: str = Field(pattern="^[a-z][a-z0-9_-]*$")
    size: int | None = Field(default=None, ge=7)
    """Side at which pairs are compared; absent: the side the generator returned, the real crop alone being resized."""
    resize: Literal["bilinear", "lanczos"] = "lanczos"
    """bilinear: four neighbours, no low pass (OpenCV); lanczos: with one (Pillow)."""
    squash: int | None = Field(default=None, ge=32)
    """Networks see the crops resized from their own side to this one, bicubic; absent: they see them at `size`."""
    clip_squash: Literal["bicubic", "triangle"] = "bicubic"
    """That resize in front of CLIP; triangle: bilinear with a low pass, torchvision's default for pictures."""
    variants: Literal["first", "all"] = "all"
    """Which of an instance's variants count."""
    regions: tuple[Region, ...] = Field(default=("whole", "inside", "outside"), min_length=1)

    @model_validator(mode="after")
    def _sized(self) -> "Measurement":
        if self.size is None and self.squash is None:
            raise ValueError("a recipe without 'size' needs 'squash': networks must see one size")
        return self


RELEASED = Measurement(
    name="released", resize="bilinear", squash=224, clip_squash="triangle", variants="first", regions=("whole",)
)
"""As the paper's numbers were made: each generator at its own size, the first variant, the whole crop."""
CORRECTED = Measurement(name="corrected", size=512)
"""All generators at one size, all variants, and the instance apart from what surrounds it."""


class Pair(NamedTuple):
    """A pair made ready for the pixel metrics: uint8 [S, S, 3] twice, and the instance's mask bool [S, S]."""

    real: np.ndarray
    generated: np.ndarray
    mask: np.ndarray


def sized(recipe: Measurement, real: np.ndarray, generated: np.ndarray, mask: np.ndarray) -> Pair:
    """Real crop, generated crop and mask (uint8 [N, N, 3], uint8 [M, M, 3], bool [N, N]) at the recipe's side."""
    side = recipe.size or generated.shape[0]
    return Pair(resized(real, side, recipe.resize), resized(generated, side, recipe.resize), resized_mask(mask, side))


def region_of(mask: np.ndarray, region: Region) -> np.ndarray | None:
    """Return the pixels of `region` as bool [S, S]; None stands for all of them."""
    return {"whole": None, "inside": mask, "outside": ~mask}[region]


def shown(image: np.ndarray, mask: np.ndarray, region: Region) -> np.ndarray:
    """Return what a network sees of a region: `image` (uint8 [N, N, 3]) with the other pixels grey; the mask may have
    another side."""
    if region == "whole":
        return image
    hidden = ~resized_mask(mask, image.shape[0])
    if region == "outside":
        hidden = ~hidden
    return np.where(hidden[:, :, None], np.uint8(FILL), image)


Filter = Literal["bilinear", "triangle", "lanczos", "bicubic"]
"""How an image is resized."""


def resized(image: np.ndarray, side: int, how: Filter) -> np.ndarray:
    """Return a square uint8 RGB image at another side; the same array when it has that side."""
    if image.shape[:2] == (side, side):
        return image
    if how == "bilinear":
        import cv2

        return cv2.resize(np.ascontiguousarray(image), (side, side), interpolation=cv2.INTER_LINEAR)
    from PIL import Image

    filters = {
        "triangle": Image.Resampling.BILINEAR,
        "lanczos": Image.Resampling.LANCZOS,
        "bicubic": Image.Resampling.BICUBIC,
    }
    return np.asarray(Image.fromarray(image).resize((side, side), filters[how]))


def resized_mask(mask: np.ndarray, side: int) -> np.ndarray:
    """Return a square bool mask at another side: where at least half of a pixel is covered."""
    if mask.shape == (side, side):
        return mask
    from PIL import Image

    covered = Image.fromarray(mask.astype(np.uint8) * 255).resize((side, side), Image.Resampling.BOX)
    return np.asarray(covered) >= 128


def signature(metric: str, recipe: Measurement, region: Region, facts: Mapping[str, object]) -> str:
    """Return how a score was made, as `key:value|...`: recipe, size, region, then `facts` (network, n, ...)."""
    size = f"{recipe.size} {recipe.resize}" if recipe.size else f"generated, real {recipe.resize}"
    parts = {"recipe": recipe.name, "size": size, "region": region, "variants": recipe.variants, **facts}
    return "|".join([metric, *(f"{key}:{value}" for key, value in parts.items() if value is not None)])


def caption(prompt: str) -> str:
    """Return the sentence that CLIP-T compares an image with.

    Hessel et al. 2021 put "A photo depicts " before bare captions, as CLIP was trained on such sentences. A
    prompt that begins with "a photo" is one already and stays as it is; any other gets their prefix.
    """
    text = " ".join(prompt.split())
    if not text:
        raise HarnessError("CLIP-T needs a prompt, found an empty one")
    return text if text.lower().startswith("a photo") else f"A photo depicts {text}"
