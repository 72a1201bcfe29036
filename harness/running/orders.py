"""An order is what a launcher sends its workers: a step to be made here, with these devices."""

import json
import os
from pathlib import Path
from typing import NamedTuple

from harness.core.files import write_all
from harness.core.leases import Holder
from harness.core.store import Store
from harness.running.signals import Signals
from harness.running.task import Task
from harness.running.worker import Site, WorkerOutcome, make


class Order(NamedTuple):
    """This holds what a launcher tells a worker, as JSON. `number` names the order in the answer."""

    number: int
    given: str
    store: str
    launcher: str
    job: str
    device: str
    variables: dict[str, str]
    """Laid over the environment of the stage."""
    node: str = ""


def serve(orders: int, answers: int) -> bool:
    """Make the steps that are ordered, one after the other, until the descriptor `orders` ends; False when told to end.

    Each line of `orders` is an order, and a line of `answers` says what became of it.
    """
    while line := _line(orders):
        order = Order(**json.loads(line))
        outcome = obey(order, life=orders)
        write_all(answers, json.dumps({"number": order.number, "outcome": outcome}).encode() + b"\n")
        if outcome == "stopped":
            return False
    return True


def obey(order: Order, *, life: int | None) -> WorkerOutcome:
    """Make the step of an order; the launcher is gone when the descriptor `life` has ended."""
    holder = Holder(order.launcher, order.job, order.device, order.node)
    site = Site(holder=holder, variables=order.variables)
    with Signals(life) as signals:
        return make(Task.model_validate_json(order.given), Store(Path(order.store)), site, signals)


def _line(descriptor: int) -> bytes:
    """Return the next line, or nothing at the end. One line is written at a time, and the next only after it was
    answered.
    """
    line = b""
    while not line.endswith(b"\n"):
        if not (part := os.read(descriptor, 2**16)):
            return b""
        line += part
    return line
