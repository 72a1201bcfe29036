"""The command compare says how two suites, stores, baselines, files of rows or single rows differ, with intervals."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands.arguments import (
    FORMATS,
    add_choice,
    add_json,
    add_plan,
    changes_of,
    console,
    given_root,
    print_json,
)

if TYPE_CHECKING:
    from harness.planning.plan import Plan


def add(commands: Any) -> None:
    """Add the command to the parser."""
    one = commands.add_parser("compare", help="two suites, stores, baselines or rows, with paired intervals")
    what = "SUITE, SUITE:ROW, or a baseline or rows file FILE.json[:ROW]"
    one.add_argument("first", metavar="A", help=what)
    one.add_argument("second", metavar="B", help=f"{what}; alike rows are compared by their names")
    add_plan(one)
    add_choice(one)
    one.add_argument("--other-store", metavar="DIR", help="the store of B (default: that of A)")
    one.add_argument("--metric", action="append", default=[], metavar="NAME", help="default: the headlines; repeatable")
    one.add_argument("--format", choices=FORMATS, default="console", help="json is every comparison, as stored")
    add_json(one, "the same as --format json")
    one.set_defaults(command=_compare)


def _compare(options: argparse.Namespace) -> int:
    from harness.core.paths import store_root
    from harness.core.store import Store
    from harness.planning.plan import make_plan
    from harness.report import print_table, render
    from harness.report.comparisons import to_table
    from harness.results.baselines import read_baselines
    from harness.results.compare import compare
    from harness.results.paired import intervals
    from harness.results.sources import find

    root, changes = given_root(options), changes_of(options)

    def plan(suite: str) -> "Plan":
        return make_plan(suite, options.profile, data_root=root, changes=changes)

    here = Store(store_root(options.store))
    there = Store(Path(options.other_store).absolute()) if options.other_store else here
    first, second = find(options.first, here, plan, changes), find(options.second, there, plan, changes)
    accepted = [row for found in read_baselines() for row in found.rows]
    paired = intervals(
        lambda run: first.statistics(run) or second.statistics(run), [*first.rows, *second.rows], accepted
    )
    found = compare(first.rows, second.rows, paired, metrics=options.metric)
    if options.json or options.format == "json":
        print_json([one.model_dump(mode="json") for one in found])
    elif options.format == "console":
        print_table(to_table(found, first.name, second.name), console())
    else:
        print(render(to_table(found, first.name, second.name), options.format), end="")
    return 0
