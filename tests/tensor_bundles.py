"""Writes checkpoints in TensorFlow's format, from its description; shares no code with the reader."""

import struct
from pathlib import Path

import numpy as np

DTYPES = {
    "float32": 1,
    "float64": 2,
    "int32": 3,
    "uint8": 4,
    "int16": 5,
    "int8": 6,
    "int64": 9,
    "bool": 10,
    "float16": 19,
}
MAGIC = 0xDB4775248B80FB57


def write(prefix: Path, variables: dict[str, np.ndarray], *, packed: bool = False, block: int = 20) -> None:
    """Write `variables` by name as the checkpoint `prefix`; `packed`: blocks in snappy, `block`: entries of each."""
    entries, data = {b"": header()}, bytearray()
    for name, value in sorted(variables.items()):
        raw = np.ascontiguousarray(value).tobytes()
        dtype = 14 if name.endswith("bfloat16") else DTYPES[str(value.dtype)]
        entries[f"{name}/.ATTRIBUTES/VARIABLE_VALUE".encode()] = entry(dtype, value.shape, len(data), raw)
        data += raw
    graph = b"\x08\x01what objects there are"
    entries[b"_CHECKPOINTABLE_OBJECT_GRAPH"] = entry(7, (), len(data), graph)
    data += graph
    prefix.parent.mkdir(parents=True, exist_ok=True)
    Path(f"{prefix}.data-00000-of-00001").write_bytes(data)
    Path(f"{prefix}.index").write_bytes(table(sorted(entries.items()), packed=packed, block=block))


def table(entries: list[tuple[bytes, bytes]], *, packed: bool, block: int) -> bytes:
    """A LevelDB table."""
    out, handles = bytearray(), []
    for first in range(0, len(entries), block):
        part = entries[first : first + block]
        handles.append((part[-1][0], put(out, part, packed=packed)))
    meta = put(out, [], packed=False)
    index = put(out, handles, packed=packed, interval=1)
    footer = meta + index
    return bytes(out) + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC)


def put(out: bytearray, entries: list[tuple[bytes, bytes]], *, packed: bool, interval: int = 16) -> bytes:
    """Append a block to `out`; its handle."""
    content, restarts, last = bytearray(), [], b""
    for number, (key, value) in enumerate(entries):
        if number % interval == 0:
            restarts.append(len(content))
            last = b""
        shared = next((k for k in range(min(len(key), len(last))) if key[k] != last[k]), min(len(key), len(last)))
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    for restart in restarts or [0]:
        content += struct.pack("<I", restart)
    content += struct.pack("<I", len(restarts) or 1)
    stored = snappy(bytes(content)) if packed else bytes(content)
    handle = varint(len(out)) + varint(len(stored))
    stored += b"\1" if packed else b"\0"
    out += stored + struct.pack("<I", masked(stored))
    return handle


def header() -> bytes:
    """A BundleHeaderProto: one shard, little-endian, version 1."""
    return field(1, 1) + field(3, field(1, 1))


def entry(dtype: int, shape: tuple[int, ...], offset: int, raw: bytes) -> bytes:
    """A BundleEntryProto."""
    sizes = b"".join(field(2, field(1, size)) for size in shape)
    found = field(1, dtype) + field(2, sizes)
    if offset:
        found += field(4, offset)
    return found + field(5, len(raw)) + varint(6 << 3 | 5) + struct.pack("<I", masked(raw))


def field(number: int, content: int | bytes) -> bytes:
    """A field of a protocol buffer."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def masked(data: bytes) -> int:
    """The CRC-32C of `data`, bit by bit, in its stored form."""
    crc = 0xFFFFFFFF
    table = _crc_table()
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF


def _crc_table(found: list[int] = []) -> list[int]:  # noqa: B006 (made once)
    if not found:
        for value in range(256):
            for _ in range(8):
                value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
            found.append(value)
    return found


def snappy(data: bytes) -> bytes:
    """Raw snappy: literals, and copies of the last place where four bytes stood before."""
    out, seen, place, start = bytearray(varint(len(data))), {}, 0, 0

    def literal(part: bytes) -> None:
        for first in range(0, len(part), 70):  # lengths over 60 need bytes of their own
            piece = part[first : first + 70]
            size = len(piece) - 1
            out.extend(bytes([size << 2]) if size < 60 else bytes([60 << 2, size]))
            out.extend(piece)

    while place < len(data):
        word = data[place : place + 4]
        before = seen.get(word) if len(word) == 4 else None
        seen[word] = place
        if before is None or place - before >= 1 << 16:
            place += 1
            continue
        length = 4
        while length < 64 and place + length < len(data) and data[before + length] == data[place + length]:
            length += 1
        literal(data[start:place])
        offset = place - before
        if length < 12 and offset < 2048:
            out.extend([1 | length - 4 << 2 | offset >> 8 << 5, offset & 0xFF])
        elif length % 2:
            out.extend(bytes([2 | length - 1 << 2]) + struct.pack("<H", offset))
        else:
            out.extend(bytes([3 | length - 1 << 2]) + struct.pack("<I", offset))
        place += length
        start = place
    literal(data[start:])
    return bytes(out)
