"""This module reads checkpoints of TensorFlow 2 without TensorFlow, and runs nothing that they hold.

A checkpoint PREFIX is an index PREFIX.index, a table as LevelDB writes it (blocks, raw or snappy, with a checksum each)
of one entry per variable, and shards PREFIX.data-00000-of-00001 with the values, whose checksum stands in the entry.
Formats: leveldb/doc/table_format.md, snappy/format_description.txt, tensorflow/core/protobuf/tensor_bundle.proto.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.core.errors import HarnessError

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_DTYPES = {
    1: np.float32,
    2: np.float64,
    3: np.int32,
    4: np.uint8,
    5: np.int16,
    6: np.int8,
    9: np.int64,
    10: np.bool_,
    19: np.float16,
}
"""Of tensorflow/core/framework/types.proto; strings and quantised types hold no weights."""
_BFLOAT16 = 14
_OBJECT = "/.ATTRIBUTES/VARIABLE_VALUE"


@dataclass(frozen=True, kw_only=True)
class BundleEntry:
    """This says where the value of a variable lies: `shape`, and `size` bytes at `offset` of the shard; `crc` as it is
    stored."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int


class Bundle:
    """A checkpoint; `entries` by the name of the variable, the path of attributes that leads to it."""

    def __init__(self, prefix: Path | str) -> None:
        """HarnessError when there is no index of that name, or it is damaged."""
        self.prefix = Path(str(prefix).removesuffix(".index"))
        self.path = Path(f"{self.prefix}.index")
        if not self.path.is_file():
            raise HarnessError(
                f"{self.path}: no such file",
                hint="a checkpoint of TensorFlow is named by what its files have in common: ckpt-60000, say",
            )
        try:
            self.shards, self.entries = _read_index(self.path.read_bytes(), self.path)
        except (IndexError, struct.error, UnicodeDecodeError) as error:
            raise _damaged(self.path, f"it ends early or holds what it should not ({error})") from None

    def read(self, name: str) -> np.ndarray:
        """Return the value of a variable, its checksum checked; HarnessError when it is of no numeric type or
        damaged."""
        from harness.weights.crc32c import crc32c, masked

        entry = self.entries[name]
        path = Path(f"{self.prefix}.data-{entry.shard:05d}-of-{self.shards:05d}")
        if entry.dtype not in _DTYPES and entry.dtype != _BFLOAT16:
            raise HarnessError(f"{path}: {name}: values of type {entry.dtype} of TensorFlow are not read")
        try:
            with path.open("rb") as file:
                file.seek(entry.offset)
                data = file.read(entry.size)
        except OSError as error:
            raise HarnessError(f"{path}: not readable: {error.strerror}") from None
        if len(data) != entry.size or masked(crc32c(data)) != entry.crc:
            raise _damaged(path, f"the checksum of {name} is not that of its bytes")
        if entry.dtype == _BFLOAT16:  # the upper half of a float32
            return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(entry.shape)
        return np.frombuffer(data, np.dtype(_DTYPES[entry.dtype]).newbyteorder("<")).reshape(entry.shape)


def snappy(data: bytes) -> bytes:
    """Raw snappy, unpacked; IndexError when it ends early or points before its beginning."""
    expected, place = _varint(data, 0)
    out = bytearray()
    while place < len(data):
        tag, place = data[place], place + 1
        if tag & 3 == 0:  # literal
            length = tag >> 2
            if length >= 60:
                count = length - 59
                length, place = int.from_bytes(_exactly(data, place, count), "little"), place + count
            out += _exactly(data, place, length + 1)
            place += length + 1
            continue
        if tag & 3 == 1:
            length, offset, place = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | data[place], place + 1
        else:
            count = 2 if tag & 3 == 2 else 4
            length, offset = (tag >> 2) + 1, int.from_bytes(_exactly(data, place, count), "little")
            place += count
        if not 0 < offset <= len(out):
            raise IndexError("a copy from before the beginning")
        for _ in range(length):  # byte by byte: a copy may overlap what it writes
            out.append(out[-offset])
    if len(out) != expected:
        raise IndexError(f"{len(out)} bytes instead of {expected}")
    return bytes(out)


