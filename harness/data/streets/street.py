"""The plan of a scene says what stands where; it is made before anything is drawn.

One straight street seen from a lane: carriageway, parked rows, pavements, and the fronts, trees and furniture beside.
"""

from dataclasses import dataclass

from harness.data.streets.canvas import Camera
from harness.data.streets.light import Light
from harness.data.streets.thing import Thing

DOMAINS = ("train", "val", "pool")
KERB = 0.14  # metres that the pavement lies above the road


@dataclass(frozen=True, kw_only=True)
class Street:
    """Lateral positions in metres: kerbs, fronts, lanes; `junction` is the depth of a crossing road or 0."""

    left: float
    right: float
    left_front: float
    right_front: float
    lanes: tuple[tuple[float, int], ...]
    """(x of the centre, direction: 1 away, -1 towards us)."""
    parking: tuple[bool, bool]
    junction: float


@dataclass(frozen=True, kw_only=True)
class Prop:
    """An object of a stuff class: kind, its label id, position, length along z (or height), seed."""

    kind: str
    label_id: int
    x: float
    z: float
    extent: float
    height: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class Style:
    """This says how a data set differs from the plain street.

    `zoom` multiplies the focal length; of `featured` classes, drawn anew for each frame, one instance stands in good
    view and the rest of the traffic is thin; what would be less than `least` of the frame's height tall is left out;
    `familiar` is the share of bodies and colours in a wide domain that are those of the train domain, and
    `familiar_light` that of lights.
    """

    zoom: float = 1.0
    featured: int = 0
    least: float = 0.0
    familiar: float = 0.0
    familiar_light: float = 0.0


PLAIN = Style()


@dataclass(frozen=True, kw_only=True)
class StreetPlan:
    """A scene ready to be drawn."""

    seed: int
    domain: str
    size: tuple[int, int]
    camera: Camera
    light: Light
    street: Street
    fronts: tuple[Prop, ...]
    props: tuple[Prop, ...]
    things: tuple[Thing, ...]
    bonnet: float
    border: tuple[int, int, int]
