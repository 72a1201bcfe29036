"""The reader counts which predicted pixels meet which true ones in a frame's PNGs, by numpy or by compiled loops.

`Reader` is the definition; `CompiledReader` (libdeflate, numba) gives the same numbers ten times faster on full-size
frames, and hands every file that is not an ordinary label PNG to `Reader`: palettes, other depths, interlacing, and
damage, so that errors are the same too.
"""

import logging
import os
import struct
import zlib
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from harness.core.errors import HarnessError
from harness.data import png
from harness.data.labels import LabelSet
from harness.metrics import pixels
from harness.metrics.base import Regions, Target
from harness.metrics.pixels import Pairs, Under

ROOM = 2048
"""Slots for pairs to begin with; a small table stays in the nearest cache."""

Moves = tuple[np.ndarray, np.ndarray, np.ndarray]
"""What differs from row to row of an image: `moves`, `values` and `ends` of `_kernels.decode`."""

log = logging.getLogger(__name__)


class Reader:
    """Reads the PNGs of a frame with Pillow and counts their pixels with numpy."""

    def target(self, path: Path, labels: LabelSet, *, depth_files: tuple[Path, Path] | None = None) -> Target:
        """Ground truth from a 16-bit PNG of ids, and from its disparity and camera files."""
        return Target(ids=png.read_ids(path), labels=labels, source=str(path), depth_files=depth_files)

    def regions(self, target: Target) -> Regions:
        """Return every region of the ground truth; HarnessError for ids of no label."""
        return target.regions

    def under(self, path: Path, target: Target, regions: Regions) -> Under:
        """Return what lies under a mask."""
        return pixels.under(sized(png.read_mask(path), path, target), target.ids)

    def labels(self, path: Path, target: Target) -> Pairs:
        """Joint counts of instance ids and predicted label ids."""
        return pixels.pairs(target.ids, sized(png.read_labels(path), path, target))

    def segments(self, path: Path, target: Target) -> Pairs:
        """Joint counts of instance ids and predicted segment ids."""
        return pixels.pairs(target.ids, sized(png.read_segments(path), path, target))


class CompiledReader(Reader):
    """Inflates PNGs with libdeflate, undoes row filters and counts in one compiled pass, without keeping the image."""

    def __init__(self) -> None:
        from harness.metrics import _kernels

        _keep_memory()
        self._kernels = _kernels
        self._place = np.full(65536, -1, np.int32)
        self._counts = np.zeros(65536, np.int64)

    def target(self, path: Path, labels: LabelSet, *, depth_files: tuple[Path, Path] | None = None) -> Target:
        found = _inflated(path, depth=16, color=0)
        if found is None:
            return super().target(path, labels, depth_files=depth_files)
        data, height, width = found
        moves = _room_for_moves(height, width)
        if not self._kernels.decode(data, *_room(2 * width), 2, *moves):
            return super().target(path, labels, depth_files=depth_files)
        return _Painted(self, (height, width), moves, labels, str(path), depth_files)

    def painted(self, size: tuple[int, int], moves: Moves) -> np.ndarray:
        """Return the pixels uint16 [H, W] of what was decoded."""
        ids = np.empty(size, np.uint16)
        self._kernels.paint(*moves, ids)
        return ids

    def regions(self, target: Target) -> Regions:
        room = 1024
        while True:
            found, areas, boxes = np.empty(room, np.int64), np.empty(room, np.int64), np.empty((room, 4), np.int64)
            count = self._kernels.regions(target.ids, self._place, found, areas, boxes)
            if count <= room:
                break
            room = 65536
        order = np.argsort(found[:count])
        target.check(found[order])
        return Regions(found[order], areas[order], boxes[order])

    def under(self, path: Path, target: Target, regions: Regions) -> Under:
        data = self._like(path, target, color=0)
        done = data is not None and self._kernels.under(data, *_room(target.size[1]), 1, target.ids, self._counts)
        counts = self._counts[regions.ids]
        self._counts[regions.ids] = 0
        if not done:
            return super().under(path, target, regions)
        hit = counts > 0
        return Under(regions.ids[hit], counts[hit])

    def labels(self, path: Path, target: Target) -> Pairs:
        return self._pairs(path, target, channels=1) or super().labels(path, target)

    def segments(self, path: Path, target: Target) -> Pairs:
        return self._pairs(path, target, channels=3) or super().segments(path, target)

    def _pairs(self, path: Path, target: Target, *, channels: int) -> Pairs | None:
        data = self._like(path, target, color=0 if channels == 1 else 2)
        if data is None:
            return None
        if isinstance(target, _Painted):
            moves = target.moves
        else:
            moves = _room_for_moves(*target.size)
            self._kernels.find_moves(target.ids, *moves)
        width, slots = target.size[1], ROOM
        others = _room_for_moves(*target.size)
        if not self._kernels.decode(data, *_room(channels * width), channels, *others):
            return None
        room = np.empty((2, width), np.uint32), np.empty(width, np.int32), np.empty(width, np.int32)
        while True:
            keys, counts = np.full(slots, -1, np.int64), np.zeros(slots, np.int64)
            if self._kernels.pairs(*room, *moves, *others, keys, counts) >= 0:
                break
            slots *= 8
        used = np.flatnonzero(keys >= 0)
        used = used[np.argsort(keys[used])]
        return Pairs(keys[used] >> 24, keys[used] & 0xFFFFFF, counts[used])

    def _like(self, path: Path, target: Target, *, color: int) -> np.ndarray | None:
        """Inflated rows of an 8-bit PNG that has the size of `target`; None where Pillow shall read (or refuse) it."""
        found = _inflated(path, depth=8, color=color)
        return None if found is None or found[1:] != target.size else found[0]


