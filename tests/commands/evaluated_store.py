"""A store with evaluated runs that trained nothing: for the commands that read one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from harness import __version__
from harness.core.progress import silent
from harness.core.store import Store
from harness.data.tree import Tree
from harness.planning.plan import make_plan
from harness.stages import evaluate
from harness.stages.evaluate import EvaluateSpec

SUITE = """
title = "One row"
question = "q"
seeds = {seeds}
[[rows]]
method = "OneFormer"
generator = "none"
segmenter = "oneformer"
backbone = "convnext"
"""
FRAMES, CARS = 60, 6
FOUND = 0.6
"""Share of the cars that an honest run finds."""


def cars(root: Path) -> Path:
    """A tree whose val frames hold six cars each."""
    ids = np.full((32, 96), 7, np.int32)
    for car in range(CARS):
        ids[8:24, 16 * car + 2 : 16 * car + 14] = 26000 + car
    for number in range(FRAMES):
        Tree(root).write_frame("val", "aa", f"aa_{number:06d}_000019", np.zeros((32, 96, 3), np.uint8), ids)
    return root


def run(tree: Path, folder: Path, *, seeds: Sequence[int], found: float) -> list[str]:
    """A store with a row whose runs find a share of the cars, one for each seed; the options that name it."""
    suite = folder / "one.toml"
    folder.mkdir(parents=True, exist_ok=True)
    suite.write_text(SUITE.format(seeds=[*seeds]))
    store = Store(folder / "store")
    store.open()
    for seed, final in make_plan(str(suite), "smoke").rows[0].finals.items():
        predicted = predict(folder / f"predict-{seed}", np.random.default_rng(seed), found)
        partial = store.partial(final.kind, final.key)
        facts = evaluate.run(EvaluateSpec(), {"dataset": Tree(tree), "predict": predicted}, partial, silent)
        environment = {"commit": "0" * 40, "dirty": False}
        code = {"harness": __version__, "stage": evaluate.VERSION}
        manifest = {
            "identity": final.identity,
            "label": final.label,
            "code": code,
            "facts": facts | {"wall_s": 1.0},
            "peak_memory_bytes": 2**20,
            "environment": environment,
        }
        store.commit(final.kind, final.key, manifest)
    return [str(suite), "--profile", "smoke", "--store", str(store.root)]


def predict(folder: Path, rng: np.random.Generator, found: float) -> Path:
    """Predictions that hold each car with a chance."""
    answers = folder / "instances"
    answers.mkdir(parents=True)
    for car in range(CARS):
        mask = np.zeros((32, 96), np.uint8)
        mask[8:24, 16 * car + 2 : 16 * car + 14] = 255
        Image.fromarray(mask).save(answers / f"{car}.png")
    for number in range(FRAMES):
        seen = [car for car in range(CARS) if rng.random() < found]
        lines = [f"{car}.png 26 {rng.uniform(0.5, 1):.4f}\n" for car in seen]
        (answers / f"aa_{number:06d}_000019.txt").write_text("".join(lines))
    return folder
