"""This module draws buses, trucks and trains: boxes with the glass, doors, stripes, loads and wheels that tell them
apart."""

import random

from harness.data.streets.canvas import Pen, rect
from harness.data.streets.palette import GLASS, RGB, TYRE, mix
from harness.data.streets.thing import Thing

SIZES = {
    "city bus": (11.5, 2.5, 3.1), "double-decker": (10.5, 2.5, 4.3), "coach": (12.0, 2.5, 3.5),
    "box truck": (8.0, 2.4, 3.4), "tipper": (7.5, 2.4, 3.0), "semi-trailer": (13.5, 2.5, 3.8),
    "tram": (22.0, 2.4, 3.4), "articulated tram": (30.0, 2.4, 3.5), "railcar": (24.0, 2.8, 3.9),
}  # fmt: skip
KINDS = {
    "bus": ("city bus", "coach", "double-decker"),
    "truck": ("box truck", "tipper", "semi-trailer"),
    "train": ("tram", "articulated tram", "railcar"),
}


def choose_heavy(rng: random.Random, domain: str, name: str) -> tuple[str, tuple[float, float, float]]:
    """Kind and size of a bus, truck or train; the narrow domain knows one body of each."""
    kind = KINDS[name][0] if domain == "train" else rng.choice(KINDS[name])
    length, width, height = (s * rng.uniform(0.95, 1.05) for s in SIZES[kind])
    return kind, (length, width, height)


def draw_bus(pen: Pen, thing: Thing) -> None:
    """City bus, coach or double-decker."""
    length, width, height = thing.size
    floor = 0.32
    box(pen, -length / 2, length / 2, width, floor, height, thing.rgb)
    decks = [(height * 0.34, height * 0.84)]
    if thing.kind == "coach":
        decks = [(height * 0.46, height * 0.9)]
    if thing.kind == "double-decker":
        decks = [(height * 0.22, height * 0.45), (height * 0.6, height * 0.88)]
    accent = mix(thing.rgb, (250, 250, 250), 0.55) if sum(thing.rgb) < 480 else mix(thing.rgb, (30, 40, 60), 0.6)
    for b in sides(pen, width):
        wall, shade = b * width / 2 * 1.004, pen.lit(0, b)
        for low, high in decks:
            panes(pen, wall, -length * 0.48, length * 0.47, low, high, 8, shade)
        pen.side(wall, rect(-length / 2, floor, length / 2, floor + 0.16), (40, 40, 42), shade)
        pen.side(wall, rect(-length / 2, decks[0][0] - 0.28, length / 2, decks[0][0] - 0.16), accent, shade)
        if thing.kind != "coach":
            for a in (-0.02, 0.36):
                pen.side(
                    wall,
                    rect(a * length, floor + 0.05, (a + 0.1) * length, height * (0.78 if len(decks) == 1 else 0.45)),
                    (58, 72, 84),
                    shade,
                )
                pen.line(
                    [((a + 0.05) * length, wall, floor), ((a + 0.05) * length, wall, height * 0.45)],
                    thing.rgb,
                    0.06,
                    shade * 0.7,
                    solid=False,
                )
        wheels(pen, wall, (-0.28 * length, 0.3 * length), 0.48, shade)
    for a, na in ends(pen, -length / 2, length / 2):
        shade, w = pen.lit(na, 0), width / 2
        low, high = (height * 0.36, height * 0.80) if na > 0 else (height * 0.5, height * 0.8)
        if thing.kind == "double-decker":
            low, high = height * 0.26, height * 0.46
            pen.end(a, rect(-w * 0.9, height * 0.62, w * 0.9, height * 0.88), GLASS, shade)
        windscreen(pen, a, w * 0.9, low, high, shade)
        pen.end(a, rect(-w * 0.62, high + 0.08, w * 0.62, high + 0.36), (22, 22, 24), shade)
        if na > 0:
            pen.end(a, rect(-w * 0.42, high + 0.13, w * 0.42, high + 0.31), (250, 176, 40), 1.1, glow=True)
        bumper_and_lamps(pen, a, na, w, floor)


