"""This module turns masks into polygons along pixel edges; pycocotools fills them to exactly the same masks.

The corners of a mask, sorted along rows, pair up to its horizontal edges; sorted along columns, to its vertical ones
(a corner where two pixels touch diagonally counts twice). Following both in turn gives closed outlines. COCO has no
holes: outlines of one mask with a hole are joined by bridges that are walked to and fro, which cancels in an even-odd
fill.
"""

from collections.abc import Sequence

import numpy as np

Outline = list[tuple[int, int]]


def polygons(mask: np.ndarray) -> list[list[int]]:
    """Return polygons [x0, y0, x1, y1, ...] in pixel edges (0..W, 0..H) of a mask (bool [H, W]); none for an empty
    one.
    """
    outlines = _outlines(mask)
    if not all(mask[y, x] for (x, y), *_ in outlines):  # an outline that begins outside of the mask is that of a hole
        outlines = [_joined(outlines)]
    return [[value for point in outline for value in point] for outline in outlines]


def _outlines(mask: np.ndarray) -> list[Outline]:
    """Closed outlines (first point not repeated); each begins at the first of its corners, row by row."""
    cells = np.pad(mask, 1).astype(np.int8)
    a, b, c, d = cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]
    odd = ((a + b + c + d) & 1).astype(bool)
    diagonal = (a == d) & (b == c) & (a != b)
    rows, columns = np.nonzero(odd | diagonal)
    twice = diagonal[rows, columns]
    # A diagonal corner becomes two nodes: the end of one edge and the start of the next, in each direction.
    points = [(int(x), int(y)) for x, y, two in zip(columns, rows, twice, strict=True) for _ in range(1 + two)]
    across = _paired(sorted(range(len(points)), key=lambda i: (points[i][1], points[i][0], i)))
    down = _paired(sorted(range(len(points)), key=lambda i: (*points[i], i)))
    found, left = [], [True] * len(points)
    for start in range(len(points)):
        if not left[start]:
            continue
        outline, node = [], start
        while left[node]:
            for neighbour in (across, down):
                left[node] = False
                outline.append(points[node])
                node = neighbour[node]
        found.append(outline)
    return found


def _paired(order: Sequence[int]) -> dict[int, int]:
    """Return each node's partner when consecutive nodes of `order` are the two ends of an edge."""
    pairs = {}
    for one, other in zip(order[::2], order[1::2], strict=True):
        pairs[one], pairs[other] = other, one
    return pairs


def _joined(outlines: Sequence[Outline]) -> Outline:
    """Return one closed outline through all: from the first point along each to its own start and back again."""
    path: Outline = []
    for outline in outlines:
        path += [*outline, outline[0]]
    return path + [outline[0] for outline in reversed(outlines[:-1])]
