"""This module draws figures as HTML with inline SVG: bars, curves, intervals. They are plain strings, coloured by the
style sheet.

Places across are in percent and texts in pixels: a figure fills the room that there is and its texts stay legible.
Every mark carries a <title>, so that values are read on hover and by screen readers; nothing is told by colour alone.
"""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from harness.core.numbers import number

LEFT, TOP = 56, 24
"""Margins of a plot in pixels, as the style sheet has them: room for the texts at its axes."""
COLORS = 8
"""Up to so many series share a plot; more get one small plot each."""


class Series(NamedTuple):
    """A named list of points; None is a gap. `panel`: what it is one run of."""

    name: str
    points: Sequence[tuple[float, float] | None]
    panel: str = ""

    @property
    def title(self) -> str:
        """Its name where it stands by itself."""
        return f"{self.panel}, {self.name}" if self.panel else self.name


class Whisker(NamedTuple):
    """A value with its interval to draw; `low` and `high` are None where there is none. `group`: its heading."""

    label: str
    value: float
    low: float | None
    high: float | None
    group: str = ""


class Axis(NamedTuple):
    """A linear axis: data range, drawn range (percent across, pixels up), ticks."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    decimals: int

    def at(self, value: float) -> float:
        """Return the place of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def bars(
    title: str,
    groups: Sequence[str],
    series: Sequence[tuple[str, Sequence[float | None]]],
    *,
    units: Sequence[str],
    decimals: int = 1,
    common: bool = True,
) -> str:
    """Bars from zero: a panel for each of `groups` with one named bar per series; a dash where a value is undefined.

    `units`: one for each group; `common`: whether all panels have the same axis.
    """
    every = [value for _, row in series for value in row if value is not None]
    panels = []
    for place, group in enumerate(groups):
        mine = [value for _, row in series if (value := row[place]) is not None]
        axis = _axis([0.0, *(every if common else mine)], 0, 100)
        lines = []
        for name, row in series:
            value = row[place]
            text = "–" if value is None else f"{number(value, decimals)} {units[place]}".strip()
            ends = sorted((axis.at(value or 0), axis.at(0)))
            mark = _svg(
                14,
                f'<rect class="s0" x="{ends[0]:.2f}%" y="2" width="{ends[1] - ends[0]:.2f}%" height="10"/>'
                if value is not None
                else "",
                f"{group}, {name}: {text}",
            )
            lines.append(_row(name, mark, text))
        panels.append(_figure(group, "".join(lines), kind="panel rows"))
    return _figure(title, f'<div class="panels">{"".join(panels)}</div>', kind="wide")


def curves(title: str, series: Sequence[Series], *, x: str, y: str) -> str:
    """Lines over a common axis; a gap breaks a line. More lines than there are colours get a small plot for each panel,
    or each its own where a panel has too many, too."""
    points = [point for line in series for point in line.points if point is not None]
    several = len(series) > COLORS
    height = 150 if several else 240
    across = _axis([px for px, _ in points] or [0.0], 0, 100, most=3 if several else 6)
    up = _axis([py for _, py in points] or [0.0], height, 0, most=3 if several else 6)

    def plot(name: str, lines: Sequence[Series]) -> str:
        drawn = "".join(_line(line, order, across, up) for order, line in enumerate(lines))
        return _plot(height, across, up, _stretched(drawn, height), name, x=x, y=y)

    if not several:
        return _figure(title, plot(title, series) + _legend([line.title for line in series]))
    panels: dict[str, list[Series]] = {}
    for line in series:
        crowded = sum(other.panel == line.panel for other in series) > COLORS
        panels.setdefault(line.title if crowded else line.panel or line.name, []).append(line)
    drawn = [
        _figure(name, plot(f"{title}: {name}", lines) + _legend([line.name for line in lines]), kind="panel")
        for name, lines in panels.items()
    ]
    return _figure(title, f'<div class="panels">{"".join(drawn)}</div>', kind="wide")


def whiskers(title: str, items: Sequence[Whisker], *, unit: str, signed: bool = True) -> str:
    """Values with their intervals on one axis, zero marked: one line per item; a hollow point: zero is not left out."""
    ends = [end for item in items for end in (item.value, item.low, item.high) if end is not None]
    axis = _axis([0.0, *ends], 0, 100)
    grid = "".join(_grid(axis.at(tick), 24, zero=abs(tick) < 1e-9) for tick in axis.ticks)
    lines, group = [], ""
    for item in items:
        if item.group != group:
            group = item.group
            lines.append(f'<p class="group">{escape(group)}</p>')
        marks, sure = [grid], False
        if item.low is not None and item.high is not None:
            sure = item.low > 0 or item.high < 0
            marks.append(
                f'<line class="whisker" x1="{axis.at(item.low):.2f}%" x2="{axis.at(item.high):.2f}%" y1="12" y2="12"/>'
            )
        kind = "s0" if sure else "hollow"
        marks.append(f'<circle class="{kind}" cx="{axis.at(item.value):.2f}%" cy="12" r="5"/>')
        lines.append(
            _row(
                item.label, _svg(24, "".join(marks), f"{item.label}: {_told(item, unit, signed)}"), _short(item, signed)
            )
        )
    ticks = "".join(_text(f"{axis.at(tick):.2f}%", 14, _tick(tick, axis), anchor="middle") for tick in axis.ticks)
    lines.append(
        f'<span></span><svg height="20" aria-hidden="true">{ticks}</svg><span class="value">{escape(unit)}</span>'
    )
    return _figure(title, "".join(lines), kind="rows")


