"""A pool of fresh processes: a fork of a process that runs threads (torch, OpenMP) can hang."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context


def fresh(workers: int) -> ProcessPoolExecutor:
    """Return a pool whose processes begin anew, and import nothing from the folder that a user stands in."""
    os.environ.setdefault("PYTHONSAFEPATH", "1")  # Python starts them with -c, which would look there first
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
