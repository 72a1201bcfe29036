"""The backdrop is drawn before the objects: sky, skyline, ground and the fronts along the street."""

import random
from itertools import pairwise

import cv2
import numpy as np

from harness.data.streets.canvas import SUPERSAMPLING, Canvas, Pen, rect
from harness.data.streets.foliage import bush
from harness.data.streets.furnish import BUILDING, ROAD, SIDEWALK, SKY, TERRAIN, VEGETATION
from harness.data.streets.light import noise
from harness.data.streets.palette import FACADES, GLASS, RGB, mix, vary
from harness.data.streets.street import KERB, Prop, StreetPlan

FAR = 160.0


def draw_sky(canvas: Canvas, rng: random.Random) -> None:
    """A gradient with clouds; everything starts as sky."""
    light, (rows, columns) = canvas.light, canvas.ids.shape
    horizon = (canvas.camera.horizon - canvas.window.top) * SUPERSAMPLING
    t = np.clip((horizon - np.arange(rows)) / max(canvas.camera.horizon * SUPERSAMPLING, 1), 0, 1)[:, None]
    low, top = np.array(light.sky_low, np.float32), np.array(light.sky_top, np.float32)
    gradient = low + (top - low) * t
    canvas.image[:] = gradient[:, None, :].astype(np.uint8)
    y, x = rng.randrange(512), rng.randrange(512)
    below = int(np.clip(horizon, 0, rows))
    if below:
        patch = noise((40, 90, 200))[y : y + 512 : 4, x : x + 512 : 4]
        cover = np.clip((patch - 1.1 + 1.6 * light.clouds) * 0.5, 0, 0.8)[..., None]
        cloud = np.array(mix(light.sky_low, (250, 250, 250), 0.35), np.float32)
        area = cv2.resize(gradient[:below, None, :].astype(np.float32), (128, 128)).reshape(128, 128, 3)
        canvas.image[:below] = cv2.resize((area + (cloud - area) * cover).astype(np.uint8), (columns, below))
    canvas.ids[:] = SKY


def draw_ground(canvas: Canvas, plan: StreetPlan, rng: random.Random) -> None:
    """Far skyline, then terrain, road, pavements, kerbs, crossing road and markings."""
    street, narrow = plan.street, plan.domain == "train"
    _skyline(canvas, rng)
    earth = Pen(canvas, x=0, z=12, ident=TERRAIN)
    flat(
        earth,
        -120,
        2.2,
        120,
        FAR,
        (112, 124, 76),
    )
    asphalt: RGB = (92, 92, 96) if narrow else rng.choice(((92, 92, 96), (78, 78, 82), (112, 110, 108), (100, 96, 92)))
    if canvas.light.wet:
        asphalt = mix(asphalt, (40, 44, 52), 0.45)
    slab = (
        (150, 146, 142) if narrow else rng.choice(((150, 146, 142), (172, 160, 148), (136, 136, 138), (166, 148, 138)))
    )
    for z0, z1 in ((0.7, 20), (20, 45), (45, FAR)):
        road = Pen(canvas, x=0, z=(z0 + z1) / 2, ident=ROAD)
        flat(road, street.left, z0, street.right, z1, asphalt)
        walk = Pen(canvas, x=0, z=(z0 + z1) / 2, ident=SIDEWALK)
        for edge, front in ((street.left, street.left_front), (street.right, street.right_front)):
            flat(walk, edge, z0, front, z1, slab, h=KERB if z0 < 45 else 0.0)
            if z0 < 45:
                inner = edge
                walk.poly(
                    [
                        (z, inner, h)
                        for z, h in ((z0 - walk.z, 0), (z1 - walk.z, 0), (z1 - walk.z, KERB), (z0 - walk.z, KERB))
                    ],
                    (176, 174, 170),
                    0.95,
                )
            if rng.random() < 0.45:
                grass = Pen(canvas, x=0, z=walk.z, ident=TERRAIN)
                flat(
                    grass,
                    front,
                    z0 + 1,
                    front + (edge - front) * rng.uniform(0.2, 0.45),
                    z1,
                    vary(rng, (104, 124, 62), 0.15),
                    h=KERB,
                )
    if street.junction:
        cross = Pen(canvas, x=0, z=street.junction, ident=ROAD)
        flat(cross, -70, street.junction - 4, 70, street.junction + 4, asphalt)
    _markings(canvas, plan, rng)


