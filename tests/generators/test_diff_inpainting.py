"""DiffInpainting on random tiny checkpoints: a seed paints one picture, bad checkpoints are told by name."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from tiny_parts import SIDE, batch, save_checkpoint

from harness.core.config import parse, read_toml
from harness.core.errors import HarnessError
from harness.core.paths import CONFIGS
from harness.generators.diff_inpainting import DiffInpainting


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("random") / "inpainting")


def build(folder, **options):
    given = {"checkpoint": str(folder), "size": SIDE, "steps": 3, "guidance_scale": 2.0} | options
    return DiffInpainting(DiffInpainting.Options(**given), device="cpu")


def largest_difference(first, second):
    return max(int(np.abs(a.astype(int) - b.astype(int)).max()) for a, b in zip(first, second, strict=True))


def test_a_batch_repeats_to_the_bit(folder):
    first, second = build(folder).edit(*batch(3)), build(folder).edit(*batch(3))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert [image.shape for image in first] == [(SIDE, SIDE, 3)] * 3
    assert first[0].dtype == np.uint8


@pytest.mark.parametrize("scheduler", ["lcm", "ddim", "dpm++", "euler"])
def test_a_row_does_not_depend_on_its_batch(folder, scheduler):
    generator = build(folder, scheduler=scheduler)
    crops, masks, prompts, seeds = batch(3)
    together = generator.edit(crops, masks, prompts, seeds)
    alone = [generator.edit([c], [m], [p], [s])[0] for c, m, p, s in zip(crops, masks, prompts, seeds, strict=True)]
    backwards = generator.edit(crops[::-1], masks[::-1], prompts[::-1], seeds[::-1])[::-1]
    # Other batch sizes round otherwise: one step of 255 is allowed, more is another picture.
    assert largest_difference(together, alone) <= 1
    assert largest_difference(together, backwards) <= 1


def test_seed_and_prompt_matter(folder):
    generator = build(folder, guidance_scale=7.5)
    crops, masks, prompts, seeds = batch(2)
    first = generator.edit(crops, masks, prompts, seeds)
    assert not np.array_equal(first[0], generator.edit(crops, masks, prompts, [7, 8])[0])
    assert not np.array_equal(first[0], generator.edit(crops, masks, prompts[::-1], seeds)[0])


def test_pipeline_called_row_by_row_by_hand_agrees(folder):
    """The adapter against diffusers used plainly: prompts as strings, pictures as PIL, a generator each."""
    from diffusers import StableDiffusionInpaintPipeline
    from PIL import Image

    generator = build(folder)
    parts = {k: generator.pipeline.components[k] for k in ("unet", "vae", "text_encoder", "tokenizer", "scheduler")}
    plain = StableDiffusionInpaintPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    crops, masks, prompts, seeds = batch(1, side=SIDE)
    expected = plain(
        prompt=prompts[0].text,
        image=Image.fromarray(crops[0]),
        mask_image=Image.fromarray(masks[0].astype(np.uint8) * 255),
        height=SIDE,
        width=SIDE,
        num_inference_steps=3,
        guidance_scale=2.0,
        negative_prompt="",
        generator=torch.Generator().manual_seed(seeds[0]),
    ).images[0]
    assert largest_difference(generator.edit(crops, masks, prompts, seeds), [np.asarray(expected)]) <= 1


def test_texts_are_encoded_once(folder, monkeypatch):
    generator = build(folder)
    calls = []
    encode = generator.pipeline.encode_prompt

    def counted(text, *rest, **named):
        calls.append(text)
        return encode(text, *rest, **named)

    monkeypatch.setattr(generator.pipeline, "encode_prompt", counted)
    generator.edit(*batch(6))
    generator.edit(*batch(6))
    strings = [text for text in calls if text is not None]
    assert sorted(strings) == ["", "a photo of a green bus", "a photo of a red car", "a photo of a woman"]


def test_memory_that_runs_out_halves_the_batch(folder, caplog):
    generator = build(folder)
    expected = generator.edit(*batch(5))
    pipeline, sizes = generator.pipeline, []

    class Small:
        """Runs out of memory from three rows on."""

        def __call__(self, **arguments):
            sizes.append(len(arguments["image"]))
            if sizes[-1] > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return pipeline(**arguments)

        def __getattr__(self, name):
            return getattr(pipeline, name)

    generator.pipeline = Small()
    found = generator.edit(*batch(5))
    assert sizes == [5, 2, 2, 1]
    assert largest_difference(expected, found) <= 1
    assert "going on with 2 at a time" in caplog.text
    generator.edit(*batch(4))
    assert sizes[4:] == [2, 2], "the next batch starts with what went through"


def test_a_single_crop_too_large_for_memory_is_told(folder):
    generator = build(folder)

    def explode(**_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    generator.pipeline = explode
    generator._conditions = lambda texts: {}
    with pytest.raises(HarnessError, match="memory ran out on a single crop"):
        generator.edit(*batch(2))


def test_errors_that_are_not_about_memory_stay_what_they_are(folder):
    generator = build(folder)

    def explode(**_):
        raise RuntimeError("shapes cannot be multiplied")

    generator.pipeline = explode
    generator._conditions = lambda texts: {}
    with pytest.raises(RuntimeError, match="shapes"):
        generator.edit(*batch(2))


def test_half_precision_paints_nearly_the_same(folder):
    exact, half = (build(folder, precision=name).edit(*batch(2)) for name in ("fp32", "bf16"))
    assert np.abs(exact[0].astype(int) - half[0].astype(int)).mean() < 6


@pytest.mark.parametrize("switch", ["channels_last", "vae_slicing"])
def test_switches_of_speed_leave_the_picture_alone(folder, switch):
    assert largest_difference(build(folder).edit(*batch(2)), build(folder, **{switch: True}).edit(*batch(2))) <= 1


def test_compiling_leaves_the_picture_alone(folder, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda function: compiled.append(function) or function)
    assert largest_difference(build(folder).edit(*batch(1)), build(folder, compile=True).edit(*batch(1))) <= 1
    assert len(compiled) == 1


def test_a_text_to_image_model_is_refused(tmp_path):
    save_checkpoint(tmp_path / "base", channels=4)
    with pytest.raises(HarnessError, match=r"takes 4 channels \(a text-to-image model\), expected 9"):
        build(tmp_path / "base")


@pytest.mark.parametrize("part", ["tokenizer", "unet", "vae", "text_encoder", "scheduler"])
def test_a_missing_part_is_named(folder, tmp_path, part):
    copy = shutil.copytree(folder, tmp_path / "a" / "copy")
    shutil.rmtree(copy / part)
    with pytest.raises(HarnessError, match=f"has no {part} in"):
        build(copy)


def test_damaged_weights_are_told_in_one_line(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "b" / "copy")
    path = copy / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(HarnessError, match=f"{path.name}: a safetensors file that is damaged"):
        build(copy)


def _as_bin(folder, copy, part):
    """A copy of the checkpoint in which a part has its weights in torch's own format alone."""
    from safetensors.torch import load_file

    shutil.copytree(folder, copy)
    path = copy / part / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    path.unlink()
    torch.save(weights, path.with_suffix(".bin"))
    return path.with_suffix(".bin")


