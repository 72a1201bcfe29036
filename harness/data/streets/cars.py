"""This module draws cars: a side profile pulled across the width, with glass, wheels, lamps and plates; five bodies."""

import math
import random
from collections.abc import Callable
from itertools import pairwise

from harness.data.streets.canvas import Pen, rect
from harness.data.streets.palette import GLASS, RGB, TYRE, mix
from harness.data.streets.thing import Thing

# Profiles from the rear bumper over the roof to the front bumper, as shares of length (-.5 to .5) and height (0 to 1).
# Strip 2 is the rear window, strip 4 the windscreen.
_BODIES = {
    "sedan": (
        (-0.5, 0.17),
        (-0.5, 0.60),
        (-0.37, 0.68),
        (-0.23, 0.97),
        (0.04, 1.0),
        (0.22, 0.66),
        (0.46, 0.54),
        (0.5, 0.44),
        (0.5, 0.16),
    ),
    "hatchback": (
        (-0.5, 0.17),
        (-0.5, 0.58),
        (-0.46, 0.66),
        (-0.36, 0.97),
        (0.06, 1.0),
        (0.26, 0.66),
        (0.46, 0.54),
        (0.5, 0.44),
        (0.5, 0.16),
    ),
    "wagon": (
        (-0.5, 0.17),
        (-0.5, 0.60),
        (-0.48, 0.66),
        (-0.42, 0.98),
        (0.04, 1.0),
        (0.22, 0.66),
        (0.46, 0.54),
        (0.5, 0.44),
        (0.5, 0.16),
    ),
    "suv": (
        (-0.5, 0.2),
        (-0.5, 0.58),
        (-0.49, 0.64),
        (-0.43, 0.98),
        (0.08, 1.0),
        (0.22, 0.68),
        (0.46, 0.60),
        (0.5, 0.50),
        (0.5, 0.2),
    ),
    "van": (
        (-0.5, 0.14),
        (-0.5, 0.52),
        (-0.5, 0.56),
        (-0.47, 0.99),
        (0.20, 1.0),
        (0.38, 0.60),
        (0.48, 0.46),
        (0.5, 0.36),
        (0.5, 0.13),
    ),
}
_REAR_GLASS, _FRONT_GLASS = 2, 4
SIZES = {
    "sedan": (4.6, 1.8, 1.45), "hatchback": (3.9, 1.75, 1.48), "wagon": (4.6, 1.8, 1.48), "suv": (4.5, 1.9, 1.72),
    "van": (5.0, 1.95, 2.1),
}  # fmt: skip


def draw_car(pen: Pen, thing: Thing) -> None:
    """Draws a car of the thing's kind, colour and size."""
    length, width, height = thing.size
    shape = _BODIES[thing.kind]
    profile = [(a * length, h * height) for a, h in shape]
    waist = shape[_FRONT_GLASS + 1][1] * height

    def half(h: float) -> float:
        return width / 2 * (1 - 0.2 * max(0.0, (h - waist) / max(height - waist, 0.1)))

    _underside(pen, length, width, height)
    strips = []
    for k, ((a0, h0), (a1, h1)) in enumerate(pairwise(profile)):
        na, nh = h0 - h1, a1 - a0
        norm = math.hypot(na, nh) or 1.0
        if _strip_visible(pen, a0, h0, na, nh):
            strips.append(
                (max(pen.world(a0, 0, 0)[2], pen.world(a1, 0, 0)[2]), k, a0, h0, a1, h1, na / norm, nh / norm)
            )
    rgb = thing.rgb
    for _, k, a0, h0, a1, h1, na, up in sorted(strips, reverse=True):
        w0, w1 = half(h0), half(h1)
        shade = pen.lit(na, 0, max(up, 0.0))
        pen.poly([(a0, -w0, h0), (a0, w0, h0), (a1, w1, h1), (a1, -w1, h1)], rgb, shade)
        if k in (_REAR_GLASS, _FRONT_GLASS):
            _slope_glass(pen, (a0, h0, w0), (a1, h1, w1), shade)
    for b in (-1, 1):
        if pen.faces(0, b * width / 2, 0, b):
            _side(pen, thing, profile, half, b, waist)
    if pen.faces(-length / 2, 0, -1, 0):
        _rear(pen, thing, length, width, height)
    if pen.faces(length / 2, 0, 1, 0):
        _front(pen, thing, length, width, height)


def _strip_visible(pen: Pen, a: float, h: float, na: float, nh: float) -> bool:
    x, _, z = pen.world(a, 0, 0)
    nx, nz = na * pen.sin, na * pen.cos
    return -x * nx - z * nz + (pen.canvas.camera.height - pen.ground - h) * nh > 0


def _underside(pen: Pen, length: float, width: float, height: float) -> None:
    half, low = width / 2 * 0.94, 0.3 * height
    for a, na in ((-length * 0.48, -1), (length * 0.48, 1)):
        if pen.faces(a, 0, na, 0):
            for b in (-half, half - 0.2):
                pen.end(a, rect(b, 0.0, b + 0.2, low), TYRE, solid=True)
            pen.end(a, rect(-half, 0.13, half, low), (18, 18, 20), solid=True)


def _slope_glass(pen: Pen, low: tuple[float, float, float], high: tuple[float, float, float], shade: float) -> None:
    def at(t: float, share: float) -> tuple[float, float, float]:
        return (
            low[0] + (high[0] - low[0]) * t, (low[2] + (high[2] - low[2]) * t) * share, low[1] + (high[1] - low[1]) * t
        )  # fmt: skip

    sky = mix(GLASS, pen.canvas.light.sky_low, 0.28)
    pen.poly([at(0.1, -0.88), at(0.1, 0.88), at(0.9, 0.88), at(0.9, -0.88)], GLASS, shade, solid=False)
    if pen.unit > 22:
        pen.poly([at(0.1, -0.1), at(0.1, 0.5), at(0.9, 0.75), at(0.9, 0.2)], sky, shade, solid=False)


