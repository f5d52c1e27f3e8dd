"""Draw measured numbers as lines in an SVG: small enough to be read, and without a library for it. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_WIDTH, _HEIGHT = 640, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 620, 56, 320
#: Colours that people with any colour vision tell apart (Okabe and Ito), and a shape for each besides.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
_STEPS = (1, 2, 5, 10)
_MOST_LINES = 6


@dataclass(frozen=True, slots=True)
class Point:
    """One measured number: at ``x`` the middle value, with a low and a high one that show how much it varies."""

    x: float
    low: float
    middle: float
    high: float


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines in one picture, each with a name; the axis of ``x`` counts in powers of ten, that of ``y`` starts at 0."""

    title: str
    x_label: str
    y_label: str
    lines: Mapping[str, Sequence[Point]]

    def svg(self) -> str:
        """Return the picture; raises ValueError where there is nothing to draw."""
        if not any(self.lines.values()):
            raise ValueError("a chart needs at least one point")
        words = "; ".join(
            f"{name}: " + ", ".join(f"{point.middle:.3g} at {point.x:g}" for point in points)
            for name, points in self.lines.items()
        )
        label = escape(f"{self.title}. {words}")
        size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="13"'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{label}">',
                f"<title>{escape(self.title)}</title>",
                f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
                _text(_LEFT, 24, self.title, size=16),
                *self._axes(),
                *(part for place, name in enumerate(self.lines) for part in self._line(place, name)),
                "</svg>\n",
            ]
        )

    # -- where things are --------------------------------------------------------------

    @property
    def _points(self) -> list[Point]:
        return [point for points in self.lines.values() for point in points]

    @property
    def _step(self) -> float:
        """Return the distance of two lines of the grid: 1, 2 or 5 times a power of ten."""
        rough = max(point.high for point in self._points) / _MOST_LINES or 1.0
        power: float = 10.0 ** math.floor(math.log10(rough))
        return next(step * power for step in _STEPS if step * power >= rough)

    @property
    def _highest(self) -> float:
        highest = max(point.high for point in self._points)
        return max(math.ceil(highest / self._step), 1) * self._step

    def _x(self, value: float) -> float:
        scale = [math.log10(point.x) for point in self._points]
        least, most = min(scale), max(scale)
        part = (math.log10(value) - least) / (most - least) if most > least else 0.5
        return _LEFT + 20 + part * (_RIGHT - _LEFT - 40)

    def _y(self, value: float) -> float:
        return _BOTTOM - value / self._highest * (_BOTTOM - _TOP)

    # -- what is drawn -----------------------------------------------------------------

    def _axes(self) -> Iterator[str]:
        for number in range(round(self._highest / self._step) + 1):
            value = number * self._step
            y = self._y(value)
            colour = "#555555" if number == 0 else "#dddddd"
            yield f'<line x1="{_LEFT}" x2="{_RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}"/>'
            yield _text(_LEFT - 8, y + 4, f"{value:g}", anchor="end")
        for value in sorted({point.x for point in self._points}):
            x = self._x(value)
            yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_BOTTOM}" y2="{_BOTTOM + 5}" stroke="#555555"/>'
            yield _text(x, _BOTTOM + 20, f"{value:,.0f}", anchor="middle")
        yield _text((_LEFT + _RIGHT) / 2, _BOTTOM + 42, self.x_label, anchor="middle")
        yield _text(_LEFT, _TOP - 12, self.y_label)

    def _line(self, place: int, name: str) -> Iterator[str]:
        colour = _COLOURS[place % len(_COLOURS)]
        points = sorted(self.lines[name], key=lambda point: point.x)
        way = " ".join(f"{self._x(point.x):.1f},{self._y(point.middle):.1f}" for point in points)
        yield f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>'
        for point in points:
            x, y = self._x(point.x), self._y(point.middle)
            ends = f'y1="{self._y(point.low):.1f}" y2="{self._y(point.high):.1f}"'
            yield f'<line x1="{x:.1f}" x2="{x:.1f}" {ends} stroke="{colour}" stroke-width="4" stroke-opacity="0.3"/>'
            yield _mark(place, x, y, colour)
        x, y = _LEFT + 24, _TOP + 18 + place * 20  # what grows does so on the right
        yield _mark(place, x, y, colour)
        yield _text(x + 12, y + 4, name)


def _mark(place: int, x: float, y: float, colour: str) -> str:
    if place % 2:
        return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" fill="{colour}"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 13) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="#222222">{escape(text)}</text>'
    )
