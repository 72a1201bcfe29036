"""This generator runs any inpainting pipeline of diffusers: a newer model needs one TOML file and no code.

SDXL inpainting, Stable Diffusion 3.5, FLUX.1 Fill, Qwen-Image and ControlNet inpainting have parts in
configs/generators. The paper's three generators have adapters of their own, because they cache texts and need more
than a pipeline gives.
"""

import inspect
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from harness.core.config import read_json
from harness.core.errors import HarnessError, near
from harness.generators import diffusion
from harness.generators.base import Prompt
from harness.generators.painter import Painter
from harness.weights import checkpoints
from harness.weights.integrity import check_folder

AUTO = "auto"
"""The name of `InpaintingOptions.pipeline` that lets the checkpoint choose."""


class InpaintingOptions(diffusion.CheckpointOptions):
    """Settings of one pipeline. What is null is not passed, so that the pipeline's own default holds."""

    pipeline: str = AUTO
    """Class in diffusers that takes `image` and `mask_image`; "auto": what the checkpoint names."""
    checkpoint: str
    """A folder in diffusers' layout with a model_index.json, or a hub id."""
    controlnet: str | None = None
    """Folder or hub id of a ControlNet that is shown the crop with the hole cut out."""
    size: int = Field(ge=16, multiple_of=16)
    """Side in pixels at which the model paints; crops are resized to it."""
    steps: int = Field(ge=1)
    guidance_scale: float | None = Field(default=None, ge=0)
    """Classifier-free guidance; the embedded one of distilled models (FLUX)."""
    negative_prompt: str | None = None
    strength: float | None = Field(default=None, gt=0, le=1)
    """Share of the sampler's steps that are run; less than 1 starts from the noised source."""
    call: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Other arguments of the pipeline's call, by name (true_cfg_scale, max_sequence_length, ...)."""
    scheduler: Literal["checkpoint", "pndm", "ddim", "euler", "dpm++", "unipc", "lcm"] = "checkpoint"
    """The sampler; "checkpoint" takes the one that the weights come with, the only choice for flow models."""
    mask_resize: Literal["nearest", "area", "bilinear", "bicubic", "lanczos"] = "lanczos"
    mask_threshold: float = Field(default=0.5, gt=0, le=1)
    """A resized mask of at least this much is repainted."""
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    offload: Literal["none", "model", "sequential"] = "none"
    """Keeps what isn't running off the accelerator: whole components, or layer by layer (slow, least memory)."""
    vae_slicing: bool = False
    """Decode image by image: less memory, a little slower."""


class Inpainting(Painter[InpaintingOptions]):
    """Runs one of diffusers' inpainting pipelines on whole mixed batches, with one noise source a row."""

    Options = InpaintingOptions

    name = "inpainting"

    @classmethod
    def fingerprint(cls, options: InpaintingOptions) -> str:
        """Return what the checkpoints add to a content key."""
        named = [options.checkpoint, *([options.controlnet] if options.controlnet else [])]
        return " ".join(
            _fingerprint(name, options.revision if number == 0 else None) for number, name in enumerate(named)
        )

    @classmethod
    def needs(cls, options: InpaintingOptions) -> tuple[checkpoints.Need, ...]:
        """Return the checkpoint, and the ControlNet where there is one."""
        controlnet = (checkpoints.Need(names=(options.controlnet,)),) if options.controlnet else ()
        return (*super().needs(options), *controlnet)

    def _load(self) -> None:
        """HarnessError for a checkpoint that can't be had, a class that doesn't inpaint, an argument it doesn't
        take."""
        self.pipeline = _load(self.options)
        self._arguments = _arguments(self.options, self.pipeline)
        _place(self.pipeline, self.options, self.device)

    def _paint(
        self, crops: list[np.ndarray], masks: list[np.ndarray], prompts: list[Prompt], seeds: list[int]
    ) -> list[np.ndarray]:
        import torch

        wanted = self.options
        images = diffusion.resized(crops, wanted.size)
        holes = diffusion.resized_masks(masks, wanted.size, how=wanted.mask_resize, threshold=wanted.mask_threshold)
        rows = {"image": images, "mask_image": holes, "prompt": [prompt.text for prompt in prompts]}
        if wanted.negative_prompt is not None:
            rows["negative_prompt"] = [wanted.negative_prompt] * len(prompts)
        if wanted.controlnet:
            rows["control_image"] = torch.where(holes > 0.5, -1.0, images)  # -1 is how ControlNet is shown a hole
        try:
            with torch.inference_mode():
                painted = self.pipeline(
                    **rows, **self._arguments, generator=diffusion.noise_sources(seeds), output_type="np"
                ).images
        except ValueError as error:  # what pipelines raise when checkpoint and arguments don't fit each other
            first = str(error).strip().splitlines()[0][:300]
            kind = type(self.pipeline).__name__
            raise HarnessError(f"{kind} refuses checkpoint {wanted.checkpoint!r}: {first}") from error
        return diffusion.to_uint8(painted, self.name)


def _fingerprint(checkpoint: str, revision: str | None) -> str:
    source = checkpoints.find(checkpoint, revision)
    parts = sorted(path.name for path in source.folder.iterdir() if path.is_dir()) if source.folder else []
    return checkpoints.fingerprint(checkpoint, tuple(parts) or (".",), revision)


