"""The command rehearse: whether a plan would run, before it does."""

import argparse
import os
from typing import Any

from harness.commands.arguments import add_suite, console, planned

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
    one.set_defaults(command=_rehearse)


def _rehearse(options: argparse.Namespace) -> int:
    os.environ["HF_HUB_OFFLINE"] = "1"  # before anything of the hub is imported: what isn't here is missing
    from harness.rehearsal.rehearse import rehearse

    plan, store = planned(options)
    store.open()
    out = console()
    out.print(f"{plan.suite.title}: a rehearsal under the profile {plan.profile_name}\n", soft_wrap=True)

    def tell(finding: Any) -> None:
        out.print(f"{finding.state:9} {finding.about:10} {finding.name:28} {finding.said}", soft_wrap=True)
        if finding.remedy and finding.state != "fine":
            out.print(f"{'':21}-> {finding.remedy}", soft_wrap=True)

    found = rehearse(plan, store, stand_in=options.stand_in, tell=tell)
    stopping = [finding for finding in found if finding.stops]
    out.print()
    if stopping:
        names = ", ".join(f"{finding.about} {finding.name}" for finding in stopping)
        out.print(f"the plan can't run yet: {names}", soft_wrap=True)
        return FAILED
    stood = sum(finding.state == "stand-in" and finding.about == "checkpoint" for finding in found)
    out.print("the plan would run" + (f" with the {stood} checkpoints that random ones stood in for" if stood else ""))
    return 0
