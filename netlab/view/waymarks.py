"""How a journey looks on a picture: lines with a casing, numbered badges, and one note at the place of a drop.

Request and reply differ without colour: the request is a solid line with numbers, the reply a dotted line beside it.
"""

from __future__ import annotations

from itertools import pairwise
from math import cos, pi, sin
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from netlab.view import pen, theme
from netlab.view.measure import text_width

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from netlab.view.overhead import Box
    from netlab.view.parts import Point
    from netlab.view.route import Hop, Piece, Shape

_CASING, _WIDTH, _SHIFT = 8.0, 3.6, 6.0
_BADGE = 8.0
_NOTE_WIDTH, _LINE, _GAP = 250.0, 14.0, 16.0


def paint(body: ET.Element, hops: Iterable[Hop], pieces: Iterable[Piece]) -> None:
    """Draw the way: casings first, then lines, then badges, each with the number of its step."""
    drawn = list(pieces)
    for number, leg, points in drawn:
        _line(body, number, _shifted(points, leg), ("page", _CASING, "nl-case"))
    for number, leg, points in drawn:
        line = _line(body, number, _shifted(points, leg), ("pkt", _WIDTH, f"nl-way {leg}"))
        if leg == "reply":
            line.set("stroke-dasharray", "1.5 6")
            line.set("stroke-linecap", "round")
    for hop in hops:
        _badge(body, hop)


def _shifted(points: list[Point], leg: str) -> list[Point]:
    """Return the reply's own line beside the request's; its ends do not reach into words."""
    if leg != "reply" or len(points) < 2:
        return points
    moved = [(x + _SHIFT, y + _SHIFT) for x, y in points]
    for end, beside in ((0, 1), (-1, -2)):
        (x, y), (ox, oy) = points[end], points[beside]
        moved[end] = (x + _SHIFT, y) if abs(y - oy) > abs(x - ox) else (x, y + _SHIFT)
    return moved


def _line(body: ET.Element, number: int, points: list[Point], look: tuple[str, float, str]) -> ET.Element:
    line = pen.line(body, points, look[0], look[1])
    line.set("class", look[2])
    line.set("data-step", str(number))
    return line


def _badge(body: ET.Element, hop: Hop) -> None:
    group = ET.SubElement(body, "g", {"class": f"nl-hop {hop.leg} {hop.shape}", "data-step": str(hop.number)})
    group.set("role", "graphics-symbol img")
    group.set("aria-label", pen.clean(hop.sentence))
    ET.SubElement(group, "title").text = pen.clean(hop.sentence)
    stop = hop.shape == "octagon"
    ink = {"diamond": "svcline", "square": "tunline", "octagon": "badline"}.get(hop.shape, "pkt")
    hollow = hop.leg == "reply" and not stop
    attributes = {"fill": theme.light("page" if hollow else ink), "stroke": theme.light(ink), "stroke-width": "1.5"}
    ET.SubElement(group, "polygon", attributes | {"points": _outline(hop.shape, *hop.at)})
    text, size = ("✕", 12) if stop else (str(hop.number), 10)
    at = hop.at[0], hop.at[1] + size * 0.36
    pen.write(group, at, text, size, fill=ink if hollow else "page", anchor="middle", bold=True)


def _outline(shape: Shape, x: float, y: float) -> str:
    r = {"circle": _BADGE, "square": _BADGE, "diamond": _BADGE + 3.5, "octagon": _BADGE + 3}[shape]
    unit = {
        "diamond": ((0.0, -1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)),
        "square": ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)),
        "octagon": _regular(8, 0.5),
        "circle": _regular(24, 0.0),
    }[shape]
    return " ".join(f"{pen.number(x + r * dx)},{pen.number(y + r * dy)}" for dx, dy in unit)


def _regular(corners: int, turn: float) -> tuple[tuple[float, float], ...]:
    angles = [2 * pi * (corner + turn) / corners for corner in range(corners)]
    return tuple((cos(angle), sin(angle)) for angle in angles)


def note(body: ET.Element, text: str, stop: Hop, taken: list[Box], size: tuple[float, float]) -> Box:
    """Write the reason of a drop beside its sign, where it covers nothing of ``taken``; return the box."""
    lines = list(_wrapped(text, _NOTE_WIDTH - 48))
    width = max(text_width(line, 11, "bold") for line in lines) + 48
    height = _LINE * len(lines) + 14
    x, y = _free(stop.at, (width, height), taken, size)
    group = ET.SubElement(body, "g", {"class": "nl-note-drop", "data-step": str(stop.number)})
    pen.rect(group, (x, y, width, height), "bad", "badline", stroke_width="1.5")
    sign = {"fill": theme.light("badline"), "points": _outline("octagon", x + 20, y + height / 2)}
    ET.SubElement(group, "polygon", sign)
    pen.write(group, (x + 20, y + height / 2 + 4.3), "✕", 12, fill="page", anchor="middle", bold=True)
    for number, line in enumerate(lines):
        pen.write(group, (x + 38, y + 18 + number * _LINE), line, 11, "bold", fill="badline")
    return x, y, width, height


def _free(at: Point, size: tuple[float, float], taken: list[Box], picture: tuple[float, float]) -> Point:
    """Return the free place for a box that is nearest to a point; right of the picture, where there is none."""
    width, height = size

    def near(y: float) -> float:
        return min(max(y, 0.0), max(picture[1] - height, 0.0))

    xs = [at[0] + 22, at[0] - 22 - width]
    ys = [near(at[1] - height / 2)]
    for bx, by, wide, high in taken:
        xs += [bx + wide + _GAP, bx - _GAP - width, bx]
        ys += [near(by + high + _GAP), near(by - _GAP - height)]
    right = max((bx + wide for bx, _, wide, _ in taken), default=at[0]) + _GAP
    places = [(x, y) for x in xs for y in ys if x >= 0 and x + width <= max(picture[0], right + width)]
    free = [place for place in places if not any(_meet((*place, width, height), box) for box in taken)]

    def distance(place: Point) -> float:
        dx = max(place[0] - at[0], at[0] - place[0] - width, 0.0)
        dy = max(place[1] - at[1], at[1] - place[1] - height, 0.0)
        # A picture that grows is better than a note far away, but not by much.
        return dx + dy + max(0.0, place[0] + width - picture[0]) / 2

    return min(free, key=distance, default=(right, near(at[1] - height / 2)))


def _meet(one: Box, other: Box) -> bool:
    return (
        one[0] < other[0] + other[2] + 6
        and other[0] < one[0] + one[2] + 6
        and one[1] < other[1] + other[3] + 6
        and other[1] < one[1] + one[3] + 6
    )


def extents(pieces: Iterable[Piece]) -> Iterator[Box]:
    """Yield the box of each stretch of line."""
    for _, leg, points in pieces:
        shown = _shifted(points, leg)
        for (ax, ay), (bx, by) in pairwise(shown):
            yield min(ax, bx), min(ay, by), abs(ax - bx), abs(ay - by)


def _wrapped(text: str, width: float) -> Iterator[str]:
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and text_width(longer, 11, "bold") > width:
            yield line
            longer = word
        line = longer
    if line:
        yield line
