"""Compiled loops over PNG rows: unfilter, and count at once. Importing this file imports numba; nothing else here does.

Label PNGs are mostly rows that repeat the row above, which in filtered form are zeros. So the loops look for the next
non-zero byte in blocks (vectorised) and copy what lies before it. No image is kept: a mask is counted row by row
against the ids below it. Compiled code is cached beside this file; the first run on a machine compiles some seconds.
"""

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

BLOCK = 128
"""Bytes looked at together; the loop over a block is vectorised, leaving it is what costs."""
_compiled = njit(cache=True, nogil=True, boundscheck=False)


@intrinsic
def _low_zeros(context, value):
    """Number of zero bits below the lowest set bit of a uint64 that is not 0."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], cgutils.true_bit)

    return types.uint64(types.uint64), generate


@_compiled
def _next(row, start):
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


@_compiled
def _copy(source, target, start, stop):
    a, b = source[start:stop], target[start:stop]
    for k in range(len(a)):
        b[k] = a[k]


@_compiled
def _paeth_row(raw, above, row, step):
    """Undo the Paeth filter. Where left equals upper left a zero residual means "as above", and so on for all zeros."""
    n = len(raw)
    i = 0
    while i < n:
        same = True
        for k in range(step):
            j = i - step + k
            left = row[j] if j >= 0 else np.uint8(0)
            corner = above[j] if j >= 0 else np.uint8(0)
            same &= left == corner
        if same and raw[i] == 0:
            stop = _next(raw, i)
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
            if pa <= pb and pa <= pc:
                guess = a
            elif pb <= pc:
                guess = b
            else:
                guess = c
            row[j] = np.uint8((np.int32(raw[j]) + guess) & 255)
        i += step


@_compiled
def _sub_row(raw, row, step):
    """Undo the Sub filter, which adds the pixel to the left: zeros repeat it."""
    n = len(raw)
    _copy(raw, row, 0, step)
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


@_compiled
def _repeat(row, start, stop, step):
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


@_compiled
def _unfilter(kind, raw, above, row, step):
    """Undo one of PNG's five row filters (PNG specification, section 9); False for an unknown one."""
    n = len(raw)
    if kind == 0:
        _copy(raw, row, 0, n)
    elif kind == 1:
        _sub_row(raw, row, step)
    elif kind == 2:
        for i in range(n):
            row[i] = np.uint8(raw[i] + above[i])
    elif kind == 3:
        for i in range(n):
            left = np.int32(row[i - step]) if i >= step else np.int32(0)
            row[i] = np.uint8((np.int32(raw[i]) + ((left + np.int32(above[i])) >> 1)) & 255)
    elif kind == 4:
        _paeth_row(raw, above, row, step)
    else:
        return False
    return True


@_compiled
def decode16(data, height, width, ids):
    """Inflated rows of a 16-bit grey PNG into `ids` [height, width]; False when a row has no valid filter."""
    n = 2 * width
    rows = np.zeros((2, n), np.uint8)
    for y in range(height):
        start = y * (n + 1)
        row, above = rows[y & 1], rows[1 - (y & 1)]
        if not _unfilter(data[start], data[start + 1 : start + 1 + n], above, row, 2):
            return False
        out = ids[y]
        for x in range(width):
            out[x] = np.uint16((np.uint16(row[2 * x]) << 8) | row[2 * x + 1])
    return True


@_compiled
def regions(ids, place, found, areas, boxes):
    """Regions of `ids` [H, W] in order of appearance: fills `found`, `areas` and `boxes` [K, 4], returns their number.

    `place` [65536] must be -1 everywhere, and is again afterwards. A number above K means there was no room.
    """
    height, width = ids.shape
    count = 0
    for y in range(height):
        row = ids[y]
        x = 0
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
            boxes[index, 1] = min(boxes[index, 1], start)
            boxes[index, 2] = y + 1
            boxes[index, 3] = max(boxes[index, 3], x)
    for k in range(count):
        place[found[k]] = -1
    return count