def _load(options: InpaintingOptions) -> Any:
    import diffusers

    diffusion.quiet()
    kind = diffusers.AutoPipelineForInpainting if options.pipeline == AUTO else _pipeline_class(options.pipeline)
    _check_layout(checkpoints.find(options.checkpoint, options.revision))
    more: dict[str, Any] = {}
    if options.pipeline == AUTO or "safety_checker" in inspect.signature(kind).parameters:
        # It would blacken street scenes now and then; classes that know none ignore this.
        more |= {"safety_checker": None, "requires_safety_checker": False}
    if options.controlnet:
        more["controlnet"] = _from_pretrained(_controlnet_class, options.controlnet, options, revision=None)
    return _from_pretrained(lambda *_: kind, options.checkpoint, options, revision=options.revision, **more)


def _check_layout(source: checkpoints.Source) -> None:
    """HarnessError when a local folder lacks a component that its index names: libraries put an empty one in its
    place."""
    if source.folder is None:
        return
    index = source.folder / "model_index.json"
    named = read_json(index, "index of a pipeline", hint="a pipeline saved by diffusers has one beside its components")
    if not isinstance(named, dict):
        raise HarnessError(f"{index}: expected a table of components, found {type(named).__name__}")
    needed = [part for part, kind in named.items() if isinstance(kind, list) and kind[0]]
    missing = [part for part in needed if not any((source.folder / part).glob("*.*"))]
    if missing:
        raise HarnessError(f"checkpoint {source.name!r} has no {' and no '.join(missing)} in {source.folder}")


def _pipeline_class(name: str) -> type:
    """Return the pipeline of diffusers called `name`; HarnessError when there is none, or it doesn't inpaint."""
    import diffusers

    known = [n for n in dir(diffusers) if n.endswith("Pipeline") and ("Inpaint" in n or "Fill" in n)]
    kind = getattr(diffusers, name, None)
    if isinstance(kind, type) and issubclass(kind, diffusers.DiffusionPipeline):
        call: Any = kind.__call__
        if "mask_image" in inspect.signature(call).parameters:
            return kind
    raise HarnessError(f"diffusers has no inpainting pipeline {name!r}", hint=near(name, known))


def _controlnet_class(where: Path | str, how: dict[str, Any]) -> type:
    """Return the class that the configuration of a ControlNet names."""
    import diffusers

    name = diffusers.ControlNetModel.load_config(where, **how).get("_class_name", "")
    kind = getattr(diffusers, name, None)
    if kind is None or "ControlNet" not in name:
        raise ValueError(f"it is a {name or 'nameless model'}, not a ControlNet")
    return kind


def _from_pretrained(
    choose: Any, checkpoint: str, options: InpaintingOptions, *, revision: str | None, **more: Any
) -> Any:
    """Return the model or pipeline in a folder or of a hub id; HarnessError that says what to do when it can't be
    had."""
    from harness.weights import headers, tensors

    source = checkpoints.find(checkpoint, revision)
    where = source.folder or source.hub_id
    how: dict[str, Any] = {"local_files_only": True} if source.folder else {"revision": revision}
    if source.folder:
        check_folder(source.folder)
    try:
        kind = choose(where, how)
        if source.hub_id and checkpoint == options.checkpoint:
            how["variant"] = options.variant
        if tensors.reads_headers():
            folder = source.folder or headers.cached(str(where), revision)
            return _by_headers(kind, folder, variant=how.get("variant"), options=options, **more)
        return kind.from_pretrained(where, dtype=diffusion.dtype_of(options.precision), **how, **more)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        if source.folder:
            raise HarnessError(f"checkpoint {checkpoint!r} can't be loaded: {first}") from error
        raise HarnessError(
            f"checkpoint {checkpoint!r} is neither in the local cache nor can it be fetched: {first}",
            hint=f"where there is a network: hf download {checkpoint}; or set `checkpoint` to a local folder",
        ) from error


def _by_headers(kind: Any, folder: Path, *, variant: str | None, options: InpaintingOptions, **more: Any) -> Any:
    """Return the model or pipeline with networks on the meta device."""
    import torch

    from harness.weights import headers

    dtype = diffusion.dtype_of(options.precision)
    if issubclass(kind, torch.nn.Module):
        return headers.diffusers_network(kind, folder, variant=variant, dtype=dtype)
    return headers.pipeline(kind, folder, variant=variant, dtype=dtype, **more)


def _arguments(options: InpaintingOptions, pipeline: Any) -> dict[str, Any]:
    """Return the arguments that are the same for every batch; HarnessError for one that the pipeline doesn't take."""
    known = inspect.signature(pipeline.__call__).parameters
    ours = {"image", "mask_image", "prompt", "generator", "output_type", "control_image", "height", "width"}
    given = {name: getattr(options, name) for name in ("guidance_scale", "strength", "negative_prompt")}
    given = {name: value for name, value in given.items() if value is not None}
    for name in (*given, *options.call):
        if name not in known or (name in options.call and name in ours):
            raise HarnessError(
                f"{type(pipeline).__name__} takes no argument {name!r}"
                if name not in known
                else f"the argument {name!r} is the adapter's, it can't stand in options.call",
                hint=near(name, set(known) - ours - {"self"}),
            )
    given.pop("negative_prompt", None)  # a list, made for each batch
    return {
        **given,
        **options.call,
        "num_inference_steps": options.steps,
        "height": options.size,
        "width": options.size,
    }


def _place(pipeline: Any, options: InpaintingOptions, device: str) -> None:
    pipeline.set_progress_bar_config(disable=True)
    if options.scheduler != "checkpoint":
        pipeline.scheduler = diffusion.sampler(pipeline.scheduler, options.scheduler)
    if options.vae_slicing:
        pipeline.vae.enable_slicing()
    if device != "cpu" and options.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif device != "cpu" and options.offload == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    else:
        pipeline.to(device)
