"""The command that launchers start: worker."""

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Add the command to the parser."""
    one = commands.add_parser("worker", help="make one step, as a launcher orders; started by launchers")
    one.add_argument("--serve", action="store_true", help="fork a worker for each order until standard input closes")
    one.set_defaults(command=_worker)


def _worker(options: argparse.Namespace) -> int:
    if options.serve:
        from harness.running import nursery

        nursery.main()
        return 0
    from harness.running.worker import STOPPED, from_standard_input

    return STOPPED if from_standard_input() == "stopped" else 0
