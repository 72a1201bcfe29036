"""The gallery: the same instances repainted by several generators, side by side, for the eye to judge beside the
scores.

Raw results before the paste, as the image metrics see them. One synthesis on its own is shown by sheet.py.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from harness.core.errors import HarnessError
from harness.core.files import write_bytes
from harness.data.png import read_image, read_mask
from harness.synthesis.manifest import Entry, read_manifest
from harness.synthesis.sheet import choose

_SIDE, _GAP, _TEXT, _HEAD = 112, 8, 190, 58
_INK, _PALE, _PAPER = (28, 28, 30), (120, 120, 126), (255, 255, 255)
_OUTLINE = (255, 0, 200)

_Key = tuple[str, int]


def write_gallery(syntheses: Mapping[str, Path], path: Path, *, title: str, count: int = 12) -> Path:
    """Draw the first variants of at most `count` instances that all `syntheses` (label to folder) have made.

    Rows are instances, spread over the classes; columns the prompt, the real crop with the instance's outline, and one
    per synthesis in the order given. HarnessError when they have no instance in common.
    """
    made = {label: _first_variants(folder) for label, folder in syntheses.items()}
    shared = set.intersection(*(set(entries) for entries in made.values())) if made else set()
    if not shared:
        raise HarnessError(f"no instance was repainted by all of {', '.join(map(repr, syntheses)) or 'no synthesis'}")
    label, folder = next(iter(syntheses.items()))
    rows = choose([entry for key, entry in made[label].items() if key in shared], count)
    columns = ["real, outlined", *syntheses]
    width = _GAP + _TEXT + len(columns) * (_SIDE + _GAP)
    sheet = Image.new("RGB", (width, _HEAD + len(rows) * (_SIDE + _GAP)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, 8), title, _INK, ImageFont.load_default(16))
    for number, name in enumerate(columns):
        place = (_GAP + _TEXT + number * (_SIDE + _GAP), _HEAD - 20)
        draw.text(place, _fitting(name), _PALE, ImageFont.load_default(12))
    for number, entry in enumerate(rows):
        top = _HEAD + number * (_SIDE + _GAP)
        for line, text in enumerate((entry.prompt, f"{entry.class_name} {entry.instance}", entry.source)):
            draw.text((_GAP, top + 8 + 18 * line), text, _PALE if line else _INK, ImageFont.load_default(12))
        key = (entry.source, entry.instance)
        pictures = [_outlined(folder, entry)]
        pictures += [_squared(read_image(syntheses[name] / made[name][key].crops.generated)) for name in syntheses]
        for column, picture in enumerate(pictures):
            sheet.paste(picture, (_GAP + _TEXT + column * (_SIDE + _GAP), top))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_bytes(path, buffer.getvalue())
    return path


def _fitting(name: str) -> str:
    """`name`, or as much of it as stands over one column."""
    font = ImageFont.load_default(12)
    if font.getlength(name) <= _SIDE:
        return name
    kept = next(end for end in range(len(name), 0, -1) if font.getlength(f"{name[:end].rstrip()}…") <= _SIDE)
    return f"{name[:kept].rstrip()}…"


def _first_variants(folder: Path) -> dict[_Key, Entry]:
    entries = (entry for entry in read_manifest(folder) if entry.status == "made" and entry.pair)
    return {(entry.source, entry.instance): entry for entry in entries if entry.variant == 0}


def _outlined(folder: Path, entry: Entry) -> Image.Image:
    """The real crop with the border of its mask drawn on it."""
    picture = np.array(_squared(read_image(folder / entry.crops.real)))
    mask = Image.fromarray(read_mask(folder / entry.crops.mask)).resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
    inside = np.pad(np.asarray(mask) > 127, 1)
    core = inside[1:-1, 1:-1]
    neighbours = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    picture[core & ~neighbours] = _OUTLINE
    return Image.fromarray(picture)


def _squared(image: np.ndarray) -> Image.Image:
    """A square crop at the gallery's side; pixels of small ones stay visible."""
    how = Image.Resampling.NEAREST if 2 * image.shape[0] <= _SIDE else Image.Resampling.LANCZOS
    return Image.fromarray(image).resize((_SIDE, _SIDE), how)
