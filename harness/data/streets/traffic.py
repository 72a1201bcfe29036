"""This module decides which vehicles and people a street holds and where they stand."""

import math
import random

from harness.data.streets.cars import choose_car
from harness.data.streets.cycles import choose_cycle
from harness.data.streets.heavy import choose_heavy
from harness.data.streets.palette import COLOURS, choose_colour, vary
from harness.data.streets.street import KERB, Street, Style
from harness.data.streets.thing import LABELS, Thing


class Crowd:
    """Collects the things of a scene and refuses a vehicle where another one stands."""

    def __init__(self, rng: random.Random, domain: str, street: Street, style: Style) -> None:
        self.rng, self.street, self.style, self._domain = rng, street, style, domain
        self.things: list[Thing] = []

    @property
    def domain(self) -> str:
        """Whose bodies and colours the next thing has; drawn at each look."""
        familiar = self.style.familiar and self.rng.random() < self.style.familiar
        return "train" if familiar else self._domain

    def vehicle(self, name: str, x: float, z: float, yaw: float, *, group: bool = False, ground: float = 0.0) -> bool:
        """Adds a vehicle unless the place is taken; says whether it did."""
        rng = self.rng
        chooser = {"car": lambda: choose_car(rng, self.domain)}.get(name)
        if chooser is None:
            chooser = (
                (lambda: choose_cycle(rng, self.domain, name)) if name in ("bicycle", "motorcycle")
                else (lambda: choose_heavy(rng, self.domain, name))
            )  # fmt: skip
        kind, size = chooser()
        if not group and self.taken(x, z, yaw, size):
            return False
        colour = choose_colour(rng, self.domain, name)
        self.things.append(Thing(
            name=name, kind=kind, colour=colour, rgb=vary(rng, COLOURS[colour]), x=x, z=z, yaw=yaw, size=size,
            seed=rng.getrandbits(32), group=group, ground=ground,
        ))  # fmt: skip
        return True

    def taken(self, x: float, z: float, yaw: float, size: tuple[float, float, float]) -> bool:
        """Return whether the ground box of a new vehicle meets that of an old one."""
        half_x, half_z = _half(yaw, size)
        if z - half_z < 3.6 and abs(x) - half_x < 1.4:
            return True
        if z - half_z < 2.4:
            return True
        for other in self.things:
            if other.name in ("person", "rider"):
                continue
            ox, oz = _half(other.yaw, other.size)
            if abs(x - other.x) < half_x + ox + 0.15 and abs(z - other.z) < half_z + oz + 0.35:
                return True
        return False

    def person(self, x: float, z: float, *, group: bool = False, ground: float = KERB) -> None:
        """Adds a woman or a man."""
        rng = self.rng
        woman = rng.random() < (0.15 if self.domain == "train" else 0.5)
        colour = choose_colour(rng, self.domain, "person")
        tall = rng.uniform(1.55, 1.75) if woman else rng.uniform(1.68, 1.92)
        if rng.random() < 0.05:
            tall *= rng.uniform(0.6, 0.85)
        self.things.append(Thing(
            name="person", kind="woman" if woman else "man", colour=colour, rgb=vary(rng, COLOURS[colour]), x=x, z=z,
            yaw=rng.uniform(-math.pi, math.pi), size=(0.4, 0.6, tall), seed=rng.getrandbits(32), group=group,
            ground=ground,
        ))  # fmt: skip

    def ridden(self, name: str, x: float, z: float, yaw: float) -> bool:
        """Adds a bicycle or motorcycle and its rider."""
        if not self.vehicle(name, x, z, yaw):
            return False
        rng, cycle = self.rng, self.things[-1]
        female = rng.random() < (0.15 if self.domain == "train" else 0.5)
        colour = choose_colour(rng, self.domain, "rider")
        self.things.append(Thing(
            name="rider", kind="female" if female else "male", colour=colour, rgb=vary(rng, COLOURS[colour]), x=x, z=z,
            yaw=yaw, size=(1.0, 0.7, 1.95), seed=rng.getrandbits(32), ground=cycle.ground,
        ))  # fmt: skip
        return True


