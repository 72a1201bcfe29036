"""This module draws poles, traffic lights, traffic signs and clutter."""

import math
import random

from harness.data.streets.canvas import Canvas, Pen, rect
from harness.data.streets.foliage import draw_tree
from harness.data.streets.furnish import POLE
from harness.data.streets.street import KERB, Prop

_STEEL = (112, 116, 120)


def draw_prop(canvas: Canvas, prop: Prop) -> None:
    """Draws one piece of furniture; lights and signs bring their own pole."""
    rng = random.Random(prop.seed)
    pen = Pen(canvas, x=prop.x, z=prop.z, ident=prop.label_id, ground=KERB)
    if prop.kind == "tree":
        draw_tree(pen, prop.seed, prop.height)
    elif prop.kind in ("lamp post", "pole"):
        _post(pen, prop, rng)
    elif prop.kind == "traffic light":
        _traffic_light(canvas, pen, prop, rng)
    elif prop.kind == "sign":
        _sign(canvas, pen, prop, rng)
    else:
        _clutter(pen, prop, rng)


def _post(pen: Pen, prop: Prop, rng: random.Random) -> None:
    tone = rng.choice((_STEEL, (84, 96, 88), (140, 140, 138)))
    pen.line([(0, 0, 0), (0, 0, prop.height)], tone, 0.12)
    if prop.kind == "lamp post":
        reach = 1.6 if prop.x < 0 else -1.6
        pen.line([(0, 0, prop.height), (0, reach, prop.height + 0.3)], tone, 0.09)
        lamp = (255, 236, 180) if pen.canvas.light.lamps else (206, 206, 200)
        pen.line([(0, reach * 0.8, prop.height + 0.22), (0, reach * 1.2, prop.height + 0.3)], lamp, 0.2)


def _traffic_light(canvas: Canvas, pen: Pen, prop: Prop, rng: random.Random) -> None:
    pole = Pen(canvas, x=prop.x, z=prop.z, ident=POLE, ground=KERB)
    pole.line([(0, 0, 0), (0, 0, prop.height)], _STEEL, 0.13)
    low = prop.height - 1.0
    pen.end(0, rect(-0.19, low, 0.19, low + 1.05), (28, 30, 30), solid=True)
    on = rng.randrange(3)
    for k, colour in enumerate(((40, 210, 90), (250, 190, 40), (240, 40, 34))):
        active = k == (on if on != 1 else 0)
        pen.ball((0, 0, low + 0.2 + 0.32 * k), 0.12, colour if active else (58, 54, 50), glow=active)


def _sign(canvas: Canvas, pen: Pen, prop: Prop, rng: random.Random) -> None:
    pole = Pen(canvas, x=prop.x, z=prop.z, ident=POLE, ground=KERB)
    pole.line([(0, 0, 0), (0, 0, prop.height)], _STEEL, 0.08)
    h, kind = prop.height - 0.3, rng.randrange(6)
    if kind == 0:
        pen.ball((0, 0, h), 0.36, (206, 28, 30))
        pen.ball((0, 0, h), 0.25, (240, 240, 236))
    elif kind == 1:
        pen.poly([(0, -0.42, h - 0.3), (0, 0.42, h - 0.3), (0, 0, h + 0.42)], (206, 28, 30))
        pen.poly([(0, -0.24, h - 0.2), (0, 0.24, h - 0.2), (0, 0, h + 0.2)], (240, 240, 236))
    elif kind == 2:
        pen.end(0, rect(-0.36, h - 0.36, 0.36, h + 0.36), (30, 84, 180), solid=True)
        pen.end(0, rect(-0.1, h - 0.24, 0.06, h + 0.24), (240, 240, 236))
    elif kind == 3:
        points = [
            (0.38 * math.cos(t), h + 0.38 * math.sin(t)) for t in (math.pi / 8 + k * math.pi / 4 for k in range(8))
        ]
        pen.end(0, points, (200, 26, 30), solid=True)
        pen.end(0, rect(-0.26, h - 0.07, 0.26, h + 0.07), (240, 240, 236))
    elif kind == 4:
        pen.end(0, rect(-0.7, h - 0.5, 0.7, h + 0.5), (238, 238, 234), solid=True)
        pen.end(0, rect(-0.63, h - 0.43, 0.63, h + 0.43), rng.choice(((232, 190, 40), (30, 90, 170), (40, 120, 80))))
        for k in (0.2, -0.15):
            pen.end(0, rect(-0.5, h + k, rng.uniform(0.1, 0.5), h + k + 0.12), (240, 240, 236))
    else:
        pen.poly([(0, 0, h - 0.45), (0, 0.45, h), (0, 0, h + 0.45), (0, -0.45, h)], (240, 240, 236))
        pen.poly([(0, 0, h - 0.34), (0, 0.34, h), (0, 0, h + 0.34), (0, -0.34, h)], (240, 190, 40))


def _clutter(pen: Pen, prop: Prop, rng: random.Random) -> None:
    high, tone = prop.height, rng.choice(((80, 92, 84), (120, 118, 112), (70, 74, 90), (150, 110, 60)))
    half = {"bin": 0.3, "bollard": 0.1, "planter": 0.6, "cabinet": 0.45}[prop.kind]
    pen.end(0, rect(-half, 0, half, high), tone, pen.lit(-1, 0), solid=True)
    pen.end(0, rect(-half, high * 0.86, half, high), (50, 52, 54), pen.lit(-1, 0), solid=True)
    if prop.kind == "planter":
        for b in (-0.4, 0.0, 0.4):
            pen.ball((0, b, high + 0.15), 0.3, (76, 108, 52))
