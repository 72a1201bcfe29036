"""The spread says how much a score varies over seeds and over images; it is learnt from rows of one kind.

A row of one seed says nothing of what another seed would give; rows of the same network on the same data do. Not here:
the statistics of images (paired.py), what a spread can tell (harness/metrics/power.py).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from pydantic import NonNegativeFloat, PositiveInt

from harness.metrics.power import Spread, detectable, half_width
from harness.results.gains import Gain
from harness.results.rows import Record, Row


class NetworkSpread(Record):
    """This holds the variances of a network's scores, so that other numbers of seeds and images can be thought
    through."""

    segmenter: str
    """Name of the segmenter part."""
    backbone: str
    """Backbone as printed."""
    data: str
    """Key of the dataset that it was learnt on."""
    metric: str
    """Score that varies."""
    n_images: PositiveInt
    """Evaluated images of that data."""
    images: NonNegativeFloat
    """Variance over images of the difference of two rows, for so many images and without the part of single runs."""
    images_freedom: NonNegativeFloat
    """Degrees of freedom that the variance over images is known with."""
    mixed: NonNegativeFloat
    """Variance over images that a single run adds by itself (images x seeds), for so many images."""
    seeds: NonNegativeFloat
    """Variance of a single run's score over seeds, less `mixed`."""
    seeds_freedom: PositiveInt
    """Degrees of freedom that the variance over seeds is known with."""

    def of_difference(self, *, seeds: int, images: int, freedom: int = 0) -> tuple[Spread, Spread]:
        """Return the variance over images and over seeds of the difference of two rows with so many seeds and images
        each.

        `freedom`: degrees of freedom that the measured rows will add, where they are more than those known.
        """
        share = self.n_images / images
        over_images = Spread((self.images + 2 * self.mixed / seeds) * share, self.images_freedom / share)
        return over_images, Spread(2 * self.seeds / seeds, max(self.seeds_freedom, freedom))


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """This holds what two rows of a network, of so many seeds and images each, can show; in the metric's unit."""

    spread: NetworkSpread
    seeds: int
    images: int
    half_width: float
    """Of the 95 % interval of their difference."""
    detectable: float
    """The true difference that the interval finds with 80 % chance."""


def resolution(spread: NetworkSpread, *, seeds: int, images: int, freedom: int = 0) -> Resolution:
    """Return the resolution at other numbers of seeds and images; `freedom` as in `of_difference`."""
    parts = spread.of_difference(seeds=seeds, images=images, freedom=freedom)
    return Resolution(
        spread=spread, seeds=seeds, images=images, half_width=half_width(parts), detectable=detectable(parts)
    )


class SeedSpreads:
    """This holds what rows tell of the variance of a score over seeds, learnt once for each kind of row.

    It is pooled over the rows of that kind that have several seeds. Those of the same network among `rows`, else among
    `others` too, else of every network; all on the same data, under the same profile, with labels of the same kind and
    the same settings of the training.
    """

    def __init__(self, rows: Iterable[Row], others: Iterable[Row] = ()) -> None:
        self.here, self.there = _by_place(rows), _by_place(others)
        self.learnt: dict[tuple[tuple[str, ...], tuple[str, str], str], Spread] = {}

    def of(self, row: Row, metric: str) -> Spread:
        """Return the variance of a row's score; without degrees of freedom where nothing is known."""
        kind = place(row), _network(row), metric
        if kind not in self.learnt:
            self.learnt[kind] = self._learn(*kind)
        return self.learnt[kind]

    def _learn(self, where: tuple[str, ...], network: tuple[str, str], metric: str) -> Spread:
        here = self.here.get(where, [])
        there = [*here, *self.there.get(where, [])]
        kinds = (
            [other for other in here if _network(other) == network],
            [other for other in there if _network(other) == network],
            there,
        )
        return next((found for kind in kinds if (found := pooled(kind, metric)).freedom), UNKNOWN)


def pooled(rows: Iterable[Row], metric: str) -> Spread:
    """Return the variance over seeds, pooled over rows; runs that stand in several suites count once."""
    squares, freedom = 0.0, 0
    for row in {_runs(row): row for row in rows}.values():
        found = row.measurement(metric)
        if found.std is not None:
            squares += found.std**2 * (found.n - 1)
            freedom += found.n - 1
    return Spread(squares / freedom, freedom) if freedom else UNKNOWN


def learn(gains: Iterable[Gain]) -> tuple[NetworkSpread, ...]:
    """Return the spreads of the networks of one table, from the differences between their rows; none without
    intervals."""
    networks: dict[tuple[str, str], list[Gain]] = {}
    for gain in gains:
        if gain.difference and gain.after.labels == gain.before.labels == "true":
            networks.setdefault(_network(gain.after), []).append(gain)
    return tuple(_learnt(mine) for mine in networks.values())


UNKNOWN = Spread(0.0, 0)


def _learnt(gains: Sequence[Gain]) -> NetworkSpread:
    """Return the mean over differences, each taken back to single runs: of n and m seeds they hold (1/n + 1/m) of a
    run's.
    """
    found = [gain.difference for gain in gains if gain.difference]
    shares = [1 / one.n_seeds[0] + 1 / one.n_seeds[1] for one in found]
    row = gains[0].after
    return NetworkSpread(
        segmenter=row.segmenter,
        backbone=row.backbone,
        data=row.data,
        metric=gains[0].metric,
        n_images=found[0].n_images,
        images=fmean(max(0.0, one.images.variance - one.mixed) for one in found),
        images_freedom=fmean(one.images.freedom for one in found),
        mixed=fmean(one.mixed / share for one, share in zip(found, shares, strict=True)),
        seeds=fmean(one.seeds.variance / share for one, share in zip(found, shares, strict=True)),
        seeds_freedom=min(round(one.seeds.freedom) for one in found),
    )


def place(row: Row) -> tuple[str, ...]:
    """Return what rows must have in common, beside their network, for their spreads to be pooled."""
    trained = (f"{key}={value}" for key, value in sorted(row.settings.items()) if not key.startswith(_FRAMES))
    return row.profile, row.data, row.labels, *trained


_FRAMES = ("generators.", "recipes.")
"""What decides the added frames, and not how a network learns from them."""


def _by_place(rows: Iterable[Row]) -> dict[tuple[str, ...], list[Row]]:
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(place(row), []).append(row)
    return found


def _network(row: Row) -> tuple[str, str]:
    return row.segmenter, row.backbone


def _runs(row: Row) -> tuple[str, ...]:
    """Return what tells whether two rows are the same measurement: the keys of their evaluations."""
    keys = tuple(run.key for run in row.seeds)
    return keys if keys and all(keys) else (row.suite, row.name)
