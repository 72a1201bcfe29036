"""The shipped checkpoints: small, half precision, with a card; and each generator follows its prompt.

Judged on crops of the pool that nothing was trained on, by judges that trained no generator.
"""

import json

import numpy as np
import pytest
from PIL import Image

from harness.weights import TINY
from harness.weights.card import ROWS, followed
from harness.weights.pool import draw_pool
from harness.weights.train import JUDGES, PARTS

HELD_OUT = 1_000_000
GENERATORS = [name for name in ("diff_inpainting", "blended", "gligen") if (TINY / name).is_dir()]


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """Held-out crops, fewer than the cards were written from."""
    from harness.weights import pool

    before, pool._CHUNK = pool._CHUNK, 48
    try:
        return draw_pool(tmp_path_factory.mktemp("pool"), seed=HELD_OUT, count=48)
    finally:
        pool._CHUNK = before


def test_all_of_it_is_small():
    assert sum(path.stat().st_size for path in TINY.rglob("*") if path.is_file()) < 20 * 2**20


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
    card = (TINY / part / "README.md").read_text()
    assert "Apache-2.0" in card and f"harness.weights.train {part}" in card
    facts = json.loads((TINY / part / "training.json").read_text())
    assert facts["steps"] > 0 and facts["losses_of_50_steps"][-1] < facts["losses_of_50_steps"][0]
    assert Image.open(TINY / part / "loss.png").width > 100


@pytest.mark.parametrize("part", GENERATORS)
def test_a_generator_follows_its_prompts(part, crops):
    scores, sheet = followed(part, TINY, crops, rows=len(crops))
    card = json.loads((TINY / part / "training.json").read_text())["scores"]
    # 48 crops in place of the card's: two standard deviations of a share, and nothing below four times chance.
    for name in ("class", "colour"):
        slack = 2 * np.sqrt(0.25 / (len(crops) * (1.0 if name == "class" else 0.75)))
        assert scores[name] > card[name] - slack
    assert scores["colour"] > 4 * max(scores["colour, chance"], 0.05)
    assert sheet.width > 0


def test_judges_taught_no_generator():
    """Neither the classifier nor the CLIP of the scores shares weights, seed or crops with what it scores."""
    from safetensors.torch import load_file

    seeds = {part: json.loads((TINY / part / "training.json").read_text())["seed"] for part in PARTS}
    assert not {seeds[part] for part in JUDGES} & {seeds[part] for part in PARTS if part not in JUDGES}
    heard, judge = (load_file(TINY / part / "model.safetensors") for part in ("text_encoder", "clip"))
    shared = {name: weight for name, weight in heard.items() if f"text_model.{name}" in judge or name in judge}
    assert shared
    for name, weight in shared.items():
        other = judge.get(name, judge.get(f"text_model.{name}"))
        if weight.is_floating_point() and weight.std() > 1e-3:
            assert abs(float(np.corrcoef(weight.flatten().float(), other.flatten().float())[0, 1])) < 0.9, name


def test_cards_are_written_from_enough_crops():
    assert ROWS >= 200
