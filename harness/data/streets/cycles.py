"""This module draws bicycles and motorcycles as frames of tubes and wheels on their own axes."""

import random

from harness.data.streets.canvas import Pen, Point
from harness.data.streets.palette import RGB, TYRE, mix
from harness.data.streets.thing import Thing

SIZES = {
    "city bicycle": (1.75, 0.6, 1.05), "race bicycle": (1.7, 0.46, 0.98),
    "scooter": (1.8, 0.7, 1.15), "cruiser": (2.2, 0.8, 1.15), "sport motorcycle": (2.1, 0.7, 1.15),
}  # fmt: skip
KINDS = {"bicycle": ("city bicycle", "race bicycle"), "motorcycle": ("cruiser", "scooter", "sport motorcycle")}


def seat_of(kind: str) -> tuple[float, float, Point]:
    """Seat height, bar height and pedal (or foot rest) of a two-wheeler."""
    if kind == "city bicycle":
        return 0.92, 1.08, (0.0, 0.0, 0.3)
    if kind == "race bicycle":
        return 0.94, 0.94, (0.0, 0.0, 0.3)
    return (0.76, 1.02, (0.2, 0.0, 0.38)) if kind == "scooter" else (0.8, 1.02, (0.25, 0.0, 0.4))


def draw_bicycle(pen: Pen, thing: Thing) -> None:
    """City bicycle (mudguards, basket, step-through) or race bicycle (diamond frame, dropped bars)."""
    city = thing.kind == "city bicycle"
    rng = random.Random(thing.seed)
    shade = 0.55 * pen.lit(0, -1) + 0.45 * pen.lit(0, 1) + 0.06
    rgb, r = thing.rgb, 0.345
    wheel = [pen.ring(a, 0, r, r - 0.02, 16) for a in (-0.53, 0.53)]
    for points in wheel:
        pen.mask(points)
        pen.line(points, TYRE, 0.075, closed=True)
        pen.line(
            [(p[0] * 0.9 + 0.1 * points[0][0], 0, p[2]) for p in points],
            mix(rgb, (150, 150, 150), 0.5),
            0.02,
            shade,
            solid=False,
            closed=True,
        )
        if pen.unit > 26:
            for k in range(0, 8, 2):
                pen.line([points[k], points[k + 8]], (130, 132, 136), 0.012, solid=False)
    crank, saddle, head = (-0.05, 0, 0.3), (-0.22, 0, 0.82), (0.36, 0, 0.82)
    rear, front = (-0.53, 0, r), (0.53, 0, r)
    tube = 0.085 * (0.55 + 0.45 * abs(pen.sin))  # lines do not foreshorten by themselves
    pen.line([rear, crank, saddle, rear], rgb, tube, shade)
    if city:
        pen.line([crank, (0.12, 0, 0.42), (0.39, 0, 0.72)], rgb, tube * 1.3, shade)
        for points in wheel:
            pen.line([(p[0], 0, p[2] + 0.035) for p in points[1:8]], rgb, 0.06, shade)
        pen.line([crank, rear], mix(rgb, (0, 0, 0), 0.15), 0.12, shade)
        if rng.random() < 0.5:
            pen.poly([(0.5, 0, 0.78), (0.8, 0, 0.78), (0.84, 0, 1.02), (0.46, 0, 1.02)], (116, 84, 52), shade)
    else:
        pen.line([crank, head, saddle], rgb, tube, shade)
    pen.line([front, head, (0.33, 0, 0.98 if city else 0.9)], rgb, tube, shade)
    pen.line([saddle, (-0.25, 0, 0.93)], (60, 60, 62), 0.04, shade)
    pen.line([(-0.38, 0, 0.95), (-0.14, 0, 0.95)], (28, 26, 26), 0.09, shade)
    half = 0.29 if city else 0.22
    high = 1.05 if city else 0.94
    pen.line([(0.34, -half, high), (0.36, 0, high + 0.02), (0.34, half, high)], (40, 40, 42), 0.05, shade)
    pen.line([(-0.05, 0, 0.3), (0.07, 0.08, 0.2)], (50, 50, 52), 0.05, shade, solid=False)
    if abs(pen.cos) > 0.7:
        lamp = (196, 20, 20) if pen.cos > 0 else (240, 240, 220)
        pen.ball((-0.6 if pen.cos > 0 else 0.55, 0, 0.74), 0.05, lamp, glow=True)


