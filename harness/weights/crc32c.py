"""This module computes CRC-32C, the checksum of TensorFlow's files, compiled: eight bytes a step."""

import numpy as np
from numba import njit

_POLYNOMIAL = 0x82F63B78
"""Castagnoli's, bits reversed."""
_MASK_DELTA = 0xA282EAD8


def _tables() -> np.ndarray:
    """Remainders of every byte followed by 0 to 7 zero bytes, uint32 [8, 256]."""
    tables = np.zeros((8, 256), np.uint32)
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = np.where(values & 1, (values >> 1) ^ np.uint32(_POLYNOMIAL), values >> 1)
    tables[0] = values
    for k in range(1, 8):
        tables[k] = (tables[k - 1] >> 8) ^ values[tables[k - 1] & 0xFF]
    return tables


_TABLES = _tables()


def crc32c(data: bytes | memoryview | np.ndarray) -> int:
    """Return the CRC-32C of bytes."""
    return int(_crc(np.frombuffer(data, np.uint8), _TABLES))


def masked(crc: int) -> int:
    """Return the form in which TensorFlow and LevelDB store a CRC: rotated by 15 bits, plus a constant."""
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


@njit(cache=True, nogil=True, boundscheck=False)
def _crc(data, tables):  # type: ignore[no-untyped-def]
    crc = np.uint32(0xFFFFFFFF)
    whole = len(data) // 8 * 8
    for start in range(0, whole, 8):
        low = crc ^ (
            np.uint32(data[start])
            | (np.uint32(data[start + 1]) << np.uint32(8))
            | (np.uint32(data[start + 2]) << np.uint32(16))
            | (np.uint32(data[start + 3]) << np.uint32(24))
        )
        crc = (
            tables[7, low & np.uint32(0xFF)]
            ^ tables[6, (low >> np.uint32(8)) & np.uint32(0xFF)]
            ^ tables[5, (low >> np.uint32(16)) & np.uint32(0xFF)]
            ^ tables[4, low >> np.uint32(24)]
            ^ tables[3, data[start + 4]]
            ^ tables[2, data[start + 5]]
            ^ tables[1, data[start + 6]]
            ^ tables[0, data[start + 7]]
        )
    for k in range(whole, len(data)):
        crc = tables[0, (crc ^ data[k]) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
    return crc ^ np.uint32(0xFFFFFFFF)
