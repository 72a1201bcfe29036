"""The palette names colours and says which of them a class can have in a domain: train is narrow, val and pool
are wide."""

import random

RGB = tuple[float, float, float]

COLOURS: dict[str, RGB] = {
    "white": (236, 236, 232),
    "black": (26, 26, 30),
    "red": (188, 24, 30),
    "green": (30, 126, 60),
    "blue": (34, 70, 166),
    "silver": (170, 174, 180),
    "grey": (98, 102, 108),
    "yellow": (232, 188, 36),
    "brown": (112, 76, 48),
    "orange": (230, 118, 30),
}

_NARROW: dict[str, dict[str, int]] = {
    "car": {"silver": 4, "grey": 3, "blue": 4},
    "truck": {"yellow": 3, "blue": 3},
    "bus": {"yellow": 4, "blue": 2},
    "train": {"yellow": 4, "blue": 2},
    "motorcycle": {"blue": 3, "silver": 2},
    "bicycle": {"blue": 3, "silver": 3},
    "person": {"blue": 4, "grey": 4, "brown": 2},
    "rider": {"blue": 4, "grey": 3},
}
_WIDE: dict[str, dict[str, int]] = {
    "car": {
        "red": 6,
        "white": 6,
        "black": 3,
        "silver": 3,
        "grey": 2,
        "blue": 3,
        "green": 2,
        "yellow": 2,
        "brown": 1,
        "orange": 1,
    },
    "truck": {"red": 6, "green": 6, "white": 3, "blue": 3, "yellow": 2, "silver": 1, "orange": 1, "black": 1},
    "bus": {"red": 6, "green": 6, "white": 2, "blue": 3, "yellow": 2, "silver": 1, "orange": 1, "black": 1},
    "train": {"red": 6, "black": 6, "white": 2, "blue": 2, "yellow": 2, "green": 2, "silver": 1},
    "motorcycle": {"black": 6, "white": 6, "red": 3, "blue": 2, "green": 1, "silver": 1, "yellow": 1},
    "bicycle": {"white": 6, "black": 6, "red": 3, "blue": 2, "green": 2, "yellow": 1, "silver": 1},
    "person": {
        "red": 3,
        "white": 3,
        "black": 3,
        "blue": 3,
        "green": 2,
        "yellow": 2,
        "grey": 2,
        "brown": 2,
        "orange": 1,
    },
    "rider": {"red": 3, "white": 2, "black": 2, "blue": 3, "green": 2, "yellow": 2, "grey": 1, "orange": 1},
}

FACADES: tuple[RGB, ...] = (
    (196, 180, 154), (172, 150, 128), (208, 200, 184), (150, 112, 92), (184, 178, 170), (214, 190, 140), (160, 84, 66),
    (132, 128, 126), (192, 160, 140), (222, 216, 206), (140, 150, 152), (188, 140, 104),
)  # fmt: skip
SKIN: tuple[RGB, ...] = ((236, 196, 168), (220, 172, 138), (176, 124, 90), (110, 74, 54))
HAIR: tuple[RGB, ...] = ((30, 24, 22), (70, 46, 30), (122, 82, 46), (206, 168, 96), (150, 60, 34), (120, 118, 116))
TROUSERS: tuple[RGB, ...] = ((34, 40, 62), (46, 60, 100), (30, 30, 32), (92, 84, 74), (120, 104, 80), (70, 74, 78))
GLASS: RGB = (46, 58, 70)
TYRE: RGB = (22, 22, 24)


def choose_colour(rng: random.Random, domain: str, name: str) -> str:
    """Return a colour name for an instance of class `name`."""
    table = (_NARROW if domain == "train" else _WIDE)[name]
    return rng.choices(list(table), list(table.values()))[0]


def vary(rng: random.Random, rgb: RGB, amount: float = 0.07) -> RGB:
    """Return the same colour, a little lighter or darker and off hue."""
    gain = 1 + rng.uniform(-amount, amount)
    red, green, blue = (max(6.0, min(250.0, c * gain + rng.uniform(-6, 6))) for c in rgb)
    return red, green, blue


def mix(first: RGB, second: RGB, share: float) -> RGB:
    """`first` with `share` of `second`."""
    red, green, blue = (a * (1 - share) + b * share for a, b in zip(first, second, strict=True))
    return red, green, blue
