"""Blended latent diffusion at its two ends: no hole is the autoencoder alone, all hole is text-to-image."""

import numpy as np
import pytest
import torch
from tiny_parts import SIDE, batch, save_checkpoint

from harness.core.config import parse, read_toml
from harness.core.errors import HarnessError
from harness.core.paths import CONFIGS
from harness.generators.blended import BlendedDiff


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("random") / "base", channels=4)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("random") / "sdxl", channels=4, sdxl=True)


def build(folder, **options):
    given = {"checkpoint": str(folder), "size": SIDE, "steps": 4, "guidance_scale": 3.0, "scheduler": "ddim"} | options
    return BlendedDiff(BlendedDiff.Options(**given), device="cpu")


def fixed_encoding(monkeypatch, generator):
    """The encoder's mean in place of a draw, so that the two sides of a comparison see the same latents."""
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mean)
    return generator


@pytest.mark.parametrize("strength", [1.0, 0.75])
@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_without_a_hole_it_is_the_round_trip_of_the_autoencoder(folder, large, monkeypatch, family, strength):
    generator = build(large if family == "sdxl" else folder, family=family, strength=strength)
    fixed_encoding(monkeypatch, generator)
    crops, _, prompts, seeds = batch(2, side=SIDE)
    crops[1] = crops[1][:SIDE, :SIDE]
    nothing = [np.zeros((SIDE, SIDE), bool)] * 2
    pixels = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        vae = generator.pipeline.vae
        expected = (vae.decode(vae.encode(pixels).latent_dist.mean).sample / 2 + 0.5).clamp(0, 1)
    found = np.stack(generator.edit(crops, nothing, prompts, seeds))
    difference = np.abs(found - 255 * expected.permute(0, 2, 3, 1).numpy())
    assert difference.max() <= 1


def test_with_a_full_hole_it_is_text_to_image_at_that_seed(folder, monkeypatch):
    from diffusers import StableDiffusionPipeline

    generator = fixed_encoding(monkeypatch, build(folder))
    parts = {k: generator.pipeline.components[k] for k in ("unet", "vae", "text_encoder", "tokenizer", "scheduler")}
    plain = StableDiffusionPipeline(**parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    crops, masks, prompts, seeds = batch(2)
    everything = [np.ones_like(mask) for mask in masks]
    found = generator.edit(crops, everything, prompts, seeds)
    for image, prompt, seed in zip(found, prompts, seeds, strict=True):
        expected = plain(
            prompt.text,
            height=SIDE,
            width=SIDE,
            num_inference_steps=4,
            guidance_scale=3.0,
            negative_prompt="",
            generator=torch.Generator().manual_seed(seed),
            output_type="np",
        ).images[0]
        assert np.abs(image - 255 * expected).max() <= 1


def test_outside_the_hole_the_latents_are_the_sources_to_the_bit(folder, monkeypatch):
    generator = fixed_encoding(monkeypatch, build(folder))
    vae = generator.pipeline.vae
    monkeypatch.setattr(vae, "decode", lambda latents, **_: (latents[:, :3] / 20,))
    crops, _, prompts, seeds = batch(1, side=SIDE)
    half = np.zeros((SIDE, SIDE), bool)
    half[:, : SIDE // 2] = True
    kept = generator.edit(crops, [np.zeros_like(half)], prompts, seeds)[0]
    found = generator.edit(crops, [half], prompts, seeds)[0]
    assert np.array_equal(found[:, SIDE // 4 :], kept[:, SIDE // 4 :])
    assert (found[:, : SIDE // 4] != kept[:, : SIDE // 4]).mean() > 0.9


def test_more_strength_keeps_less_of_the_source(folder, monkeypatch):
    generator = fixed_encoding(monkeypatch, build(folder, steps=10, strength=0.2))
    whole = fixed_encoding(monkeypatch, build(folder, steps=10, strength=1.0))
    crops, masks, prompts, seeds = batch(3, side=SIDE)
    nothing = [np.zeros_like(mask) for mask in masks]
    everything = [np.ones_like(mask) for mask in masks]
    source = np.stack([image.astype(int) for image in generator.edit(crops, nothing, prompts, seeds)])
    weak, strong = (np.stack(g.edit(crops, everything, prompts, seeds)).astype(int) for g in (generator, whole))
    assert np.abs(weak - source).mean() < np.abs(strong - source).mean()


def test_rows_of_sdxl_do_not_depend_on_their_batch(large):
    generator = build(large, family="sdxl", strength=0.76)
    crops, masks, prompts, seeds = batch(3)
    together = generator.edit(crops, masks, prompts, seeds)
    alone = [generator.edit([c], [m], [p], [s])[0] for c, m, p, s in zip(crops, masks, prompts, seeds, strict=True)]
    assert max(np.abs(a.astype(int) - b.astype(int)).max() for a, b in zip(together, alone, strict=True)) <= 1


def test_an_inpainting_model_is_refused(tmp_path):
    save_checkpoint(tmp_path / "nine", channels=9)
    with pytest.raises(HarnessError, match=r"9 channels \(an inpainting model\), expected 4"):
        build(tmp_path / "nine")


def test_a_plain_checkpoint_called_sdxl_lacks_its_second_tower(folder):
    with pytest.raises(HarnessError, match="has no text_encoder_2 and no tokenizer_2"):
        build(folder, family="sdxl")


def test_the_settings_of_the_paper():
    part = read_toml(CONFIGS / "generators" / "blended.toml")
    options = parse(BlendedDiff.Options, part["options"], "blended")
    assert (options.steps, options.guidance_scale, options.size, options.family) == (50, 5.0, 1024, "sdxl")
    assert int(options.steps * options.strength) == 38
    assert (options.scheduler, options.mask_resize) == ("euler", "nearest")
