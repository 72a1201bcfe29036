"""The sample sheet shows what a synthesis made, so that a person can check it.

Rows are spread over the classes; each shows the real crop, the mask, the prompt, what the generator returned and the
training image that came of it.
"""

import io
from collections import defaultdict
from itertools import zip_longest
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from harness.core.files import write_bytes
from harness.synthesis.manifest import ManifestEntry

_ROWS, _PANELS = 16, 2
_SIDE, _WIDE, _TEXT, _GAP, _HEAD = 128, 256, 190, 10, 84
_INK, _PALE, _PAPER, _RULE = (28, 28, 30), (120, 120, 126), (255, 255, 255), (224, 224, 228)


def write_sheet(out: Path, entries: list[ManifestEntry], *, title: str) -> Path:
    """Draw out/samples.png from the files that `entries` name, at most 16 rows; returns its path."""
    chosen = choose(entries, _ROWS)
    rows = -(-len(chosen) // _PANELS)
    panel = _GAP + 3 * (_SIDE + _GAP) + _TEXT + _WIDE + 2 * _GAP
    sheet = Image.new("RGB", (panel * min(_PANELS, len(chosen)), _HEAD + rows * (_SIDE + _GAP) + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    made = sum(entry.status == "made" for entry in entries)
    draw.text((_GAP, 10), title, _INK, _font(20))
    draw.text((_GAP, 36), f"{len(chosen)} of {made} images, spread over the classes", _PALE, _font(12))
    for column in range(min(_PANELS, len(chosen))):
        _head(draw, column * panel)
    for index, entry in enumerate(chosen):
        left, top = index // rows * panel, _HEAD + index % rows * (_SIDE + _GAP)
        draw.line((left + _GAP, top - _GAP // 2, left + panel - _GAP, top - _GAP // 2), _RULE)
        _row(sheet, draw, out, entry, left + _GAP, top)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_bytes(out / "samples.png", buffer.getvalue())
    return out / "samples.png"


def choose(entries: list[ManifestEntry], count: int) -> list[ManifestEntry]:
    """At most `count` made entries, one an instance, class after class, evenly spread within each class."""
    of_instance: dict[tuple[str, int], ManifestEntry] = {}
    for entry in entries:
        if entry.status == "made":
            of_instance.setdefault((entry.source, entry.instance), entry)
    of_class: dict[int, list[ManifestEntry]] = defaultdict(list)
    for entry in of_instance.values():
        of_class[entry.label_id].append(entry)
    spread = [_spread(of_class[label], count) for label in sorted(of_class)]
    rounds = [entry for turn in zip_longest(*spread) for entry in turn if entry is not None]
    return sorted(rounds[:count], key=lambda entry: (entry.label_id, entry.name))


def _spread(entries: list[ManifestEntry], count: int) -> list[ManifestEntry]:
    """At most `count` of `entries` at even distances, in an order whose every beginning is spread out too."""
    step = max(1, len(entries) // count)
    picked = entries[::step][:count]
    return picked[::2] + picked[1::2]


def _head(draw: ImageDraw.ImageDraw, left: int) -> None:
    x = left + _GAP
    for text, width in (("real crop", _SIDE), ("mask", _SIDE), ("generated", _SIDE), ("prompt", _TEXT), ("result", 0)):
        draw.text((x, _HEAD - 22), text, _PALE, _font(12))
        x += width + _GAP


def _row(sheet: Image.Image, draw: ImageDraw.ImageDraw, out: Path, entry: ManifestEntry, x: int, y: int) -> None:
    for path in entry.crops:
        sheet.paste(_fitted(out / path, _SIDE, _SIDE), (x, y))
        x += _SIDE + _GAP
    for line, (text, ink, size) in enumerate(_lines(entry)):
        draw.text((x, y + 8 + 19 * line), text, ink, _font(size))
    assert entry.file, f"{entry.name} was not made"
    sheet.paste(_fitted(out / entry.file, _WIDE, _SIDE), (x + _TEXT + _GAP, y))


def _lines(entry: ManifestEntry) -> list[tuple[str, tuple[int, int, int], int]]:
    zoom = "whole frame" if entry.zoom is None else f"zoom {entry.zoom:.2f}"
    lines = [
        (entry.prompt, _INK, 13),
        (f"{entry.class_name} {entry.instance}", _PALE, 11),
        (f"from {entry.source}", _PALE, 11),
        (f"{entry.area} px, {zoom}", _PALE, 11),
    ]
    if entry.target != entry.source:
        lines.append((f"into {entry.target}", _PALE, 11))
    return lines


def _fitted(path: Path, width: int, height: int) -> Image.Image:
    """Return the picture of a file, scaled to fit and centred on a pale ground."""
    with Image.open(path) as image:
        picture = image.convert("RGB")
    scale = min(width / picture.width, height / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    filter_ = Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS
    ground = Image.new("RGB", (width, height), (244, 244, 246))
    ground.paste(picture.resize(size, filter_), ((width - size[0]) // 2, (height - size[1]) // 2))
    return ground


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
