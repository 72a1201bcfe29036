"""GLIGEN's sampling loop against diffusers' own pipeline, and what that one can't: rows of their own, masks, seeds."""

import numpy as np
import pytest
import torch
from tiny_parts import SIDE, batch, save_checkpoint

from harness.core.config import parse, read_toml
from harness.core.errors import HarnessError
from harness.core.paths import CONFIGS
from harness.generators import gligen
from harness.generators.gligen import Gligen, box_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("random") / "gligen", gated=True)


def build(folder, **options):
    given = {"checkpoint": str(folder), "size": SIDE, "steps": 4, "guidance_scale": 3.0, "mask_resize": "area"}
    given |= {"mask_threshold": 0.001} | options
    return Gligen(Gligen.Options(**given), device="cpu")


def largest_difference(first, second):
    return max(int(np.abs(a.astype(int) - b.astype(int)).max()) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("grounding", [1.0, 0.5])
def test_with_a_box_for_a_mask_it_is_the_official_pipeline(folder, monkeypatch, grounding):
    from diffusers import StableDiffusionGLIGENPipeline
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
    from PIL import Image

    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mean)
    ours = build(folder, scheduler="ddim", grounding=grounding)
    official = StableDiffusionGLIGENPipeline(
        **ours.parts.parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    official.set_progress_bar_config(disable=True)
    crops, _, prompts, seeds = batch(1, side=SIDE)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[4:12, 4:8] = True
    found = ours.edit(crops, [mask], prompts, seeds)[0]

    source = torch.Generator().manual_seed(seeds[0])
    monkeypatch.setattr(torch, "randn_like", lambda like: torch.randn(like.shape[1:], generator=source)[None])
    expected = official(
        prompts[0].text,
        gligen_phrases=[prompts[0].phrase],
        gligen_boxes=[list(box_of(mask, 2))],
        gligen_inpaint_image=Image.fromarray(crops[0]),
        gligen_scheduled_sampling_beta=grounding,
        num_inference_steps=4,
        guidance_scale=3.0,
        negative_prompt="",
        height=SIDE,
        width=SIDE,
        # Nine channels make the official pipeline throw these away and draw its own, through randn_like.
        latents=torch.zeros(1, 9, SIDE // 2, SIDE // 2),
        output_type="np",
    ).images[0]
    assert np.abs(found - 255 * expected).max() <= 1


@pytest.mark.parametrize("scheduler", ["pndm", "lcm", "ddim", "unipc"])
def test_a_row_does_not_depend_on_its_batch(folder, scheduler):
    generator = build(folder, scheduler=scheduler)
    crops, masks, prompts, seeds = batch(3)
    together = generator.edit(crops, masks, prompts, seeds)
    again = generator.edit(crops, masks, prompts, seeds)
    alone = [generator.edit([c], [m], [p], [s])[0] for c, m, p, s in zip(crops, masks, prompts, seeds, strict=True)]
    assert all(np.array_equal(a, b) for a, b in zip(together, again, strict=True))
    assert largest_difference(together, alone) <= 1


def test_phrase_box_prompt_and_seed_all_matter(folder):
    import dataclasses

    generator = build(folder, guidance_scale=7.5)
    crops, masks, prompts, seeds = batch(1)
    first = generator.edit(crops, masks, prompts, seeds)[0]
    other_phrase = [dataclasses.replace(prompts[0], phrase="bicycle")]
    assert not np.array_equal(first, generator.edit(crops, masks, other_phrase, seeds)[0])
    assert not np.array_equal(first, generator.edit(crops, masks, prompts, [5])[0])
    generator.options = generator.options.model_copy(update={"grounding": 0.0})
    assert not np.array_equal(first, generator.edit(crops, masks, prompts, seeds)[0])


def test_all_thirty_slots_are_there(folder):
    generator = build(folder)
    _, masks, prompts, _ = batch(2)
    texts, grounding = generator._conditions(masks, prompts, guided=True)
    assert texts.shape[0] == 4
    assert grounding["boxes"].shape == (4, 30, 4)
    assert grounding["masks"].sum(1).tolist() == [0, 0, 1, 1], "the unconditional half hears no phrase"


def test_the_silhouette_is_what_is_repainted(folder, monkeypatch):
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mean)
    generator = build(folder)
    monkeypatch.setattr(generator, "_decode", lambda latents: latents.permute(0, 2, 3, 1).numpy())
    monkeypatch.setattr(gligen.diffusion, "to_uint8", lambda images, name: list(images))
    crops, _, prompts, seeds = batch(1, side=SIDE)
    corner = np.zeros((SIDE, SIDE), bool)
    corner[:8, :8] = True
    painted = generator.edit(crops, [corner], prompts, seeds)[0]
    source = generator._encode(crops, [None])[0].permute(1, 2, 0).numpy()
    # The last step leaves the source a little noised outside the hole; inside nothing of it is left.
    outside = np.abs(painted - source)[4:, 4:].mean()
    inside = np.abs(painted - source)[:4, :4].mean()
    assert inside > 2 * outside


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [(slice(0, 10), slice(5, 10), (0.5, 0.0, 1.0, 1.0)), (slice(1, 2), slice(3, 7), (0.3, 0.1, 0.7, 0.2))],
)
def test_boxes_are_shares_of_the_side(rows, columns, expected):
    mask = np.zeros((10, 10), bool)
    mask[rows, columns] = True
    assert box_of(mask, 2) == expected


def test_boxes_are_rounded_as_the_authors_do():
    mask = np.zeros((7, 7), bool)
    mask[2:4, 1:3] = True
    assert box_of(mask, 2) == (0.14, 0.29, 0.43, 0.57)
    assert box_of(np.zeros((7, 7), bool), 2) == (0.0, 0.0, 1.0, 1.0)


def test_a_model_without_gates_is_refused(tmp_path):
    save_checkpoint(tmp_path / "plain", channels=9)
    with pytest.raises(HarnessError, match="no grounding layers"):
        build(tmp_path / "plain")


def test_the_settings_of_the_paper():
    part = read_toml(CONFIGS / "generators" / "gligen.toml")
    options = parse(Gligen.Options, part["options"], "gligen")
    assert (options.steps, options.guidance_scale, options.size, options.scheduler) == (50, 7.5, 512, "pndm")
    assert (options.grounding, options.box_decimals) == (1.0, 2)
    assert options.negative_prompt.startswith("longbody, lowres") and options.negative_prompt.endswith("low quality")
