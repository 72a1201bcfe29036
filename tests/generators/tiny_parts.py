"""Random checkpoints of a few thousand weights in diffusers' layout, and batches to paint on."""

import json

import numpy as np

from harness.generators.base import Prompt
from harness.rehearsal.stand_ins import stable_diffusion

SIDE = 16


def save_checkpoint(folder, *, channels=9, gated=False, sdxl=False):
    """A checkpoint with random weights; the autoencoder halves the side."""
    return stable_diffusion(folder, channels=channels, gated=gated, xl=sdxl, side=SIDE)


def batch(count, side=20):
    """Crops, masks, prompts and seeds of `count` rows."""
    rng = np.random.default_rng(3)
    crops = [rng.integers(0, 256, (side + row, side + row, 3), dtype=np.uint8) for row in range(count)]
    masks = [np.zeros((side + row, side + row), bool) for row in range(count)]
    for row, mask in enumerate(masks):
        mask[4 : 12 + row, 3:15] = True
    asked = [("red car", "car", 26), ("woman", "person", 24), ("green bus", "bus", 28)] * count
    prompts = [
        Prompt(text=f"a photo of a {what}", phrase=phrase, label_id=label) for what, phrase, label in asked[:count]
    ]
    return crops, masks, prompts, [100 + row for row in range(count)]


def edit_config(folder, part, **changes):
    """Change keys of a component's configuration."""
    path = folder / part / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
