"""This module reads images, and reads and writes label PNGs: ids (16 bit), label ids (8 bit), panoptic ids (RGB),
masks.

Whatever is wrong with a file becomes one HarnessError that names it.
"""

import logging
import os
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from harness.core.errors import HarnessError
from harness.core.files import write_bytes

log = logging.getLogger(__name__)

_SAID: set[str] = set()
"""Modes of images whose loss was said."""

_HEAD, _TAIL = b"\x89PNG\r\n\x1a\n", b"\0\0\0\0IEND\xaeB`\x82"
"""The first and the last bytes of every PNG (PNG specification, sections 5.2 and 11.2.5)."""


def read_image(path: Path) -> np.ndarray:
    """Return an image as uint8 [H, W, 3] RGB, turned as its camera wrote down (EXIF) and as viewers show it.

    HarnessError when it is missing, truncated or not 8-bit.
    """
    image = _turned(decoded(path))
    if image.mode in ("I", "I;16", "I;16B", "F"):
        raise HarnessError(f"{path}: expected an 8-bit colour image, found mode {image.mode}")
    return np.array(image.convert("RGB"))


def read_ids(path: Path) -> np.ndarray:
    """Ids of pixels as uint16 [H, W]; HarnessError when missing, truncated or not 16-bit grey."""
    image = decoded(path)
    if image.mode not in ("I", "I;16"):
        raise HarnessError(
            f"{path}: expected 16-bit grey instance ids, found mode {image.mode}",
            hint="8 bits cannot hold ids such as 26001; use the *_gtFine_instanceIds.png of gtFine",
        )
    return np.asarray(image).astype(np.uint16)


def read_labels(path: Path) -> np.ndarray:
    """Label ids as unsigned integers [H, W]; palette images give their indices, as in the official script."""
    image = decoded(path)
    if image.mode not in ("L", "P", "1", "I", "I;16"):
        raise HarnessError(f"{path}: expected label ids in one channel, found mode {image.mode}")
    return np.asarray(image).astype(np.uint16 if image.mode.startswith("I") else np.uint8)


def read_segments(path: Path) -> np.ndarray:
    """Panoptic ids as int32 [H, W]: R + 256 G + 65536 B; an alpha channel is ignored."""
    image = decoded(path)
    if image.mode not in ("RGB", "RGBA"):
        raise HarnessError(f"{path}: expected segment ids as RGB, found mode {image.mode}")
    color = np.asarray(image).astype(np.int32)
    return color[..., 0] + 256 * color[..., 1] + 65536 * color[..., 2]


def read_mask(path: Path) -> np.ndarray:
    """Return a binary mask as uint8 [H, W], non-zero inside: what Pillow's conversion to "L" leaves above 0.

    The conversion is part of the benchmark's definition: palette images go through their palette, colours are weighed.
    """
    image = decoded(path)
    mask = np.asarray(image.convert("L"))
    if image.mode not in ("1", "L") and not mask.any():
        _say_if_lost(image, path)
    return mask


def _say_if_lost(image: Image.Image, path: Path) -> None:
    """Warn, once for each mode, that a mask is empty only as the benchmark reads it."""
    hidden = np.asarray(image if image.mode in ("P", "PA") else image.convert("RGBA").getchannel("A"))
    if image.mode not in _SAID and hidden.any() and (image.mode in ("P", "PA") or not hidden.all()):
        _SAID.add(image.mode)
        what = "indices into a black palette" if image.mode in ("P", "PA") else "an alpha channel alone"
        log.warning("%s: the mask holds %s, which the benchmark reads as empty; write gray, 255 inside", path, what)


def write(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 [H, W, 3] (RGB), uint8 [H, W] or uint16 [H, W] as PNG, atomically, fast rather than small."""
    import cv2

    photo = pixels.ndim == 3
    # Photographs: the average filter and run lengths; label maps: the up filter turns equal rows into zeros.
    strategy = cv2.IMWRITE_PNG_STRATEGY_RLE if photo else cv2.IMWRITE_PNG_STRATEGY_DEFAULT
    row_filter = cv2.IMWRITE_PNG_FILTER_AVG if photo else cv2.IMWRITE_PNG_FILTER_UP
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, strategy, cv2.IMWRITE_PNG_FILTER, row_filter]
    _, data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if photo else pixels, options)
    write_bytes(path, data.tobytes())


def is_whole(path: Path) -> bool:
    """Return whether a file begins and ends as a PNG does, so that nothing of it was lost; its pixels are not read."""
    try:
        with open(path, "rb") as file:
            head = file.read(len(_HEAD))
            file.seek(-len(_TAIL), os.SEEK_END)
            return head == _HEAD and file.read() == _TAIL
    except OSError:
        return False


def size_of(path: Path) -> tuple[int, int]:
    """Return height and width of an image as `read_image` gives it, from its head; HarnessError when there is none."""
    with _opened(path) as image:
        across = _orientation(image) >= _FIRST_ACROSS
        return (image.width, image.height) if across else (image.height, image.width)


_FIRST_ACROSS = 5
"""EXIF orientations from here on exchange rows and columns."""


def _orientation(image: Image.Image) -> int:
    # Pillow decodes a PNG to look for EXIF behind its pixels; what stands before them is known by now.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    found = image.getexif().get(ExifTags.Base.Orientation, 1)
    return found if found in range(1, 9) else 1


def _turned(image: Image.Image) -> Image.Image:
    return image if _orientation(image) == 1 else ImageOps.exif_transpose(image)


def decoded(path: Path) -> Image.Image:
    """Return the image of a file, decoded whole; HarnessError when it is missing, truncated or too large to be one."""
    image = _opened(path)
    try:
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from None
    return image


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except FileNotFoundError:
        raise HarnessError(f"{path}: no such file") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> HarnessError:
    if os.path.isfile(path) and path.stat().st_size == 0:  # false for a name that no file can have
        return HarnessError(f"{path}: the file is empty")
    return HarnessError(f"{path}: truncated or not a readable image: {error}")
