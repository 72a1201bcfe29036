"""These compiled loops unfilter PNG rows and count them at once. Importing this file imports numba; nothing else here
does.

Label PNGs are mostly rows that repeat the row above, which in filtered form are zeros. So the loops look for the next
non-zero byte (vectorised), and one row becomes the next in place: what repeats costs nothing. No image but the ground
truth is kept: a mask is counted row by row against the ids below it.

Compiled code is cached beside this file; the first run on a machine compiles for some seconds. So that they stay few,
each function is compiled for one set of types: whole numbers are int64 (a literal would be a type of its own), arrays
are contiguous and may be written, and room to work in is given by the caller, since numpy's allocators compile too.
"""

import functools
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

BLOCK = 128
"""Bytes looked at together; the loop over a block is vectorised, leaving it is what costs."""
_VECTOR = ir.VectorType(ir.IntType(8), 64)
_njit: Any = functools.partial(njit, nogil=True, boundscheck=False, error_model="numpy")
_compiled = _njit(cache=True)
"""For functions that Python calls."""
_inner = _njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""For functions that only those call; their code is part of the others' in the cache."""
_intrinsic: Any = intrinsic


@_intrinsic
def _low_zeros(context: Any, value: Any) -> Any:
    """Number of zero bits below the lowest set bit of a uint64 that is not 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], cgutils.true_bit)

    return types.uint64(types.uint64), generate


@_inner
def _next(row: np.ndarray, start: int) -> int:
    """First index >= start of a non-zero byte; the length of the row where there is none."""
    n = len(row)
    i = start
    while i + BLOCK <= n:
        block = row[i : i + BLOCK]
        any_bit = np.uint8(0)
        for k in range(BLOCK):
            any_bit |= block[k]
        if any_bit != 0:
            break
        i += BLOCK
    while i < n and row[i] == 0:
        i += 1
    return i


def _load(context: Any, builder: Any, kind: Any, array: Any, start: Any) -> Any:
    """64 bytes of an array from `start` on, as one vector."""
    place = builder.gep(context.make_array(kind)(context, builder, array).data, [start])
    return builder.load(builder.bitcast(place, _VECTOR.as_pointer()), align=1)


@_intrinsic
def _unlike(context: Any, a: Any, b: Any, start: Any) -> Any:
    """One bit for each of 64 bytes from `start` on: whether `a` and `b` differ there. Lowest first."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pair = [_load(context, builder, signature.args[k], arguments[k], arguments[2]) for k in (0, 1)]
        return builder.bitcast(builder.icmp_unsigned("!=", *pair), ir.IntType(64))

    return types.uint64(a, b, types.intp), generate


