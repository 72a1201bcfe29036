"""The shipped checkpoints: small, half precision, with a card; and each generator follows its prompt.

Judged on crops of the pool that nothing was trained on, by judges that trained no generator.
"""

import json

import numpy as np
import pytest
from PIL import Image

from harness.core.seeds import derive
from harness.generators.base import GeneratorPart, Prompt
from harness.planning.suite import load_part
from harness.tiny_training import card
from harness.tiny_training.__main__ import JUDGES, PARTS
from harness.tiny_training.card import ROWS, STARTS, followed
from harness.tiny_training.contrastive import class_name
from harness.tiny_training.pool_crops import draw_pool
from harness.weights import TINY

HELD_OUT = 1_000_000
GENERATORS = ("diff_inpainting", "blended", "gligen")


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """Held-out crops, fewer than the cards were written from."""
    from harness.tiny_training import pool_crops

    before, pool_crops._CHUNK = pool_crops._CHUNK, 48
    try:
        return draw_pool(tmp_path_factory.mktemp("pool"), seed=HELD_OUT, count=48)
    finally:
        pool_crops._CHUNK = before


def test_all_of_it_is_small():
    files = [path for path in TINY.rglob("*") if path.is_file()]
    starts = {path for path in files if path.relative_to(TINY).parts[0] in STARTS}
    assert sum(path.stat().st_size for path in files if path not in starts) < 20e6
    assert sum(path.stat().st_size for path in starts) < 18e6


def test_weights_are_half_precision_safetensors():
    from safetensors import safe_open

    files = sorted(TINY.rglob("*.safetensors"))
    assert files
    for path in files:
        with safe_open(path, "pt") as weights:
            kinds = {weights.get_slice(name).get_dtype() for name in weights.keys()}  # noqa: SIM118
        assert kinds <= {"F16", "I64"}, path
    assert not [p for p in TINY.rglob("*") if p.suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl")]


@pytest.mark.parametrize("part", ["text_encoder", "clip", "vae", "judge", *GENERATORS])
def test_each_has_a_card(part):
    text = (TINY / part / "README.md").read_text()
    assert "Apache-2.0" in text and f"harness.tiny_training {part}" in text
    facts = json.loads((TINY / part / "training.json").read_text())
    assert facts["steps"] > 0 and facts["losses_of_50_steps"][-1] < facts["losses_of_50_steps"][0]
    assert Image.open(TINY / part / "loss.png").width > 100


@pytest.mark.parametrize("part", GENERATORS)
def test_a_generator_follows_its_prompts(part, crops):
    scores, sheet = followed(part, TINY, crops, rows=len(crops))
    told = json.loads((TINY / part / "training.json").read_text())["scores"]
    # 48 crops in place of the card's: two standard deviations of a share, and nothing below four times chance.
    for name in ("class", "colour"):
        slack = 2 * np.sqrt(0.25 / (len(crops) * (1.0 if name == "class" else 0.75)))
        assert scores[name] > told[name] - slack
    assert scores["colour"] > 4 * max(scores["colour, chance"], 0.05)
    assert sheet.width > 0


def test_gligen_repaints_most_and_blended_keeps_most(crops):
    """By the change of the raw results: in the instance's box, and as PSNR of the whole crop. No pasting in between."""
    index, prompts = card.asked(crops)
    pool = crops.take(index)
    boxes = np.stack([card._boxed(mask) for mask in pool.masks])
    change, nearness = {}, {}
    for part in ("gligen", "diff_inpainting", "blended"):
        painted = card._paint(part, TINY, pool, pool.masks, prompts).astype(float)
        distance = np.abs(painted - pool.images).mean(-1)
        change[part] = np.mean([found[box].mean() for found, box in zip(distance, boxes, strict=True)])
        errors = np.square(painted - pool.images).mean((1, 2, 3))
        nearness[part] = np.mean(10 * np.log10(255**2 / errors))
    assert change["gligen"] > change["diff_inpainting"] > change["blended"]
    assert nearness["gligen"] < nearness["diff_inpainting"] < nearness["blended"]


@pytest.mark.parametrize("part", GENERATORS)
def test_a_crop_painted_alone_is_the_crop_painted_in_a_batch(part, crops):
    """To 2 of 255: another batch size rounds otherwise, and six steps carry that on."""
    index, prompts = card.asked(crops)
    pool, rows = crops.take(index[:4]), range(4)
    together = card._paint(part, TINY, pool, pool.masks, prompts[:4])
    data, _ = load_part("generators", part, "mini")
    generator = GeneratorPart.model_validate_json(json.dumps(data)).build()
    for row in rows:
        label = int(pool.label_ids[row])
        prompt = Prompt(text=prompts[row], phrase=class_name(label), label_id=label)
        seed = derive(0, "card", row)
        (alone,) = generator.edit([pool.images[row]], [pool.masks[row]], [prompt], [seed])
        assert np.abs(alone.astype(int) - together[row]).max() <= 2


def test_judges_taught_no_generator():
    """Neither the classifier nor the CLIP of the scores shares weights, seed or crops with what it scores."""
    from safetensors.torch import load_file

    seeds = {
        part: json.loads((TINY / part / "training.json").read_text())["seed"] for part in PARTS if part not in STARTS
    }
    assert not {seeds[part] for part in JUDGES} & {seeds[part] for part in seeds if part not in JUDGES}
    heard, judge = (load_file(TINY / part / "model.safetensors") for part in ("text_encoder", "clip"))
    shared = {name: weight for name, weight in heard.items() if f"text_model.{name}" in judge or name in judge}
    assert shared
    for name, weight in shared.items():
        other = judge.get(name, judge.get(f"text_model.{name}"))
        if weight.is_floating_point() and weight.std() > 1e-3:
            assert abs(float(np.corrcoef(weight.flatten().float(), other.flatten().float())[0, 1])) < 0.9, name


@pytest.mark.parametrize("part", GENERATORS)
def test_cards_tell_of_four_in_five_crops_that_show_what_was_asked(part):
    assert ROWS >= 200
    scores = json.loads((TINY / part / "training.json").read_text())["scores"]
    for name in ("class", "colour", "class and colour", "class, box masks"):
        assert scores[name] >= 0.8, name
