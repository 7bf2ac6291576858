"""Plots as inline SVG, without scripts: curves, the rounds of a figure on a strip, ratios as bars."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Final

from loadtest.report import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.report import Series

WIDTH: Final = 460
HEIGHT: Final = 230
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 14, 40
STRIP_WIDTH: Final = 150
BAR_WIDTH: Final = 90
LOG_FROM: Final = 30  # a positive axis that spans more than this factor is logarithmic
POINTS: Final = 400  # of one curve at most; more cannot be seen


def curve(series: Series) -> str:
    """A line over axes with a few round ticks."""
    points = _thin(series.points)
    if len(points) < 2:
        return ""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    share = series.y.startswith("%")
    x_axis = _Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT, logarithmic=share and _wide(xs))
    low, high = (0.0, 100.0) if share else _padded(min(ys), max(ys))
    y_axis = _Axis(low, high, HEIGHT - BOTTOM, TOP)
    lines = [
        _line(LEFT, WIDTH - RIGHT, y_axis.at(v), y_axis.at(v))
        + f'<text class="tick" x="{LEFT - 6}" y="{y_axis.at(v) + 3.5:.1f}" text-anchor="end">'
        f"{number(v)}</text>"
        for v in y_axis.ticks()
    ]
    lines += [
        _line(x_axis.at(v), x_axis.at(v), TOP, HEIGHT - BOTTOM)
        + f'<text class="tick" x="{x_axis.at(v):.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">'
        f"{number(v)}</text>"
        for v in x_axis.ticks()
    ]
    path = " ".join(f"{x_axis.at(x):.1f},{y_axis.at(y):.1f}" for x, y in points)
    floor = f"{x_axis.at(xs[0]):.1f},{HEIGHT - BOTTOM} {path} {x_axis.at(xs[-1]):.1f},{HEIGHT - BOTTOM}"
    middle = (LEFT + WIDTH - RIGHT) // 2
    return (
        f"<figure><figcaption>{escape(series.name)} <span>{escape(series.y)}</span></figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(series.name)}">'
        f'{"".join(lines)}<polygon class="area" points="{floor}"/><polyline class="curve" points="{path}"/>'
        f'<text class="axis" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(series.x)}</text>'
        "</svg></figure>"
    )


def strip(values: Sequence[float], middle: float) -> str:
    """One dot per round from 0 to their highest, the median marked."""
    if len(values) < 2:
        return ""
    axis = _Axis(min(0.0, *values), max(*values, 1e-12), 6, STRIP_WIDTH - 6)
    dots = "".join(f'<circle class="dot" cx="{axis.at(v):.1f}" cy="9" r="3"/>' for v in values)
    at = axis.at(middle)
    return (
        f'<svg class="strip" viewBox="0 0 {STRIP_WIDTH} 18" role="img" aria-label="rounds">'
        f'<line class="grid" x1="6" x2="{STRIP_WIDTH - 6}" y1="9" y2="9"/>{dots}'
        f'<line class="median" x1="{at:.1f}" x2="{at:.1f}" y1="2" y2="16"/></svg>'
    )


def bars(ratios: dict[str, float]) -> str:
    """How many times each floor: a bar each, the floor itself marked at 1."""
    if not ratios:
        return ""
    most = max(2.0, *ratios.values())
    rows: list[str] = []
    for name, ratio in ratios.items():
        width, one = BAR_WIDTH * ratio / most, BAR_WIDTH / most
        rows.append(
            f'<div class="ratio"><svg viewBox="0 0 {BAR_WIDTH} 10" role="img" '
            f'aria-label="{ratio:.2f} x {escape(name)}">'
            f'<rect class="bar" width="{width:.1f}" height="10" rx="2"/>'
            f'<line class="one" x1="{one:.1f}" x2="{one:.1f}" y1="0" y2="10"/></svg>'
            f"<b>{ratio:.2f}</b> {escape(name)}</div>"
        )
    return "".join(rows)


class _Axis:
    """Values from `low` to `high` on the pixels from `begin` to `end`."""

    def __init__(
        self, low: float, high: float, begin: float, end: float, *, logarithmic: bool = False
    ) -> None:
        self._low, self._high = (low, high) if high > low else (low, low + 1)
        self._begin, self._end = begin, end
        self._log = logarithmic

    def at(self, value: float) -> float:
        """The pixel of a value."""
        low, high = self._low, self._high
        if self._log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, low))
        return self._begin + (value - low) / (high - low) * (self._end - self._begin)

    def ticks(self) -> list[float]:
        """A few round values."""
        if self._log:
            powers = range(math.floor(math.log10(self._low)), math.ceil(math.log10(self._high)) + 1)
            return [10.0**p for p in powers if self._low <= 10.0**p <= self._high]
        rough = (self._high - self._low) / 5
        step = 10.0 ** math.floor(math.log10(rough))
        step *= next(m for m in (1, 2, 5, 10) if m * step >= rough)
        first = math.ceil(self._low / step - 1e-9)
        last = math.floor(self._high / step + 1e-9)
        return [place * step for place in range(first, last + 1)]


def _line(x1: float, x2: float, y1: float, y2: float) -> str:
    return f'<line class="grid" x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}"/>'


def _wide(xs: Sequence[float]) -> bool:
    return min(xs) > 0 and max(xs) / min(xs) > LOG_FROM


def _padded(low: float, high: float) -> tuple[float, float]:
    """From 0 if that is near, else somewhat more than what is there."""
    if low >= 0 and low < high / 2:
        return 0.0, high * 1.05 or 1.0
    room = (high - low) * 0.15 or abs(high) * 0.05 or 1.0
    return low - room, high + room


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    step = math.ceil(len(points) / POINTS) or 1
    return [*points[:-1][::step], *points[-1:]]
