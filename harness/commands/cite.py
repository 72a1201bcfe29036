"""The command cite prints BibTeX of what a suite's numbers stand on."""

import argparse
import sys
from typing import Any

from harness.commands.arguments import add_json, add_plan, changes_of, given_root, print_json


def add(commands: Any) -> None:
    """Add the command to the parser."""
    one = commands.add_parser("cite", help="BibTeX of the data, the parts and the metrics of a suite")
    one.add_argument("suite", nargs="?", help="a name of suites/*.toml or a path; without one: everything")
    add_plan(one)
    add_json(one)
    one.set_defaults(command=_cite)


def _cite(options: argparse.Namespace) -> int:
    from harness.planning.plan import make_plan
    from harness.report.references import cited

    plan = None
    if options.suite:
        changes = changes_of(options)
        plan = make_plan(options.suite, options.profile, data_root=given_root(options), changes=changes)
    found = cited(plan)
    if options.json:
        entries = [{"key": one.key, "bibtex": one.text, "parts": sorted(one.used)} for one in found.references]
        print_json({"references": entries, "unknown": found.unknown})
        return 0
    print("\n\n".join(one.text for one in found.references))
    for part in found.unknown:
        print(f"no entry is known for {part}: cite whoever made it", file=sys.stderr)
    return 0