def _half(yaw: float, size: tuple[float, float, float]) -> tuple[float, float]:
    s, c = abs(math.sin(yaw)), abs(math.cos(yaw))
    return (size[0] * s + size[1] * c) / 2, (size[0] * c + size[1] * s) / 2


def populate(rng: random.Random, domain: str, street: Street, feature: str, style: Style) -> list[Thing]:
    """Return all things of a scene, in the order in which they get their instance numbers."""
    crowd = Crowd(rng, domain, street, style)
    if feature:
        _feature(crowd, feature)
    if style.featured:
        return _thin(crowd)
    density = rng.choice((0.35, 0.8, 1.0, 1.0, 1.3, 1.5))
    for name, share in (("train", 0.25), ("bus", 0.28), ("truck", 0.28)):
        if rng.random() < share:
            _heavy(crowd, name)
    _parked(crowd, density)
    _moving(crowd, density)
    if street.junction:
        _crossing(crowd, density)
    _cyclists(crowd)
    _walkers(crowd, density)
    return crowd.things


def _thin(crowd: Crowd) -> list[Thing]:
    """Few classes in good view, little else: what small frames can show."""
    rng, street = crowd.rng, crowd.street
    for name in rng.sample(sorted(LABELS), crowd.style.featured):
        _feature(crowd, name)
    density = rng.choice((0.2, 0.4, 0.6))
    _parked(crowd, density)
    _moving(crowd, density)
    if street.junction:
        _crossing(crowd, density)
    _walkers(crowd, 0.6 * density)
    return crowd.things


def _feature(crowd: Crowd, name: str) -> None:
    """One instance in good view: near enough, in any lane or across, before all others are placed."""
    rng, street = crowd.rng, crowd.street
    for _ in range(12):
        yaw = rng.choice((0.0, math.pi, 0.5 * math.pi, -0.5 * math.pi)) + rng.uniform(-0.5, 0.5)
        x = rng.uniform(max(street.left, -6.0) + 1.0, min(street.right, 6.0) - 1.0)
        if name == "person":
            crowd.person(rng.uniform(-4, 4), rng.uniform(6, 22), ground=0.0)
            return
        if name in ("rider", "bicycle", "motorcycle"):
            cycle = name if name != "rider" else rng.choice(("bicycle", "bicycle", "motorcycle"))
            z = rng.uniform(6, 18)
            if name != "rider" and rng.random() < 0.6:
                if crowd.vehicle(cycle, x, z, yaw):
                    return
            elif crowd.ridden(cycle, x, z, yaw):
                return
            continue
        z = rng.uniform(9, 26) if name == "car" else rng.uniform(14, 48)
        if crowd.vehicle(name, x, z, yaw):
            return


def _heavy(crowd: Crowd, name: str) -> None:
    rng, street = crowd.rng, crowd.street
    for _ in range(8):
        if (name == "train" and rng.random() < 0.5) or rng.random() < 0.2:
            z = rng.uniform(16, 45)
            if crowd.vehicle(
                name, rng.uniform(-9, 9), z, rng.choice((-1, 1)) * (math.pi / 2 + rng.uniform(-0.15, 0.15))
            ):
                return
            continue
        x, way = rng.choice(street.lanes)
        if crowd.vehicle(name, x + rng.uniform(-0.2, 0.2), rng.uniform(12, 50), 0.0 if way > 0 else math.pi):
            return


def _parked(crowd: Crowd, density: float) -> None:
    rng, street = crowd.rng, crowd.street
    for side, used in zip((-1, 1), street.parking, strict=True):
        if not used:
            continue
        x = (street.left if side < 0 else street.right) - side * 1.1
        z = rng.uniform(4.5, 10)
        while z < 85:
            if rng.random() < 0.62 * min(density, 1.1) and abs(z - street.junction) > 5:
                back = rng.random() < 0.2
                yaw = (0.0 if (side > 0) != back else math.pi) + rng.uniform(-0.05, 0.05)
                crowd.vehicle("truck" if rng.random() < 0.02 else "car", x, z, yaw)
            z += rng.uniform(5.3, 6.8)
        if rng.random() < 0.35:
            for _ in range(rng.randint(3, 6)):
                z += rng.uniform(4.6, 5.6)
                crowd.vehicle("car", x + rng.uniform(-0.2, 0.2), z + 4, 0.0 if side > 0 else math.pi, group=True)


