"""The command `power` prints this table and page: what more seeds and images would show and cost."""

from collections.abc import Mapping, Sequence

from harness.core.numbers import number
from harness.planning.plan import Plan
from harness.report.cells import Cell
from harness.report.columns import Column, of_score
from harness.report.page import Page, Section
from harness.report.result_table import Line, Table
from harness.report.self_test import half_widths
from harness.results.gains import MAIN
from harness.results.projection import IMAGES, MOST_SEEDS, Prospect
from harness.results.spread import NetworkSpread

COLUMNS = (
    Column(key="network", label="Backbone", kind="text"),
    Column(key="what", label="Case", kind="text"),
    Column(key="seeds", label="Seeds", kind="count", decimals=0),
    Column(key="images", label="Images", kind="count", decimals=0),
    Column(key="half_width", label="95 % interval, ±", kind="count"),
    Column(key="detectable", label="Smallest effect", kind="count"),
    Column(key="found", label="Power, %", kind="count", decimals=0),
    Column(key="minutes", label="Core-minutes", kind="count", decimals=0),
)


def to_table(
    plan: Plan,
    planned: Mapping[NetworkSpread, Prospect],
    needed: Mapping[NetworkSpread, Sequence[Prospect]],
    *,
    effect: float,
    chance: float,
) -> Table:
    """Return one line for each network as planned, and one for each number of images with the seeds that `effect`
    takes.

    `effect` is in the metric's unit; networks without a known spread are named below the table.
    """
    lines = []
    for spread, now in planned.items():
        lines.append(_line(spread, "as planned", now))
        for found in needed[spread]:
            lines.append(_line(spread, f"for {_effect(effect)}", found))
    lost = [
        f"{spread.backbone}: {number(spread.n_images * factor, 0)}"
        for spread in planned
        for factor in IMAGES
        if not any(found.resolution.images == spread.n_images * factor for found in needed[spread])
    ]
    never = (f"More than {MOST_SEEDS} seeds are needed with so many images: {'; '.join(lost)}.",) if lost else ()
    return Table(
        title=f"Seeds and images that {_effect(effect)} takes: {plan.suite.title}",
        profile=plan.profile.label,
        comparable=plan.profile.comparable,
        caption=(
            f"Of the difference of two rows in {MAIN}. Smallest effect: found with 80 % chance by an interval of 95 %. "
            f"Power: the chance that {_effect(effect)} is found; the fewest seeds for {number(chance * 100, 0)} %.",
            "Core-minutes: the whole suite from nothing, with so many seeds in every row.",
            *never,
        ),
        columns=COLUMNS,
        lines=tuple(lines),
        marks="none",
    )


def to_page(plan: Plan, table: Table, spreads: Sequence[NetworkSpread]) -> Page:
    """Build a page of the table and a figure of half-width against seeds."""
    section = Section(anchor="power", title="Power", figures=(half_widths(spreads),), tables=(table,))
    return Page(
        title=plan.suite.title,
        question="How many seeds and images does a stated effect take?",
        profile=plan.profile.label,
        caption=plan.profile.caption,
        comparable=plan.profile.comparable,
        sections=(section,),
    )


def _line(spread: NetworkSpread, what: str, found: Prospect) -> Line:
    scale, seen = of_score(spread.metric).scale, found.resolution
    return Line(
        name=f"{spread.segmenter} {spread.backbone} {what} {seen.images}",
        group="measured",
        section=spread.backbone,
        cells=(
            Cell(value=spread.backbone, text=spread.backbone),
            Cell(value=what, text=what),
            _count(seen.seeds, 0),
            _count(seen.images, 0),
            _count(seen.half_width * scale, 2),
            _count(seen.detectable * scale, 2),
            _count(found.found * 100, 0),
            Cell(status="blank") if found.minutes is None else _count(found.minutes, 0),
        ),
        provenance=f"spread learnt on data {spread.data}, {number(spread.n_images, 0)} images, "
        f"{spread.seeds_freedom} degrees of freedom over seeds",
    )


def _count(value: float, decimals: int) -> Cell:
    return Cell(value=value, n=1, text=number(value, decimals))


def _effect(effect: float) -> str:
    entry = of_score(MAIN)
    return f"{number(effect * entry.scale, entry.decimals)} {entry.label}"