def test_weights_in_torchs_own_format_are_read(folder, tmp_path):
    _as_bin(folder, tmp_path / "c" / "copy", "unet")
    found = build(tmp_path / "c" / "copy").edit(*batch(1))
    assert largest_difference(found, build(folder).edit(*batch(1))) <= 1


def test_code_in_weights_is_never_run(folder, tmp_path):
    path = _as_bin(folder, tmp_path / "d" / "copy", "unet")

    class Code:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").mkdir, ())

    torch.save({"conv_in.weight": Code()}, path)
    with pytest.raises(HarnessError, match="can't be loaded"):
        build(tmp_path / "d" / "copy")
    assert not (tmp_path / "ran").exists()


def test_a_hub_id_without_network_says_how_to_fetch_it(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HarnessError, match="neither in the local cache") as error:
        build("nobody/no-such-model", fallbacks=("nobody/another",))
    assert "nobody/no-such-model / nobody/another" in str(error.value)
    assert "hf download nobody/no-such-model" in error.value.hint


def test_a_fallback_stands_in_for_what_cannot_be_had(folder, monkeypatch, caplog):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    generator = build("nobody/no-such-model", fallbacks=(str(folder),))
    assert len(generator.edit(*batch(1))) == 1
    assert f"using {folder} in place of nobody/no-such-model" in caplog.text


@pytest.mark.parametrize("name", ["embedded:diff_inpaintin", "/no/such/folder", "no-owner"])
def test_unknown_checkpoints_are_refused(name):
    with pytest.raises(HarnessError):
        build(name)


def test_a_mask_of_another_size_is_named(folder):
    crops, masks, prompts, seeds = batch(2)
    with pytest.raises(HarnessError, match=r"row 1 \('a photo of a woman'\): crop 21x21, mask 20x20"):
        build(folder).edit(crops, [masks[0], masks[0]], prompts, seeds)


@pytest.mark.parametrize("device", ["cuda:7", "gpu", "cpu:x"])
def test_a_device_that_is_not_there_is_one_message(folder, device):
    options = DiffInpainting.Options(checkpoint=str(folder), size=SIDE, steps=1, guidance_scale=1.0)
    with pytest.raises(HarnessError, match=f"device '{device}' can't be used") as error:
        DiffInpainting(options, device=device)
    assert "sees: cpu" in error.value.hint


def test_old_texts_are_forgotten(folder):
    import dataclasses

    generator = build(folder, steps=1, guidance_scale=1.0)
    crops, masks, prompts, seeds = batch(1)
    for number in range(260):
        generator._text(f"a photo of car {number}")
    generator.edit(crops, masks, [dataclasses.replace(prompts[0], text="a new one")], seeds)
    assert generator._text.cache_info().currsize == generator._text.cache_info().maxsize == 256


def test_the_settings_of_the_paper():
    part = read_toml(CONFIGS / "generators" / "diff_inpainting.toml")
    options = parse(DiffInpainting.Options, part["options"], "diff_inpainting")
    assert (options.steps, options.guidance_scale, options.strength, options.size) == (50, 7.5, 1.0, 512)
    assert (options.scheduler, options.mask_resize, options.mask_threshold) == ("pndm", "lanczos", 0.5)


def test_the_planner_needs_no_torch():
    code = (
        "import sys; from harness.generators.base import GENERATORS; a = GENERATORS.load('diff_inpainting');"
        "o = a.Options(checkpoint='owner/name', size=64, steps=1, guidance_scale=1.0);"
        "assert a.fingerprint(o) == 'hub:owner/name@main';"
        "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
