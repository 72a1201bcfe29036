"""The samplers of GLIGEN and BlendedDiff against the authors' loops, told again here on diffusers' networks alone.

Same weights, same noise, settings of the profile paper but size and steps. The largest difference is one grey level.
"""

import math

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from tiny_parts import SIDE, batch, save_checkpoint

from harness.core.config import read_toml
from harness.core.paths import CONFIGS
from harness.generators.blended import BlendedDiff
from harness.generators.gligen import Gligen, box_of, first_contour
from harness.planning.suite import load_part

SHIPPED = 64
LEAST = 20  # grey levels by which the hole has to change for a comparison to mean something


def built(adapter, name, **changed):
    options = load_part("generators", name, "paper")[0]["options"]
    given = options | {"precision": "fp32", "channels_last": False, "vae_slicing": False, "variant": None} | changed
    return adapter(adapter.Options(**given), device="cpu")


def crops_and_masks(count=2, side=80):
    """Coarse pictures, and silhouettes in two parts."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    crops = [np.asarray(Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC)) for c in coarse]
    masks = [np.zeros((side, side), bool) for _ in crops]
    for row, mask in enumerate(masks):
        mask[12 : 40 + 5 * row, 20:60] = True
        mask[55:66, 30 + 3 * row : 50] = True
    return crops, masks


def as_picture(decoded):
    """Decoded values in -1..1 as a picture."""
    return ((decoded / 2 + 0.5).clamp(0, 1)[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)


def seen_by_the_encoder(crop, size):
    """A crop as the scripts read it: Pillow's bicubic, -1..1."""
    pixels = np.array(Image.fromarray(crop).resize((size, size), Image.Resampling.BICUBIC))
    return torch.from_numpy(pixels).float().permute(2, 0, 1)[None] / 127.5 - 1


def alphas(scheduler):
    """Cumulative products of 1 - beta of a schedule that is linear in the roots of beta."""
    config = scheduler.config
    betas = torch.linspace(config.beta_start**0.5, config.beta_end**0.5, 1000, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0)