def _side(
    pen: Pen, thing: Thing, profile: list[tuple[float, float]], half: Callable[[float], float], b: int, waist: float
) -> None:
    length, width, height = thing.size
    shade = pen.lit(0, b)
    wall = b * width / 2
    pen.poly([(a, b * half(h), h) for a, h in profile], thing.rgb, shade)
    pen.side(wall * 0.9, rect(-length * 0.46, 0.1, length * 0.46, profile[0][1]), (16, 16, 18), solid=True)
    pen.side(
        wall,
        rect(-length * 0.49, profile[0][1], length * 0.49, profile[0][1] + 0.12),
        mix(thing.rgb, (20, 20, 22), 0.7),
        shade,
    )
    top = height * 0.92
    (r0, _), (r1, _), (f1, _), (f0, _) = profile[2], profile[3], profile[4], profile[5]
    inset = 0.10
    glass = [(r0 + inset, waist), (r1 + inset * 0.8, top), (f1 - inset * 0.3, top), (f0 - inset * 1.6, waist)]
    sky = mix(GLASS, pen.canvas.light.sky_low, 0.22)
    pen.poly([(a, b * half(h), h) for a, h in glass], sky, shade, solid=False)
    fine = height * pen.unit > 34
    for share in (0.34, 0.68) if fine else ():
        a_low, a_top = (
            glass[0][0] + (glass[3][0] - glass[0][0]) * share,
            glass[1][0] + (glass[2][0] - glass[1][0]) * share,
        )
        pen.line(
            [(a_low, b * half(waist), waist), (a_top, b * half(top), top)], thing.rgb, 0.07, shade * 0.8, solid=False
        )
    if pen.unit > 24:
        for a in (glass[0][0] + (glass[3][0] - glass[0][0]) * 0.34, glass[3][0] - 0.1):
            pen.line(
                [(a, wall, waist), (a, wall, 0.3 * height)],
                mix(thing.rgb, (20, 20, 22), 0.5),
                0.025,
                shade,
                solid=False,
            )
        pen.side(wall, rect(-0.25, waist * 0.86, -0.05, waist * 0.9), mix(thing.rgb, (20, 20, 22), 0.6), shade)
    radius = min(0.34, height * 0.225)
    for a in (-length * 0.31, length * 0.32):
        if not fine:
            pen.poly(pen.ring(a, wall * 1.01, radius, radius, 7), TYRE)
            continue
        pen.poly(pen.ring(a, wall, radius, radius * 1.12), (14, 14, 16), solid=False)
        pen.poly(pen.ring(a, wall * 1.01, radius, radius), TYRE)
        pen.poly(pen.ring(a, wall * 1.01, radius, radius * 0.62, 10), (150, 152, 156), shade, solid=False)
        pen.poly(pen.ring(a, wall * 1.01, radius, radius * 0.25, 6), (60, 60, 62), shade, solid=False)


def _rear(pen: Pen, thing: Thing, length: float, width: float, height: float) -> None:
    shade, a, w = pen.lit(-1, 0), -length * 0.502, width / 2
    bumper = mix(thing.rgb, (40, 40, 42), 0.55)
    pen.end(a, rect(-w * 0.98, height * 0.16, w * 0.98, height * 0.28), bumper, shade, solid=True)
    lamp = (214, 26, 22) if pen.canvas.light.lamps else (164, 16, 18)
    tall = 0.56 if thing.kind in ("van", "wagon", "suv") else 0.5
    for b in (-1, 1):
        pen.end(
            a,
            rect(min(b * w * 0.68, b * w * 0.97), height * 0.40, max(b * w * 0.68, b * w * 0.97), height * tall),
            lamp,
            1.1,
            glow=True,
        )
    if pen.unit > 22:
        pen.end(a, rect(-0.26, height * 0.36, 0.26, height * 0.44), (226, 226, 220), shade)
    if thing.kind == "van" and pen.unit > 12:
        pen.line([(a, 0, height * 0.3), (a, 0, height * 0.95)], bumper, 0.03, shade, solid=False)


def _front(pen: Pen, thing: Thing, length: float, width: float, height: float) -> None:
    shade, a, w = pen.lit(1, 0), length * 0.502, width / 2
    low, top = height * 0.16, height * 0.44
    pen.end(
        a, rect(-w * 0.98, low, w * 0.98, low + 0.12 * height), mix(thing.rgb, (40, 40, 42), 0.5), shade, solid=True
    )
    pen.end(a, rect(-w * 0.5, height * 0.32, w * 0.5, top), (26, 26, 28), shade)
    lamp: RGB = (255, 250, 214) if pen.canvas.light.lamps else (222, 226, 230)
    for b in (-1, 1):
        pen.end(
            a,
            rect(min(b * w * 0.58, b * w * 0.95), height * 0.36, max(b * w * 0.58, b * w * 0.95), top),
            lamp,
            1.1,
            glow=True,
        )
    if pen.unit > 22:
        pen.end(a, rect(-0.26, height * 0.22, 0.26, height * 0.29), (226, 226, 220), shade)


def choose_car(rng: random.Random, domain: str) -> tuple[str, tuple[float, float, float]]:
    """Kind and size; the narrow domain knows sedans and hatchbacks."""
    kind = (
        rng.choice(("sedan", "hatchback")) if domain == "train" else rng.choices(list(SIZES), (28, 26, 18, 16, 12))[0]
    )
    length, width, height = (s * rng.uniform(0.96, 1.05) for s in SIZES[kind])
    return kind, (length, width, height)
