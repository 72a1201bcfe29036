"""Intervals say how sure a score is: they bootstrap over images, clustered by city, and over training seeds, from
stored statistics alone.

Images: the frames are drawn again with replacement (weights, no re-evaluation), the same draws for everything that is
compared, so that differences are paired. Seeds: three are too few to resample, so what their spread exceeds that of
images x seeds by (crossed analysis of variance, as for several readers of the same cases: Dorfman, Berbaum & Metz
1992) widens the interval by Student's t; squared half-widths add up (Zou & Donner 2008). Where more runs of the same
kind are known, their pooled spread with its more degrees of freedom stands for that of the two sides. Few frames, or
few with a rare class, know their own spread badly: so images have Student's t as well, with the degrees of freedom of
what each of them adds to the score (Satterthwaite 1946). Small sets flatter AP; the interval is for the score on
unlimited frames of this kind, so half-samples (Quenouille 1949) shift it by that bias. In a difference the biases of
the two sides cancel, and taking back what is estimated of them would only add noise.
Imports numpy only; reads no image.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from harness.core.errors import HarnessError
from harness.core.seeds import derive
from harness.metrics.frame_statistics import Statistics
from harness.metrics.power import LEVEL, Spread, half_width, together

Unit = Literal["image", "city"]

REPLICATES = 1000
HALVES = 200
"""Half-samples that the bias is estimated from."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A score with its confidence interval; `value` is the mean over seeds, `std` the standard error of it.

    `bias` is what the small number of frames is estimated to add to `value`; `undefined` is the share of replicates
    without a value (a rare class was not drawn). `sources` says what varies: images or cities, and seeds.
    """

    metric: str
    value: float
    low: float
    high: float
    bias: float
    std: float
    n_images: int
    n_units: int
    n_seeds: int
    replicates: int
    undefined: float
    sources: str


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A paired difference of two scores, first minus second; `distinguishable` when its interval leaves 0 out.

    `std` is its standard error, made up of `images` and `seeds`; `mixed` is the part of `images` that more seeds would
    make smaller (images x seeds).
    """

    metric: str
    value: float
    low: float
    high: float
    std: float
    images: Spread
    seeds: Spread
    mixed: float
    n_images: int
    n_units: int
    n_seeds: tuple[int, int]
    replicates: int
    undefined: float
    sources: str

    @property
    def distinguishable(self) -> bool:
        """Return whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


def interval(
    evaluations: Sequence[Statistics],
    metric: str,
    *,
    replicates: int = REPLICATES,
    unit: Unit = "image",
    level: float = LEVEL,
    seed: int = 0,
    over_seeds: Mapping[str, Spread] | None = None,
) -> Interval | None:
    """Return the interval of `metric` (such as "AP", "PQ", "IoU/car") over evaluations of one method, one for each
    seed.

    `over_seeds`: spreads by metric that are known from more runs than these; their own without. None where the score is
    undefined. HarnessError for a metric that was not evaluated, or different frames.
    """
    found = intervals(
        evaluations, [metric], replicates=replicates, unit=unit, level=level, seed=seed, over_seeds=over_seeds
    )
    return found[metric]


def intervals(
    evaluations: Sequence[Statistics],
    metrics: Sequence[str],
    *,
    replicates: int = REPLICATES,
    unit: Unit = "image",
    level: float = LEVEL,
    seed: int = 0,
    over_seeds: Mapping[str, Spread] | None = None,
) -> dict[str, Interval | None]:
    """The intervals of several metrics from the same draws: class-wise ones cost nothing more."""
    drawn, _ = _draws(evaluations, replicates, unit, seed)
    samples = [_sample(one, tuple(metrics), replicates, unit, seed) for one in evaluations]
    result: dict[str, Interval | None] = {}
    for metric in metrics:
        known = (over_seeds or {}).get(metric)
        arm = _Arm.of(samples, metric, known)
        if arm is None:
            result[metric] = None
            continue
        images, seeds = _spreads([arm], arm.replicates, drawn)
        middle, half = arm.value - arm.bias, half_width([images, *seeds], level=level)
        result[metric] = Interval(
            metric=metric,
            value=arm.value,
            low=middle - half,
            high=middle + half,
            bias=arm.bias,
            std=math.sqrt(together([images, *seeds]).variance),
            n_images=len(evaluations[0].images),
            n_units=drawn.shape[1],
            n_seeds=len(evaluations),
            replicates=replicates,
            undefined=float(np.isnan(arm.replicates).mean()),
            sources=_sources(unit, len(evaluations) > 1 or known is not None),
        )
    return result


def difference(
    first: Sequence[Statistics],
    second: Sequence[Statistics],
    metric: str,
    *,
    replicates: int = REPLICATES,
    unit: Unit = "image",
    level: float = LEVEL,
    seed: int = 0,
    over_seeds: Mapping[str, Spread] | None = None,
) -> Difference | None:
    """Return the interval of score(first) - score(second), each the mean over its seeds, on the same draws of frames.

    `over_seeds`: spreads by metric that are known from more runs than these; the sides' own without. None where either
    score is undefined. HarnessError when they were not evaluated on the same frames.
    """
    found = differences(
        first, second, [metric], replicates=replicates, unit=unit, level=level, seed=seed, over_seeds=over_seeds
    )
    return found[metric]


def differences(
    first: Sequence[Statistics],
    second: Sequence[Statistics],
    metrics: Sequence[str],
    *,
    replicates: int = REPLICATES,
    unit: Unit = "image",
    level: float = LEVEL,
    seed: int = 0,
    over_seeds: Mapping[str, Spread] | None = None,
) -> dict[str, Difference | None]:
    """The differences of several metrics from the same draws."""
    if not first or not second:
        raise HarnessError("a difference needs evaluations on both sides")
    drawn, _ = _draws([*first, *second], replicates, unit, seed)
    sides = [[_sample(one, tuple(metrics), replicates, unit, seed) for one in side] for side in (first, second)]
    result: dict[str, Difference | None] = {}
    for metric in metrics:
        known = (over_seeds or {}).get(metric)
        a, b = (_Arm.of(side, metric, known) for side in sides)
        if a is None or b is None:
            result[metric] = None
            continue
        value, found = a.value - b.value, a.replicates - b.replicates
        images, seeds = _spreads([a, b], found, drawn)
        half = half_width([images, *seeds], level=level)
        result[metric] = Difference(
            metric=metric,
            value=value,
            low=value - half,
            high=value + half,
            std=math.sqrt(together([images, *seeds]).variance),
            images=images,
            # What is known of both sides is one estimate, which two of them don't make surer.
            seeds=Spread(sum(one.variance for one in seeds), known.freedom) if known else together(seeds),
            mixed=a.mixed + b.mixed,
            n_images=len(first[0].images),
            n_units=drawn.shape[1],
            n_seeds=(len(first), len(second)),
            replicates=replicates,
            undefined=float(np.isnan(found).mean()),
            sources=_sources(unit, max(len(first), len(second)) > 1),
        )
    return result


def draws(units: int, replicates: int, seed: int) -> np.ndarray:
    """Return how often each of `units` is drawn in each replicate, [replicates, units]; the same for every method."""
    generator = np.random.default_rng(derive(seed, "bootstrap", units))
    return generator.multinomial(units, np.full(units, 1 / units), size=replicates).astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class _Sample:
    """One evaluation: its scores, its scores in every replicate, and in halves of the frames."""

    points: dict[str, float]
    drawn: dict[str, np.ndarray]
    halves: dict[str, np.ndarray]


@lru_cache(maxsize=256)
def _sample(statistics: Statistics, metrics: tuple[str, ...], replicates: int, unit: Unit, seed: int) -> _Sample:
    """Scores again for every draw: what takes the time, kept for all intervals that the evaluation stands in."""
    _, weights = _draws([statistics], replicates, unit, seed)
    points = statistics.scores(names=metrics)
    found = statistics.scores(np.concatenate((weights, _halves(len(statistics.images), seed))), names=metrics)
    return _Sample(
        points={metric: float(points[metric][0]) for metric in metrics},
        drawn={metric: found[metric][:replicates] for metric in metrics},
        halves={metric: found[metric][replicates:] for metric in metrics},
    )


@dataclass(frozen=True, kw_only=True)
class _Arm:
    """One method: mean over its seeds, and what part of the variance of that mean its seeds and images have.

    In the terms of the crossed design, each divided by the number of cells: `seeds` is the mean square of seeds with
    `freedom` degrees, `mixed` that of images x seeds (0 for a single seed, which can't tell it).
    """

    value: float
    bias: float
    replicates: np.ndarray
    seeds: float
    mixed: float
    freedom: float

    @classmethod
    def of(cls, samples: Sequence[_Sample], metric: str, known: Spread | None = None) -> "_Arm | None":
        points = np.array([sample.points[metric] for sample in samples])
        if np.isnan(points).any():
            return None
        drawn = np.stack([sample.drawn[metric] for sample in samples])
        together, n = drawn.mean(axis=0), len(points)
        own = Spread(float(points.var(ddof=1)), n - 1) if n > 1 else Spread(0.0, 0)
        over = known or own
        mixed = 0.0
        if n > 1:
            # A seed alone varies over images by main effect + mixed, the mean of n by main effect + mixed / n.
            mixed = max(0.0, (float(np.nanvar(drawn, axis=1).mean()) - float(np.nanvar(together))) / (n - 1))
        # A bias of c / N in N frames is 2 c / N in half of them.
        halves = np.concatenate([sample.halves[metric] - sample.points[metric] for sample in samples])
        bias = 0.0 if np.isnan(halves).all() else float(np.nanmean(halves))
        return cls(
            value=float(points.mean()),
            bias=bias,
            replicates=together,
            seeds=over.variance / n,
            mixed=mixed,
            freedom=over.freedom,
        )


def _spreads(arms: Sequence[_Arm], scores: np.ndarray, drawn: np.ndarray) -> tuple[Spread, list[Spread]]:
    """Return the variance over images, and of each arm what its seeds add; all with their degrees of freedom.

    The bootstrap (`scores` [B] of the units `drawn` [B, units]) gives the variance over images; the seeds add what
    their spread exceeds the mixed part by, which the bootstrap holds already.
    """
    defined = ~np.isnan(scores)
    scores, drawn, units = scores[defined], drawn[defined], drawn.shape[1]
    if len(scores) < 2:
        return Spread(0.0, 0), []
    images = float(scores.var()) * units / (units - 1)  # a bootstrap variance is too small by (n - 1) / n
    seeds = [Spread(max(0.0, arm.seeds - arm.mixed), arm.freedom) for arm in arms if arm.freedom]
    return Spread(images, round(_freedom(scores, drawn), 1)), seeds


def _freedom(scores: np.ndarray, drawn: np.ndarray) -> float:
    """Degrees of freedom of the variance of `scores` [B] over units; `drawn` [B, units] says how often each was drawn.

    What a unit adds to the score is the covariance of the two (Efron 2014, infinitesimal jackknife). A variance of n
    such values of kurtosis k varies as one of 2 n / (k - 1) degrees of freedom: n for normal ones, next to none when a
    few units decide. The moments are freed of what a finite number of replicates adds.
    """
    replicates, units = drawn.shape
    added = (drawn - drawn.mean(axis=0)).T @ (scores - scores.mean()) / replicates
    noise = float(scores.var()) / replicates
    second = float((added**2).mean()) - noise
    fourth = float((added**4).mean()) - 6 * second * noise - 3 * noise**2
    if second <= 0 or fourth <= second**2 * (1 + 2 / units):
        return float(units - 1)
    return float(np.clip(2 * units / (fourth / second**2 - 1), 2.0 if units > 2 else 1.0, units - 1.0))


def _draws(evaluations: Sequence[Statistics], replicates: int, unit: Unit, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how often units were drawn [replicates, units], and weights of the frames that follow [replicates, N]."""
    if not evaluations:
        raise HarnessError("an interval needs at least one evaluation")
    if replicates < 2:
        raise HarnessError(f"replicates: expected at least 2, found {replicates}")
    frames = evaluations[0].images
    for other in evaluations[1:]:
        if other.images != frames:
            raise HarnessError(
                f"evaluations of different frames don't compare: {len(frames)} and {len(other.images)} frames, "
                f"{len(set(frames) & set(other.images))} in common"
            )
    groups = evaluations[0].city_index if unit == "city" else np.arange(len(frames))
    units = int(groups.max()) + 1
    if units < 2:
        raise HarnessError(
            f"one {unit} has no spread", hint="an interval needs two or more" if unit == "image" else "draw images"
        )
    drawn = draws(units, replicates, seed)
    return drawn, drawn[:, groups]


def _halves(n_images: int, seed: int) -> np.ndarray:
    """Random halves of the frames as weights, each with its complement, so that all that is linear cancels."""
    generator = np.random.default_rng(derive(seed, "halves", n_images))
    order = generator.permuted(np.tile(np.arange(n_images), (HALVES // 2, 1)), axis=1)
    first = (order < n_images // 2).astype(np.float64)
    return np.concatenate((first, 1 - first))


def _sources(unit: Unit, seeds: bool) -> str:
    return {"image": "images", "city": "cities"}[unit] + (" and seeds" if seeds else "")
