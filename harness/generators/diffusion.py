"""This module holds what all diffusion generators share: options, loading, samplers, image conversion, seeded noise.

Torch and diffusers are imported inside functions, since the planner reads the options. How a batch runs is in
painter.py; each adapter (diff_inpainting, blended, gligen) adds its own conditions and the call.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from harness.core.config import Strict
from harness.core.errors import HarnessError
from harness.weights import checkpoints

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)

SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "ddim": ("DDIMScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "dpm++": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "lcm": ("LCMScheduler", {}),
}
"""Samplers by name. PNDM without its Runge-Kutta warm-up is PLMS, the sampler of the original Stable Diffusion
scripts."""

_RESIZE = {
    "nearest": Image.Resampling.NEAREST,
    "area": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class CheckpointOptions(Strict):
    """This says where the weights of a generator are."""

    checkpoint: str
    """embedded:NAME, a folder in diffusers' layout, or a hub id."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    variant: str | None = None
    """File variant of a hub id ("fp16")."""


class DiffusionOptions(CheckpointOptions):
    """Settings of a latent diffusion generator."""

    fallbacks: tuple[str, ...] = ()
    """Checkpoints to try in this order where `checkpoint` can't be had (mirrors of a withdrawn one)."""
    size: int = Field(ge=8, multiple_of=8)
    """Side in pixels at which the model paints; crops are resized to it."""
    steps: int = Field(ge=1)
    guidance_scale: float = Field(ge=0)
    """Classifier-free guidance; 1 and less switches it off and halves the work."""
    negative_prompt: str = ""
    scheduler: Literal["checkpoint", "pndm", "ddim", "euler", "dpm++", "unipc", "lcm"] = "checkpoint"
    """The sampler; "checkpoint" takes the one that the weights come with."""
    image_resize: Literal["bicubic", "lanczos"] = "lanczos"
    """How crops get to `size`."""
    mask_resize: Literal["nearest", "area", "bilinear", "bicubic", "lanczos"] = "lanczos"
    mask_threshold: float = Field(default=0.5, gt=0, le=1)
    """A resized mask of at least this much is repainted."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = False
    compile: bool = False
    """Compile the UNet; worth it from some hundred crops on."""
    vae_slicing: bool = False
    """Decode image by image: less memory, a little slower."""


class Components:
    """The loaded parts of a checkpoint by name (`unet`, `vae`, ...), on a device, in a precision, in eval mode."""

    def __init__(self, source: checkpoints.Source, parts: dict[str, Any]) -> None:
        self.source = source
        self.parts = parts

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["parts"][name]
        except KeyError:
            raise AttributeError(name) from None


def dtype_of(precision: str) -> "torch.dtype":
    """Return the torch type of a precision."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")


def load(
    options: DiffusionOptions, *, device: str, channels: tuple[int, ...], parts: tuple[str, ...] = PARTS
) -> Components:
    """Return the parts of the first checkpoint that can be had, with the sampler of the options.

    HarnessError where none can be had, a part is missing or the UNet takes other channels than `channels`.
    """
    failures = []
    for name in (options.checkpoint, *options.fallbacks):
        source = checkpoints.find(name, options.revision)
        if source.folder is not None:
            checkpoints.check_layout(source, parts, channels)
        try:
            loaded = {part: _load_part(source, part, options) for part in parts}
        except Exception as error:  # whatever the libraries raise at files that are none of theirs
            if source.folder is not None:
                raise HarnessError(
                    f"checkpoint {name!r} in {source.folder} can't be loaded: {_first_line(error)}"
                ) from error
            if not isinstance(error, OSError | ValueError | RuntimeError):
                raise
            _log.warning("checkpoint %s can't be had: %s", name, _first_line(error))
            failures.append(name)
            continue
        if failures:
            _log.warning("using %s in place of %s", name, failures[0])
        return _ready(Components(source, loaded), options, device=device, channels=channels)
    raise HarnessError(
        f"checkpoint {' / '.join(failures)} is neither in the local cache nor can it be fetched",
        hint=f"where there is a network: hf download {failures[0]}; or set `checkpoint` to a local folder",
    )


def _first_line(error: Exception) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    if "ignore_mismatched_sizes" in line:
        return "the weights of one of its parts have other shapes than that part's config.json says"
    return line if isinstance(error, OSError | ValueError | RuntimeError) else f"{type(error).__name__}: {line}"


def component_classes() -> dict[str, Any]:
    """Return the classes of the components of a checkpoint in the layout of Stable Diffusion, by folder."""
    import diffusers
    import transformers

    return {
        "unet": diffusers.UNet2DConditionModel,
        "vae": diffusers.AutoencoderKL,
        "text_encoder": transformers.CLIPTextModel,
        "text_encoder_2": transformers.CLIPTextModelWithProjection,
        "tokenizer": transformers.CLIPTokenizer,
        "tokenizer_2": transformers.CLIPTokenizer,
        "scheduler": diffusers.DDIMScheduler,
    }


