"""One training runs on several devices of this machine, one process each, started by torch's launcher.

The first process reports; the first failure ends all. They end with whoever started them, too (torch asks the kernel
for that).
"""

import os
import socket
import sys
from collections.abc import Callable
from typing import Any

from harness.core.errors import HarnessError
from harness.core.progress import Report, silent

_PATIENCE = 0.2
"""Seconds between two looks at the processes."""


class HalvedError(Exception):
    """The memory of a device ran out: the work is to be done again, and will take half as much at a time."""


def run(count: int, work: Callable[[Any, Report], Any], argument: Any, report: Report) -> None:
    """Let `count` processes do `work(argument, report)`, which must be importable; HarnessError of any is raised here.

    Each sees RANK, LOCAL_RANK and WORLD_SIZE, and joins the others through accelerate. Where one raises HalvedError,
    all end and are started again.
    """
    while _ended_halved(count, work, argument, report):
        pass


def _ended_halved(count: int, work: Callable[[Any, Report], Any], argument: Any, report: Report) -> bool:
    from torch import multiprocessing

    told = multiprocessing.get_context("spawn").SimpleQueue()
    arguments = (count, _free_port(), work, argument, told)
    running = multiprocessing.spawn(_one, args=arguments, nprocs=count, join=False)
    failure: Exception | None = None
    done = False
    while not done and failure is None:
        try:
            done = running.join(timeout=_PATIENCE)
        except Exception as error:  # what a process died of; its own words, if it had any, wait in the queue
            failure = error
        while not told.empty():
            kind, *message = told.get()
            if kind == "failure":
                raise HarnessError(message[0], hint=message[1]) from None
            if kind == "halved":
                for process in running.processes:  # they may wait for the one that has ended
                    process.kill()
                    process.join()
                return True
            report(*message)
    if failure is not None:
        raise failure
    return False


def rank() -> int:
    """Return which of the processes this is; 0 where there is one.

    From the environment, because torch forgets it when the processes part, which they do before the result is written.
    """
    return int(os.environ.get("RANK", "0"))


def _one(index: int, count: int, port: int, work: Callable, argument: Any, told: Any) -> None:
    os.environ |= {"RANK": str(index), "LOCAL_RANK": str(index), "WORLD_SIZE": str(count)}
    os.environ |= {"LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}

    def report(*progress: Any) -> None:
        told.put(("progress", *progress))

    try:
        work(argument, silent if index else report)
    except HarnessError as error:
        told.put(("failure", error.message, error.hint))
        sys.exit(1)
    except HalvedError:
        told.put(("halved",))
        sys.exit(1)
    _leave()


def _leave() -> None:
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
