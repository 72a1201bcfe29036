"""A thing is one instance (or a member of a group region) as the layout placed it, before it is drawn."""

import math
from dataclasses import dataclass

RGB = tuple[float, float, float]

LABELS = {"person": 24, "rider": 25, "car": 26, "truck": 27, "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33}
CLASSES = {label: name for name, label in LABELS.items()}
FIGURES = {"person": ("woman", "man"), "rider": ("female", "male")}
"""Kinds of the classes that are people."""


@dataclass(frozen=True, kw_only=True)
class Thing:
    """This says where and what an object is. Metres; yaw in radians, 0 = heading away from the camera."""

    name: str
    kind: str
    """Body type; for persons 'woman' or 'man', for riders 'female' or 'male'."""
    colour: str
    rgb: RGB
    x: float
    z: float
    yaw: float
    size: tuple[float, float, float]
    """Length along the heading, width, height."""
    seed: int
    group: bool = False
    """Part of a group region: no instance id of its own."""
    ground: float = 0.0
    """Height of its feet (the pavement is above the road)."""
    beneath: "Thing | None" = None
    """What is drawn in its place before it: the figure that it was painted over."""

    @property
    def label_id(self) -> int:
        return LABELS[self.name]

    def place(self, a: float, b: float, h: float) -> tuple[float, float, float]:
        """World coordinates of a point on its own axes (along the heading, to the right, up)."""
        s, c = math.sin(self.yaw), math.cos(self.yaw)
        return self.x + a * s + b * c, self.ground + h, self.z + a * c - b * s

    def box(self, grow: float = 1.0) -> list[tuple[float, float, float]]:
        """Return the eight corners of its bounding box in the world, the four on the ground first, in order round
        it."""
        length, width, height = self.size
        a, b = length / 2 * grow, width / 2 * grow
        return [self.place(i * a, j * b, h) for h in (0.0, height) for i, j in ((-1, -1), (-1, 1), (1, 1), (1, -1))]

    @property
    def prompt(self) -> str:
        """The paper's wording: 'a photo of a red car', 'a photo of a woman', 'a photo of a male rider'."""
        if self.name == "person":
            return f"a photo of a {self.kind}"
        if self.name == "rider":
            return f"a photo of a {self.kind} rider"
        return f"a photo of {'an' if self.colour[0] in 'aeiou' else 'a'} {self.colour} {self.name}"
