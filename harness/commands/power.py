"""The command power says what a suite can show, and how many seeds and images a stated effect needs."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands.arguments import add_json, add_suite, console, planned
from harness.core.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.core.store import Store
    from harness.planning.plan import Plan
    from harness.results.spread import NetworkSpread


def add(commands: Any) -> None:
    """Add the command to the parser."""
    one = add_suite(commands, "power", "seeds and images that a stated effect takes, from stored spreads")
    one.add_argument("--effect", type=_points, default=1.0, help="true difference in points of AP (default: 1)")
    one.add_argument("--power", type=_chance, default=0.8, help="chance to find it (default: 0.8)")
    one.add_argument("--output", metavar="FILE", help="write an HTML page with a picture of half-width against seeds")
    add_json(one)
    one.set_defaults(command=_power)


def _power(options: argparse.Namespace) -> int:
    from harness.core.files import write_text
    from harness.report import print_table, render
    from harness.report.columns import of_score
    from harness.report.page import render_page
    from harness.report.prospects import to_page, to_table
    from harness.results.gains import MAIN
    from harness.results.projection import as_planned, known_spreads, needed, prospect

    plan, store = planned(options)
    if plan.suite.kind != "segmentation":
        raise HarnessError(f"suite {plan.name!r} trains nothing: power is about differences between trained networks")
    effect = options.effect / of_score(MAIN).scale
    spreads = list(known_spreads(plan, _spreads(plan, store)).values())
    if not spreads:
        raise HarnessError(
            f"nothing is known of the spread of any network of suite {plan.name!r} on this data",
            hint=f"run it, or another suite with these networks, with several seeds: harness run {options.suite}",
        )
    now = {spread: prospect(plan, spread, effect=effect, seeds=as_planned(plan, spread).seeds) for spread in spreads}
    enough = {spread: needed(plan, spread, effect=effect, chance=options.power) for spread in spreads}
    table = to_table(plan, now, enough, effect=effect, chance=options.power)
    if options.json:
        print(render(table, "json"), end="")
    else:
        print_table(table, console())
    if options.output:
        write_text(Path(options.output), render_page(to_page(plan, table, spreads)))
    return 0


def _spreads(plan: "Plan", store: "Store") -> "Iterator[NetworkSpread]":
    """Return what the suite's own rows say where they are there, then what accepted rows do."""
    from harness.results.baselines import read_baselines
    from harness.results.collect import rows, statistics_folder
    from harness.results.gains import decompose
    from harness.results.paired import intervals
    from harness.results.projection import accepted_spreads
    from harness.results.spread import learn

    measured = [row for row in rows(plan, store) if row.origin == "measured" and row.status == "ok"]
    if measured:
        accepted = [row for found in read_baselines() for row in found.rows]
        paired = intervals(lambda run: statistics_folder(run, store), measured, accepted)
        yield from learn(decompose(measured, paired))
    yield from accepted_spreads(plan)


def _points(text: str) -> float:
    return _between(text, 0.0, 100.0)


def _chance(text: str) -> float:
    return _between(text, 0.05, 1.0)


def _between(text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = low
    if not low < value < high:
        raise argparse.ArgumentTypeError(f"expected a number between {low:g} and {high:g}, found {text!r}")
    return value
