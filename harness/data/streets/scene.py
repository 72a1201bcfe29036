"""This module draws the plan of a scene, far to near, into an image and its instance ids."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np

from harness.core.seeds import derive
from harness.data.streets.backdrop import draw_front, draw_ground, draw_sky
from harness.data.streets.canvas import SUPERSAMPLING, Canvas, Pen, Viewport
from harness.data.streets.cars import draw_car
from harness.data.streets.cycles import draw_bicycle, draw_motorcycle, seat_of
from harness.data.streets.furnish import ROAD
from harness.data.streets.furniture import draw_prop
from harness.data.streets.heavy import draw_bus, draw_train, draw_truck
from harness.data.streets.layout import plan_scene
from harness.data.streets.light import develop
from harness.data.streets.order import painters_order
from harness.data.streets.people import draw_person, draw_rider
from harness.data.streets.street import PLAIN, StreetPlan, Style
from harness.data.streets.thing import Thing

EGO, RECTIFICATION, OUT_OF_ROI = 1, 2, 3
_DRAW = {
    "car": draw_car, "bus": draw_bus, "truck": draw_truck, "train": draw_train, "person": draw_person,
    "bicycle": draw_bicycle, "motorcycle": draw_motorcycle,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A drawn frame: `image` uint8 (H, W, 3) RGB, `instance_ids` int32 (H, W) in Cityscapes' coding."""

    image: np.ndarray
    instance_ids: np.ndarray


def draw_scene(seed: int, domain: str, size: tuple[int, int] = (256, 512), *, style: Style = PLAIN) -> Scene:
    """Return one frame of `domain` ('train' narrow, 'val' wide, 'pool' wide); `size` is (rows, columns).

    Equal arguments give equal bits; the seed streams of the domains never meet. An unknown domain is a `HarnessError`.
    """
    return draw_plan(plan_scene(seed, domain, size, style=style))


def draw_plan(plan: StreetPlan) -> Scene:
    """Return the whole frame of a plan."""
    return paint(plan, Viewport(left=0, top=0, width=plan.size[1], height=plan.size[0]))


def thing_ids(plan: StreetPlan) -> list[int]:
    """Return the id of every thing of the plan: label * 1000 + number, or the label alone for members of a group
    region.
    """
    counts: dict[int, int] = {}
    out = []
    for thing in plan.things:
        if thing.group:
            out.append(thing.label_id)
            continue
        out.append(thing.label_id * 1000 + counts.get(thing.label_id, 0))
        counts[thing.label_id] = counts.get(thing.label_id, 0) + 1
    return out


def paint(plan: StreetPlan, window: Viewport) -> Scene:
    """Draws the part of a plan that `window` shows."""
    canvas = Canvas(plan.camera, plan.light, window)
    rng = random.Random(derive(plan.seed, "streets", plan.domain, "paint"))
    draw_sky(canvas, rng)
    draw_ground(canvas, plan, rng)
    _shadows(canvas, plan)
    for prop in sorted(plan.fronts, key=lambda p: -p.z):
        side = 1 if prop.x > 0 else -1
        reach = [(prop.x + dx * side, y, prop.z + dz) for dx in (-2, 14) for y in (0, 22) for dz in (0, prop.extent)]
        if canvas.sees(reach):
            draw_front(canvas, prop, side)
    if plan.light.wet:
        _reflections(canvas, plan)
    for draw in _standing(canvas, plan):
        draw()
    image = cv2.resize(canvas.image, (window.width, window.height), interpolation=cv2.INTER_AREA)
    ids = np.ascontiguousarray(canvas.ids[1::SUPERSAMPLING, 1::SUPERSAMPLING])
    _frame_edges(image, ids, plan, window)
    return Scene(image=develop(image, ids, plan.light, rng), instance_ids=ids)


def silhouette(plan: StreetPlan, index: int, window: Viewport) -> np.ndarray:
    """Mask (bool, canvas pixels) of thing number `index` as if nothing hid it."""
    canvas = Canvas(plan.camera, plan.light, window)
    draw_thing(canvas, plan, index, 1)
    return canvas.ids > 0


def _standing(canvas: Canvas, plan: StreetPlan) -> list[Callable[[], None]]:
    """Return what to call for everything in view that stands on the ground, farthest first."""
    jobs, boxes = [], []
    for k, (thing, ident) in enumerate(zip(plan.things, thing_ids(plan), strict=True)):
        corners = thing.box(grow=1.3)
        if canvas.sees(corners):
            jobs.append(partial(draw_thing, canvas, plan, k, ident))
            xs, zs = [c[0] for c in corners[:4]], [c[2] for c in corners[:4]]
            boxes.append((min(xs), max(xs), min(zs), max(zs)))
    for prop in plan.props:
        if canvas.sees([(prop.x + dx, y, prop.z) for dx in (-3.5, 3.5) for y in (0, prop.height * 1.15 + 1)]):
            jobs.append(partial(draw_prop, canvas, prop))
            boxes.append((prop.x - 0.05, prop.x + 0.05, prop.z - 0.05, prop.z + 0.05))
    return [jobs[k] for k in painters_order(np.array(boxes, float).reshape(-1, 4))]