def draw_motorcycle(pen: Pen, thing: Thing) -> None:
    """Cruiser, scooter or sport motorcycle: fat wheels, an engine, a coloured tank or fairing, a dark seat."""
    shade = 0.55 * pen.lit(0, -1) + 0.45 * pen.lit(0, 1) + 0.06
    rgb, kind = thing.rgb, thing.kind
    r = 0.24 if kind == "scooter" else 0.33
    base = 0.62 if kind == "scooter" else 0.72
    for a in (-base, base):
        pen.poly(pen.ring(a, 0, r, r), TYRE)
        pen.line([(a, 0, 0.06), (a, 0, r * 2 - 0.06)], TYRE, 0.15)
        pen.poly(pen.ring(a, 0, r, r * 0.55, 10), (150, 152, 156), shade, solid=False)
        pen.poly(pen.ring(a, 0, r, r * 0.2, 6), (50, 50, 52), shade, solid=False)
    for b in (-0.07, 0.07) if pen.sin > 0 else (0.07, -0.07):
        _body(pen, kind, rgb, shade * (0.85 if b * pen.sin < 0 else 1.0), b, base, r)
    _narrow_view(pen, kind, rgb, shade)
    half = 0.38
    pen.line([(0.42, -half, 1.0), (0.46, 0, 1.04), (0.42, half, 1.0)], (44, 44, 46), 0.06, shade)
    for b in (-half, half):
        pen.line([(0.44, b * 0.8, 1.02), (0.46, b, 1.18)], (50, 50, 52), 0.03, shade)
        pen.ball((0.46, b, 1.2), 0.06, (60, 62, 66), shade, tall=0.7)
    if pen.cos < -0.2:
        pen.ball((base * 0.8, 0, 0.88), 0.11, (250, 248, 226), 1.05, glow=True)
    elif pen.cos > 0.2:
        pen.line([(-0.8, -0.09, 0.7), (-0.8, 0.09, 0.7)], (190, 18, 20), 0.1, solid=False)
        pen.line([(-0.85, -0.08, 0.5), (-0.85, 0.08, 0.5)], (226, 226, 220), 0.12)


def _narrow_view(pen: Pen, kind: str, rgb: RGB, shade: float) -> None:
    """Return what gives the body its width seen from ahead or behind: fairing or leg shield, tank, seat."""
    if pen.cos < -0.25:
        low, half = (0.3, 0.24) if kind == "scooter" else (0.5, 0.2 if kind == "cruiser" else 0.25)
        pen.end(
            0.44,
            [
                (-half * 0.5, low),
                (half * 0.5, low),
                (half, 0.72),
                (half * 0.7, 0.98),
                (-half * 0.7, 0.98),
                (-half, 0.72),
            ],
            rgb,
            shade,
            solid=True,
        )
    elif pen.cos > 0.25:
        half = 0.23 if kind == "scooter" else 0.19
        pen.end(
            -0.5,
            [(-half * 0.6, 0.44), (half * 0.6, 0.44), (half, 0.66), (half, 0.78), (-half, 0.78), (-half, 0.66)],
            rgb,
            shade,
            solid=True,
        )
        pen.end(
            -0.5,
            [(-half, 0.77), (half, 0.77), (half * 0.8, 0.86), (-half * 0.8, 0.86)],
            (30, 28, 28),
            shade,
            solid=True,
        )


def _body(pen: Pen, kind: str, rgb: RGB, shade: float, b: float, base: float, r: float) -> None:
    def part(points: list[tuple[float, float]], colour: RGB, tone: float = 1.0) -> None:
        pen.poly([(a, b, h) for a, h in points], colour, shade * tone)

    if kind == "scooter":
        part([(-0.75, 0.35), (-0.1, 0.28), (-0.08, 0.62), (-0.2, 0.72), (-0.8, 0.74)], rgb)
        part([(-0.12, 0.24), (0.32, 0.24), (0.34, 0.36), (-0.12, 0.36)], rgb, 0.85)
        part([(0.28, 0.26), (0.5, 0.34), (0.5, 0.98), (0.36, 1.0)], rgb)
        part([(0.44, 0.44), (0.84, 0.46), (0.7, 0.56), (0.5, 0.58)], rgb)
        part([(-0.78, 0.74), (-0.2, 0.72), (-0.2, 0.82), (-0.76, 0.84)], (30, 28, 28))
        pen.line([(0.46, b, 0.5), (base, b, r)], (110, 112, 116), 0.06, shade)
        return
    part([(-0.3, 0.24), (0.3, 0.24), (0.34, 0.56), (-0.3, 0.56)], (84, 86, 90))
    pen.line([(-0.3, b * 1.4, 0.3), (-0.95, b * 1.4, 0.34)], (176, 178, 182), 0.09, shade)
    pen.line([(base, b, r), (0.46, b, 0.98)], (120, 122, 126), 0.07, shade)
    pen.line([(-0.2, b, 0.5), (-base, b, r)], (60, 60, 62), 0.08, shade)
    part([(-0.12, 0.56), (0.42, 0.56), (0.46, 0.84), (0.2, 0.92), (-0.1, 0.78)], rgb)
    part([(-0.85, 0.74), (-0.1, 0.62), (-0.08, 0.78), (-0.55, 0.84)], (30, 28, 28))
    part([(base - 0.34, 0.58), (base, 0.72), (base + 0.3, 0.6), (base, 0.66)], rgb)
    part([(-base - 0.3, 0.5), (-base - 0.1, 0.72), (-base + 0.3, 0.74), (-base + 0.2, 0.6)], rgb)
    if kind == "sport motorcycle":
        part([(0.2, 0.36), (0.62, 0.5), (0.78, 0.86), (0.5, 1.08), (0.36, 0.9)], rgb)
        part([(0.5, 0.96), (0.68, 0.94), (0.52, 1.18)], (70, 82, 92))
        part([(-0.9, 0.8), (-0.5, 0.72), (-0.4, 0.86), (-0.95, 0.94)], rgb, 0.95)


def choose_cycle(rng: random.Random, domain: str, name: str) -> tuple[str, tuple[float, float, float]]:
    """Kind and size; the narrow domain knows one body of each."""
    kind = KINDS[name][0] if domain == "train" else rng.choice(KINDS[name])
    return kind, SIZES[kind]
