"""This module codes masks in COCO's run lengths: alternating counts of zeros and ones, column by column, optionally
packed into text."""

from typing import NamedTuple

import numpy as np

from harness.core.errors import HarnessError


class Runs(NamedTuple):
    """Runs of ones in a mask that is read column by column: first positions and lengths."""

    starts: np.ndarray
    lengths: np.ndarray


def decode(counts: str | bytes | list[int], height: int, width: int) -> Runs:
    """Decode the ones of a mask; HarnessError when the counts don't fill height * width pixels."""
    runs = np.asarray(counts, np.int64) if isinstance(counts, list) else _unpack(counts)
    if runs.ndim != 1 or (runs < 0).any() or runs.sum() != height * width:
        raise HarnessError(
            f"run lengths that fill {height} x {width} pixels were expected, these add up to {runs.sum()}"
        )
    return Runs((np.cumsum(runs) - runs)[1::2], runs[1::2])


def encode(mask: np.ndarray) -> str:
    """Packed counts of a mask [H, W] (non-zero inside)."""
    flat = np.asarray(mask).ravel(order="F") != 0
    edges = np.flatnonzero(np.diff(flat, prepend=False, append=not flat[-1]))
    return _pack(np.diff(edges, prepend=0).tolist())


def _unpack(text: str | bytes) -> np.ndarray:
    """Counts from text: groups of 5 bits, low first, bit 5 goes on, bit 4 of the last one is the sign. From the fourth
    count on they are differences to the count two before."""
    raw = (
        np.frombuffer(text.encode("ascii", "replace") if isinstance(text, str) else text, np.uint8).astype(np.int64)
        - 48
    )
    if len(raw) == 0 or raw.min() < 0 or raw.max() > 63 or raw[-1] & 32:
        raise HarnessError("run lengths are no packed text of COCO")
    ends = np.flatnonzero(raw & 32 == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    shift = 5 * (np.arange(len(raw)) - np.repeat(starts, ends - starts + 1))
    if shift.max() > 40:
        raise HarnessError("run lengths are no packed text of COCO")
    values = np.add.reduceat((raw & 31) << shift, starts)
    negative = raw[ends] & 16 != 0
    values -= negative.astype(np.int64) << (5 * (ends - starts + 1))
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _pack(counts: list[int]) -> str:
    text = []
    for index, count in enumerate(counts):
        value = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            text.append(chr(48 + (bits | 32 if more else bits)))
    return "".join(text)
