"""The pool holds captioned squares round instances of its own scenes; the tiny generators learn from them.

Only the crop's part of a scene is drawn, for speed. The crop is the one that synthesis cuts (tight box, square of its
longer side, shifted inside the frame); its caption has the paper's wording.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from harness.core.errors import HarnessError
from harness.core.seeds import derive
from harness.data.streets.canvas import SUPERSAMPLING, Viewport
from harness.data.streets.layout import plan_scene
from harness.data.streets.scene import paint, silhouette, thing_ids
from harness.data.streets.street import StreetPlan
from harness.data.streets.thing import LABELS, Thing

_LEAST_SIDE = 20
_LEAST_SHARE = 0.12
_LEAST_VISIBLE = 0.55  # of the pixels it would have, hidden by nothing and not cut by the frame
_TRIES = 60


@dataclass(frozen=True, kw_only=True)
class PoolCrop:
    """`image` uint8 (side, side, 3), `mask` bool (side, side) of the instance's visible pixels, and what it shows."""

    image: np.ndarray
    mask: np.ndarray
    label_id: int
    colour: str
    kind: str
    """'woman' or 'man', 'female' or 'male' for a rider, else the body type."""
    prompt: str


def pool_crops(
    seed: int, count: int, side: int = 64, *, start: int = 0, size: tuple[int, int] = (256, 512), domain: str = "pool"
) -> Iterator[PoolCrop]:
    """Crops number `start` to `start + count - 1`; number n depends on (seed, n) alone, its class is n modulo 8."""
    names = sorted(LABELS, key=lambda name: LABELS[name])
    for index in range(start, start + count):
        yield _crop(seed, index, names[index % len(names)], side, size, domain)


def _crop(seed: int, index: int, name: str, side: int, size: tuple[int, int], domain: str) -> PoolCrop:
    for attempt in range(_TRIES):
        plan = plan_scene(derive(seed, "crop", index, attempt), domain, size, feature=name)
        crop = _cut(plan, name, side)
        if crop is not None:
            return crop
    raise HarnessError(
        f"streets: no {name} stands free in {_TRIES} scenes of {size[0]} x {size[1]}", hint="draw larger scenes"
    )


def _cut(plan: StreetPlan, name: str, side: int) -> PoolCrop | None:
    target = next((k for k, thing in enumerate(plan.things) if thing.name == name), None)
    if target is None:
        return None
    thing, ident = plan.things[target], thing_ids(plan)[target]
    rows, columns = plan.size
    left, top, right, bottom = _outline(plan, thing)
    if right - left > 3 * columns or bottom - top > 3 * rows:
        return None
    if min(right, columns) - max(left, 0) < 4 or min(bottom, rows) - max(top, 0) < 4:
        return None
    reach = max(right - left, bottom - top) // 2 + 3
    middle, level = (left + right) // 2, (top + bottom) // 2
    x0, y0 = max(0, min(middle - reach, columns - 2 * reach)), max(0, min(level - reach, rows - 2 * reach))
    x1, y1 = min(columns, max(middle, x0 + reach) + reach), min(rows, max(level, y0 + reach) + reach)
    scene = paint(plan, Viewport(left=x0, top=y0, width=x1 - x0, height=y1 - y0))
    mask = scene.instance_ids == ident
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(ys):
        return None
    box = max(ys[-1] - ys[0], xs[-1] - xs[0]) + 1
    if box < _LEAST_SIDE or box > min(mask.shape) or mask.sum() < _LEAST_SHARE * box * box:
        return None
    alone = silhouette(plan, target, Viewport(left=left, top=top, width=right - left, height=bottom - top))
    if mask.sum() < _LEAST_VISIBLE * alone.sum() / SUPERSAMPLING**2:
        return None
    u = int(np.clip((xs[0] + xs[-1] + 1 - box) // 2, 0, mask.shape[1] - box))
    v = int(np.clip((ys[0] + ys[-1] + 1 - box) // 2, 0, mask.shape[0] - box))
    image, mask = scene.image[v : v + box, u : u + box], mask[v : v + box, u : u + box]
    how = cv2.INTER_AREA if box > side else cv2.INTER_LANCZOS4
    return PoolCrop(
        image=cv2.resize(image, (side, side), interpolation=how),
        mask=cv2.resize(mask.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST_EXACT).astype(bool),
        label_id=thing.label_id, colour=thing.colour, kind=thing.kind, prompt=thing.prompt,
    )  # fmt: skip


def _outline(plan: StreetPlan, thing: Thing) -> tuple[int, int, int, int]:
    """Box in frame pixels round the thing if nothing hid it (left, top, right, bottom)."""
    points = [plan.camera.project(*corner) for corner in thing.box()]
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    return math.floor(min(xs)), math.floor(min(ys)), math.ceil(max(xs)), math.ceil(max(ys))
