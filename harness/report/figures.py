"""Figures as inline SVG: bars, curves, intervals, scatter. Plain strings; colours come from the page's style sheet.

Every mark carries a <title>, so that values are read on hover and by screen readers; nothing is told by colour alone.
"""

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from harness.core.numbers import number

WIDTH = 760
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 24, 40


class Series(NamedTuple):
    """A named list of points; None is a gap."""

    name: str
    points: Sequence[tuple[float, float] | None]


class Whisker(NamedTuple):
    """A value with its interval to draw; `low` and `high` are None where there is none."""

    label: str
    value: float
    low: float | None
    high: float | None


class Axis(NamedTuple):
    """A linear axis: data range, pixel range, ticks."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def bars(title: str, groups: Sequence[str], series: Sequence[tuple[str, Sequence[float | None]]], *, unit: str) -> str:
    """Grouped bars, one group per entry of `groups`, one bar per series; undefined values leave a gap with a dash."""
    height = 280
    values = [value for _, row in series for value in row if value is not None]
    axis = _axis([0.0, *values], height - BOTTOM, TOP)
    slot = (WIDTH - LEFT - RIGHT) / max(1, len(groups))
    width = slot * 0.8 / max(1, len(series))
    marks = [_horizontal(axis, unit)]
    for place, group in enumerate(groups):
        x = LEFT + slot * place
        marks.append(_text(x + slot / 2, height - BOTTOM + 16, group, anchor="middle"))
        for order, (name, row) in enumerate(series):
            left, value = x + slot * 0.1 + width * order, row[place]
            if value is None:
                marks.append(_text(left + width / 2, axis.at(0) - 3, "–", anchor="middle"))
                continue
            top, bottom = sorted((axis.at(value), axis.at(0)))
            label = escape(f"{group}, {name}: {number(value, 1)} {unit}")
            marks.append(
                f'<rect class="s{order % 8}" x="{left:.1f}" y="{top:.1f}" width="{max(width - 1, 0.5):.1f}" '
                f'height="{max(bottom - top, 0.5):.1f}"><title>{label}</title></rect>'
            )
    return _figure(title, height, marks, [name for name, _ in series])


def curves(title: str, series: Sequence[Series], *, x: str, y: str) -> str:
    """Lines over a common axis; a gap breaks a line."""
    height = 300
    points = [point for line in series for point in line.points if point is not None]
    across = _axis([px for px, _ in points] or [0.0], LEFT, WIDTH - RIGHT, nice=False)
    up = _axis([py for _, py in points] or [0.0], height - BOTTOM, TOP)
    marks = [_horizontal(up, y), _vertical(across, x, height)]
    for order, line in enumerate(series):
        path, pen = [], "M"
        for point in line.points:
            if point is None:
                pen = "M"
                continue
            path.append(f"{pen}{across.at(point[0]):.1f} {up.at(point[1]):.1f}")
            pen = "L"
        last = next((point for point in reversed(line.points) if point is not None), None)
        told = f"{line.name}: {number(last[1], 3)} at {number(last[0], 0)}" if last else line.name
        marks.append(
            f'<path class="line s{order % 8} d{order // 8}" d="{"".join(path)}"><title>{escape(told)}</title></path>'
        )
    return _figure(title, height, marks, [line.name for line in series])


def whiskers(title: str, items: Sequence[Whisker], *, unit: str) -> str:
    """Values with their intervals on one axis, zero marked: one line per item."""
    height = TOP + 26 * len(items) + BOTTOM
    left = 24 + 6.5 * max((len(item.label) for item in items), default=0)
    ends = [end for item in items for end in (item.value, item.low, item.high) if end is not None]
    axis = _axis([0.0, *ends], left, WIDTH - RIGHT)
    marks = [_vertical(axis, unit, height), f'<path class="zero" d="M{axis.at(0):.1f} {TOP}V{height - BOTTOM}"/>']
    for place, item in enumerate(items):
        y = TOP + 26 * place + 13
        told = f"{item.label}: {_told(item, unit)}"
        if item.low is not None and item.high is not None:
            marks.append(f'<path class="whisker" d="M{axis.at(item.low):.1f} {y}H{axis.at(item.high):.1f}"/>')
        marks.append(_text(left - 12, y + 4, item.label, anchor="end"))
        marks.append(
            f'<circle class="s0" cx="{axis.at(item.value):.1f}" cy="{y}" r="5"><title>{escape(told)}</title></circle>'
        )
    return _figure(title, height, marks, [])


def scatter(title: str, points: Sequence[tuple[float, Whisker]], *, x: str, y: str) -> str:
    """Named points with their intervals upright: (place along `x`, value along `y`)."""
    height = 300
    across = _axis([px for px, _ in points] or [0.0], LEFT, WIDTH - RIGHT - 120)
    ends = [end for _, item in points for end in (item.value, item.low, item.high) if end is not None]
    up = _axis(ends or [0.0], height - BOTTOM, TOP)
    marks = [_horizontal(up, y), _vertical(across, x, height)]
    for order, (px, item) in enumerate(points):
        place, told = across.at(px), escape(f"{item.label}: {x} {number(px, 3)}, {_told(item, y)}")
        if item.low is not None and item.high is not None:
            marks.append(f'<path class="whisker" d="M{place:.1f} {up.at(item.low):.1f}V{up.at(item.high):.1f}"/>')
        marks.append(
            f'<circle class="s{order % 8}" cx="{place:.1f}" cy="{up.at(item.value):.1f}" r="5">'
            f"<title>{told}</title></circle>"
        )
        marks.append(_text(place + 9, up.at(item.value) + 4, item.label))
    return _figure(title, height, marks, [])


def _figure(title: str, height: float, marks: Iterable[str], names: Sequence[str]) -> str:
    legend = "".join(
        f'<li><svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true"><rect class="s{order % 8}" '
        f'width="12" height="12"/></svg> {escape(name)}</li>'
        for order, name in enumerate(names)
    )
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">{"".join(marks)}</svg>'
        f"{f'<ul class=legend>{legend}</ul>' if len(names) > 1 else ''}</figure>"
    )


def _axis(values: Sequence[float], start: float, end: float, *, nice: bool = True) -> Axis:
    """An axis over `values` with at most seven round ticks; `nice` widens it to the ticks at both ends."""
    low, high = min(values), max(values)
    if high - low < 1e-9:
        low, high = (0.0, 1.0) if low == 0 else (low - 0.5, high + 0.5)
    step = 10 ** math.floor(math.log10((high - low) / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 6)
    first, last = math.floor(low / step), math.ceil(high / step)
    if nice:
        low, high = first * step, last * step
    ticks = tuple(index * step for index in range(first, last + 1) if low - 1e-9 <= index * step <= high + 1e-9)
    return Axis(low, high, start, end, ticks)


def _horizontal(axis: Axis, label: str) -> str:
    lines = [
        f'<path class="grid" d="M{LEFT} {axis.at(tick):.1f}H{WIDTH - RIGHT}"/>'
        + _text(LEFT - 6, axis.at(tick) + 4, _tick(tick), anchor="end")
        for tick in axis.ticks
    ]
    return "".join(lines) + _text(4, 12, label)


def _vertical(axis: Axis, label: str, height: float) -> str:
    base = height - BOTTOM
    lines = [
        f'<path class="grid" d="M{axis.at(tick):.1f} {TOP}V{base}"/>'
        + _text(axis.at(tick), base + 16, _tick(tick), anchor="middle")
        for tick in axis.ticks
    ]
    return "".join(lines) + _text((axis.start + axis.end) / 2, height - 6, label, anchor="middle")


def _told(item: Whisker, unit: str) -> str:
    """A value and its interval in words."""
    text = f"{number(item.value, 2, signed=True)} {unit}"
    if item.low is None or item.high is None:
        return text
    return f"{text}, 95 % interval {number(item.low, 2, signed=True)} to {number(item.high, 2, signed=True)}"


def _tick(value: float) -> str:
    return number(value, 0 if abs(value - round(value)) < 1e-9 else 2)


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