def flat(pen: Pen, x0: float, z0: float, x1: float, z1: float, rgb: RGB, *, h: float = 0.0, solid: bool = True) -> None:
    """A rectangle on the ground, given in world x and z."""
    a0, a1 = z0 - pen.z, z1 - pen.z
    pen.poly(
        [(a0, x0 - pen.x, h), (a0, x1 - pen.x, h), (a1, x1 - pen.x, h), (a1, x0 - pen.x, h)],
        rgb,
        pen.lit(0, 0, 1),
        solid=solid,
    )


def _markings(canvas: Canvas, plan: StreetPlan, rng: random.Random) -> None:
    street = plan.street
    paint = (214, 214, 208)
    xs = sorted(x for x, _ in street.lanes)
    lines = [(a + b) / 2 for a, b in pairwise(xs)]
    for x in lines:
        z = rng.uniform(3, 8)
        while z < 80:
            if abs(z - street.junction) > 7:
                flat(Pen(canvas, x=x, z=z, ident=ROAD), x - 0.07, z, x + 0.07, z + 3, paint)
            z += 7
    for used, edge, side in ((street.parking[0], street.left, 1), (street.parking[1], street.right, -1)):
        if used and rng.random() < 0.6:
            x = edge + side * 2.15
            for z in (3, 12, 30):
                flat(
                    Pen(canvas, x=x, z=z + 4, ident=ROAD),
                    x - 0.05,
                    z,
                    x + 0.05,
                    z * 2.4,
                    mix(paint, (110, 110, 112), 0.3),
                )
    if street.junction and rng.random() < 0.7:
        z = street.junction - 7
        if z > 5:
            x = street.left + 0.4
            while x < street.right - 0.4:
                flat(Pen(canvas, x=x, z=z, ident=ROAD), x, z, x + 0.5, z + 2.6, paint)
                x += 1.0
    for _ in range(rng.randint(0, 3)):
        x, z = rng.uniform(street.left, street.right - 1.5), rng.uniform(5, 25)
        tone = rng.uniform(60, 118)
        flat(
            Pen(canvas, x=x, z=z, ident=ROAD),
            x,
            z,
            x + rng.uniform(0.7, 2),
            z + rng.uniform(1, 6),
            (tone, tone, tone + 2),
        )


def _skyline(canvas: Canvas, rng: random.Random) -> None:
    x = -130.0
    while x < 130:
        width, green = rng.uniform(10, 30), rng.random() < 0.5
        pen = Pen(canvas, x=x, z=FAR, ident=VEGETATION if green else BUILDING)
        high = rng.uniform(5, 12) if green else rng.uniform(9, 24)
        if green:
            bush(pen, rng.getrandbits(32), 0, 0, width / 2 + 2, high, count=10)
        else:
            pen.end(0, rect(0, 0, width, high), rng.choice(FACADES), pen.lit(-1, 0), solid=True)
        x += width * 0.8


def draw_front(canvas: Canvas, prop: Prop, street_side: int) -> None:
    """A house, wall, fence or hedge along the pavement."""
    rng = random.Random(prop.seed)
    pen = Pen(canvas, x=prop.x, z=prop.z + prop.extent / 2, ident=prop.label_id, ground=KERB)
    half = prop.extent / 2
    if prop.kind == "house":
        _house(pen, rng, half, prop.height, street_side)
    elif prop.kind == "wall":
        tone = vary(rng, (158, 148, 138), 0.2)
        shade = pen.lit(0, -street_side)
        pen.side(0, rect(-half, 0, half, prop.height), tone, shade, solid=True)
        for h in (0.33, 0.66):
            pen.line(
                [(-half, 0, prop.height * h), (half, 0, prop.height * h)],
                mix(tone, (20, 20, 20), 0.3),
                0.04,
                shade,
                solid=False,
            )
        pen.side(0, rect(-half, prop.height * 0.93, half, prop.height), mix(tone, (20, 20, 20), 0.3), shade)
        _green(canvas, prop, rng, behind=3.5 * street_side)
    elif prop.kind == "fence":
        _green(canvas, prop, rng, behind=3.5 * street_side)
        iron = rng.choice(((60, 66, 70), (96, 72, 50), (70, 92, 80)))
        pen.mask([(-half, 0, 0), (half, 0, 0), (half, 0, prop.height), (-half, 0, prop.height)])
        pen.side(0, rect(-half, 0, half, 0.25), (140, 134, 128), 0.9)
        step = 0.35 if pen.unit > 20 else 1.0
        a = -half
        while a <= half:
            pen.line([(a, 0, 0), (a, 0, prop.height)], iron, 0.07 if step < 1 else 0.16, solid=False)
            a += step
        for h in (0.3, 0.95):
            pen.line([(-half, 0, prop.height * h), (half, 0, prop.height * h)], iron, 0.08, solid=False)
    else:
        _green(canvas, prop, rng, behind=1.0 * street_side)