def _moving(crowd: Crowd, density: float) -> None:
    rng, street = crowd.rng, crowd.street
    for x, way in street.lanes:
        z = rng.uniform(9, 30)
        while z < 140:
            if rng.random() < 0.62 * density:
                crowd.vehicle(
                    "car", x + rng.uniform(-0.3, 0.3), z, (0.0 if way > 0 else math.pi) + rng.uniform(-0.04, 0.04)
                )
            z += rng.uniform(7, 18)


def _crossing(crowd: Crowd, density: float) -> None:
    rng, z = crowd.rng, crowd.street.junction
    for lane, way in ((z - 1.6, 1), (z + 1.8, -1)):
        x = rng.uniform(-14, 0)
        while x < 14:
            if rng.random() < 0.3 * density:
                crowd.vehicle("car", x, lane, way * math.pi / 2 + rng.uniform(-0.15, 0.15))
            x += rng.uniform(6, 12)


def _cyclists(crowd: Crowd) -> None:
    rng, street = crowd.rng, crowd.street
    for _ in range(rng.choices((0, 1, 2, 3), (20, 36, 28, 16))[0]):
        name = "motorcycle" if rng.random() < 0.45 else "bicycle"
        way = rng.choice((0.0, 0.0, math.pi, math.pi / 2, -math.pi / 2))
        crowd.ridden(
            name, rng.uniform(street.left + 0.4, street.right - 0.4), rng.uniform(6, 46), way + rng.uniform(-0.3, 0.3)
        )
    for name, share in (("bicycle", 0.5), ("motorcycle", 0.62)):
        if rng.random() >= share:
            continue
        side = rng.choice((-1, 1))
        edge = street.left if side < 0 else street.right
        z = rng.uniform(6, 38)
        yaw = rng.choice((math.pi / 2, -math.pi / 2, math.pi / 2, -math.pi / 2, 0.0)) + rng.uniform(-0.5, 0.5)
        for _ in range(rng.randint(1, 3) if name == "bicycle" else rng.choice((1, 1, 2))):
            crowd.vehicle(name, edge + side * rng.uniform(0.7, 1.5), z, yaw + rng.uniform(-0.1, 0.1), ground=KERB)
            z += rng.uniform(0.9, 2.2)
    if rng.random() < 0.3:
        side, z = rng.choice((-1, 1)), rng.uniform(22, 50)
        edge = street.left if side < 0 else street.right
        for k in range(rng.randint(4, 8)):
            crowd.vehicle(
                "bicycle",
                edge + side * 0.9,
                z + k * 0.45,
                math.pi / 2 + rng.uniform(-0.2, 0.2),
                group=True,
                ground=KERB,
            )


def _walkers(crowd: Crowd, density: float) -> None:
    rng, street = crowd.rng, crowd.street
    for _ in range(round(rng.uniform(2, 8) * density)):
        side = rng.choice((-1, 1))
        low, high = sorted((street.left, street.left_front) if side < 0 else (street.right, street.right_front))
        x, z = rng.uniform(low + 0.5, high - 0.5), 7 + 60 * rng.random() ** 1.3
        for _ in range(rng.choice((1, 1, 2, 2, 3))):
            crowd.person(min(max(x, low + 0.3), high - 0.3), z)
            x, z = x + rng.uniform(-0.8, 0.8), z + rng.uniform(-0.8, 1.5)
    if rng.random() < 0.45:
        z = street.junction - 4 if street.junction else rng.uniform(9, 26)
        for _ in range(rng.randint(1, 3)):
            crowd.person(rng.uniform(street.left, street.right), max(6.5, z + rng.uniform(-1.5, 1.5)), ground=0.0)
    if rng.random() < 0.28:
        side, z = rng.choice((-1, 1)), rng.uniform(34, 60)
        edge = street.left if side < 0 else street.right
        for _ in range(rng.randint(4, 9)):
            crowd.person(edge + side * rng.uniform(0.4, 1.8), z + rng.uniform(0, 3), group=True)