@_intrinsic
def _not_zero(context: Any, a: Any, start: Any) -> Any:
    """As `_unlike`, with `b` all zeros."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        loaded = _load(context, builder, signature.args[0], arguments[0], arguments[1])
        return builder.bitcast(builder.icmp_unsigned("!=", loaded, ir.Constant(_VECTOR, None)), ir.IntType(64))

    return types.uint64(a, types.intp), generate


@_inner
def _mark(raw: np.ndarray, bits: np.ndarray) -> None:
    """One bit for each byte of `raw`, whether it is not 0, lowest first."""
    n = len(raw)
    for word in range(n // 64):
        bits[word] = _not_zero(raw, 64 * word)
    if n % 64:
        bits[n // 64] = 0
        for i in range(n - n % 64, n):
            bits[i >> 6] |= np.uint64(raw[i] != 0) << np.uint64(i & 63)


@_inner
def _mark_unlike(row: np.ndarray, other: np.ndarray, bits: np.ndarray) -> None:
    """One bit for each byte, whether `row` and `other` differ there, lowest first."""
    n = len(row)
    for word in range(n // 64):
        bits[word] = _unlike(row, other, 64 * word)
    if n % 64:
        bits[n // 64] = 0
        for i in range(n - n % 64, n):
            bits[i >> 6] |= np.uint64(row[i] != other[i]) << np.uint64(i & 63)


@_inner
def _seek(bits: np.ndarray, start: int, end: int) -> Any:
    """Place of the first set bit from `start` on; `end` where there is none before it."""
    word = start >> 6
    if word >= len(bits):
        return end
    left = bits[word] & (np.uint64(0xFFFFFFFFFFFFFFFF) << np.uint64(start & 63))
    while left == 0:
        word += 1
        if word >= len(bits):
            return end
        left = bits[word]
    found = word * 64 + np.int64(_low_zeros(left))
    return found if found < end else end


@_inner
def _copy(source: np.ndarray, target: np.ndarray, start: int, stop: int) -> None:
    a, b = source[start:stop], target[start:stop]
    for k in range(len(a)):
        b[k] = a[k]


@_inner
def _clear(row: np.ndarray) -> None:
    for k in range(len(row)):
        row[k] = 0


@_inner
def _paeth_row(raw: np.ndarray, above: np.ndarray, row: np.ndarray, step: int, bits: np.ndarray) -> None:
    """Undo the Paeth filter. Where left equals upper left a zero residual means "as above", and so on for all zeros."""
    n = len(raw)
    _mark(raw, bits)
    i = np.int64(0)
    while i < n:
        same = True
        for k in range(step):
            j = i - step + k
            left = row[j] if j >= 0 else np.uint8(0)
            corner = above[j] if j >= 0 else np.uint8(0)
            same &= left == corner
        if same:
            stop = _seek(bits, i, n)
            stop -= stop % step
            if stop > i:
                _copy(above, row, i, stop)
                i = stop
                continue
        for k in range(step):
            j = i + k
            a = np.int32(row[j - step]) if j >= step else np.int32(0)
            c = np.int32(above[j - step]) if j >= step else np.int32(0)
            b = np.int32(above[j])
            pa, pb, pc = abs(b - c), abs(a - c), abs(a + b - 2 * c)
            # Written without jumps: at outlines the processor cannot guess them.
            guess = b if pb <= pc else c
            guess = a if (pa <= pb) & (pa <= pc) else guess
            row[j] = np.uint8((np.int32(raw[j]) + guess) & 255)
        i += step


@_inner
def _sub_row(raw: np.ndarray, row: np.ndarray, step: int) -> None:
    """Undo the Sub filter, which adds the pixel to the left: zeros repeat it."""
    n = len(raw)
    _copy(raw, row, np.int64(0), step)
    i = step
    while i < n:
        stop = _next(raw, i)
        stop -= stop % step
        if stop > i:
            _repeat(row, i, stop, step)
            i = stop
        else:
            for k in range(step):
                row[i + k] = np.uint8(raw[i + k] + row[i + k - step])
            i += step


@_inner
def _repeat(row: np.ndarray, start: int, stop: int, step: int) -> None:
    """Repeat the pixel before `start`; its bytes are held in registers, since reading back what was written is slow."""
    if step == 1:
        row[start:stop] = row[start - 1]
    elif step == 2:
        first, second = row[start - 2], row[start - 1]
        pixels = row[start:stop]
        for i in range(len(pixels) // 2):
            pixels[2 * i], pixels[2 * i + 1] = first, second
    else:
        first, second, third = row[start - 3], row[start - 2], row[start - 1]
        pixels = row[start:stop]
        for i in range(len(pixels) // 3):
            pixels[3 * i], pixels[3 * i + 1], pixels[3 * i + 2] = first, second, third


@_inner
def _unfilter_plain(kind: int, raw: np.ndarray, above: np.ndarray, row: np.ndarray, step: int) -> bool:
    """Undo the row filters None, Sub and Average (PNG specification, section 9); False for another one."""
    n = len(raw)
    if kind == 0:
        _copy(raw, row, np.int64(0), np.int64(n))
    elif kind == 1:
        _sub_row(raw, row, step)
    elif kind == 3:
        for i in range(n):
            left = np.int32(row[i - step]) if i >= step else np.int32(0)
            row[i] = np.uint8((np.int32(raw[i]) + ((left + np.int32(above[i])) >> 1)) & 255)
    else:
        return False
    return True


@_inner
def _unfilter(kind: int, raw: np.ndarray, above: np.ndarray, row: np.ndarray, step: int, bits: np.ndarray) -> bool:
    """Undo one of PNG's five row filters; False for an unknown one.

    `bits` (one for each byte) is room to work in.
    """
    if kind == 2:
        for i in range(len(raw)):
            row[i] = np.uint8(raw[i] + above[i])
    elif kind == 4:
        _paeth_row(raw, above, row, step, bits)
    else:
        return _unfilter_plain(kind, raw, above, row, step)
    return True


@_inner
def _advance(
    kind: int, raw: np.ndarray, row: np.ndarray, spare: np.ndarray, step: int, bits: np.ndarray, changed: np.ndarray
) -> int:
    """Turn `row` into the row below it in place, from that one's filter and filtered bytes.

    Fills `changed` with the pixels that differ, left to right, and returns their number; -1 for an unknown filter.
    `changed` has room for one more than these; `spare` [len(row)] and `bits` are room to work in.
    """
    if kind == 4:
        return _advance_paeth(raw, row, step, bits, changed)
    if kind == 2:
        _mark(raw, bits)
    else:
        if not _unfilter_plain(kind, raw, row, spare, step):
            return -1
        _mark_unlike(spare, row, bits)
    count = 0
    last: Any = -1
    for word in range(len(bits)):
        left = bits[word]
        while left != 0:
            i = word * 64 + np.int64(_low_zeros(left))
            left &= left - np.uint64(1)
            row[i] = np.uint8(row[i] + raw[i]) if kind == 2 else spare[i]
            x = i // step
            changed[count] = x  # without a jump, as in what follows: the next one overwrites it if it is the same
            count += x != last
            last = x
    return count


@_inner
def _advance_paeth(raw: np.ndarray, row: np.ndarray, step: int, bits: np.ndarray, changed: np.ndarray) -> int:
    """`_advance` for the Paeth filter. A zero says "as above" wherever the pixel to the left is as above too."""
    n = len(raw)
    _mark(raw, bits)
    corner = (np.uint8(0), np.uint8(0), np.uint8(0))
    count, i, as_above = 0, np.int64(0), True
    while True:
        if as_above:
            i = _seek(bits, i, n)
            if i >= n:
                return count
            i -= i % step
            corner = _pixel(row, i - step, step)
        left, above = _pixel(row, i - step, step), _pixel(row, i, step)
        first = _paeth(raw[i], left[0], above[0], corner[0])
        row[i] = first
        as_above = first == above[0]
        if step > 1:
            second = _paeth(raw[i + 1], left[1], above[1], corner[1])
            row[i + 1] = second
            as_above &= second == above[1]
        if step > 2:
            third = _paeth(raw[i + 2], left[2], above[2], corner[2])
            row[i + 2] = third
            as_above &= third == above[2]
        changed[count] = i // step
        count += not as_above
        corner = above
        i += step
        if i >= n:
            return count


@_inner
def _pixel(row: np.ndarray, i: int, step: int) -> tuple[Any, Any, Any]:
    """Return the bytes of the pixel at `i`, zeros left of the row."""
    if i < 0:
        return np.uint8(0), np.uint8(0), np.uint8(0)
    return row[i], row[i + 1] if step > 1 else np.uint8(0), row[i + 2] if step > 2 else np.uint8(0)


@_inner
def _paeth(residual: int, left: int, above: int, corner: int) -> Any:
    a, b, c = np.int32(left), np.int32(above), np.int32(corner)
    pa, pb, pc = abs(b - c), abs(a - c), abs(a + b - 2 * c)
    # Written without jumps: at outlines the processor cannot guess them.
    guess = b if pb <= pc else c
    guess = a if (pa <= pb) & (pa <= pc) else guess
    return np.uint8((np.int32(residual) + guess) & 255)


@_compiled
def decode(
    data: np.ndarray,
    row: np.ndarray,
    spare: np.ndarray,
    bits: np.ndarray,
    step: int,
    moves: np.ndarray,
    values: np.ndarray,
    ends: np.ndarray,
) -> bool:
    """Inflated rows of a PNG as what differs from row to row; False when a row has no valid filter.

    `step` is the bytes of a pixel: 1 for 8-bit grey, 2 for 16-bit grey, 3 for R + 256 G + 65536 B. `row`, `spare` and
    `bits` are room to work in.

    `moves` and `values` [height * width + 1] get the columns that differ from the row above (of row 0: from zeros) and
    their values, row after row; those of row y end at `ends[y]`. That is far less to read again than the pixels.
    """
    n = len(row)
    _clear(row)
    total = 0
    for y in range(len(ends)):
        start, changed, new = y * (n + 1), moves[total:], values[total:]
        count = _advance(data[start], data[start + 1 : start + 1 + n], row, spare, step, bits, changed)
        if count < 0:
            return False
        for k in range(count):
            i = np.int64(changed[k]) * step
            if step == 1:
                new[k] = np.uint32(row[i])
            elif step == 2:
                new[k] = np.uint32(row[i]) << np.uint32(8) | np.uint32(row[i + 1])
            else:
                high = np.uint32(row[i + 1]) << np.uint32(8) | np.uint32(row[i + 2]) << np.uint32(16)
                new[k] = np.uint32(row[i]) | high
        total += count
        ends[y] = total
    return True


@_compiled
def paint(moves: np.ndarray, values: np.ndarray, ends: np.ndarray, ids: np.ndarray) -> None:
    """The pixels `ids` [H, W] of what `decode` found."""
    start = 0
    for y in range(len(ids)):
        out = ids[y]
        if y == 0:
            _clear(out)
        else:
            _copy(ids[y - 1], out, np.int64(0), np.int64(len(out)))
        for k in range(start, ends[y]):
            out[moves[k]] = values[k]
        start = ends[y]


@_compiled
def find_moves(ids: np.ndarray, moves: np.ndarray, values: np.ndarray, ends: np.ndarray) -> None:
    """Return what `decode` finds, for ids [H, W] that were read in another way."""
    total = 0
    for y in range(len(ids)):
        for x in range(ids.shape[1]):
            moves[total], values[total] = x, ids[y, x]
            total += ids[y, x] != (ids[y - 1, x] if y > 0 else 0)
        ends[y] = total


@_compiled
def unfiltered(
    data: np.ndarray,
    row: np.ndarray,
    spare: np.ndarray,
    bits: np.ndarray,
    step: int,
    changed: np.ndarray,
    height: int,
) -> int:
    """Undo the filters of all rows of an inflated PNG and keep none: the least that reading its pixels costs."""
    n = len(row)
    _clear(row)
    total = 0
    for y in range(height):
        start = y * (n + 1)
        count = _advance(data[start], data[start + 1 : start + 1 + n], row, spare, step, bits, changed)
        if count < 0:
            return -1
        total += count
    return total


@_compiled
def regions(ids: np.ndarray, place: np.ndarray, found: np.ndarray, areas: np.ndarray, boxes: np.ndarray) -> int:
    """Regions of `ids` [H, W] in order of appearance: fills `found`, `areas` and `boxes` [K, 4], returns their number.

    `place` [65536] must be -1 everywhere, and is again afterwards. A number above K means there was no room.
    """
    height, width = ids.shape
    count = 0
    for y in range(height):
        row = ids[y]
        x = np.int64(0)
        while x < width:
            id_ = row[x]
            start = x
            x = _run_end(row, x)
            index = place[id_]
            if index < 0:
                if count == len(found):
                    for k in range(count):
                        place[found[k]] = -1
                    return count + 1
                index = count
                place[id_] = index
                found[index] = id_
                areas[index] = 0
                boxes[index, 0], boxes[index, 1], boxes[index, 2], boxes[index, 3] = y, start, y + 1, x
                count += 1
            areas[index] += x - start
            if start < boxes[index, 1]:
                boxes[index, 1] = start
            boxes[index, 2] = y + 1
            if x > boxes[index, 3]:
                boxes[index, 3] = x
    for k in range(count):
        place[found[k]] = -1
    return count


@_inner
def _run_end(row: np.ndarray, start: int) -> int:
    """First index > start whose value differs from row[start]."""
    n = len(row)
    value = row[start]
    i = start + 1
    while i + BLOCK <= n:
        block = row[i : i + BLOCK]
        different = np.uint16(0)
        for k in range(BLOCK):
            different |= block[k] ^ value
        if different != 0:
            break
        i += BLOCK
    while i < n and row[i] == value:
        i += 1
    return i


@_compiled
def under(
    data: np.ndarray,
    row: np.ndarray,
    above: np.ndarray,
    bits: np.ndarray,
    step: int,
    ids: np.ndarray,
    counts: np.ndarray,
) -> bool:
    """Count `ids` [H, W] below the non-zero pixels of an inflated 8-bit grey PNG; False when a row has no valid filter.

    `row`, `above` and `bits` are room to work in, `step` is 1. `counts` [65536] is added to.
    """
    height, width = ids.shape
    empty = True
    for y in range(height):
        start = y * (width + 1)
        raw = data[start + 1 : start + 1 + width]
        if empty and data[start] < 5 and _next(raw, np.int64(0)) == width:
            continue  # zeros below an empty row are an empty row, whatever the filter
        row, above = above, row
        if empty:
            _clear(above)
        if not _unfilter(data[start], raw, above, row, step, bits):
            return False
        x = _next(row, np.int64(0))
        empty = x == width
        below = ids[y]
        while x < width:
            id_ = below[x]
            first = x
            while x < width and row[x] != 0 and below[x] == id_:
                x += 1
            counts[id_] += x - first
            if x < width and row[x] == 0:
                x = _next(row, x)
    return True


@_inner
def _slot(keys: np.ndarray, key: int) -> Any:
    """Return where `key` is in the hash table `keys` (a power of two; -1 is free), or the free place where it
    belongs."""
    mask = np.uint64(len(keys) - 1)
    slot = ((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & mask
    while keys[slot] != key and keys[slot] != -1:
        slot = (slot + np.uint64(1)) & mask
    return np.int64(slot)


@_compiled
def pairs(
    pixels: np.ndarray,
    since: np.ndarray,
    slots: np.ndarray,
    moves: np.ndarray,
    values: np.ndarray,
    ends: np.ndarray,
    others: np.ndarray,
    labels: np.ndarray,
    stops: np.ndarray,
    keys: np.ndarray,
    counts: np.ndarray,
) -> int:
    """Joint histogram of two images of one size: ids as `decode` finds them (`moves`, `values`, `ends`), and a
    prediction (`others`, `labels`, `stops`).

    Each column is counted in runs from top to bottom: only what differs from the row above is looked at; twice where
    both do, since a run that ends where it began counts nothing. `pixels` [2, W], `since` [W] and `slots` [W] are room
    to work in. Fills the hash table `keys` (id << 24 | value; -1 is free) and `counts`, of a power of two each. Returns
    the number of pairs; -2 when the table is too small.
    """
    height, width = len(ends), len(since)
    above, below = pixels[0], pixels[1]
    _clear(above)
    _clear(below)
    _clear(since)
    _clear(slots)
    used, first, second = 0, 0, 0
    for y in range(height):
        for k in range(first, ends[y]):
            above[moves[k]] = values[k]
        for k in range(second, stops[y]):
            below[others[k]] = labels[k]
        mine = ends[y] - first
        for k in range(mine + stops[y] - second if y else width):
            x: Any = np.int64(k)
            if y > 0:
                x = np.int64(moves[first + k] if k < mine else others[second + k - mine])
            key = np.int64(above[x]) << 24 | np.int64(below[x])
            slot = _slot(keys, key)
            if keys[slot] == -1:
                if 2 * used >= len(keys):
                    return -2
                keys[slot] = key
                used += 1
            counts[slots[x]] += y - since[x]
            slots[x], since[x] = slot, y
        first, second = ends[y], stops[y]
    for x in range(width):
        counts[slots[x]] += height - since[x]
    return used