def draw_truck(pen: Pen, thing: Thing) -> None:
    """Box truck, tipper or semi-trailer: a cab in front, the load behind, a dark chassis with a gap below."""
    length, width, height = thing.size
    rng = random.Random(thing.seed)
    cab = 2.0
    cab_high = min(height, 2.9)
    split = length / 2 - cab
    bed = 0.95
    parts = (_load, _cab) if pen.faces(length / 2, 0, 1, 0) or not pen.faces(-length / 2, 0, -1, 0) else (_cab, _load)
    box(pen, -length / 2, length / 2, width * 0.9, 0.4, bed, (34, 34, 36))
    for part in parts:
        part(pen, thing, split, cab_high, bed, rng)
    for b in sides(pen, width):
        wall, shade = b * width / 2 * 1.004, pen.lit(0, b)
        axles = (
            (-0.4 * length, -0.31 * length, length / 2 - 1.1)
            if thing.kind == "semi-trailer"
            else (-0.3 * length, length / 2 - 1.1)
        )
        wheels(pen, wall, axles, 0.5, shade)
    for a, na in ends(pen, -length / 2, length / 2):
        bumper_and_lamps(pen, a, na, width / 2, 0.45)
        if na < 0:
            for b in (-1, 1):
                pen.end(a, rect(b * width * 0.36 - 0.22, 0.02, b * width * 0.36 + 0.22, 0.6), TYRE, solid=True)


def _cab(pen: Pen, thing: Thing, split: float, high: float, bed: float, rng: random.Random) -> None:
    length, width, _ = thing.size
    box(pen, split + 0.1, length / 2, width, 0.45, high, thing.rgb)
    for b in sides(pen, width):
        wall, shade = b * width / 2 * 1.004, pen.lit(0, b)
        pen.side(
            wall,
            [
                (split + 0.7, high * 0.52),
                (split + 0.7, high * 0.86),
                (length / 2 - 0.2, high * 0.86),
                (length / 2 - 0.1, high * 0.52),
            ],
            GLASS,
            shade,
        )
        pen.line(
            [(split + 0.6, wall, 0.5), (split + 0.6, wall, high * 0.9)],
            mix(thing.rgb, (20, 20, 20), 0.5),
            0.05,
            shade,
            solid=False,
        )
    if pen.faces(length / 2, 0, 1, 0):
        a, w, shade = length / 2 * 1.001, width / 2, pen.lit(1, 0)
        windscreen(pen, a, w * 0.9, high * 0.54, high * 0.86, shade)
        pen.end(a, rect(-w * 0.6, 0.8, w * 0.6, high * 0.46), (36, 36, 38), shade)
        for h in (0.95, 1.15):
            pen.end(a, rect(-w * 0.56, h, w * 0.56, h + 0.07), (150, 152, 156), shade)


def _load(pen: Pen, thing: Thing, split: float, high: float, bed: float, rng: random.Random) -> None:
    length, width, height = thing.size
    rear = -length / 2
    if thing.kind == "tipper":
        body = mix(thing.rgb, (60, 60, 60), 0.12)
        pen.poly(
            [
                (rear, -width / 2, height * 0.72),
                (rear, width / 2, height * 0.72),
                (split, width / 2, height * 0.72),
                (split, -width / 2, height * 0.72),
            ],
            (120, 96, 70),
            0.9,
        )
        pen.poly(
            [(rear * 0.9, 0, height * 0.7), (0, 0, height * 1.0), (split * 0.9, 0, height * 0.7)], (134, 108, 78), 0.95
        )
        box(pen, rear, split, width, bed, height * 0.74, body)
        for b in sides(pen, width):
            shade = pen.lit(0, b)
            for k in range(6):
                a = rear + (split - rear) * k / 5
                pen.line(
                    [(a, b * width / 2 * 1.004, bed), (a, b * width / 2 * 1.004, height * 0.74)],
                    mix(body, (10, 10, 10), 0.35),
                    0.09,
                    shade,
                    solid=False,
                )
        return
    box(pen, rear, split, width, bed, height, thing.rgb)
    stripe = (244, 244, 240) if sum(thing.rgb) < 480 else (40, 70, 140)
    mark = rng.uniform(0.3, 0.6)
    for b in sides(pen, width):
        wall, shade = b * width / 2 * 1.004, pen.lit(0, b)
        low = bed + (height - bed) * mark
        pen.side(wall, rect(rear * 0.8, low, split * 0.3, low + 0.4), stripe, shade)
        pen.side(wall, rect(rear, bed, split, bed + 0.1), (60, 60, 62), shade)
    if pen.faces(rear, 0, -1, 0):
        a, w, shade = rear * 1.001, width / 2, pen.lit(-1, 0)
        edge = mix(thing.rgb, (20, 20, 20), 0.4)
        pen.line([(a, 0, bed), (a, 0, height)], edge, 0.06, shade, solid=False)
        pen.line(
            [(a, b * w * 0.97, h) for b, h in rect(-1, bed, 1, height * 0.985)],
            edge,
            0.08,
            shade,
            solid=False,
            closed=True,
        )
        for beside in (-0.35, 0.35):
            pen.line([(a, beside, bed + 0.1), (a, beside, height - 0.1)], (150, 150, 152), 0.04, shade, solid=False)


