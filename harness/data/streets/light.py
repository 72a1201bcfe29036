"""This module decides light and weather of a scene (sun, tint, haze, sky colours) and simulates the camera's sensor."""

import math
import random
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

RGB = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Light:
    """One light for a whole scene. `sun` is a unit vector towards the sun (x, up, z)."""

    name: str
    sun: tuple[float, float, float]
    ambient: float
    diffuse: float
    tint: RGB
    haze: RGB
    haze_metres: float
    sky_top: RGB
    sky_low: RGB
    clouds: float
    shadow: float
    wet: bool
    lamps: bool
    grain: float

    def on(self, nx: float, ny: float, nz: float) -> float:
        """Brightness factor of a surface with the unit normal (nx, ny, nz)."""
        return self.ambient + self.diffuse * max(0.0, nx * self.sun[0] + ny * self.sun[1] + nz * self.sun[2])

    def haze_at(self, z: float) -> float:
        """Share of haze in a colour seen at `z` metres, 0 to 1."""
        return 1.0 - math.exp(-max(z - 4.0, 0.0) / self.haze_metres)


_KINDS = {
    # name: ambient, diffuse, tint, haze, metres, sky top, sky low, clouds, shadow, elevation, wet, lamps, grain
    "clear": (
        0.66,
        0.50,
        (1.02, 1.0, 0.96),
        (186, 200, 216),
        420,
        (92, 142, 206),
        (196, 214, 230),
        0.3,
        0.50,
        0.8,
        0,
        0,
        2,
    ),
    "overcast": (
        0.82,
        0.14,
        (0.96, 0.98, 1.0),
        (196, 200, 204),
        240,
        (186, 192, 198),
        (222, 224, 226),
        0.7,
        0.28,
        0.9,
        0,
        0,
        2,
    ),
    "low sun": (
        0.56,
        0.72,
        (1.07, 1.0, 0.88),
        (232, 212, 178),
        220,
        (128, 158, 200),
        (250, 226, 176),
        0.3,
        0.55,
        0.3,
        0,
        0,
        2,
    ),
    "dusk": (
        0.56,
        0.14,
        (0.94, 0.94, 1.08),
        (122, 120, 142),
        220,
        (66, 80, 124),
        (206, 154, 132),
        0.5,
        0.22,
        0.3,
        0,
        1,
        3.5,
    ),
    "rain": (
        0.66,
        0.10,
        (0.92, 0.97, 1.02),
        (164, 172, 178),
        130,
        (150, 158, 166),
        (190, 196, 200),
        0.8,
        0.20,
        0.9,
        1,
        1,
        2.5,
    ),
}


def choose_light(rng: random.Random, domain: str) -> Light:
    """Choose the light of a scene: the narrow domain has one, the wide ones all."""
    name = "overcast" if domain == "train" else rng.choices(list(_KINDS), (30, 28, 16, 12, 14))[0]
    ambient, diffuse, tint, haze, metres, top, low, clouds, shadow, up, wet, lamps, grain = _KINDS[name]
    azimuth = rng.uniform(0.6, 2.5) * rng.choice((-1, 1))
    flat = math.sqrt(1 - up * up)
    jitter = 0.0 if domain == "train" else rng.uniform(-0.06, 0.06)
    return Light(
        name=name,
        sun=(flat * math.sin(azimuth), up, flat * math.cos(azimuth)), ambient=ambient + jitter, diffuse=diffuse,
        tint=tint, haze=haze, haze_metres=metres * rng.uniform(0.8, 1.3), sky_top=top, sky_low=low, clouds=clouds,
        shadow=shadow, wet=bool(wet), lamps=bool(lamps), grain=grain,
    )  # fmt: skip


NOISE_SIDE = 1024
"""Side of the noise tile that frames smaller than it are cut from; larger frames take a multiple."""


@lru_cache(maxsize=4)
def noise(octaves: tuple[int, ...], side: int = NOISE_SIDE) -> np.ndarray:
    """Return a fixed tile of smooth noise, float32 (side, side), mean 0, deviation 1: a sum of grids of the given
    cells.
    """
    import cv2

    rng = np.random.default_rng(20240817)
    total = np.zeros((side, side), np.float32)
    for cell in octaves:
        grid = rng.standard_normal((max(side // cell, 2),) * 2).astype(np.float32)
        total += cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
    return (total - total.mean()) / total.std()


# how strongly a surface is mottled, by label id: grass and leaves much, cars hardly
_MOTTLE = {
    4: 0.05,
    5: 0.05,
    6: 0.05,
    7: 0.025,
    8: 0.035,
    9: 0.03,
    11: 0.025,
    12: 0.04,
    13: 0.03,
    21: 0.13,
    22: 0.10,
    23: 0.0,
}


@lru_cache(maxsize=1)
def _mottle_table() -> np.ndarray:
    table = np.full(64, 0.012, np.float32)
    for label, amount in _MOTTLE.items():
        table[label] = amount
    return table


def develop(image: np.ndarray, ids: np.ndarray, light: Light, rng: random.Random) -> np.ndarray:
    """Return the drawn picture (uint8 (H, W, 3)) as a camera would give it: mottled surfaces, softness, grain."""
    import cv2

    rows, columns = ids.shape
    labels = np.where(ids >= 1000, ids // 1000, ids)
    side = NOISE_SIDE * (1 + max(rows, columns) // NOISE_SIDE)

    def patch(octaves: tuple[int, ...]) -> np.ndarray:
        y, x = rng.randrange(side - rows), rng.randrange(side - columns)
        return noise(octaves, side)[y : y + rows, x : x + columns]

    mottle = patch((3, 7, 17))
    gain = 1.0 + _mottle_table()[labels] * mottle
    picture = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.35, 0.6)).astype(np.float32)
    picture *= (gain * rng.uniform(0.96, 1.05))[..., None]
    picture += (light.grain * patch((1,)))[..., None]
    warmth = 0.35 * light.grain * patch((1,))
    picture[..., 0] += warmth
    picture[..., 2] -= warmth
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)
