"""This module draws persons and riders as figures of limbs that differ in hair, dress and silhouette."""

import math
import random

from harness.data.streets.canvas import Pen, Point
from harness.data.streets.palette import HAIR, RGB, SKIN, TROUSERS, mix
from harness.data.streets.thing import Thing


def draw_person(pen: Pen, thing: Thing) -> None:
    """A standing or walking woman or man. The figure is turned to the camera; `yaw` only says which way it walks."""
    rng = random.Random(thing.seed)
    tall = thing.size[2]
    woman = thing.kind == "woman"
    skin, hair = rng.choice(SKIN), rng.choice(HAIR[:5] if woman else HAIR)
    trousers, shoes = rng.choice(TROUSERS), rng.choice(((24, 24, 26), (90, 60, 40), (210, 208, 204)))
    walk = math.sin(thing.yaw)
    stride = rng.uniform(0.12, 0.24) * (0.35 + 0.65 * abs(walk)) if rng.random() < 0.75 else 0.05
    swing = rng.uniform(0.06, 0.18) * (0.3 + abs(walk))
    away = math.cos(thing.yaw) > 0.3
    dress = woman and rng.random() < 0.65
    shoulder, hip = (0.175, 0.15) if woman else (0.23, 0.14)
    lit = 0.5 * (pen.lit(0, -1) + pen.lit(-1, 0))
    dark = lit * 0.82
    shirt = thing.rgb
    limbs: list[Point] = []
    for foot, tone in ((stride, dark), (-stride, lit)):
        knee = foot * 0.45 + 0.03
        leg = skin if dress else trousers
        limbs = [(0, foot * 0.1, 0.50 * tall), (0, knee, 0.27 * tall), (0, foot, 0.04 * tall)]
        pen.line(limbs, leg, 0.10 if dress else (0.13 if woman else 0.155), tone)
        pen.line(
            [(0, foot - 0.03, 0.02 * tall), (0, foot + 0.09 * (1 if walk >= 0 else -1), 0.02 * tall)],
            shoes,
            0.085,
            tone,
        )
    if woman and not away:
        _long_hair(pen, tall, hair, lit)
    _arm(pen, -shoulder, -shoulder - 0.05 - swing, tall, shirt, skin, dark)
    if dress:
        hem = rng.uniform(0.26, 0.40) * tall
        flare = rng.uniform(0.22, 0.32)
        pen.poly([(0, -flare, hem), (0, flare, hem), (0, 0.12, 0.6 * tall), (0, -0.12, 0.6 * tall)], shirt, lit * 0.95)
    torso: list[tuple[float, float, float]]
    torso = [(0, -hip, 0.46 * tall), (0, hip, 0.46 * tall), (0, 0.11 if woman else 0.17, 0.62 * tall),
             (0, shoulder, 0.79 * tall), (0, 0.07, 0.845 * tall), (0, -0.07, 0.845 * tall), (0, -shoulder, 0.79 * tall),
             (0, -0.11 if woman else -0.17, 0.62 * tall)]  # fmt: skip
    pen.poly(torso, shirt, lit)
    pen.poly(
        [torso[1], torso[2], torso[3], (0, 0.06, 0.8 * tall), (0, 0.05, 0.46 * tall)],
        mix(shirt, (0, 0, 0), 0.18),
        lit,
        solid=False,
    )
    if not woman:
        pen.line([(0, -0.13, 0.465 * tall), (0, 0.13, 0.465 * tall)], (30, 26, 24), 0.05, lit, solid=False)
        if not away and rng.random() < 0.5:
            pen.line(
                [(0, 0, 0.83 * tall), (0, 0, 0.5 * tall)], mix(shirt, (240, 240, 240), 0.55), 0.05, lit, solid=False
            )
    _arm(pen, shoulder, shoulder + 0.05 + swing, tall, shirt, skin, lit)
    _head(pen, tall, skin, hair, lit, woman=woman, away=away)
    if rng.random() < 0.3:
        bag = rng.choice(((120, 70, 40), (40, 44, 60), (150, 40, 44)))
        b = rng.choice((-1, 1)) * (shoulder + 0.08)
        pen.poly(
            [
                (0, b - 0.1, 0.42 * tall),
                (0, b + 0.1, 0.42 * tall),
                (0, b + 0.1, 0.53 * tall),
                (0, b - 0.1, 0.53 * tall),
            ],
            bag,
            lit,
        )


def _long_hair(pen: Pen, tall: float, hair: RGB, lit: float) -> None:
    pen.poly(
        [(0, -0.16, 0.76 * tall), (0, 0.16, 0.76 * tall), (0, 0.13, 0.96 * tall), (0, -0.13, 0.96 * tall)],
        hair,
        lit * 0.85,
    )


def _arm(pen: Pen, shoulder: float, hand: float, tall: float, shirt: RGB, skin: RGB, shade: float) -> None:
    elbow = (shoulder * 1.15 + hand) / 2
    pen.line(
        [(0, shoulder * 0.95, 0.78 * tall), (0, elbow, 0.62 * tall), (0, hand, 0.51 * tall)], shirt, 0.095, shade * 0.92
    )
    pen.ball((0, hand, 0.48 * tall), 0.05, skin, shade)


