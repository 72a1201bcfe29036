"""The picture of the house, drawn from the package itself: `python tests/architecture.py` writes it again.

One row a layer, upper rows import lower ones; the sentence in a room is the first line of its package's docstring.
"""

import ast
import textwrap
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "architecture.svg"

LAYERS = (
    ("core",),
    ("data",),
    ("weights",),
    ("generators", "metrics", "quality", "export"),
    ("segmenters", "synthesis", "training_metrics"),
    ("stages",),
    ("planning",),
    ("running", "results", "inference", "tiny_training"),
    ("report", "rehearsal"),
    ("commands", "api"),
    ("cli",),
    ("__main__",),
)
"""Rooms from the ground up. Rooms of one line do not import each other."""

WIDTH, GAP, LINE, PAD = 1000, 12, 16, 10
STYLE = """
svg { font-family: system-ui, sans-serif; color-scheme: light dark; }
rect { fill: #eef2f7; stroke: #8a99ad; } .name { font-weight: 600; font-size: 15px; fill: #16202c; }
.what { font-size: 12px; fill: #3b4856; } .down { font-size: 12px; fill: #5d6b7a; }
@media (prefers-color-scheme: dark) { rect { fill: #1f2733; stroke: #55647a; } .name { fill: #eef2f7; }
.what { fill: #b9c4d0; } .down { fill: #93a1b1; } }
""".strip()


def sentence(room: str) -> str:
    """What the room is for, as its package says."""
    folder = ROOT / "harness" / room
    path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0].replace("\n", " ")


def draw() -> str:
    """The picture as SVG text."""
    boxes, y = [], GAP
    for layer in reversed([layer for layer in LAYERS if layer != ("__main__",)]):
        wide = (WIDTH - GAP * (len(layer) + 1)) / len(layer)
        told = [textwrap.wrap(sentence(room), int((wide - 2 * PAD) / 6.5)) for room in layer]
        high = 2 * PAD + LINE * (1 + max(map(len, told)))
        for place, (room, lines) in enumerate(zip(layer, told, strict=True)):
            x = GAP + place * (wide + GAP)
            boxes.append(
                f'<rect x="{x:.0f}" y="{y}" width="{wide:.0f}" height="{high}" rx="6" fill="#eef2f7" stroke="#8a99ad"/>'
            )
            boxes.append(
                f'<text class="name" fill="#16202c" x="{x + PAD:.0f}" y="{y + PAD + 12}">{escape(room)}</text>'
            )
            for number, line in enumerate(lines, start=1):
                boxes.append(
                    f'<text class="what" fill="#3b4856" x="{x + PAD:.0f}" y="{y + PAD + 12 + LINE * number}">'
                    f"{escape(line)}</text>"
                )
        y += high + GAP
    boxes.append(f'<text class="down" x="{GAP}" y="{y + 8}">Imports go down, never up, and form no circle.</text>')
    size = f'viewBox="0 0 {WIDTH} {y + 20}" width="{WIDTH}"'
    return "\n".join(
        [f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">', f"<style>{STYLE}</style>", *boxes, "</svg>", ""]
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
