"""Canvas and pen: filled shapes given in metres, drawn in perspective into an image and an id map at once.

The camera stands at the origin, x to the right, y up, z ahead; a pen adds an object's own axes: a along its heading, b to
its right, h up. Colours are lit and hazed here, so that the models of objects only name plain colours.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from harness.data.streets.light import Light

SUPERSAMPLING = 2
_SHIFT = 3
_NEAR = 0.7  # metres; points behind are pulled to this plane
_LIMIT = 1 << 14

RGB = tuple[float, float, float]
Point = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole above a flat road; lengths in pixels of the full frame, `height` in metres."""

    focal: float
    centre: float
    horizon: float
    height: float

    def project(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Frame coordinates (column, row) of a point in metres."""
        z = max(z, _NEAR)
        return self.centre + self.focal * x / z, self.horizon + self.focal * (self.height - y) / z


@dataclass(frozen=True, kw_only=True)
class Window:
    """The part of the frame that is drawn: left, top, width, height in frame pixels."""

    left: int
    top: int
    width: int
    height: int


class Canvas:
    """Image (uint8 RGB) and ids (int32) of a window of the frame, `SUPERSAMPLING` times as fine."""

    def __init__(self, camera: Camera, light: Light, window: Window) -> None:
        self.camera, self.light, self.window = camera, light, window
        shape = (window.height * SUPERSAMPLING, window.width * SUPERSAMPLING)
        self.image = np.zeros((*shape, 3), np.uint8)
        self.ids = np.zeros(shape, np.int32)
        self.shadow = np.zeros(shape, np.uint8)

    def pixels(self, points: list[Point]) -> np.ndarray:
        """World points -> canvas pixels with `_SHIFT` fractional bits, int32 (N, 2)."""
        cam, k = self.camera, SUPERSAMPLING
        out = []
        for x, y, z in points:
            z = max(z, _NEAR)
            u = (cam.centre + cam.focal * x / z - self.window.left) * k - 0.5
            v = (cam.horizon + cam.focal * (cam.height - y) / z - self.window.top) * k - 0.5
            out.append((max(-_LIMIT, min(_LIMIT, u)), max(-_LIMIT, min(_LIMIT, v))))
        return np.rint(np.array(out) * (1 << _SHIFT)).astype(np.int32)

    def outside(self, pixels: np.ndarray, margin: float = 0.0) -> bool:
        """Whether the box of `pixels` misses the window."""
        low, high = pixels.min(0) / (1 << _SHIFT), pixels.max(0) / (1 << _SHIFT)
        rows, columns = self.ids.shape
        return bool(high[0] < -margin or high[1] < -margin or low[0] > columns + margin or low[1] > rows + margin)

    def shade_ground(self, points: list[Point]) -> None:
        """Adds a shadow on the ground (darkened before any object is drawn)."""
        cv2.fillPoly(self.shadow, [self.pixels(points)], 255, cv2.LINE_8, _SHIFT)


class Pen:
    """Draws one object that stands at (x, z) metres, turned by `yaw` (0: heading away from the camera)."""

    def __init__(self, canvas: Canvas, *, x: float, z: float, yaw: float = 0.0, ident: int, ground: float = 0.0) -> None:
        self.canvas, self.ident, self.x, self.z, self.ground = canvas, ident, x, z, ground
        self.sin, self.cos = math.sin(yaw), math.cos(yaw)
        self.haze = canvas.light.haze_at(z)
        self.unit = canvas.camera.focal / max(z, 1.0) * SUPERSAMPLING  # canvas pixels a metre

    def world(self, a: float, b: float, h: float) -> Point:
        """Object coordinates -> world coordinates."""
        return self.x + a * self.sin + b * self.cos, self.ground + h, self.z + a * self.cos - b * self.sin

    def faces(self, a: float, b: float, na: float, nb: float) -> bool:
        """Whether the vertical face through (a, b) with normal (na, nb) looks at the camera."""
        x, _, z = self.world(a, b, 0)
        nx, nz = na * self.sin + nb * self.cos, na * self.cos - nb * self.sin
        return -x * nx - z * nz > 0

    def lit(self, na: float, nb: float, up: float = 0.0) -> float:
        """Brightness of a surface with the normal (na, nb, up)."""
        return self.canvas.light.on(na * self.sin + nb * self.cos, up, na * self.cos - nb * self.sin)

    def colour(self, rgb: RGB, shade: float = 1.0, *, glow: bool = False) -> tuple[float, float, float]:
        """A plain colour as it reaches the camera."""
        tint = (1.0, 1.0, 1.0) if glow else self.canvas.light.tint
        haze, t = self.canvas.light.haze, self.haze * (0.4 if glow else 1.0)
        return tuple(min(255.0, c * shade * k) * (1 - t) + f * t for c, k, f in zip(rgb, tint, haze, strict=True))

    def poly(self, points: list[Point], rgb: RGB, shade: float = 1.0, *, solid: bool = True, glow: bool = False) -> None:
        """A filled polygon in object coordinates; `solid` ones also enter the id map."""
        pixels = self.canvas.pixels([self.world(*p) for p in points])
        if self.canvas.outside(pixels):
            return
        cv2.fillPoly(self.canvas.image, [pixels], self.colour(rgb, shade, glow=glow), cv2.LINE_8, _SHIFT)
        if solid:
            cv2.fillPoly(self.canvas.ids, [pixels], self.ident, cv2.LINE_8, _SHIFT)

    def mask(self, points: list[Point]) -> None:
        """Enters the id map only (what an annotator outlines although one sees through it)."""
        cv2.fillPoly(self.canvas.ids, [self.canvas.pixels([self.world(*p) for p in points])], self.ident, cv2.LINE_8, _SHIFT)

    def line(
        self, points: list[Point], rgb: RGB, width: float, shade: float = 1.0, *, solid: bool = True, closed: bool = False
    ) -> None:
        """A line of `width` metres with round ends."""
        pixels = self.canvas.pixels([self.world(*p) for p in points])
        thick = max(1, round(width * self.unit))
        if self.canvas.outside(pixels, thick):
            return
        cv2.polylines(self.canvas.image, [pixels], closed, self.colour(rgb, shade), thick, cv2.LINE_8, _SHIFT)
        if solid:
            cv2.polylines(self.canvas.ids, [pixels], closed, self.ident, thick, cv2.LINE_8, _SHIFT)

    def ball(
        self, centre: Point, radius: float, rgb: RGB, shade: float = 1.0, *, tall: float = 1.0, solid: bool = True,
        glow: bool = False,
    ) -> None:
        """A sphere (or an egg, `tall` times as high as wide)."""
        (u, v), = self.canvas.pixels([self.world(*centre)])
        size = (round(radius * self.unit * (1 << _SHIFT)), round(radius * tall * self.unit * (1 << _SHIFT)))
        reach = max(size)
        rows, columns = self.canvas.ids.shape
        if u + reach < 0 or v + reach < 0 or u - reach > columns << _SHIFT or v - reach > rows << _SHIFT:
            return
        at = (int(u), int(v))
        colour = self.colour(rgb, shade, glow=glow)
        cv2.ellipse(self.canvas.image, at, size, 0, 0, 360, colour, -1, cv2.LINE_8, _SHIFT)
        if solid:
            cv2.ellipse(self.canvas.ids, at, size, 0, 0, 360, self.ident, -1, cv2.LINE_8, _SHIFT)

    def ring(self, a: float, b: float, h: float, radius: float, corners: int = 14) -> list[Point]:
        """Points of a wheel: a circle in the plane of heading and height."""
        return [
            (a + radius * math.cos(t), b, h + radius * math.sin(t))
            for t in (2 * math.pi * k / corners for k in range(corners))
        ]

    def side(self, b: float, points: list[tuple[float, float]], rgb: RGB, shade: float = 1.0, *, solid: bool = False) -> None:
        """A polygon (a, h) on the plane b = const."""
        self.poly([(a, b, h) for a, h in points], rgb, shade, solid=solid)

    def end(
        self, a: float, points: list[tuple[float, float]], rgb: RGB, shade: float = 1.0, *, solid: bool = False, glow: bool = False
    ) -> None:
        """A polygon (b, h) on the plane a = const."""
        self.poly([(a, b, h) for b, h in points], rgb, shade, solid=solid, glow=glow)


def rect(left: float, low: float, right: float, high: float) -> list[tuple[float, float]]:
    """The corners of an upright rectangle."""
    return [(left, low), (right, low), (right, high), (left, high)]
