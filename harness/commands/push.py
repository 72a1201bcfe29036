"""The command push takes the report and the rows of a suite to a folder or a data set on the hub."""

import argparse
from typing import Any

from harness.commands.arguments import add_json, add_suite, console, planned, print_json


def add(commands: Any) -> None:
    """Add the command to the parser."""
    one = add_suite(commands, "push", "take report, tables and rows to a folder or a data set on the hub")
    one.add_argument("target", help="a folder, or hub:OWNER/NAME")
    add_json(one)
    one.set_defaults(command=_push)


def _push(options: argparse.Namespace) -> int:
    from harness.report.push import push

    plan, store = planned(options)
    pushed = push(plan, store, options.target)
    if options.json:
        print_json(pushed._asdict())
    else:
        console().print(
            f"{pushed.files} files, {pushed.bytes / 2**20:.1f} MiB, verified, in {pushed.where}", soft_wrap=True
        )
    return 0
