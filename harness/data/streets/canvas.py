"""The canvas draws filled shapes, given in metres, in perspective into an image and an id map at once.

The camera stands at the origin, x to the right, y up, z ahead; a pen adds an object's own axes: a along its heading, b
to its right, h up. Colours are lit and hazed here, so that the models of objects only name plain colours.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from harness.data.streets.light import Light

SUPERSAMPLING = 2
_SHIFT = 3
_SUB = 1 << _SHIFT
NEAR = 0.7  # metres; points behind are pulled to this plane
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
        z = max(z, NEAR)
        return self.centre + self.focal * x / z, self.horizon + self.focal * (self.height - y) / z


@dataclass(frozen=True, kw_only=True)
class Viewport:
    """The part of the frame that is drawn: left, top, width, height in frame pixels."""

    left: int
    top: int
    width: int
    height: int


class Canvas:
    """Image (uint8 RGB) and ids (int32) of a window of the frame, `SUPERSAMPLING` times as fine."""

    def __init__(self, camera: Camera, light: Light, window: Viewport) -> None:
        self.camera, self.light, self.window = camera, light, window
        shape = (window.height * SUPERSAMPLING, window.width * SUPERSAMPLING)
        self.image = np.zeros((*shape, 3), np.uint8)
        self.ids = np.zeros(shape, np.int32)
        self.shadow = np.zeros(shape, np.uint8)
        self.focal = camera.focal * SUPERSAMPLING
        self.u0 = (camera.centre - window.left) * SUPERSAMPLING - 0.5
        self.v0 = (camera.horizon - window.top) * SUPERSAMPLING - 0.5

    def pixels(self, points: Iterable[Point], margin: float = 0.0) -> np.ndarray | None:
        """World points -> canvas pixels with `_SHIFT` fractional bits, int32 (N, 2); None if all miss the window."""
        focal, high = self.focal, self.camera.height
        us, vs = [], []
        for x, y, z in points:
            scale = focal / (z if z > NEAR else NEAR)
            us.append(self.u0 + scale * x)
            vs.append(self.v0 + scale * (high - y))
        return self.grid(us, vs, margin)

    def grid(self, us: list[float], vs: list[float], margin: float = 0.0) -> np.ndarray | None:
        """Columns and rows of canvas pixels in the form OpenCV draws, or None if they all miss the window."""
        rows, columns = self.ids.shape
        left, right, top, bottom = min(us), max(us), min(vs), max(vs)
        if right < -margin or bottom < -margin or left > columns + margin or top > rows + margin:
            return None
        if right > _LIMIT or bottom > _LIMIT or left < -_LIMIT or top < -_LIMIT:
            us = [max(-_LIMIT, min(_LIMIT, u)) for u in us]
            vs = [max(-_LIMIT, min(_LIMIT, v)) for v in vs]
        return np.array([(round(u * _SUB), round(v * _SUB)) for u, v in zip(us, vs, strict=True)], np.int32)

    def sees(self, points: Iterable[Point]) -> bool:
        """Return whether the box round the projected points meets the window; what it does not see need not be
        drawn."""
        return self.pixels(points, margin=4.0) is not None

    def shade_ground(self, points: list[Point]) -> None:
        """Adds a shadow on the ground (darkened before any object is drawn)."""
        pixels = self.pixels(points)
        if pixels is not None:
            cv2.fillPoly(self.shadow, [pixels], 255, cv2.LINE_8, _SHIFT)


class Pen:
    """Draws one object that stands at (x, z) metres, turned by `yaw` (0: heading away from the camera)."""

    def __init__(
        self, canvas: Canvas, *, x: float, z: float, yaw: float = 0.0, ident: int, ground: float = 0.0
    ) -> None:
        self.canvas, self.ident, self.x, self.z, self.ground = canvas, ident, x, z, ground
        self.sin, self.cos = math.sin(yaw), math.cos(yaw)
        self.haze = canvas.light.haze_at(z)
        self.unit = canvas.camera.focal / max(z, 1.0) * SUPERSAMPLING  # canvas pixels a metre

    def world(self, a: float, b: float, h: float) -> Point:
        """Object coordinates -> world coordinates."""
        sin, cos = self.sin, self.cos
        return self.x + a * sin + b * cos, self.ground + h, self.z + a * cos - b * sin

    def pixels(self, points: Iterable[Point], margin: float = 0.0) -> np.ndarray | None:
        """As `Canvas.pixels`, of object coordinates (one loop: this is where drawing spends its time)."""
        canvas, sin, cos, x, z = self.canvas, self.sin, self.cos, self.x, self.z
        focal, u0, v0, high = canvas.focal, canvas.u0, canvas.v0, canvas.camera.height - self.ground
        us, vs = [], []
        for a, b, h in points:
            depth = z + a * cos - b * sin
            scale = focal / (depth if depth > NEAR else NEAR)
            us.append(u0 + scale * (x + a * sin + b * cos))
            vs.append(v0 + scale * (high - h))
        return canvas.grid(us, vs, margin)

    def faces(self, a: float, b: float, na: float, nb: float) -> bool:
        """Return whether the vertical face through (a, b) with normal (na, nb) looks at the camera."""
        x, _, z = self.world(a, b, 0)
        nx, nz = na * self.sin + nb * self.cos, na * self.cos - nb * self.sin
        return -x * nx - z * nz > 0

    def lit(self, na: float, nb: float, up: float = 0.0) -> float:
        """Brightness of a surface with the normal (na, nb, up)."""
        return self.canvas.light.on(na * self.sin + nb * self.cos, up, na * self.cos - nb * self.sin)

    def colour(self, rgb: RGB, shade: float = 1.0, *, glow: bool = False) -> tuple[float, float, float]:
        """Return a plain colour as it reaches the camera."""
        light = self.canvas.light
        (r, g, b), (tr, tg, tb), (hr, hg, hb) = rgb, (1.0, 1.0, 1.0) if glow else light.tint, light.haze
        t = self.haze * (0.4 if glow else 1.0)
        s = 1.0 - t
        return (
            min(255.0, r * shade * tr) * s + hr * t, min(255.0, g * shade * tg) * s + hg * t,
            min(255.0, b * shade * tb) * s + hb * t,
        )  # fmt: skip

    def poly(
        self, points: list[Point], rgb: RGB, shade: float = 1.0, *, solid: bool = True, glow: bool = False
    ) -> None:
        """A filled polygon in object coordinates; `solid` ones also enter the id map."""
        pixels = self.pixels(points)
        if pixels is None:
            return
        cv2.fillPoly(self.canvas.image, [pixels], self.colour(rgb, shade, glow=glow), cv2.LINE_8, _SHIFT)
        if solid:
            cv2.fillPoly(self.canvas.ids, [pixels], self.ident, cv2.LINE_8, _SHIFT)

    def mask(self, points: list[Point]) -> None:
        """Enters the id map only (what an annotator outlines although one sees through it)."""
        pixels = self.pixels(points)
        if pixels is not None:
            cv2.fillPoly(self.canvas.ids, [pixels], self.ident, cv2.LINE_8, _SHIFT)

    def line(
        self,
        points: list[Point],
        rgb: RGB,
        width: float,
        shade: float = 1.0,
        *,
        solid: bool = True,
        closed: bool = False,
    ) -> None:
        """A line of `width` metres with round ends."""
        thick = max(1, round(width * self.unit))
        pixels = self.pixels(points, thick)
        if pixels is None:
            return
        cv2.polylines(self.canvas.image, [pixels], closed, self.colour(rgb, shade), thick, cv2.LINE_8, _SHIFT)
        if solid:
            cv2.polylines(self.canvas.ids, [pixels], closed, self.ident, thick, cv2.LINE_8, _SHIFT)

    def ball(
        self,
        centre: Point,
        radius: float,
        rgb: RGB,
        shade: float = 1.0,
        *,
        tall: float = 1.0,
        solid: bool = True,
        glow: bool = False,
    ) -> None:
        """A sphere (or an egg, `tall` times as high as wide)."""
        reach = radius * self.unit
        pixels = self.pixels((centre,), reach * max(1.0, tall))
        if pixels is None:
            return
        at = (int(pixels[0, 0]), int(pixels[0, 1]))
        size = (round(reach * (1 << _SHIFT)), round(reach * tall * (1 << _SHIFT)))
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

    def side(
        self, b: float, points: list[tuple[float, float]], rgb: RGB, shade: float = 1.0, *, solid: bool = False
    ) -> None:
        """A polygon (a, h) on the plane b = const."""
        self.poly([(a, b, h) for a, h in points], rgb, shade, solid=solid)

    def end(
        self,
        a: float,
        points: list[tuple[float, float]],
        rgb: RGB,
        shade: float = 1.0,
        *,
        solid: bool = False,
        glow: bool = False,
    ) -> None:
        """A polygon (b, h) on the plane a = const."""
        self.poly([(a, b, h) for b, h in points], rgb, shade, solid=solid, glow=glow)


def rect(left: float, low: float, right: float, high: float) -> list[tuple[float, float]]:
    """Return the corners of an upright rectangle."""
    return [(left, low), (right, low), (right, high), (left, high)]
