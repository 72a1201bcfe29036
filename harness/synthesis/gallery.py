"""The gallery shows the same instances repainted by several generators side by side, for the eye to judge.

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
from harness.synthesis.manifest import ManifestEntry, first_variants, shared
from harness.synthesis.sheet import choose

_SIDE, _GAP, _TEXT, _HEAD = 112, 8, 190, 58
_INK, _PALE, _PAPER = (28, 28, 30), (120, 120, 126), (255, 255, 255)
_OUTLINE = (255, 0, 200)


def write_gallery(syntheses: Mapping[str, Path], path: Path, *, title: str, count: int = 12) -> Path:
    """Draw the first variants of at most `count` instances that most `syntheses` (label to folder) have made.

    Rows are instances, spread over the classes; columns the prompt, the real crop with the instance's outline, and one
    per synthesis in the order given, empty where it has not that instance. HarnessError when nothing was repainted.
    """
    made = {label: first_variants(folder) for label, folder in syntheses.items()}
    rows = choose(shared(made.values()), count)
    if not rows:
        raise HarnessError(f"no instance was repainted by {', '.join(map(repr, syntheses)) or 'no synthesis'}")
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
        has = {name: syntheses[name] / made[name][key].crops.generated for name in syntheses if key in made[name]}
        pictures: list[Image.Image | None] = [_outlined(syntheses[next(iter(has))], entry)]
        pictures += [_squared(read_image(has[name])) if name in has else None for name in syntheses]
        for column, picture in enumerate(pictures):
            if picture is not None:
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


def _outlined(folder: Path, entry: ManifestEntry) -> Image.Image:
    """Return the real crop with the border of its mask drawn on it."""
    picture = np.array(_squared(read_image(folder / entry.crops.real)))
    mask = Image.fromarray(read_mask(folder / entry.crops.mask)).resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
    inside = np.pad(np.asarray(mask) > 127, 1)
    core = inside[1:-1, 1:-1]
    neighbours = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    picture[core & ~neighbours] = _OUTLINE
    return Image.fromarray(picture)


def _squared(image: np.ndarray) -> Image.Image:
    """Return a square crop at the gallery's side; pixels of small ones stay visible."""
    how = Image.Resampling.NEAREST if 2 * image.shape[0] <= _SIDE else Image.Resampling.LANCZOS
    return Image.fromarray(image).resize((_SIDE, _SIDE), how)
