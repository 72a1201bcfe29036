"""The generic inpainting adapter on random tiny checkpoints of the five modern families."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_parts import batch

from harness.core.config import parse, read_toml
from harness.core.errors import HarnessError
from harness.core.paths import CONFIGS
from harness.generators.inpainting import Inpainting, InpaintingOptions
from harness.rehearsal.stand_ins import PIPELINES, SIDE

FAMILIES = {
    "sdxl": ("StableDiffusionXLInpaintPipeline", {"guidance_scale": 4.0, "negative_prompt": "", "strength": 0.99}),
    "controlnet": ("StableDiffusionControlNetInpaintPipeline", {"guidance_scale": 4.0}),
    "sd3": (
        "StableDiffusion3InpaintPipeline",
        {"guidance_scale": 4.0, "strength": 1.0, "call": {"max_sequence_length": 48}},
    ),
    "flux_fill": ("FluxFillPipeline", {"guidance_scale": 30.0, "call": {"max_sequence_length": 48}}),
    "qwen": ("QwenImageInpaintPipeline", {"negative_prompt": " ", "strength": 1.0, "call": {"true_cfg_scale": 2.0}}),
}


def written(name: str, folder: Path) -> dict:
    """Options of a family over a checkpoint of it in `folder`; the class is named where it can't be told by it."""
    pipeline, options = FAMILIES[name]
    named = {"pipeline": pipeline} if name == "flux_fill" else {}
    return PIPELINES[pipeline](folder) | named | options


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def family(request, tmp_path_factory) -> tuple[Inpainting, dict]:
    options = written(request.param, tmp_path_factory.mktemp(request.param))
    options = {"size": SIDE, "steps": 3, "precision": "fp32"} | options
    return Inpainting(InpaintingOptions(**options), device="cpu"), options


def largest_difference(first, second):
    return max(int(np.abs(a.astype(int) - b.astype(int)).max()) for a, b in zip(first, second, strict=True))


def test_a_row_does_not_depend_on_its_batch_and_repeats(family) -> None:
    generator, _ = family
    crops, masks, prompts, seeds = batch(3)
    together = generator.edit(crops, masks, prompts, seeds)
    assert [image.shape for image in together] == [(SIDE, SIDE, 3)] * 3
    assert all(image.dtype == np.uint8 for image in together)
    again = generator.edit(crops, masks, prompts, seeds)
    assert all(np.array_equal(a, b) for a, b in zip(together, again, strict=True))
    alone = [generator.edit([c], [m], [p], [s])[0] for c, m, p, s in zip(crops, masks, prompts, seeds, strict=True)]
    assert largest_difference(together, alone) <= 1
    backwards = generator.edit(crops[::-1], masks[::-1], prompts[::-1], seeds[::-1])[::-1]
    assert largest_difference(together, backwards) <= 1


def test_seed_crop_and_hole_matter(family) -> None:
    generator, _ = family
    crops, masks, prompts, seeds = batch(1)
    first = generator.edit(crops, masks, prompts, seeds)
    assert largest_difference(first, generator.edit(crops, masks, prompts, [7])) > 1
    assert largest_difference(first, generator.edit([255 - crops[0]], masks, prompts, seeds)) > 1
    assert largest_difference(first, generator.edit(crops, [~masks[0]], prompts, seeds)) > 1


def test_half_precision_paints_nearly_the_same(family) -> None:
    generator, options = family
    crops, masks, prompts, seeds = batch(2)
    half = Inpainting(InpaintingOptions(**options | {"precision": "bf16"}), device="cpu")
    assert {part.dtype for part in half.pipeline.components.values() if isinstance(part, torch.nn.Module)} == {
        torch.bfloat16
    }
    for one, two in zip(
        generator.edit(crops, masks, prompts, seeds), half.edit(crops, masks, prompts, seeds), strict=True
    ):
        assert np.abs(one.astype(int) - two.astype(int)).mean() < 12


def test_pipeline_called_row_by_row_by_hand_agrees(family) -> None:
    """The adapter against diffusers used plainly: a prompt as a string, pictures as PIL, one generator."""
    from PIL import Image

    generator, options = family
    crops, masks, prompts, seeds = batch(1, side=SIDE)
    given = {name: options[name] for name in ("guidance_scale", "strength", "negative_prompt") if name in options}
    if "controlnet" in options:
        shown = torch.from_numpy(crops[0]).permute(2, 0, 1)[None].float() / 255
        shown[:, :, torch.from_numpy(masks[0])] = -1
        given["control_image"] = shown
    expected = generator.pipeline(
        prompt=prompts[0].text, image=Image.fromarray(crops[0]),
        mask_image=Image.fromarray(masks[0].astype(np.uint8) * 255), num_inference_steps=3, height=SIDE, width=SIDE,
        generator=torch.Generator().manual_seed(seeds[0]), **given, **options.get("call", {}),
    ).images[0]  # fmt: skip
    assert largest_difference(generator.edit(crops, masks, prompts, seeds), [np.asarray(expected)]) <= 1