class _Painted(Target):
    """Ground truth whose pixels are made when they are first asked for: joint counts need none."""

    moves: Moves
    _reader: CompiledReader
    _size: tuple[int, int]

    def __init__(
        self,
        reader_: CompiledReader,
        size: tuple[int, int],
        moves: Moves,
        labels: LabelSet,
        source: str,
        depth_files: tuple[Path, Path] | None,
    ) -> None:
        vars(self).update(_reader=reader_, _size=size, moves=moves, labels=labels, source=source)
        vars(self).update(depth_files=depth_files)

    @cached_property
    def ids(self) -> np.ndarray:
        return self._reader.painted(self.size, self.moves)

    @cached_property
    def regions(self) -> Regions:
        return self._reader.regions(self)

    @property
    def size(self) -> tuple[int, int]:
        return self._size


def _room(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what the loops take to undo the filters of rows of so many bytes: two rows, and a bit for each byte."""
    return np.empty(size, np.uint8), np.empty(size, np.uint8), np.empty((size + 63) // 64, np.uint64)


def _room_for_moves(height: int, width: int) -> Moves:
    room = height * width + 1
    return np.empty(room, np.int32), np.empty(room, np.uint32), np.empty(height, np.int64)


@cache
def reader(*, compiled: bool) -> Reader:
    """Return the reader of this process."""
    if compiled:
        try:
            return CompiledReader()
        except (ImportError, RuntimeError) as error:  # RuntimeError: no folder to cache compiled code in
            log.warning("evaluating without compiled loops, which is slower: %s", error)
    return Reader()


def _keep_memory() -> None:
    """Ask glibc to keep freed buffers of this process, where there is a glibc.

    Inflating makes a buffer of some megabytes for each file; given back to the system and fetched again page by page,
    that costs as much as all the decoding.
    """
    import ctypes

    trim_threshold, map_threshold = -1, -3  # names of malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(map_threshold, 32 << 20)
    mallopt(trim_threshold, 128 << 20)


def is_compiled() -> bool:
    """Return whether the compiled loops are in their cache, so that loading them takes half a second and no
    compiler."""
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or Path(__file__).parent / "__pycache__")
    return any(folder.rglob("_kernels.decode-*.nbi"))


def sized(prediction: np.ndarray, path: Path, target: Target) -> np.ndarray:
    """`prediction` as it is; HarnessError unless it has the size of `target`."""
    if prediction.shape != target.size:
        found, expected = (f"{width} x {height}" for height, width in (prediction.shape, target.size))
        raise HarnessError(f"{path}: {found} pixels, but its ground truth {target.source} has {expected}")
    return prediction


def _inflated(path: Path, *, depth: int, color: int) -> tuple[np.ndarray, int, int] | None:
    """Filtered rows (a filter byte before each) of a PNG of this bit depth and colour type, height and width.

    None for everything else: another kind of PNG, no PNG, damage.
    """
    try:
        with open(path, "rb", buffering=0) as stream:
            file = stream.read()
    except (OSError, ValueError):  # ValueError: a name with a null character
        return None
    if file[:8] != b"\x89PNG\r\n\x1a\n" or file[12:16] != b"IHDR" or len(file) < 33:
        return None
    width, height, *kind = struct.unpack(">IIBBBBB", file[16:29])
    if kind != [depth, color, 0, 0, 0] or not 0 < width * height < 1 << 27:
        return None
    body, place = [], 33
    while place + 12 <= len(file):
        (length,) = struct.unpack_from(">I", file, place)
        name, stop = file[place + 4 : place + 8], place + 8 + length
        if name == b"IDAT":
            body.append(memoryview(file)[place + 8 : stop])
        elif body or name == b"tRNS":
            break
        place = stop + 4
    channels = 3 if color == 2 else 1
    size = height * (1 + width * channels * depth // 8)
    data = _inflate(body[0] if len(body) == 1 else b"".join(body), size) if body else None
    return None if data is None or len(data) != size else (np.frombuffer(data, np.uint8), height, width)


def _inflate(body: bytes | memoryview, size: int) -> bytearray | None:
    """Return the inflated bytes, in a buffer that may be written: loops are compiled for no other."""
    try:
        import deflate
    except ImportError:
        pass  # an accelerator only: zlib gives the same bytes
    else:
        try:
            inflated = deflate.zlib_decompress(body, size)
        except (deflate.DeflateError, ValueError):
            return None
        return inflated if isinstance(inflated, bytearray) else bytearray(inflated)
    try:
        return bytearray(zlib.decompress(body, bufsize=size))
    except zlib.error:
        return None
