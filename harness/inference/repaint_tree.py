"""A generator repaints the instances of any Cityscapes tree, outside of suites.

The work is the stage's (stages/synthesize.py); here are the names of parts, and a folder that appears when it is whole.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from harness.core import contents
from harness.core.config import parse
from harness.core.errors import HarnessError
from harness.core.progress import Report, silent
from harness.data.base import Dataset
from harness.generators.base import GeneratorPart
from harness.planning.suite import load_part
from harness.stages import Inputs
from harness.stages.synthesize import SynthesisSpec, holds_something, refuse_inside, run
from harness.synthesis.recipe import Recipe


def synthesize(
    dataset: Dataset,
    out: Path,
    *,
    generator: str,
    recipe: str = "corrected",
    profile: str = "mini",
    seed: int = 0,
    split: str = "train",
    top_k: int = 3,
    variants: int = 2,
    limit: int | None = None,
    frames: bool = False,
    report: Report = silent,
) -> dict[str, Any]:
    """Make a synthesis on its own: `generator` and `recipe` are names of configs/, taken as `profile` has them.

    `out` appears when it is whole; until then the work lies in <out>.part, where the same call goes on. Returns the
    facts of `run`; errors as there, for unknown names, and for an `out` of which a file changed since or is gone.
    """
    part, path = load_part("generators", generator, profile)
    if part.get("adapter") == "none":
        raise HarnessError(f"generator {generator!r} ({path}) paints nothing: there is nothing to synthesise")
    parsed = parse(GeneratorPart, part, path)
    if parsed.makes == "images":
        raise HarnessError(
            f"generator {generator!r} ({path}) gives whole images: there is nothing to repaint",
            hint=f"they join the real frames in a row: harness run table1 --with {generator}",
        )
    recipe_part, recipe_path = load_part("recipes", recipe, profile)
    spec = SynthesisSpec(
        generator=parsed,
        recipe=parse(Recipe, recipe_part, recipe_path),
        seed=seed,
        split=split,
        top_k=top_k,
        variants=variants,
        limit=limit,
        frames=frames,
    )
    inputs, out = Inputs(dataset=dataset), Path(os.path.abspath(out))
    refuse_inside(out, dataset.root)
    if holds_something(out):
        if out.is_dir() and (wrong := contents.damage(out, additions=False)):
            raise HarnessError(f"{out}: not as it was made: {wrong}", hint=f"remove {out}, and it is made again")
        return run(spec, inputs, out, report)  # the same synthesis, whole; or an error
    unfinished = out.with_name(f"{out.name}.part")
    fresh = not unfinished.exists()
    try:
        facts = run(spec, inputs, unfinished, report)
    except HarnessError:
        if fresh and not (unfinished / "batches").exists():  # nothing to go on from
            shutil.rmtree(unfinished, ignore_errors=True)
        raise
    contents.close(unfinished, "synthesize")
    os.replace(unfinished, out)
    return facts