def _head(pen: Pen, tall: float, skin: RGB, hair: RGB, shade: float, *, woman: bool, away: bool) -> None:
    centre = 0.925 * tall
    pen.line([(0, 0, 0.83 * tall), (0, 0, 0.88 * tall)], skin, 0.1, shade * 0.9)
    if away:
        pen.ball((0, 0, centre), 0.115, hair, shade, tall=1.2)
        if woman:
            pen.poly(
                [(0, -0.13, 0.72 * tall), (0, 0.13, 0.72 * tall), (0, 0.11, centre), (0, -0.11, centre)],
                hair,
                shade * 0.95,
            )
        return
    pen.ball((0, 0, centre + 0.025), 0.125 if woman else 0.115, hair, shade, tall=1.15)
    pen.ball((0, 0, centre - 0.02), 0.085, skin, shade, tall=1.2, solid=False)
    if woman:
        for b in (-0.11, 0.11):
            pen.line([(0, b, centre + 0.03), (0, b * 1.15, 0.78 * tall)], hair, 0.06, shade)


def draw_rider(pen: Pen, thing: Thing, *, seat: float, bars: float, pedal: Point, sporty: bool) -> None:
    """A rider on a two-wheeler whose seat and bars are `seat`, `bars` metres high (drawn on the vehicle's axes)."""
    rng = random.Random(thing.seed)
    female = thing.kind == "female"
    skin, hair, trousers = rng.choice(SKIN), rng.choice(HAIR[:5]), rng.choice(TROUSERS)
    shade = 0.5 * (pen.lit(0, -1) + pen.lit(-1, 0))
    lean = rng.uniform(0.26, 0.36) if sporty else rng.uniform(0.08, 0.2)
    hip, neck = (-0.25, 0.0, seat + 0.08), (-0.25 + lean, 0.0, seat + 0.62)
    skirt = female and rng.random() < 0.5
    for b, tone in ((0.13, 0.8), (-0.13, 1.0)) if pen.sin > 0 else ((-0.13, 0.8), (0.13, 1.0)):
        drop = 0.22 * (1 if b > 0 else -1) * (0 if pedal[2] > 0.35 else 0.6)
        knee = (pedal[0] + 0.14, b * 1.25, (seat + pedal[2]) / 2 + 0.14 + drop * 0.4)
        foot = (pedal[0], b, pedal[2] + drop)
        pen.line([(hip[0], b * 0.7, hip[2]), knee, foot], skin if skirt else trousers, 0.15, shade * tone)
        pen.line([foot, (foot[0] + 0.16, b, foot[2])], (28, 28, 30), 0.09, shade * tone)
        if skirt:
            pen.line([(hip[0], b * 0.7, hip[2]), knee], thing.rgb, 0.22, shade * tone)
    wide = 0.17 if female else 0.22
    width = 0.27 if female else 0.34
    if female:
        back = (neck[0] - 0.12, 0, neck[2] - 0.1)
        pen.line([(neck[0] - 0.02, 0, neck[2] + 0.2), back], hair, 0.2, shade * 0.8)
    pen.poly(
        [
            (hip[0], -0.15, hip[2] - 0.05),
            (hip[0], 0.15, hip[2] - 0.05),
            (neck[0], wide, neck[2]),
            (neck[0], -wide, neck[2]),
        ],
        thing.rgb,
        shade,
    )
    pen.line([hip, (neck[0], 0, neck[2] - 0.06)], thing.rgb, width * 0.8, shade)
    pen.line([(neck[0], -wide, neck[2] - 0.05), (neck[0], wide, neck[2] - 0.05)], thing.rgb, 0.17, shade)
    for b in (-wide, wide):
        hand = (0.36, b * 1.3, bars)
        elbow = ((neck[0] + hand[0]) / 2 - 0.03, b * 1.5, (neck[2] + bars) / 2 - 0.08)
        pen.line([(neck[0], b, neck[2] - 0.05), elbow, hand], thing.rgb, 0.10, shade * 0.9)
        pen.ball(hand, 0.05, skin, shade)
    head = (neck[0] + 0.05, 0.0, neck[2] + 0.2)
    away = pen.cos > 0.4
    pen.ball(head, 0.13, hair, shade, tall=1.15)
    if not away:
        face = (head[0] + 0.05, 0.0, head[2] - 0.02)
        pen.ball(face, 0.09, skin, shade, tall=1.15, solid=False)
    if rng.random() < (0.9 if sporty else 0.4):
        helmet = rng.choice(((230, 230, 228), (200, 40, 40), (40, 42, 46), (240, 200, 60)))
        top = [
            (head[0] + 0.15 * math.cos(t), 0.15 * math.cos(t), head[2] + 0.03 + 0.15 * math.sin(t))
            for t in (0, 0.5, 1.0, 1.57, 2.1, 2.6, 3.14)
        ]
        pen.poly([(a, b * (1 if abs(pen.cos) > 0.5 else 0), h) for a, b, h in top], helmet, shade)
    elif female:
        pen.line([(head[0] - 0.08, 0, head[2]), (neck[0] - 0.16, 0, neck[2] - 0.12)], hair, 0.12, shade)