def test_the_checkpoint_chooses_the_class_unless_it_is_named(family) -> None:
    generator, options = family
    # "auto" knows no Fill pipeline, so that row names its class; a ControlNet chooses the class that takes one.
    expected = options.get("pipeline", "ControlNetInpaintPipeline" if "controlnet" in options else "InpaintPipeline")
    assert type(generator.pipeline).__name__.endswith(expected)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    written("controlnet", folder)
    return folder


def build(folder: Path, **options) -> Inpainting:
    given = {"checkpoint": str(folder / "whole"), "size": SIDE, "steps": 2, "precision": "fp32"} | options
    return Inpainting(parse(InpaintingOptions, given, "options"), device="cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"pipeline": "StableDiffusionXLInpaint"},
            r"no inpainting pipeline 'StableDiffusionXLInpaint'\n.*XLInpaintPipeline",
        ),
        ({"pipeline": "StableDiffusionPipeline"}, "no inpainting pipeline 'StableDiffusionPipeline'"),
        ({"call": {"true_cfg": 2.0}}, "StableDiffusionInpaintPipeline takes no argument 'true_cfg'"),
        ({"call": {"mask_image": 1}}, "'mask_image' is the adapter's"),
        ({"checkpoint": "/nowhere"}, "no such folder"),
        ({"controlnet": "/nowhere"}, "no such folder"),
        ({"size": 40}, "'size'.*multiple of 16"),
        ({"stepps": 3}, r"unknown key 'stepps'.*\n.*'steps'"),
    ],
)
def test_bad_options_are_named(folder: Path, options: dict, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        build(folder, **options)


def test_flux_has_no_negative_prompt(tmp_path: Path) -> None:
    options = written("flux_fill", tmp_path)
    with pytest.raises(HarnessError, match="FluxFillPipeline takes no argument 'negative_prompt'"):
        build(tmp_path, **options | {"negative_prompt": "blurry"})


def test_incomplete_checkpoints_are_named(folder: Path, tmp_path: Path) -> None:
    import shutil

    whole = tmp_path / "whole"
    shutil.copytree(folder / "whole", whole)
    shutil.rmtree(whole / "tokenizer")
    with pytest.raises(HarnessError, match=r"checkpoint '.*whole' has no tokenizer in"):
        build(tmp_path)
    shutil.copytree(folder / "whole" / "tokenizer", whole / "tokenizer")
    (whole / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"nothing")
    with pytest.raises(HarnessError, match="a safetensors file that is damaged"):
        build(tmp_path)
    (whole / "model_index.json").unlink()
    with pytest.raises(HarnessError, match=r"model_index\.json: not a readable index"):
        build(tmp_path)
    with pytest.raises(HarnessError, match="not a ControlNet"):
        build(folder, controlnet=str(folder / "whole" / "unet"))


def test_fingerprint_follows_the_files_of_both_checkpoints(folder: Path, tmp_path: Path) -> None:
    import shutil

    def key(root: Path) -> str:
        options = {"checkpoint": str(root / "whole"), "controlnet": str(root / "controlnet"), "size": 32, "steps": 1}
        return Inpainting.fingerprint(InpaintingOptions(**options))

    shutil.copytree(folder / "whole", tmp_path / "whole")
    shutil.copytree(folder / "controlnet", tmp_path / "controlnet")
    assert key(tmp_path) == key(folder)
    path = tmp_path / "controlnet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"global_pool_conditions": True}))
    changed = key(tmp_path)
    assert changed != key(folder)
    path = tmp_path / "whole" / "vae" / "config.json"
    path.write_text(path.read_text() + " ")
    assert key(tmp_path) != changed
    hub = InpaintingOptions(checkpoint="owner/name", revision="v1", size=32, steps=1)
    assert Inpainting.fingerprint(hub) == "hub:owner/name@v1"


def test_memory_that_ends_halves_the_batch(folder: Path, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    generator = build(folder)
    crops, masks, prompts, seeds = batch(4)
    expected = generator.edit(crops, masks, prompts, seeds)
    plain, counts = generator._paint, []

    def limited(rows, *rest):
        counts.append(len(rows))
        if len(rows) > 1:
            raise torch.OutOfMemoryError("no memory")
        return plain(rows, *rest)

    monkeypatch.setattr(generator, "_paint", limited)
    with caplog.at_level(logging.WARNING):
        found = generator.edit(crops, masks, prompts, seeds)
    assert largest_difference(found, expected) <= 1
    assert counts[:4] == [4, 2, 1, 1]
    assert "memory ran out on 4 crops" in caplog.text


MODERN = ("sdxl_inpainting", "sd35_inpainting", "flux_fill", "qwen_image_inpainting", "controlnet_inpainting")


@pytest.mark.parametrize("name", MODERN)
def test_each_row_is_one_part_that_parses_and_names_a_real_class(name: str) -> None:
    import inspect

    import diffusers

    from harness.generators.base import GeneratorPart

    path = CONFIGS / "generators" / f"{name}.toml"
    data = read_toml(path)
    data.pop("profiles", None)
    part = parse(GeneratorPart, data, path)
    options = part.options
    assert isinstance(options, InpaintingOptions) and part.adapter == "inpainting"
    known = inspect.signature(getattr(diffusers, options.pipeline).__call__).parameters
    for argument in ("guidance_scale", "negative_prompt", "strength"):
        assert getattr(options, argument) is None or argument in known
    assert set(options.call) <= set(known)
