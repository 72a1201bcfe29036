"""Compiled loops over PNG rows: unfilter, and count at once. Importing this file imports numba; nothing else here does.

Label PNGs are mostly rows that repeat the row above, which in filtered form are zeros. So the loops look for the next
non-zero byte (vectorised), and one row becomes the next in place: what repeats costs nothing. No image but the ground
truth is kept: a mask is counted row by row against the ids below it. Compiled code is cached beside this file; the
first run on a machine compiles some seconds.
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
def _pack(marks, bits):
    """One bit for each byte of `marks` (0 or 1; a multiple of 64 of them), lowest first."""
    words, packed = marks.view(np.uint64), bits.view(np.uint8)
    for i in range(len(words)):
        # The product moves the eight lowest bits of eight bytes into one byte, the highest.
        packed[i] = np.uint8((words[i] * np.uint64(0x0102040810204080)) >> np.uint64(56))


@_compiled
def _seek(bits, start, end):
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
    return min(end, word * 64 + np.int64(_low_zeros(left)))


@_compiled
def _copy(source, target, start, stop):
    a, b = source[start:stop], target[start:stop]
    for k in range(len(a)):
        b[k] = a[k]


@_compiled
def _paeth_row(raw, above, row, step, marks, bits):
    """Undo the Paeth filter. Where left equals upper left a zero residual means "as above", and so on for all zeros."""
    n = len(raw)
    for i in range(n):
        marks[i] = raw[i] != 0
    _pack(marks, bits)
    i = 0
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
def _unfilter(kind, raw, above, row, step, marks, bits):
    """Undo one of PNG's five row filters (PNG specification, section 9); False for an unknown one.

    `marks` (zeros, len(raw) rounded up to 64 bytes) and `bits` (a bit for each) are room to work in.
    """
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
        _paeth_row(raw, above, row, step, marks, bits)
    else:
        return False
    return True


@_compiled
def _room(n):
    """Marks for `n` bytes, of a multiple of 64, and bits for these."""
    words = (n + 63) // 64
    return np.zeros(64 * words, np.uint8), np.zeros(words, np.uint64)


@_compiled
def _advance(kind, raw, row, spare, step, marks, bits, changed):
    """Turn `row` into the row below it in place, from that one's filter and filtered bytes.

    Fills `changed` with the pixels that differ, left to right, and returns their number; -1 for an unknown filter.
    `spare` [len(row)], `marks` and `bits` are room to work in.
    """
    n = len(raw)
    if kind == 4:
        return _advance_paeth(raw, row, step, marks, bits, changed)
    if kind == 2:
        for i in range(n):
            marks[i] = raw[i] != 0
    else:
        if not _unfilter(kind, raw, row, spare, step, marks, bits):
            return -1
        for i in range(n):
            marks[i] = spare[i] != row[i]
    _pack(marks, bits)
    count, last = 0, -1
    for word in range(len(bits)):
        left = bits[word]
        while left != 0:
            i = word * 64 + np.int64(_low_zeros(left))
            left &= left - np.uint64(1)
            row[i] = np.uint8(row[i] + raw[i]) if kind == 2 else spare[i]
            x = i // step
            if x != last:
                changed[count] = x
                count += 1
                last = x
    return count


@_compiled
def _advance_paeth(raw, row, step, marks, bits, changed):
    """`_advance` for the Paeth filter. A zero says "as above" wherever the pixel to the left is as above too."""
    n = len(raw)
    for i in range(n):
        marks[i] = raw[i] != 0
    _pack(marks, bits)
    corner = (np.uint8(0), np.uint8(0), np.uint8(0))
    count, i, as_above = 0, 0, True
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
        if not as_above:
            changed[count] = i // step
            count += 1
        corner = above
        i += step
        if i >= n:
            return count


@_compiled
def _pixel(row, i, step):
    """The bytes of the pixel at `i`, zeros left of the row."""
    if i < 0:
        return np.uint8(0), np.uint8(0), np.uint8(0)
    return row[i], row[i + 1] if step > 1 else np.uint8(0), row[i + 2] if step > 2 else np.uint8(0)


@_compiled
def _paeth(residual, left, above, corner):
    a, b, c = np.int32(left), np.int32(above), np.int32(corner)
    pa, pb, pc = abs(b - c), abs(a - c), abs(a + b - 2 * c)
    # Written without jumps: at outlines the processor cannot guess them.
    guess = b if pb <= pc else c
    guess = a if (pa <= pb) & (pa <= pc) else guess
    return np.uint8((np.int32(residual) + guess) & 255)


@_compiled
def decode16(data, height, width, ids, moves):
    """Inflated rows of a 16-bit grey PNG into `ids` [height, width]; False when a row has no valid filter.

    `moves` [height, width / 64 rounded up] gets a bit for every pixel that differs from the one above it.
    """
    n = 2 * width
    row, spare = np.zeros(n, np.uint8), np.zeros(n, np.uint8)
    marks, bits = _room(n)
    changed = np.zeros(width, np.int32)
    moves[:] = 0
    ids[0] = 0
    for y in range(height):
        start = y * (n + 1)
        count = _advance(data[start], data[start + 1 : start + 1 + n], row, spare, 2, marks, bits, changed)
        if count < 0:
            return False
        out, out_moves = ids[y], moves[y]
        if y > 0:
            _copy(ids[y - 1], out, 0, width)
        for k in range(count):
            x = changed[k]
            out[x] = np.uint16((np.uint16(row[2 * x]) << 8) | row[2 * x + 1])
            out_moves[x >> 6] |= np.uint64(1) << np.uint64(x & 63)
    return True


@_compiled
def find_moves(ids, moves):
    """`moves` of `decode16` for ids [H, W] that were read in another way."""
    moves[:] = 0
    for y in range(len(ids)):
        for x in range(ids.shape[1]):
            if ids[y, x] != (ids[y - 1, x] if y > 0 else 0):
                moves[y, x >> 6] |= np.uint64(1) << np.uint64(x & 63)


@_compiled
def unfiltered(data, height, width, step):
    """Undo the filters of all rows of an inflated PNG and keep none: the least that reading its pixels costs."""
    n = width * step
    row, spare = np.zeros(n, np.uint8), np.zeros(n, np.uint8)
    marks, bits = _room(n)
    changed = np.zeros(width, np.int32)
    total = 0
    for y in range(height):
        start = y * (n + 1)
        count = _advance(data[start], data[start + 1 : start + 1 + n], row, spare, step, marks, bits, changed)
        if count < 0:
            return -1
        total += count
    return total


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
    marks, bits = _room(width)
    empty = True
    for y in range(height):
        start = y * (width + 1)
        raw = data[start + 1 : start + 1 + width]
        if empty and data[start] < 5 and _next(raw, 0) == width:
            continue  # zeros below an empty row are an empty row, whatever the filter
        row, above = rows[y & 1], rows[1 - (y & 1)]
        if empty:
            above[:] = 0
        if not _unfilter(data[start], raw, above, row, 1, marks, bits):
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
def pairs(data, step, ids, moves, keys, counts):
    """Joint histogram of `ids` [H, W] and an inflated 8-bit PNG of `step` channels (1: grey, 3: R + 256 G + 65536 B).

    Each column is counted in runs from top to bottom: only what differs from the row above is looked at. `moves`: see
    `decode16`. Fills the hash table `keys` (id << 24 | value; -1 is free) and `counts`, of a power of two each. Returns
    the number of pairs; -1 when a row has no valid filter, -2 when the table is too small.
    """
    height, width = ids.shape
    n = width * step
    row, spare = np.zeros(n, np.uint8), np.zeros(n, np.uint8)
    marks, bits = _room(n)
    changed, either = np.zeros(width, np.int32), np.zeros(moves.shape[1], np.uint64)
    slots, since = np.zeros(width, np.int32), np.zeros(width, np.int32)
    mask = len(keys) - 1
    used, slot = 0, 0
    for y in range(height):
        start = y * (n + 1)
        count = _advance(data[start], data[start + 1 : start + 1 + n], row, spare, step, marks, bits, changed)
        if count < 0:
            return -1
        below = ids[y]
        _copy(moves[y], either, 0, len(either))
        for k in range(count):
            either[changed[k] >> 6] |= np.uint64(1) << np.uint64(changed[k] & 63)
        if y == 0:
            either[:] = np.uint64(0xFFFFFFFFFFFFFFFF)
        for word in range(len(either)):
            left = either[word]
            while left != 0:
                x = word * 64 + np.int64(_low_zeros(left))
                left &= left - np.uint64(1)
                if x >= width:
                    break
                key = np.int64(below[x]) << 24
                if step == 1:
                    key |= np.int64(row[x])
                else:
                    key |= np.int64(row[3 * x]) | np.int64(row[3 * x + 1]) << 8 | np.int64(row[3 * x + 2]) << 16
                if keys[slot] != key:
                    slot = ((key * 0x9E3779B1) >> 7) & mask
                    while keys[slot] != key and keys[slot] != -1:
                        slot = (slot + 1) & mask
                    if keys[slot] == -1:
                        if 2 * used >= len(keys):
                            return -2
                        keys[slot] = key
                        used += 1
                counts[slots[x]] += y - since[x]
                slots[x], since[x] = slot, y
    for x in range(width):
        counts[slots[x]] += height - since[x]
    return used