def _green(canvas: Canvas, prop: Prop, rng: random.Random, *, behind: float) -> None:
    back = Pen(canvas, x=prop.x + behind, z=prop.z + prop.extent / 2, ident=VEGETATION)
    high = rng.uniform(3.5, 10)
    steps = max(2, int(prop.extent / 4))
    for k in reversed(range(steps)):
        bush(
            back,
            rng.getrandbits(32),
            -prop.extent / 2 + prop.extent * (k + 0.5) / steps,
            0,
            2.6,
            high * rng.uniform(0.8, 1.2),
            count=16,
        )


def _house(pen: Pen, rng: random.Random, half: float, high: float, side: int) -> None:
    tone = vary(rng, rng.choice(FACADES), 0.1)
    shade = pen.lit(0, -side)
    dark = mix(tone, (30, 30, 34), 0.55)
    pen.end(-half, rect(0, 0, 14 * side, high), tone, pen.lit(-1, 0) * 0.96, solid=True)
    pen.side(0, rect(-half, 0, half, high), tone, shade, solid=True)
    floors = max(2, int(high / 3.1))
    storey, columns = high / floors, max(2, int(half / 1.3))
    step = 2 * half / columns
    frame = mix(tone, (250, 250, 248), 0.6)
    lit_up = pen.canvas.light.lamps
    far = abs(pen.x) * step * pen.unit / pen.z < 5  # canvas pixels from one window to the next
    if pen.z + half > 5:
        for f in range(1, floors):
            low = f * storey + 0.28 * storey
            if far:
                pen.side(0, rect(-half * 0.94, low, half * 0.94, low + storey * 0.5), mix(tone, GLASS, 0.6), shade)
                continue
            for k in range(columns):
                a = -half + (k + 0.5) * step
                if pen.world(a, 0, 0)[2] < 2.5:
                    continue
                glow = lit_up and rng.random() < 0.3
                if pen.unit > 12:
                    pen.side(0, rect(a - step * 0.27, low - 0.1, a + step * 0.27, low + storey * 0.56), frame, shade)
                pane = (
                    (252, 214, 130)
                    if glow
                    else (GLASS if rng.random() < 0.7 else mix(GLASS, pen.canvas.light.sky_low, 0.5))
                )
                pen.poly(
                    [(aa, 0, h) for aa, h in rect(a - step * 0.22, low, a + step * 0.22, low + storey * 0.5)],
                    pane,
                    shade,
                    solid=False,
                    glow=glow,
                )
            if rng.random() < 0.25:
                pen.side(0, rect(-half, f * storey - 0.1, half, f * storey + 0.12), dark, shade)
    shop = rng.random() < 0.6
    base = rng.choice(((120, 60, 50), (50, 70, 96), (70, 84, 66), (90, 84, 80), (168, 150, 120)))
    pen.side(0, rect(-half, 0, half, storey * 0.98), mix(tone, base, 0.75 if shop else 0.2), shade)
    a = half if far else -half + 0.5
    while a < half - 2.2:
        wide = rng.uniform(1.6, 3.2) if shop else 1.3
        low = 0.4 if shop else (1.0 if rng.random() < 0.7 else 0.0)
        pane = (255, 226, 160) if lit_up and shop else mix(GLASS, (120, 120, 116), rng.uniform(0, 0.5))
        pen.side(0, rect(a, low, a + wide, storey * 0.72), pane, 1.0 if lit_up and shop else shade)
        a += wide + rng.uniform(0.4, 1.2)
    if shop and rng.random() < 0.5:
        awning = rng.choice(((170, 50, 46), (50, 100, 70), (60, 80, 130), (220, 200, 160)))
        pen.poly(
            [
                (-half * 0.8, 0, storey * 0.86),
                (half * 0.8, 0, storey * 0.86),
                (half * 0.8, -1.1 * side, storey * 0.7),
                (-half * 0.8, -1.1 * side, storey * 0.7),
            ],
            awning,
            shade,
        )
    pen.side(0, rect(-half, high - 0.35, half, high), dark, shade)
    pen.line([(-half, 0, 0), (-half, 0, high)], dark, 0.08, shade, solid=False)