def _load_part(source: checkpoints.Source, part: str, options: DiffusionOptions) -> Any:
    from harness.weights import headers, tensors

    kinds = component_classes()
    where = source.component(part) or source.hub_id
    assert where is not None, "a folder's layout is checked"
    how: dict[str, Any] = (
        {"local_files_only": True} if source.folder else {"subfolder": part, "revision": source.revision}
    )
    if part == "scheduler":
        return _load_scheduler(where, how)
    if part.startswith("tokenizer"):
        return _quietly(kinds[part].from_pretrained, where, **how)
    how["dtype"] = dtype_of(options.precision)
    if source.hub_id:
        how["variant"] = options.variant
    if tensors.reads_headers():
        folder = source.component(part) or headers.cached(str(where), source.revision) / part
        library = "transformers" if part.startswith("text") else "diffusers"
        return headers.component(library, kinds[part].__name__, folder, variant=how.get("variant"), dtype=how["dtype"])
    network, found = _quietly(kinds[part].from_pretrained, where, output_loading_info=True, **how)
    if missing := sorted(found["missing_keys"]):  # a library would draw them at random
        raise ValueError(f"{where} lacks {len(missing)} tensors, {missing[0]} for one")
    return network


def _load_scheduler(where: Path | str, how: dict[str, Any]) -> Any:
    """Return the sampler of the class that its own configuration names."""
    import diffusers
    from diffusers import DDIMScheduler

    config = DDIMScheduler.load_config(where, **how)
    kind = getattr(diffusers, config.get("_class_name", ""), None)
    if kind is None:
        raise ValueError(f"the scheduler {config.get('_class_name')!r} is unknown to this diffusers")
    return kind.from_config(config)


def _quietly(action: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Without the libraries' progress bars and reports, which the harness replaces by its own."""
    quiet()
    return action(*arguments, **named)


def quiet() -> None:
    """Let libraries say nothing: of a file that is a .bin they log an error, and read it."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity(logging.CRITICAL)
        library.disable_progress_bar()


def _ready(found: Components, options: DiffusionOptions, *, device: str, channels: tuple[int, ...]) -> Components:
    import torch

    checkpoints.check_channels(found.source.name, found.unet.config.in_channels, channels)
    width = getattr(found.text_encoder.config, "hidden_size", None)
    if "text_encoder_2" not in found.parts and found.unet.config.cross_attention_dim != width:
        raise HarnessError(
            f"checkpoint {found.source.name!r}: its UNet expects texts {found.unet.config.cross_attention_dim} wide, "
            f"its text encoder makes them {width} wide"
        )
    for part in found.parts.values():
        if isinstance(part, torch.nn.Module):
            part.eval().requires_grad_(False).to(device)
    if options.channels_last:
        found.unet.to(memory_format=torch.channels_last)
        found.vae.to(memory_format=torch.channels_last)
    if options.vae_slicing:
        found.vae.enable_slicing()
    if options.compile:
        found.unet.forward = torch.compile(found.unet.forward)
    found.parts["scheduler"] = sampler(found.scheduler, options.scheduler)
    return found


def sampler(given: Any, name: str) -> Any:
    """Return the sampler called `name` on the noise schedule of `given`."""
    import diffusers

    if name == "checkpoint":
        return given
    kind, extra = SCHEDULERS[name]
    return getattr(diffusers, kind).from_config(given.config, **extra)


def resized(crops: list[np.ndarray], size: int, how: str = "lanczos") -> "torch.Tensor":
    """Crops as float32 [N, 3, size, size] in 0..1, resized where the side differs."""
    import torch

    squares = [np.asarray(Image.fromarray(crop).resize((size, size), _RESIZE[how])) for crop in crops]
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).float() / 255


def resized_masks(masks: list[np.ndarray], size: int, *, how: str, threshold: float) -> "torch.Tensor":
    """Masks as float32 [N, 1, size, size] of 0 and 1 (1 = repaint), by the mask rule of the options."""
    import torch

    squares = [
        np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize((size, size), _RESIZE[how])) for mask in masks
    ]
    return torch.from_numpy(np.stack(squares) >= 255 * threshold)[:, None].float()


def noise_sources(seeds: list[int]) -> list["torch.Generator"]:
    """Return one noise source a row, on the CPU on every device, so that a seed means the same picture everywhere."""
    import torch

    return [torch.Generator().manual_seed(seed) for seed in seeds]


def noise_like(latents: Any, sources: list[Any]) -> Any:
    """Normal noise of the shape of `latents` [N, ...], row by row from its own source."""
    import torch

    shape = latents.shape[1:]
    return torch.stack([torch.randn(shape, generator=source) for source in sources]).to(latents)


def to_uint8(images: np.ndarray, name: str) -> list[np.ndarray]:
    """Float images [N, S, S, 3] in 0..1 as uint8 arrays; HarnessError where numbers ran out of range."""
    if not np.isfinite(images).all():
        raise HarnessError(
            f"generator {name!r} made numbers that are no pixels", hint='set precision = "bf16" or "fp32"'
        )
    return list((images * 255).round().clip(0, 255).astype(np.uint8))