def draw_train(pen: Pen, thing: Thing) -> None:
    """Tram or railcar: long, window band, a white stripe below it, bogies, pantograph."""
    length, width, height = thing.size
    floor = 0.3
    sections = {"tram": 2, "articulated tram": 3, "railcar": 1}[thing.kind]
    pen.line([(0, 0, height), (-0.9, 0, height + 0.7), (0.4, 0, height + 1.3)], (46, 46, 48), 0.07)
    box(pen, -length / 2, length / 2, width, floor, height, thing.rgb)
    stripe: RGB = (240, 240, 236) if sum(thing.rgb) < 560 else (170, 30, 34)
    for b in sides(pen, width):
        wall, shade = b * width / 2 * 1.004, pen.lit(0, b)
        pen.side(wall, rect(-length / 2, floor, length / 2, floor + 0.35), (48, 48, 50), shade)
        pen.side(wall, rect(-length / 2, height * 0.36, length / 2, height * 0.43), stripe, shade)
        pen.side(wall, rect(-length / 2, height * 0.93, length / 2, height), (150, 152, 156), shade)
        pen.side(wall, rect(-length * 0.49, height * 0.47, length * 0.49, height * 0.8), (30, 36, 42), shade)
        count = 4 * sections + 2
        for k in range(count):
            a = -length * 0.48 + length * 0.96 * k / count
            if k % 3 == 1:
                pen.side(wall, rect(a, floor + 0.2, a + length * 0.8 / count, height * 0.8), stripe, shade)
                pen.side(
                    wall, rect(a + 0.15, floor + 0.9, a + length * 0.8 / count - 0.15, height * 0.76), GLASS, shade
                )
            else:
                pen.side(
                    wall,
                    rect(a, height * 0.5, a + length * 0.82 / count, height * 0.77),
                    mix(GLASS, pen.canvas.light.sky_low, 0.3),
                    shade,
                )
        for k in range(1, sections):
            a = -length / 2 + length * k / sections
            pen.side(wall, rect(a - 0.35, floor, a + 0.35, height * 0.98), (40, 40, 42), shade)
        for k in range(sections + 1):
            a = -length * 0.42 + length * 0.84 * k / max(sections, 1)
            pen.side(wall, rect(a - 1.0, 0.08, a + 1.0, floor + 0.1), (26, 26, 28), solid=True)
    for a, na in ends(pen, -length / 2, length / 2):
        shade, w = pen.lit(na, 0), width / 2
        windscreen(pen, a, w * 0.86, height * 0.44, height * 0.84, shade)
        pen.end(a, rect(-w, height * 0.34, w, height * 0.41), stripe, shade)
        pen.end(a, rect(-w * 0.5, height * 0.87, w * 0.5, height * 0.95), (250, 176, 40), 1.1, glow=True)
        pen.end(a, rect(-w * 0.8, 0.06, w * 0.8, floor + 0.1), (26, 26, 28), solid=True)
        lamp = (255, 248, 214) if na > 0 else (190, 20, 22)
        for place in (-1.0, 0.0, 1.0):
            pen.end(
                a,
                rect(place * w * 0.75 - 0.13, height * 0.24, place * w * 0.75 + 0.13, height * 0.31),
                lamp if place else (230, 230, 224),
                1.1,
                glow=True,
            )


