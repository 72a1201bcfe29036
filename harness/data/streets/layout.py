"""The layout decides the plan of a scene: street, light, traffic, fronts and furniture, from one seed."""

import random

from harness.core.errors import HarnessError, near
from harness.core.seeds import derive
from harness.data.streets.canvas import Camera
from harness.data.streets.furnish import fronts, furniture
from harness.data.streets.light import choose_light
from harness.data.streets.street import DOMAINS, PLAIN, Street, StreetPlan, Style
from harness.data.streets.thing import Thing
from harness.data.streets.traffic import populate


def plan_scene(seed: int, domain: str, size: tuple[int, int], *, feature: str = "", style: Style = PLAIN) -> StreetPlan:
    """Decides a scene of `domain`; `feature` names a class of which one instance must stand in good view."""
    if domain not in DOMAINS:
        raise HarnessError(f"streets: domain {domain!r} is not known", hint=near(domain, DOMAINS))
    rows, columns = size
    if rows < 32 or columns < 64:
        raise HarnessError(f"streets: size {rows} x {columns} is too small, expected at least 32 x 64")
    rng = random.Random(derive(seed, "streets", domain))
    camera = Camera(
        focal=columns * 1.105 * style.zoom * rng.uniform(0.94, 1.06), centre=columns * rng.uniform(0.42, 0.58),
        horizon=rows * rng.uniform(0.38, 0.46), height=rng.uniform(1.2, 1.45),
    )  # fmt: skip
    known = style.familiar_light and rng.random() < style.familiar_light
    light = choose_light(rng, "train" if known else domain)
    street = _street(rng)
    things = _tall(populate(rng, domain, street, feature, style), style.least * rows / camera.focal)
    border = (
        rng.choice((3, 5, 8, 12)) * rows // 256,
        rng.choice((0, 2, 4, 6, 10)) * rows // 256,
        rng.choice((1, 2, 2)),
    )
    return StreetPlan(
        seed=seed, domain=domain, size=size, camera=camera, light=light, street=street,
        fronts=tuple(fronts(rng, street)),
        props=tuple(furniture(rng, street)), things=tuple(things), bonnet=rng.choice((0.0, 0.07, 0.09, 0.10, 0.12)),
        border=border,
    )  # fmt: skip


def _tall(things: list[Thing], least: float) -> list[Thing]:
    """Return those whose height is at least `least` of their distance; a two-wheeler stays with its rider."""
    tall = [thing.size[2] >= least * thing.z for thing in things]
    ridden = [after.name == "rider" and kept for after, kept in zip(things[1:], tall[1:], strict=True)] + [False]
    return [thing for thing, *kept in zip(things, tall, ridden, strict=True) if any(kept)]


def _street(rng: random.Random) -> Street:
    lane = rng.uniform(3.1, 3.6)
    lanes = [(0.0, 1)]
    for k in range(rng.choice((0, 0, 0, 1))):
        lanes.append((lane * (k + 1), 1))
    towards = rng.choice((0, 1, 1, 1, 2))
    for k in range(towards):
        lanes.append((-lane * (k + 1), -1))
    parking = (rng.random() < 0.65, rng.random() < 0.65)
    left = min(x for x, _ in lanes) - lane / 2 - (2.2 if parking[0] else 0.2)
    right = max(x for x, _ in lanes) + lane / 2 + (2.2 if parking[1] else 0.2)
    return Street(
        left=left, right=right, left_front=left - rng.uniform(2.2, 5.5), right_front=right + rng.uniform(2.2, 5.5),
        lanes=tuple(lanes), parking=parking, junction=rng.uniform(16, 42) if rng.random() < 0.5 else 0.0,
    )  # fmt: skip
