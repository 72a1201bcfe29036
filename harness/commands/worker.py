"""The command that launchers start: worker."""

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Add the command to the parser."""
    one = commands.add_parser("worker", help="make steps as a launcher orders; started by launchers")
    one.add_argument(
        "--serve", metavar="KIND", nargs="+", help="fork workers for orders of these stages until standard input closes"
    )
    one.set_defaults(command=_worker)


def _worker(options: argparse.Namespace) -> int:
    from harness.core import environment

    environment.pin_arithmetic()
    if options.serve:
        from harness.running import nursery

        nursery.main(options.serve)
        return 0
    import os

    from harness.running.worker import STOPPED, serve

    answers = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no answer
    environment.describe()
    return 0 if serve(0, answers) else STOPPED
