"""The projection says what a planned suite will show, and how many seeds, images and minutes a stated effect needs.

Spreads come from what was measured before: rows in the store, or accepted ones. Nothing here trains. Not here: the
arithmetic of power (harness/metrics/power.py), the words (harness/report/prospects.py).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.metrics.power import POWER, power
from harness.planning.plan import Plan, PlannedRow
from harness.results.baselines import baseline_files, read_baseline
from harness.results.gains import MAIN
from harness.results.spread import NetworkSpread, Resolution, resolution

MOST_SEEDS = 100
"""Beyond this no number of seeds is looked for."""
IMAGES = (1, 2, 4)
"""Factors on the number of evaluated images that are thought through."""
PER_IMAGE = ("predict", "evaluate")
"""Steps that take as long as there are evaluated images."""


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """This holds what two rows of a network would show with so many seeds and images, and what the suite would cost
    then."""

    resolution: Resolution
    found: float
    """Chance that the stated effect is found."""
    minutes: float | None
    """Core-minutes of the whole suite, from nothing; None where the profile has no estimate."""


def networks(plan: Plan) -> dict[tuple[str, str], list[PlannedRow]]:
    """Return the rows that will be compared, by segmenter and backbone as printed."""
    found: dict[tuple[str, str], list[PlannedRow]] = {}
    for row in plan.rows:
        if row.finals and row.arm.segmenter and row.arm.mix.labels == "true":
            found.setdefault((row.arm.segmenter, row.backbone), []).append(row)
    return found


def known_spreads(plan: Plan, spreads: Iterable[NetworkSpread]) -> dict[tuple[str, str], NetworkSpread]:
    """Of each network of the plan, the first of `spreads` that was learnt on its data; none where a setting makes it
    another network."""
    found: dict[tuple[str, str], NetworkSpread] = {}
    wanted = networks(plan) if not plan.changes.settings else {}
    for spread in spreads:
        network = (spread.segmenter, spread.backbone)
        if network in wanted and (spread.data, spread.metric) == (plan.dataset.key, MAIN):
            found.setdefault(network, spread)
        if len(found) == len(wanted):
            break
    return found


def accepted_spreads(plan: Plan) -> Iterator[NetworkSpread]:
    """Yield the spreads of accepted rows under the plan's profile, those of its own suite first; files are read on
    demand.
    """
    found = [path for name, path in baseline_files().items() if name.endswith(f"-{plan.profile_name}")]
    own = f"{plan.name}-{plan.profile_name}"
    for path in sorted(found, key=lambda path: path.stem != own):
        yield from read_baseline(path).spreads


def as_planned(plan: Plan, spread: NetworkSpread) -> Resolution:
    """Return what the rows of a network will show with the seeds of the plan."""
    rows = networks(plan)[spread.segmenter, spread.backbone]
    seeds = min(len(row.finals) for row in rows)
    return _resolution(spread, seeds, spread.n_images, len(rows))


def prospect(plan: Plan, spread: NetworkSpread, *, effect: float, seeds: int, factor: int = 1) -> Prospect:
    """Return what another number of seeds, and `factor` times the images, would show; `effect` in the metric's unit."""
    images = spread.n_images * factor
    rows = len(networks(plan)[spread.segmenter, spread.backbone])
    return Prospect(
        resolution=_resolution(spread, seeds, images, rows),
        found=_chance(spread, effect, seeds, images, rows),
        minutes=minutes(plan, seeds=seeds, factor=factor),
    )


def needed(
    plan: Plan, spread: NetworkSpread, *, effect: float, chance: float = POWER, factors: Sequence[int] = IMAGES
) -> list[Prospect]:
    """Return, for each factor on the images, the fewest seeds that find `effect` with `chance`; at most MOST_SEEDS."""
    found = []
    rows = len(networks(plan)[spread.segmenter, spread.backbone])
    for factor in factors:
        images = spread.n_images * factor
        counts = (n for n in range(1, MOST_SEEDS + 1) if _chance(spread, effect, n, images, rows) >= chance)
        if (fewest := next(counts, None)) is not None:
            found.append(prospect(plan, spread, effect=effect, seeds=fewest, factor=factor))
    return found


def minutes(plan: Plan, *, seeds: int, factor: int = 1) -> float | None:
    """Core-minutes of the suite from nothing with so many seeds a row and `factor` times the evaluated images.

    Data and syntheses are shared by all seeds; all else is done for each.
    """
    steps = [step for step in plan.steps().values() if not step.external]
    planned = max((len(row.finals) for row in plan.rows), default=1) or 1
    total = 0.0
    for kind, count in Counter(step.kind for step in steps).items():
        if (estimate := plan.profile.estimate(kind)) is None:
            return None
        each = count if kind in ("dataset", "synthesize", "images") else count * seeds / planned
        total += each * estimate * (factor if kind in PER_IMAGE else 1)
    return total


def _resolution(spread: NetworkSpread, seeds: int, images: int, rows: int) -> Resolution:
    return resolution(spread, seeds=seeds, images=images, freedom=rows * (seeds - 1))


def _chance(spread: NetworkSpread, effect: float, seeds: int, images: int, rows: int) -> float:
    return power(effect, spread.of_difference(seeds=seeds, images=images, freedom=rows * (seeds - 1)))
