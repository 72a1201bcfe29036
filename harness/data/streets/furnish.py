"""This module places what stands along the street: fronts, walls, fences, hedges, trees, poles, signs, lights, bins."""

import random

from harness.data.streets.street import Prop, Street

ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE, LIGHT, SIGN, VEGETATION, TERRAIN, SKY = (
    7,
    8,
    11,
    12,
    13,
    17,
    19,
    20,
    21,
    22,
    23,
)
STATIC = 4


def fronts(rng: random.Random, street: Street) -> list[Prop]:
    """Return both sides from near to far: houses mostly, also walls, fences with green behind, hedges."""
    out = []
    for x in (street.left_front, street.right_front):
        z, green = rng.uniform(2.0, 5.0), rng.random() < 0.35
        while z < 150:
            length = rng.uniform(7, 20)
            if street.junction and z < street.junction + 4.5 and z + length > street.junction - 4.5:
                if z < street.junction - 7:
                    length = street.junction - 4.5 - z
                else:
                    z = street.junction + 4.5
            kind = rng.choices(("house", "wall", "fence", "hedge"), (44, 12, 22, 22) if green else (78, 8, 10, 4))[0]
            label = {"house": BUILDING, "wall": WALL, "fence": FENCE, "hedge": VEGETATION}[kind]
            height = {
                "house": rng.uniform(9, 22),
                "wall": rng.uniform(1.8, 3),
                "fence": rng.uniform(1.2, 2),
                "hedge": 3.0,
            }[kind]
            out.append(
                Prop(kind=kind, label_id=label, x=x, z=z, extent=length, height=height, seed=rng.getrandbits(32))
            )
            z += length
    return out


def furniture(rng: random.Random, street: Street) -> list[Prop]:
    """Poles, lights, signs, trees and clutter along both kerbs."""
    out = []

    def add(kind: str, label: int, x: float, z: float, height: float, extent: float = 0.0) -> None:
        out.append(Prop(kind=kind, label_id=label, x=x, z=z, extent=extent, height=height, seed=rng.getrandbits(32)))

    for side, edge, front in ((-1, street.left, street.left_front), (1, street.right, street.right_front)):
        z, trees = rng.uniform(6, 16), rng.random() < 0.5
        while z < 80:
            add("lamp post" if rng.random() < 0.6 else "pole", POLE, edge + side * 0.5, z, rng.uniform(5.5, 9))
            if rng.random() < 0.75:
                add("sign", SIGN, edge + side * rng.uniform(0.4, 0.8), z + rng.uniform(1, 6), rng.uniform(2.2, 3.2))
            z += rng.uniform(12, 24)
        z = rng.uniform(8, 16)
        while trees and z < 90:
            add("tree", VEGETATION, edge + side * rng.uniform(1.0, 1.6), z, rng.uniform(5, 10))
            z += rng.uniform(7, 16)
        for _ in range(rng.choice((0, 1, 2, 4))):
            kind = rng.choice(("bin", "bollard", "planter", "cabinet"))
            add(kind, STATIC, front - side * rng.uniform(0.4, 1.0), rng.uniform(6, 50), rng.uniform(0.8, 1.4))
    if street.junction or rng.random() < 0.3:
        z = street.junction - 5.5 if street.junction else rng.uniform(14, 40)
        for edge, side in ((street.left, -1), (street.right, 1)):
            add("traffic light", LIGHT, edge + side * 0.45, max(z, 8) + rng.uniform(-0.5, 0.5), rng.uniform(3.0, 3.8))
        if rng.random() < 0.4:
            add("traffic light", LIGHT, rng.choice((street.left, street.right)), max(z, 8) + 12, 3.4)
    return out
