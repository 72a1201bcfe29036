"""The command worker makes steps; launchers start it."""

import argparse
import os
from typing import Any


def add(commands: Any) -> None:
    """Add the command to the parser."""
    one = commands.add_parser("worker", help="make steps as a launcher orders; started by launchers")
    one.add_argument(
        "--serve", metavar="KIND", nargs="+", help="fork workers for orders of these stages until standard input closes"
    )
    one.add_argument("--run", metavar="FILE", help="look for work in this run, a file of the store")
    one.add_argument("--store", metavar="DIR", help="with --run: the store (default: HARNESS_STORE or results/store)")
    one.add_argument("--resources", metavar="JSON", default="{}", help="with --run: make steps that need exactly these")
    one.add_argument("--idle", metavar="SECONDS", type=float, default=600.0, help="with --run: leave after so long")
    one.set_defaults(command=_worker)


def _worker(options: argparse.Namespace) -> int:
    from harness.core import environment
    from harness.running.worker import STOPPED

    environment.pin_arithmetic()
    environment.describe()
    if options.serve:
        from harness.running import nursery

        nursery.main(options.serve)
        return 0
    if options.run:
        return 0 if _pull(options) else STOPPED
    from harness.running.orders import serve

    answers = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no answer
    return 0 if serve(0, answers) else STOPPED


def _pull(options: argparse.Namespace) -> bool:
    from pathlib import Path

    from harness.core.config import parse, parse_json
    from harness.core.leases import Holder
    from harness.core.paths import store_root
    from harness.core.resources import Resources
    from harness.core.store import Store
    from harness.running import slurm
    from harness.running.pull import pull
    from harness.running.signals import Signals
    from harness.running.worker import Site, stage_variables

    resources = parse(Resources, parse_json(options.resources), "--resources")
    store = Store(store_root(options.store))
    store.open()
    holder = slurm.here()
    grace = 0.7 * slurm.margin(resources)
    variables = stage_variables(resources.cpus, os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    site = Site(holder or Holder("worker"), variables, grace)
    with Signals() as signals:
        ended = pull(Path(options.run), store, resources, site, signals, idle=options.idle)
        if not ended and holder and signals.number == slurm.NEAR_THE_END:
            slurm.requeue()
    return ended