@_compiled
def _run_end(row, start):
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
def under(data, ids, counts):
    """Count `ids` [H, W] below the non-zero pixels of an inflated 8-bit grey PNG; False when a row has no valid filter.

    `counts` [65536] is added to.
    """
    height, width = ids.shape
    rows = np.zeros((2, width), np.uint8)
    empty = True
    for y in range(height):
        start = y * (width + 1)
        raw = data[start + 1 : start + 1 + width]
        if empty and data[start] < 5 and _next(raw, 0) == width:
            continue  # zeros below an empty row are an empty row, whatever the filter
        row, above = rows[y & 1], rows[1 - (y & 1)]
        if empty:
            above[:] = 0
        if not _unfilter(data[start], raw, above, row, 1):
            return False
        x = _next(row, 0)
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


@_compiled
def pairs(data, step, ids, keys, counts):
    """Joint histogram of `ids` [H, W] and an inflated 8-bit PNG of `step` channels (1: grey, 3: R + 256 G + 65536 B).

    Fills the hash table `keys` (id << 24 | value; -1 is free) and `counts`, of a power of two each. Returns the number
    of pairs; -1 when a row has no valid filter, -2 when the table is too small.
    """
    height, width = ids.shape
    n = width * step
    rows = np.zeros((2, n), np.uint8)
    row_words, id_words = np.zeros((n + 7) // 8, np.uint64), np.zeros((width + 7) // 8, np.uint64)
    row_marks, id_marks = row_words.view(np.uint8), id_words.view(np.uint8)
    mask = len(keys) - 1
    used, slot = 0, 0
    for y in range(height):
        start = y * (n + 1)
        row, below = rows[y & 1], ids[y]
        if not _unfilter(data[start], data[start + 1 : start + 1 + n], rows[1 - (y & 1)], row, step):
            return -1
        _mark_changes(row, row_marks, step)
        _mark_changes(below, id_marks, 1)
        row_at, row_bits, row_next = _following(row_words, 0, row_words[0], n)
        id_at, id_bits, id_next = _following(id_words, 0, id_words[0], width)
        x = 0
        while x < width:
            while row_next < (x + 1) * step:  # other bytes of the pixel where this run began
                row_at, row_bits, row_next = _following(row_words, row_at, row_bits, n)
            while id_next <= x:
                id_at, id_bits, id_next = _following(id_words, id_at, id_bits, width)
            stop = min(row_next // step, id_next)
            value = np.int64(row[step * x])
            if step == 3:
                value |= np.int64(row[3 * x + 1]) << 8 | np.int64(row[3 * x + 2]) << 16
            key = np.int64(below[x]) << 24 | value
            if keys[slot] != key:
                slot = ((key * 0x9E3779B1) >> 7) & mask
                while keys[slot] != key and keys[slot] != -1:
                    slot = (slot + 1) & mask
                if keys[slot] == -1:
                    if 2 * used >= len(keys):
                        return -2
                    keys[slot] = key
                    used += 1
            counts[slot] += stop - x
            x = stop
    return used


@_compiled
def _mark_changes(row, marks, step):
    """Set `marks` to non-zero where `row` differs from `step` entries before."""
    here, before, out = row[step:], row[: len(row) - step], marks[step : len(row)]
    for i in range(len(here)):
        out[i] = here[i] != before[i]


@_compiled
def _following(words, at, bits, end):
    """The next marked byte: walks `words` from word `at`, of which `bits` are left. Returns both, and place or `end`."""
    while bits == 0:
        at += 1
        if at >= len(words):
            return at, bits, end
        bits = words[at]
    place = _low_zeros(bits) >> np.uint64(3)
    bits &= ~(np.uint64(255) << (place << np.uint64(3)))
    return at, bits, at * 8 + np.int64(place)