@torch.no_grad()
def gligen_loop(parts, crop, mask, prompt, seed, *, steps, scale, negative, size):
    """generate_gligen_samples and its PLMSSampler, for one crop."""
    noise = torch.Generator().manual_seed(seed)
    vae, unet, tokenizer = parts.vae, parts.unet, parts.tokenizer

    def encoded(text):
        longest = {"padding": "max_length", "max_length": tokenizer.model_max_length, "truncation": True}
        return parts.text_encoder(tokenizer([text], **longest, return_tensors="pt").input_ids)

    z0 = vae.encode(seen_by_the_encoder(crop, size)).latent_dist.sample(noise) * vae.config.scaling_factor
    side = z0.shape[-1]
    keep = np.array(Image.fromarray(mask.astype(np.uint8) * 255).resize((side, side)))
    keep = torch.from_numpy(1 - (keep > 0).astype(np.float32))[None, None]
    extra = torch.cat([z0 * keep, keep], 1)
    contours, _ = cv2.findContours(mask.astype(np.uint8) * 255, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    boxes, used, phrases = torch.zeros(1, 30, 4), torch.zeros(1, 30), torch.zeros(1, 30, z0.new_zeros(1).shape[0])
    phrases = torch.zeros(1, 30, unet.config.cross_attention_dim)
    if contours:
        x, y, w, h = cv2.boundingRect(contours[0])
        boxes[0, 0] = torch.tensor([round(v / len(mask), 2) for v in (x, y, x + w, y + h)])
        used[0, 0], phrases[0, 0] = 1, encoded(prompt.phrase).pooler_output[0]
    grounding = {"boxes": boxes, "masks": used, "positive_embeddings": phrases}
    nothing = {name: torch.zeros_like(value) for name, value in grounding.items()}
    context, against = encoded(prompt.text).last_hidden_state, encoded(negative).last_hidden_state

    def noise_in(x, t):
        def asked(text, told):
            kwargs = {"cross_attention_kwargs": {"gligen": told}}
            return unet(torch.cat([x, extra], 1), t, encoder_hidden_states=text, **kwargs).sample

        without = asked(against, nothing)
        return without + scale * (asked(context, grounding) - without)

    table = alphas(parts.scheduler)
    times = np.arange(0, 1000, 1000 // steps) + 1
    before = np.concatenate([[0], times[:-1]])
    x, old = torch.randn(z0.shape[1:], generator=noise)[None], []
    for index in reversed(range(steps)):
        t = int(times[index])
        a, a_prev = table[t].item(), table[int(before[index])].item()
        fresh = torch.randn(z0.shape[1:], generator=noise)[None]
        x = (math.sqrt(a) * z0 + math.sqrt(1 - a) * fresh) * keep + (1 - keep) * x

        def moved(e, x=x, a=a, a_prev=a_prev):
            return math.sqrt(a_prev) * (x - math.sqrt(1 - a) * e) / math.sqrt(a) + math.sqrt(1 - a_prev) * e

        e = noise_in(x, t)
        if not old:
            better = (e + noise_in(moved(e), int(times[max(index - 1, 0)]))) / 2
        elif len(old) == 1:
            better = (3 * e - old[-1]) / 2
        elif len(old) == 2:
            better = (23 * e - 16 * old[-1] + 5 * old[-2]) / 12
        else:
            better = (55 * e - 59 * old[-1] + 37 * old[-2] - 9 * old[-3]) / 24
        x, old = moved(better), [*old, e][-3:]
    return as_picture(vae.decode(x / vae.config.scaling_factor).sample)


def test_gligen_is_the_loop_of_its_authors() -> None:
    generator = built(Gligen, "gligen", checkpoint="embedded:gligen", size=SHIPPED, steps=10)
    generator.parts.scheduler.register_to_config(prediction_type="epsilon")  # the loop knows no other
    crops, masks = crops_and_masks()
    masks.append(np.zeros_like(masks[0]))  # as 32000 has under recipe released
    crops.append(crops[0])
    _, _, prompts, seeds = batch(3)
    found = generator.edit(crops, masks, prompts, seeds)
    wanted = generator.options
    for image, crop, mask, prompt, seed in zip(found, crops, masks, prompts, seeds, strict=True):
        how = {"steps": 10, "scale": wanted.guidance_scale, "negative": wanted.negative_prompt, "size": SHIPPED}
        expected = gligen_loop(generator.parts, crop, mask, prompt, seed, **how)
        assert np.abs(image.astype(int) - expected).max() <= 1
    assert np.abs(found[0].astype(int) - found[2]).mean() > LEAST


def test_the_first_contour_is_what_opencv_boxes_first() -> None:
    _, masks = crops_and_masks()
    contours, _ = cv2.findContours(masks[1].astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    x, y, w, h = cv2.boundingRect(contours[0])
    assert len(contours) == 2
    assert box_of(first_contour(masks[1]), 2) == tuple(round(v / 80, 2) for v in (x, y, x + w, y + h))
    assert not first_contour(np.zeros((9, 9), bool)).any()


@torch.no_grad()
def blended_loop(pipeline, crop, mask, prompt, seed, *, steps, scale, size, start):
    """edit_image of the scripts' BlendedLatentDiffusionSDXL, for one crop, with Euler's method as Karras et al. have
    it."""
    noise = torch.Generator().manual_seed(seed)
    vae, unet = pipeline.vae, pipeline.unet
    source = vae.encode(seen_by_the_encoder(crop, size)).latent_dist.mean * vae.config.scaling_factor
    side = source.shape[-1]
    hole = np.array(Image.fromarray(mask.astype(np.uint8) * 255).resize((side, side), Image.Resampling.NEAREST)) / 255
    hole = torch.from_numpy((hole >= 0.5).astype(np.float32))[None, None]
    added = {}
    if "text_encoder_2" in pipeline.components:
        text, _, pooled, _ = pipeline.encode_prompt(prompt.text, do_classifier_free_guidance=False, device="cpu")
        ids = torch.tensor([[size, size, 0, 0, size, size]], dtype=torch.float32)
        added = {"added_cond_kwargs": {"text_embeds": torch.cat([0 * pooled, pooled]), "time_ids": ids.repeat(2, 1)}}
        texts = torch.cat([0 * text, text])
    else:
        text, against = pipeline.encode_prompt(prompt.text, "cpu", 1, True)
        texts = torch.cat([against, text])

    spaced = (np.arange(0, steps) * (1000 // steps))[::-1] + pipeline.scheduler.config.steps_offset
    table = alphas(pipeline.scheduler)
    sigmas = [math.sqrt((1 - table[t].item()) / table[t].item()) for t in spaced.tolist()] + [0.0]

    def fresh():
        return torch.randn(source.shape[1:], generator=noise)[None]

    x = source + fresh() * sigmas[start]
    for index in range(start, steps):
        sigma = sigmas[index]
        rows = torch.cat([x] * 2) / math.sqrt(sigma**2 + 1)
        without, with_text = unet(rows, int(spaced[index]), encoder_hidden_states=texts, **added).sample.chunk(2)
        v = without + scale * (with_text - without)
        clean = x / (sigma**2 + 1) - v * sigma / math.sqrt(sigma**2 + 1)
        x = x + (sigmas[index + 1] - sigma) * (x - clean) / sigma
        x = x * hole + (source + fresh() * sigma) * (1 - hole)
    return as_picture(vae.decode(x / vae.config.scaling_factor).sample)


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_blended_is_the_loop_of_its_authors(family, tmp_path) -> None:
    size, steps = (SHIPPED, 20) if family == "sd" else (SIDE, 50)
    checkpoint = "embedded:blended"
    if family == "sdxl":
        checkpoint = str(save_checkpoint(tmp_path / "sdxl", channels=4, sdxl=True))
    generator = built(BlendedDiff, "blended", checkpoint=checkpoint, family=family, size=size, steps=steps)
    generator.pipeline.scheduler.register_to_config(prediction_type="v_prediction")
    wanted = generator.options
    assert (wanted.background, wanted.scheduler) == ("current", "euler")
    crops, masks = crops_and_masks()
    _, _, prompts, seeds = batch(2)
    found = generator.edit(crops, masks, prompts, seeds)
    for image, crop, mask, prompt, seed in zip(found, crops, masks, prompts, seeds, strict=True):
        how = {"steps": steps, "scale": wanted.guidance_scale, "size": size, "start": int(steps * 0.25)}
        expected = blended_loop(generator.pipeline, crop, mask, prompt, seed, **how)
        assert np.abs(image.astype(int) - expected).max() <= 1
    other = built(
        BlendedDiff, "blended", checkpoint=checkpoint, family=family, size=size, steps=steps, background="next"
    )
    assert np.abs(other.edit(crops, masks, prompts, seeds)[0].astype(int) - found[0]).max() > 1, "the switch is seen"


def test_holes_are_those_of_the_scripts() -> None:
    """GLIGEN's hole is everything that Pillow's default filter touches."""
    options = load_part("generators", "gligen", "paper")[0]["options"]
    from harness.generators.diffusion import resized_masks

    rng = np.random.default_rng(0)
    larger = []
    for _ in range(300):
        mask = np.zeros((rng.integers(20, 400),) * 2, np.uint8)
        corners = (rng.random((6, 2)) * len(mask)).astype(np.int32)
        cv2.fillPoly(mask, [cv2.convexHull(corners)], 1)
        rule = {"how": options["mask_resize"], "threshold": options["mask_threshold"]}
        ours = resized_masks([mask > 0], 64, **rule)[0, 0].numpy()
        theirs = np.array(Image.fromarray(mask * 255).resize((64, 64))) > 0
        assert np.array_equal(ours > 0, theirs)
        box = resized_masks([mask > 0], 64, how="area", threshold=0.001)[0, 0].numpy()
        larger.append(theirs.sum() / max(box.sum(), 1))
    assert 1.01 < np.mean(larger) < 1.06


def test_settings_under_paper_are_those_of_the_scripts() -> None:
    gligen, blended = (load_part("generators", name, "paper")[0]["options"] for name in ("gligen", "blended"))
    assert (gligen["image_resize"], gligen["mask_resize"], gligen["box"]) == ("bicubic", "bicubic", "first_contour")
    assert (blended["image_resize"], blended["mask_resize"], blended["background"]) == ("bicubic", "nearest", "current")
    base = read_toml(CONFIGS / "generators" / "diff_inpainting.toml")["options"]
    assert "image_resize" not in base, "diffusers' pipeline resizes by Lanczos, as the scripts let it"
