"""This module draws an instance of a scene again in another colour and kind, in the same place and silhouette.

What words leave open comes from the palette of the wide domains. A figure of another kind is drawn over the old one in
the new colour, so that the old silhouette is filled whatever the new one covers. Not here: drawing (scene.py).
"""

import random
from collections.abc import Sequence
from dataclasses import replace

from harness.core.errors import HarnessError
from harness.core.seeds import derive
from harness.data.streets.palette import COLOURS, choose_colour, vary
from harness.data.streets.scene import thing_ids
from harness.data.streets.street import StreetPlan
from harness.data.streets.thing import FIGURES


def repainted(plan: StreetPlan, instance: int, *, words: Sequence[str], seed: int) -> StreetPlan:
    """`plan` with the thing of the id `instance` in the colour and of the figure (woman, man; female, male) that
    `words` name; HarnessError when no thing of the plan has that id.
    """
    ids = thing_ids(plan)
    if instance not in ids:
        raise HarnessError(f"streets: the scene has no instance {instance}")
    index = ids.index(instance)
    old, rng = plan.things[index], random.Random(derive(seed, "repaint", instance))
    colour = next((word for word in words if word in COLOURS), None) or choose_colour(rng, "pool", old.name)
    painted = replace(old, colour=colour, rgb=vary(rng, COLOURS[colour]))
    kind = next((word for word in words if word in FIGURES.get(old.name, ())), old.kind)
    if kind != old.kind:
        painted = replace(painted, kind=kind, beneath=painted)
    return replace(plan, things=(*plan.things[:index], painted, *plan.things[index + 1 :]))
