"""This module draws trees and bushes as heaps of leaf balls in three tones, lit from the sun's side."""

import random

from harness.data.streets.canvas import Pen
from harness.data.streets.palette import RGB

_GREENS: tuple[RGB, ...] = ((62, 92, 44), (74, 104, 48), (54, 84, 52), (92, 108, 50), (84, 96, 60))


def bush(pen: Pen, seed: int, a: float, b: float, radius: float, high: float, *, count: int, low: float = 0.0) -> None:
    """A heap of leaves from `low` to `high` metres round (a, b)."""
    wide = 1.8 * radius
    if not pen.canvas.sees(
        [pen.world(a + da, b + db, h) for da in (-wide, wide) for db in (-wide, wide) for h in (0, high * 1.4)]
    ):
        return
    rng = random.Random(seed)
    green = rng.choice(_GREENS)
    sun = 1 if pen.canvas.light.sun[0] > 0 else -1
    middle, tall = (low + high) / 2, (high - low) / 2
    count = max(5, min(count, round(radius * pen.unit * 0.32)))
    pen.ball((a, b, middle), radius * 0.62, green, 0.66, tall=tall / radius * 1.1)
    for k in range(count):
        t = k / count
        db, dh = rng.triangular(-1, 1, 0) * 0.9 * radius, rng.triangular(-1, 1, 0) * 0.9 * tall
        size = radius * rng.uniform(0.2, 0.36)
        shade = 0.62 + 0.34 * t + 0.16 * (sun * db / radius + dh / tall)
        lift = max(-tall, min(tall, dh + 0.2 * t * tall))
        pen.ball(
            (a + rng.uniform(-0.5, 0.5) * radius, b + db + sun * t * 0.1 * radius, max(middle + lift, size)),
            size,
            green,
            max(0.4, shade),
            tall=0.85,
        )


def draw_tree(pen: Pen, seed: int, high: float) -> None:
    """A street tree: trunk, two boughs, crown (all of it vegetation, as Cityscapes has it)."""
    rng = random.Random(seed)
    bark = (86, 72, 58)
    trunk = rng.uniform(1.9, 2.6)
    pen.line([(0, 0, 0), (0, rng.uniform(-0.1, 0.1), trunk + 0.8)], bark, rng.uniform(0.2, 0.34), 0.9)
    pen.line([(0, 0, trunk), (0, 0.7, trunk + 1.4)], bark, 0.12, 0.85)
    pen.line([(0, 0, trunk), (0, -0.7, trunk + 1.4)], bark, 0.12, 0.95)
    bush(pen, seed, 0, 0, min(2.4, high * 0.28), high, count=34, low=trunk)