def box(pen: Pen, rear: float, front: float, width: float, low: float, high: float, rgb: RGB) -> None:
    """The visible walls of a box and its roof (seen only where it lies below the eye)."""
    w = width / 2
    for b in sides(pen, width * 0.9) if low < 0.5 else ():
        pen.side(b * w * 0.9, rect(rear * 0.97, 0.12, front * 0.97, low), (20, 20, 22), solid=True)
    for a, _ in ends(pen, rear, front) if low < 0.5 else ():
        pen.end(a, rect(-w * 0.9, 0.14, w * 0.9, low), (20, 20, 22), solid=True)
    if pen.ground + high < pen.canvas.camera.height:
        pen.poly([(rear, -w, high), (rear, w, high), (front, w, high), (front, -w, high)], rgb, pen.lit(0, 0, 1))
    for b in sides(pen, width):
        pen.poly([(a, b * w, h) for a, h in rect(rear, low, front, high)], rgb, pen.lit(0, b))
    for a, na in ends(pen, rear, front):
        pen.poly([(a, b, h) for b, h in rect(-w, low, w, high)], rgb, pen.lit(na, 0))


def sides(pen: Pen, width: float) -> list[int]:
    """Return which long sides (-1, 1) look at the camera."""
    return [b for b in (-1, 1) if pen.faces(0, b * width / 2, 0, b)]


def ends(pen: Pen, rear: float, front: float) -> list[tuple[float, int]]:
    """Return which ends look at the camera: (a, normal)."""
    return [(a, n) for a, n in ((rear, -1), (front, 1)) if pen.faces(a, 0, n, 0)]


def panes(pen: Pen, wall: float, rear: float, front: float, low: float, high: float, count: int, shade: float) -> None:
    """A row of windows on a long side."""
    sky = mix(GLASS, pen.canvas.light.sky_low, 0.25)
    if pen.unit < 5:
        pen.side(wall, rect(rear, low, front, high), sky, shade)
        return
    step = (front - rear) / count
    pen.side(wall, rect(rear, low, front, high), (26, 28, 32), shade)
    for k in range(count):
        a = rear + k * step
        pen.side(wall, rect(a + 0.06, low + 0.06, a + step - 0.06, high - 0.06), sky if k % 3 else GLASS, shade)


def windscreen(pen: Pen, a: float, half: float, low: float, high: float, shade: float) -> None:
    """An end window with a slanted reflection."""
    pen.end(a, rect(-half, low, half, high), GLASS, shade)
    sky = mix(GLASS, pen.canvas.light.sky_low, 0.35)
    pen.end(a, [(-half * 0.2, low), (half * 0.4, low), (half * 0.85, high), (half * 0.25, high)], sky, shade)


def wheels(pen: Pen, wall: float, axles: tuple[float, ...], radius: float, shade: float) -> None:
    """Wheels on a long side."""
    for a in axles:
        pen.poly(pen.ring(a, wall, radius, radius), TYRE)
        pen.poly(pen.ring(a, wall, radius, radius * 0.55, 10), (140, 142, 146), shade, solid=False)


def bumper_and_lamps(pen: Pen, a: float, na: int, half: float, floor: float) -> None:
    """Dark bumper, lamps and plate at an end."""
    pen.end(a, rect(-half, floor - 0.1, half, floor + 0.2), (44, 44, 46), pen.lit(na, 0), solid=True)
    lamp = (255, 250, 220) if na > 0 else (188, 18, 20)
    for b in (-1, 1):
        pen.end(a, rect(b * half * 0.8 - 0.2, floor + 0.24, b * half * 0.8 + 0.2, floor + 0.48), lamp, 1.05, glow=True)
    pen.end(a, rect(-0.26, floor - 0.02, 0.26, floor + 0.12), (226, 226, 220), pen.lit(na, 0))