def draw_thing(canvas: Canvas, plan: StreetPlan, index: int, ident: int) -> None:
    """Draws thing number `index` of the plan; a rider sits on the two-wheeler that stands before it in the plan."""
    thing = plan.things[index]
    for figure in (thing.beneath, thing):
        if figure is not None:
            _draw_figure(canvas, plan, index, figure, ident)


def _draw_figure(canvas: Canvas, plan: StreetPlan, index: int, thing: Thing, ident: int) -> None:
    yaw = 0.0 if thing.name == "person" else thing.yaw
    pen = Pen(canvas, x=thing.x, z=thing.z, yaw=yaw, ident=ident, ground=thing.ground)
    if thing.name == "rider":
        cycle = plan.things[index - 1]
        seat, bars, pedal = seat_of(cycle.kind)
        draw_rider(
            pen, thing, seat=seat, bars=bars, pedal=pedal, sporty=cycle.kind in ("race bicycle", "sport motorcycle")
        )
        return
    _DRAW[thing.name](pen, thing)


def _shadows(canvas: Canvas, plan: StreetPlan) -> None:
    """Contact and cast shadows on the ground, softened."""
    light = plan.light
    sx, up, sz = light.sun
    reach = min(0.9, 0.35 / max(up, 0.2)) if light.shadow > 0.4 else 0.12
    for thing in plan.things:
        length, width, height = thing.size
        if thing.z > 70 or thing.name == "rider":
            continue
        slim = thing.name in ("person", "bicycle", "motorcycle")
        width = 0.34 if slim else width
        length = 0.34 if thing.name == "person" else length
        foot = replace(thing, size=(length, width, height), ground=0.0)
        corners = foot.box()[:4]
        canvas.shade_ground(foot.box(1.05)[:4])
        dx, dz = -sx * height * reach, -sz * height * reach
        moved = [(x + dx, y, z + dz) for x, y, z in corners]
        hull = cv2.convexHull(np.array([(x, z) for x, _, z in (*corners, *moved)], np.float32))[:, 0]
        canvas.shade_ground([(float(x), 0.0, float(z)) for x, z in hull])
    mask = cv2.blur(canvas.shadow, (5, 3))
    factor = cv2.LUT(mask, (255 * (1 - light.shadow * np.arange(256) / 255)).astype(np.uint8))
    cv2.multiply(canvas.image, cv2.merge((factor, factor, factor)), dst=canvas.image, scale=1 / 255)


def _reflections(canvas: Canvas, plan: StreetPlan) -> None:
    """A wet road mirrors what stands above the horizon, blurred."""
    rows = canvas.ids.shape[0]
    horizon = round((canvas.camera.horizon - canvas.window.top) * SUPERSAMPLING)
    if not 4 < horizon < rows - 4:
        return
    depth = min(horizon, rows - horizon)
    mirror = cv2.blur(canvas.image[horizon - depth : horizon][::-1], (9, 25))
    ground = canvas.image[horizon : horizon + depth]
    wet = canvas.ids[horizon : horizon + depth] == ROAD
    below = plan.camera.horizon * SUPERSAMPLING
    share = 0.36 * np.clip(1 - np.arange(depth) / below, 0, 1)[:, None] * wet
    ground[:] = (ground + (mirror.astype(np.float32) - ground) * share[..., None].astype(np.float32)).astype(np.uint8)


def _frame_edges(image: np.ndarray, ids: np.ndarray, plan: StreetPlan, window: Viewport) -> None:
    """Bonnet of the ego vehicle, rectification border and the ignore frame round the region of interest."""
    rows, columns = plan.size
    y, x = np.mgrid[window.top : window.top + window.height, window.left : window.left + window.width]
    if plan.bonnet:
        edge = rows * (1 - plan.bonnet * (1 - 0.55 * ((x - columns / 2) / (columns / 2)) ** 2))
        inside = y >= edge
        tone = np.clip(62 + 70 * (1 - (y - edge) / (rows * plan.bonnet + 1)), 20, 150) * plan.light.ambient
        image[inside] = (tone[inside, None] * np.array((0.94, 0.98, 1.06))).astype(np.uint8)
        ids[inside] = EGO
    left, right, ring = plan.border
    bent = (x < left * (0.6 + 0.4 * y / rows)) | (x >= columns - right * (0.6 + 0.4 * y / rows))
    image[bent], ids[bent] = 6, RECTIFICATION
    outer = (x < ring) | (y < ring) | (x >= columns - ring) | (y >= rows - ring)
    ids[outer] = OUT_OF_ROI
