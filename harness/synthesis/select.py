"""Phase 1 selects the instances of a frame that are worked on, and their square crops.

Boxes are half-open, in absolute pixels of the frame. Not here: anything that changes a pixel.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from harness.data.labels import Label, LabelSet


class Box(NamedTuple):
    """A rectangle in pixels: columns x0..x1-1, rows y0..y1-1."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        """Columns."""
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        """Rows."""
        return self.y1 - self.y0

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of this rectangle in an array [H, W, ...]; it must lie inside."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def contains(self, other: "Box") -> bool:
        """Return whether `other` lies inside."""
        return self.x0 <= other.x0 and self.y0 <= other.y0 and self.x1 >= other.x1 and self.y1 >= other.y1


@dataclass(frozen=True, kw_only=True)
class AnnotatedInstance:
    """One annotated thing: `area` in pixels, `box` tight."""

    id: int
    label: Label
    area: int
    box: Box


def select(
    ids: np.ndarray, labels: LabelSet, *, top_k: int | None, candidates: Literal["evaluated", "instances"]
) -> list[AnnotatedInstance]:
    """Return the `top_k` largest instances of a map of ids (int [H, W]), largest first, equal ones by ascending id.

    With None all of them. Group regions and stuff are never candidates.
    """
    kinds = labels.things if candidates == "evaluated" else [label for label in labels.labels if label.is_thing]
    areas = np.bincount(ids.ravel())
    present = np.flatnonzero(areas)
    present = present[labels.is_instance(present)]
    named = [(i, labels.by_id.get(labels.label_of(i))) for i in present.tolist()]
    found = [(i, label) for i, label in named if label is not None and label in kinds]
    chosen = sorted(found, key=lambda item: (-areas[item[0]], item[0]))[:top_k]
    return [AnnotatedInstance(id=i, label=label, area=int(areas[i]), box=_box_of(ids == i)) for i, label in chosen]


def square_round(box: Box, size: tuple[int, int], border: Literal["shift", "pad"]) -> Box:
    """Return the square of side max(w, h) centred on `box` (half a pixel to the lower right where it can't be).

    `size`: height and width of the frame. `shift`: moved inside the frame; only a square larger than the frame sticks
    out, on the right or below. `pad`: its low side is clamped at 0, its high side isn't.
    """
    side = max(box.width, box.height)
    height, width = size
    x0 = max(0, box.x0 - (side - box.width) // 2)
    y0 = max(0, box.y0 - (side - box.height) // 2)
    if border == "shift":
        x0, y0 = max(0, min(x0, width - side)), max(0, min(y0, height - side))
    return Box(x0, y0, x0 + side, y0 + side)


def cut(image: np.ndarray, square: Box, border: Literal["shift", "pad"]) -> np.ndarray:
    """Return the unedited crop, uint8 [S, S, 3]. Outside the frame it is black (`pad`) or mirrored (`shift`)."""
    inside = image[visible(square, image.shape[:2]).slices]
    beyond = ((0, square.height - inside.shape[0]), (0, square.width - inside.shape[1]), (0, 0))
    if not any(b for _, b in beyond):
        return inside.copy()
    return np.pad(inside, beyond, mode="symmetric" if border == "shift" else "constant")


def cut_mask(ids: np.ndarray, instance: int, square: Box, bits: Literal[8, 16]) -> np.ndarray:
    """Return the mask of one instance in its crop, bool [S, S]; False outside the frame.

    With 8 `bits` the id is cut to its low byte before the test against 0, as the released scripts do: the mask of an id
    that is a multiple of 256 is empty.
    """
    inside = ids[visible(square, ids.shape).slices] == instance
    mask = np.zeros((square.height, square.width), bool)
    mask[: inside.shape[0], : inside.shape[1]] = inside & (instance % (1 << bits) != 0)
    return mask


def visible(square: Box, size: tuple[int, int]) -> Box:
    """Return the part of a square that lies in a frame of `size` (height, width)."""
    return Box(square.x0, square.y0, min(square.x1, size[1]), min(square.y1, size[0]))


def _box_of(mask: np.ndarray) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
