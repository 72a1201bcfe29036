"""This module reacts when memory runs out: it goes on with a batch in halves, and logs that.

`Halving` runs rows of which each has a result of its own. A training, whose images share one loss, cuts its batches in
harness/segmenters/training.py. Not here: how much memory there is.
"""

import gc
import logging
import sys
from collections.abc import Callable
from typing import Generic, TypeVar

from harness.core.errors import HarnessError

_log = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")


class TooLargeError(HarnessError):
    """Memory ran out although the batch was as small as can be."""


def ran_out(error: BaseException) -> bool:
    """Return whether the error says that the memory of a GPU or of this process ran out."""
    torch = sys.modules.get("torch")
    of_torch = torch is not None and isinstance(error, torch.OutOfMemoryError)
    of_allocator = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return of_torch or of_allocator or isinstance(error, MemoryError)


def free() -> None:
    """Free memory that nothing refers to; call it when the error is no longer handled, since it holds frames."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


class Halving(Generic[ResultT]):
    """Runs batches, in halves once memory has run out, and logs it. `who` and `rows` name what runs, and of what;
    `hint` says what helps when a single one is too large."""

    def __init__(self, who: str, rows: str, *, hint: str) -> None:
        self.who, self.rows, self.hint = who, rows, hint
        self.most: int | None = None
        """Rows that went through after memory ran out; none as long as it never did."""

    def __call__(self, count: int, work: Callable[[range], list[ResultT]]) -> list[ResultT]:
        """Return the results of rows 0..count-1 in order; `work(rows)` gives those of these row numbers."""
        step = min(self.most or count, count)
        return [
            result
            for start in range(0, count, max(step, 1))
            for result in self._part(range(start, min(start + step, count)), work)
        ]

    def _part(self, rows: range, work: Callable[[range], list[ResultT]]) -> list[ResultT]:
        try:
            return work(rows)
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
            if len(rows) == 1:
                one = self.rows.removesuffix("s")
                raise TooLargeError(f"{self.who}: memory ran out on a single {one}", hint=self.hint) from None
        free()
        self.most = len(rows) // 2
        _log.warning(
            "%s: memory ran out on %d %s, going on with %d at a time", self.who, len(rows), self.rows, self.most
        )
        return self(len(rows), lambda part: work(rows[part.start : part.stop]))