def _figure(title: str, body: str, *, kind: str = "") -> str:
    return f'<figure class="chart {kind}"><figcaption>{escape(title)}</figcaption>{body}</figure>'


def _row(name: str, svg: str, value: str) -> str:
    return f'<span class="name">{escape(name)}</span>{svg}<span class="value">{escape(value)}</span>'


def _svg(height: int, marks: str, told: str) -> str:
    return f'<svg height="{height}" role="img" aria-label="{escape(told)}"><title>{escape(told)}</title>{marks}</svg>'


def _legend(names: Sequence[str]) -> str:
    if len(names) < 2:
        return ""
    entries = "".join(
        f'<li><svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true"><rect class="s{order % COLORS}" '
        f'width="12" height="12"/></svg> {escape(name)}</li>'
        for order, name in enumerate(names)
    )
    return f'<ul class="legend">{entries}</ul>'


def _line(line: Series, order: int, across: Axis, up: Axis) -> str:
    path, pen = [], "M"
    for point in line.points:
        if point is None:
            pen = "M"
            continue
        path.append(f"{pen}{across.at(point[0]):.2f} {up.at(point[1]):.1f}")
        pen = "L"
    last = next((point for point in reversed(line.points) if point is not None), None)
    told = f"{line.title}: {number(last[1], 3)} at {number(last[0], 0)}" if last else line.title
    return f'<path class="line s{order}" d="{"".join(path)}"><title>{escape(told)}</title></path>'


def _stretched(marks: str, height: int) -> str:
    """Paths know no percent: they lie in a box of 100 across that is stretched."""
    how = f'aria-hidden="true" height="{height}" viewBox="0 0 100 {height}" preserveAspectRatio="none"'
    return f'<svg class="stretched" {how}>{marks}</svg>'


def _plot(height: int, across: Axis, up: Axis, marks: str, title: str, *, x: str, y: str) -> str:
    """Marks in a plot with grid, ticks and the names of its axes, which stand in its margins."""
    lines = [_text(str(4 - LEFT), 12 - TOP, y)]
    for tick in up.ticks:
        at = up.at(tick)
        lines.append(f'<line class="grid" x1="0" x2="100%" y1="{at:.1f}" y2="{at:.1f}"/>')
        lines.append(_text("-6", at + 4, _tick(tick, up), anchor="end"))
    for tick in across.ticks:
        lines.append(_grid(across.at(tick), height))
        lines.append(_text(f"{across.at(tick):.2f}%", height + 16, _tick(tick, across), anchor="middle"))
    lines.append(_text("50%", height + 34, x, anchor="middle"))
    return f'<svg class="plot" height="{height}" role="img" aria-label="{escape(title)}">{"".join(lines)}{marks}</svg>'


def _grid(place: float, height: int, *, zero: bool = False) -> str:
    return f'<line class="{"zero" if zero else "grid"}" x1="{place:.2f}%" x2="{place:.2f}%" y1="0" y2="{height}"/>'


def _axis(values: Sequence[float], start: float, end: float, *, most: int = 6) -> Axis:
    """Return an axis over `values` between round ticks, `most` steps at most."""
    low, high = min(values), max(values)
    if high - low < 1e-9:
        low, high = (0.0, 1.0) if low == 0 else (low - 0.5, high + 0.5)
    step = 10 ** math.floor(math.log10((high - low) / most))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= most)
    ticks = tuple(index * step for index in range(math.floor(low / step), math.ceil(high / step) + 1))
    return Axis(ticks[0], ticks[-1], start, end, ticks, max(0, -math.floor(math.log10(step) + 1e-9)))


def _told(item: Whisker, unit: str, signed: bool) -> str:
    """Return a value and its interval in words."""
    text = f"{number(item.value, 2, signed=signed)} {unit}"
    if item.low is None or item.high is None:
        return text
    return f"{text}, 95 % interval {number(item.low, 2, signed=signed)} to {number(item.high, 2, signed=signed)}"


def _short(item: Whisker, signed: bool) -> str:
    """Return the same in figures alone."""
    value, *ends = (number(v, 2, signed=signed) for v in (item.value, item.low, item.high) if v is not None)
    return f"{value} ({' to '.join(ends)})" if len(ends) == 2 else value


def _tick(value: float, axis: Axis) -> str:
    return number(value, axis.decimals)


def _text(x: str, y: float, text: str, *, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
