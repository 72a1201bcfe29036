"""The command rehearse says whether a plan would run, before it does."""

import argparse
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from harness.commands.arguments import add_json, add_suite, console, planned, print_json

if TYPE_CHECKING:
    from harness.rehearsal.findings import Finding

FAILED = 2
"""Exit code of a plan that can't run."""


def add(commands: Any) -> None:
    """Add the command to the parser."""
    one = add_suite(
        commands, "rehearse", "prove in minutes that `run` would end: data, checkpoints, memory, short runs"
    )
    one.add_argument(
        "--stand-in", action="store_true", help="let random networks take the place of missing checkpoints"
    )
    add_json(one)
    one.set_defaults(command=_rehearse)


def _rehearse(options: argparse.Namespace) -> int:
    os.environ["HF_HUB_OFFLINE"] = "1"  # before anything of the hub is imported: what isn't here is missing
    from harness.rehearsal.rehearse import rehearse

    plan, store = planned(options)
    store.open()
    out, beside = console(), console(stderr=True)
    if not options.json:
        out.print(f"{plan.suite.title}: a rehearsal under the profile {plan.profile_name}\n", soft_wrap=True)

    def tell(finding: "Finding") -> None:
        if options.json:
            return
        text = f"{finding.state:9} {finding.about:10} {finding.name:29} {finding.said}"
        out.print(text, soft_wrap=True, markup=False, highlight=False)
        if finding.remedy and finding.state != "fine":
            out.print(f"{'':21}-> {finding.remedy}", soft_wrap=True, markup=False, highlight=False)

    def doing(text: str) -> None:
        beside.print(f"... {text}", soft_wrap=True, markup=False, highlight=False)

    found = rehearse(plan, store, stand_in=options.stand_in, tell=tell, doing=doing)
    stopping = [finding for finding in found if finding.stops]
    if options.json:
        print_json({"runs": not stopping, "findings": [asdict(finding) for finding in found]})
        return FAILED if stopping else 0
    out.print()
    if stopping:
        names = ", ".join(f"{finding.about} {finding.name}" for finding in stopping)
        out.print(f"the plan can't run yet: {names}", soft_wrap=True, markup=False, highlight=False)
        return FAILED
    stood = len({one.said for one in found if one.state == "stand-in" and one.about == "checkpoint"})
    out.print("the plan would run" + (f" once what {stood} stand-ins took the place of is there" if stood else ""))
    return 0
