"""This module tests a table by its controls: did it show what is known, and how small an effect could it show.

The verdict stands beside the answer. Not here: how controls are judged (harness/results/instrument.py).
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from harness.core.numbers import number
from harness.report import figures
from harness.report.answer import sides, with_interval
from harness.report.cells import Cell
from harness.report.columns import Column, of_score
from harness.report.page import Section
from harness.report.result_table import Line, Table
from harness.results.gains import MAIN, Gain
from harness.results.instrument import LEARNT_NOTHING, Instrument, Trial
from harness.results.spread import NetworkSpread, Resolution, resolution

if TYPE_CHECKING:
    from harness.planning.suite import Profile

NO_CONTROL = (
    "No control of this table has a known truth: nothing here shows that it would see a gain, or none where there is "
    "none."
)
OUTCOMES = {
    "gain": {"passed": "gain found", "failed": "gain NOT found", "unknown": "gain not decided"},
    "none": {"passed": "null kept", "failed": "null BROKEN", "unknown": "null not decided"},
    "nothing learnt": {"passed": "nothing learnt", "failed": "something LEARNT", "unknown": "not decided"},
}
TRUTHS = {"gain": "a gain", "none": "no difference", "nothing learnt": f"{MAIN} below {LEARNT_NOTHING * 100:g}"}
TESTS = {"gain": "a known gain", "none": "a known null", "shuffled": "shuffled labels"}
"""What a whole set of controls would test."""
SEEDS = 12
"""Up to so many seeds the picture goes."""


def section(found: Instrument, profile: "Profile") -> Section:
    """Return the controls behind the verdict, as a table."""
    tables = (_table(found.trials, profile),) if found.trials else ()
    return Section(anchor="instrument", title="Controls of the instrument", tables=tables, folded=True)


def power(found: Instrument) -> Section:
    """Show how much narrower the intervals would be with more seeds."""
    drawn = (half_widths([one.spread for one in found.resolutions]),) if found.resolutions else ()
    return Section(anchor="power", title="What more seeds would show", figures=drawn, folded=True)


def verdict(found: Instrument) -> list[str]:
    """Return what became of the controls, what none of them tested, and for each network the smallest effect."""
    if not found.trials:
        return [NO_CONTROL, *map(smallest_effect, found.resolutions)]
    tested = {"shuffled" if trial.row.labels == "shuffled" else trial.kind for trial in found.trials}
    missing = [name for kind, name in TESTS.items() if kind not in tested]
    lacking = f" Not tested by this table: {', '.join(missing)}." if missing else ""
    controls = f"The instrument: {', '.join(map(_outcome, found.trials))}.{lacking}"
    return [controls, *map(smallest_effect, found.resolutions)]


def warning(found: Instrument) -> str:
    """Return what stands above everything when a control failed; else empty."""
    failed = [_outcome(trial) for trial in found.trials if trial.outcome == "failed"]
    if not failed:
        return ""
    return f"The instrument fails its controls: {', '.join(failed)}. Conclude nothing from the differences below."


def smallest_effect(found: Resolution) -> str:
    """Return what the rows of a network can show, in words."""
    return (
        f"{found.spread.backbone}: the smallest detectable effect is {points(found.spread.metric, found.detectable)} "
        f"points (80 % power, 5 %), and a 95 % interval reaches ± {points(found.spread.metric, found.half_width)} "
        f"points, "
        f"for two rows of {counted(found.seeds, 'seed')} and {counted(found.images, 'image')} each."
    )


def half_widths(spreads: Iterable[NetworkSpread]) -> str:
    """Draw the half-width of the interval against seeds, and where more seeds alone can't get."""
    series = []
    for spread in spreads:
        scale = of_score(spread.metric).scale
        widths = [resolution(spread, seeds=n, images=spread.n_images).half_width * scale for n in range(1, SEEDS + 1)]
        series.append(figures.Series(spread.backbone, [(float(n), width) for n, width in enumerate(widths, start=1)]))
    title = "Half-width of the 95 % interval of a difference, against seeds"
    return figures.curves(title, series, x="seeds", y=f"{MAIN} points")


def points(metric: str, value: float) -> str:
    """Return a width in the printed unit, with the metric's name."""
    entry = of_score(metric)
    return f"{number(value * entry.scale, entry.decimals)} {entry.label}"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number(count, 0)} {noun}{'' if count == 1 else 's'}"


def _outcome(trial: Trial) -> str:
    """Such as "oracle's gain found"; the network is said where the control is not alone."""
    outcome = OUTCOMES[trial.kind][trial.outcome]
    name = f"{trial.row.generator}'s {outcome}"
    if trial.row.labels == "shuffled":
        name = f"with shuffled labels {name if trial.gain else f'on {trial.row.generator}: {outcome}'}"
    return f"{name} ({trial.row.backbone})"


def _table(trials: Sequence[Trial], profile: "Profile") -> Table:
    columns = (
        Column(key="control", label="Control", kind="text"),
        Column(key="network", label="Backbone", kind="text"),
        Column(key="truth", label="Truth", kind="text"),
        Column(key="measured", label="Measured", kind="text"),
        Column(key="outcome", label="Outcome", kind="text"),
    )
    return Table(
        title="Controls whose truth is known",
        profile=profile.label,
        comparable=profile.comparable,
        caption=("Each is judged by its own 95 % interval: one null in twenty breaks by chance.",),
        columns=columns,
        lines=tuple(_line(trial) for trial in trials),
        marks="none",
    )


def _line(trial: Trial) -> Line:
    score = trial.row.scores.get(MAIN)
    texts = (
        trial.row.generator_label,
        trial.row.backbone,
        TRUTHS[trial.kind],
        _difference(trial.gain) if trial.gain else points(MAIN, score or 0.0),
        OUTCOMES[trial.kind][trial.outcome],
    )
    return Line(
        name=f"{trial.row.name} {trial.kind}",
        group="measured",
        section=trial.kind,
        cells=tuple(Cell(value=text, text=text) for text in texts),
    )


def _difference(gain: Gain) -> str:
    new, old = sides(gain)
    return f"{new or gain.after.generator} − {old}: {with_interval(gain)}"
