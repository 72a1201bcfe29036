"""Painter's order says which of the boxes on the ground must be drawn before which.

Sorting by distance fails beside long vehicles (a car in the lane before a tram hides the tram's far half). Two boxes
that an axis-parallel plane parts are ordered by the camera's side of that plane; only the others go by distance.
"""

import numpy as np


def painters_order(boxes: np.ndarray) -> list[int]:
    """Indices far to near for ground boxes (N, 4) as x0, x1, z0, z1 in metres, camera at the origin looking along z.

    Ties go by index: of two things on one spot the later is drawn later.
    """
    count = len(boxes)
    if not count:
        return []
    x0, x1, z0, z1 = boxes.T
    # front[i, j]: a plane parts them and j is on the camera's side, so i cannot hide j
    front = ((x0 >= 0)[:, None] & (x1[None] <= x0[:, None])) | ((x1 <= 0)[:, None] & (x0[None] >= x1[:, None]))
    front |= z1[None] <= z0[:, None]
    hides = ~front
    far = np.hypot(np.maximum(np.maximum(x0, -x1), 0), (z0 + z1) / 2)
    tied = hides & hides.T
    later = (far[:, None] < far[None]) | (
        (far[:, None] == far[None]) & (np.arange(count)[:, None] > np.arange(count)[None])
    )
    hides = np.where(tied, later, hides)
    np.fill_diagonal(hides, False)
    waiting = hides.sum(1)  # how many undrawn boxes each one hides
    preference = np.lexsort((np.arange(count), -far))
    rank = np.empty(count, int)
    rank[preference] = np.arange(count)
    order, left = [], np.ones(count, bool)
    for _ in range(count):
        free = left & (waiting == 0)
        pick = int(np.argmin(np.where(free if free.any() else left, rank, count)))
        order.append(pick)
        left[pick] = False
        waiting -= hides[:, pick]
    return order
