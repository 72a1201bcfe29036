"""The power analysis gives half-widths, power and the smallest detectable effect of a measurement with a known spread.

A difference has several sources of variance (images, seeds), each known with its own degrees of freedom. Plain math,
without numpy: plans print it at once. Not here: where spreads come from (harness/results/spread.py).
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from harness.metrics.student import student

LEVEL = 0.95
"""Of intervals; an effect is found when the interval leaves zero out."""
POWER = 0.8
"""Chance with which the smallest detectable effect is found."""
NODES = 400
"""Points of the integral over what the spread is estimated to be."""


class Spread(NamedTuple):
    """A variance, and the degrees of freedom that it is known with."""

    variance: float
    freedom: float


def half_width(spreads: Sequence[Spread], *, level: float = LEVEL) -> float:
    """Half-width of the interval of a difference: Student's t for each source, squares added (Zou & Donner 2008).

    A source without degrees of freedom is left out: nothing is known of it.
    """
    tail = (1 - level) / 2
    return math.sqrt(sum(student(tail, one.freedom) ** 2 * one.variance for one in spreads if one.freedom > 0))


def together(spreads: Sequence[Spread]) -> Spread:
    """Return the sum of independent sources, with the degrees of freedom of Satterthwaite (1946)."""
    variance = sum(one.variance for one in spreads)
    squares = sum(one.variance**2 / one.freedom for one in spreads if one.freedom > 0)
    return Spread(variance, variance**2 / squares if squares else math.inf)


def power(effect: float, spreads: Sequence[Spread], *, level: float = LEVEL) -> float:
    """Chance that the interval leaves zero out when the true difference is `effect`.

    With one source it is the power of the two-sided t test (the noncentral t distribution); several are taken together,
    and the interval keeps the half-width that it has.
    """
    total = together(spreads)
    if total.variance == 0:
        return 1.0 if effect else 1 - level
    error = math.sqrt(total.variance)
    shift, critical = abs(effect) / error, half_width(spreads, level=level) / error
    return sum(
        weight * (_below(shift - critical * scale) + _below(-shift - critical * scale))
        for scale, weight in _scales(total.freedom)
    )


def detectable(spreads: Sequence[Spread], *, chance: float = POWER, level: float = LEVEL) -> float:
    """Return the smallest true difference that is found with `chance` (more than 1 - level): `power` solved for the
    effect.
    """
    error = math.sqrt(together(spreads).variance)
    below, above = 0.0, error
    if error == 0:
        return 0.0
    while power(above, spreads, level=level) < chance:
        below, above = above, 2 * above
    for _ in range(40):
        middle = (below + above) / 2
        below, above = (middle, above) if power(middle, spreads, level=level) < chance else (below, middle)
    return (below + above) / 2


@cache
def _scales(freedom: float) -> tuple[tuple[float, float], ...]:
    """Estimated over true standard deviation, sqrt(chi^2 / freedom), as points with weights that add up to 1.

    Trapezoids over its logarithm u, where the density goes with exp(freedom (u - exp(2 u) / 2)).
    """
    if freedom > 1e6:
        return ((1.0, 1.0),)
    low, high = -40 / freedom - math.sqrt(40 / freedom), math.log1p(80 / freedom + 8 / math.sqrt(freedom)) / 2
    points = [low + (high - low) * place / NODES for place in range(NODES + 1)]
    heights = [math.exp(freedom * (u - math.exp(2 * u) / 2 + 0.5)) for u in points]
    total = sum(heights)
    return tuple((math.exp(u), height / total) for u, height in zip(points, heights, strict=True))


def _below(z: float) -> float:
    """Return the normal distribution function."""
    return math.erfc(-z / math.sqrt(2)) / 2