def _read_index(data: bytes, path: Path) -> tuple[int, dict[str, BundleEntry]]:
    """Number of shards, and the entries by name; those of the optimiser are left out."""
    if len(data) < _FOOTER or struct.unpack("<Q", data[-8:])[0] != _MAGIC:
        raise _damaged(path, "it is no index of a TensorFlow checkpoint")
    footer = data[-_FOOTER:]
    _, place = _varint(footer, 0)
    _, place = _varint(footer, place)
    shards, entries = 0, {}
    for _, handle in _block(data, *_handle(footer[place:]), path):
        for key, value in _block(data, *_handle(handle), path):
            if key == b"":
                shards = _header(value, path)
            elif not key.startswith(b"_CHECKPOINTABLE_OBJECT_GRAPH") and b".OPTIMIZER_SLOT" not in key:
                entries[key.decode().removesuffix(_OBJECT)] = _entry(value)
    return shards, entries


def _block(data: bytes, offset: int, size: int, path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a block; keys share a beginning with the one before."""
    from harness.weights.crc32c import crc32c, masked

    content, kind = _exactly(data, offset, size), data[offset + size]
    (crc,) = struct.unpack("<I", _exactly(data, offset + size + 1, 4))
    if masked(crc32c(content + bytes([kind]))) != crc:
        raise _damaged(path, f"the checksum of the block at byte {offset} is wrong")
    if kind not in (0, 1):
        raise _damaged(path, f"the block at byte {offset} is packed in an unknown way ({kind})")
    content = snappy(content) if kind else content
    (restarts,) = struct.unpack("<I", content[-4:])
    place, end, key = 0, len(content) - 4 * (restarts + 1), b""
    while place < end:
        shared, place = _varint(content, place)
        own, place = _varint(content, place)
        length, place = _varint(content, place)
        key = key[:shared] + _exactly(content, place, own)
        yield key, _exactly(content, place + own, length)
        place += own + length


def _header(value: bytes, path: Path) -> int:
    """Number of shards of a BundleHeaderProto."""
    shards = 1
    for field, content in _fields(value):
        if field == 1:
            shards = int(content)
        elif field == 2 and content:
            raise HarnessError(f"{path}: written on a big-endian machine, which is not read")
    return shards


def _entry(value: bytes) -> BundleEntry:
    """Return a BundleEntryProto."""
    found = {"dtype": 0, "shard": 0, "offset": 0, "size": 0, "crc": 0}
    names = {1: "dtype", 3: "shard", 4: "offset", 5: "size", 6: "crc"}
    shape: list[int] = []
    for field, content in _fields(value):
        if field == 2:
            for part, dimension in _fields(bytes(content)):
                if part == 2:
                    shape.append(next((int(size) for name, size in _fields(bytes(dimension)) if name == 1), 0))
        elif field in names:
            found[names[field]] = int(content)
    return BundleEntry(shape=tuple(shape), **found)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield numbers and contents of the fields of a protocol buffer: whole numbers, or bytes."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        field, kind = key >> 3, key & 7
        if kind == 0:
            number, place = _varint(message, place)
            yield field, number
        elif kind == 2:
            length, place = _varint(message, place)
            yield field, _exactly(message, place, length)
            place += length
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
            yield field, int.from_bytes(_exactly(message, place, length), "little")
            place += length
        else:
            raise IndexError(f"a field of the unknown kind {kind}")


def _handle(data: bytes) -> tuple[int, int]:
    """Offset and size of a block."""
    offset, place = _varint(data, 0)
    return offset, _varint(data, place)[0]


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return a whole number of seven bits a byte, and the place after it."""
    number = shift = 0
    while True:
        byte = data[place]
        number |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return number, place


def _exactly(data: bytes, place: int, length: int) -> bytes:
    """`length` bytes from `place`; IndexError when there are fewer."""
    if place + length > len(data):
        raise IndexError(f"{length} bytes expected at byte {place}")
    return data[place : place + length]


def _damaged(path: Path, what: str) -> HarnessError:
    return HarnessError(f"{path}: damaged: {what}", hint="fetch the checkpoint again")
