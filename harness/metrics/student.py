"""This module computes quantiles of Student's t distribution for intervals and checks; it needs no numpy.

Closed forms at 1 and 2 degrees of freedom; elsewhere Newton's method on the tail, which is a regularised incomplete
beta function, and an expansion around the normal quantile (Abramowitz and Stegun 1964, 26.5.8, 26.5.27 and 26.7.5).
"""

import math
from functools import cache
from statistics import NormalDist

EXPANDED_FROM = 1e3
"""Degrees of freedom from which the expansion is the exacter of the two: the gamma functions lose digits there."""


@cache
def student(tail: float, freedom: float) -> float:
    """Return the t that `tail` (above 0, up to 0.5) of the distribution exceeds; `freedom` above 0, fractions
    allowed."""
    if not (0 < tail <= 0.5 and freedom > 0):
        raise ValueError(f"expected a tail in (0, 0.5] and freedom above 0, found {tail} and {freedom}")
    if tail == 0.5:
        return 0.0
    if freedom == 1:
        return 1 / math.tan(math.pi * tail)
    if freedom == 2:
        return (1 - 2 * tail) / math.sqrt(2 * tail * (1 - tail))
    z = -NormalDist().inv_cdf(tail)
    if freedom < EXPANDED_FROM:
        return _solved(tail, freedom, start=z)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + first / freedom + second / freedom**2 + third / freedom**3 + fourth / freedom**4


def _solved(tail: float, freedom: float, *, start: float) -> float:
    """Newton on log tail over log t, which is concave and falls: after the first step it comes from above."""
    place = math.log(start)
    for _ in range(100):
        t = math.exp(place)
        found = tail_above(t, freedom)
        step = math.log(found / tail) * found / (t * _density(t, freedom))
        place += step
        if abs(step) < 1e-14:
            break
    return math.exp(place)


def tail_above(t: float, freedom: float) -> float:
    """Probability of a value above `t` (at least 0): half the incomplete beta function at freedom / (freedom + t^2)."""
    return 0.5 * _beta(freedom / 2, 0.5, freedom / (freedom + t * t), t * t / (freedom + t * t))


def _density(t: float, freedom: float) -> float:
    height = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
    return math.exp(height - (freedom + 1) / 2 * math.log1p(t * t / freedom))


def _beta(a: float, b: float, x: float, rest: float) -> float:
    """Regularised incomplete beta function I_x(a, b); `rest` is 1 - x, which subtraction would round."""
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(b, a, rest, x)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest)
    return math.exp(front) / a * _fraction(a, b, x)


def _fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction of the incomplete beta function, by the method of Lentz (1976)."""
    tiny = 1e-300
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or tiny)
    value = d
    for m in range(1, 10_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value
