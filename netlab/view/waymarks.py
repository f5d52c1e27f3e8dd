"""How a journey looks on a picture: lines with a casing, labelled badges, and dots where it did not go on.

Request and reply differ without colour: the request is a solid line with numbers, the reply a dotted line beside it.
"""

from __future__ import annotations

from math import cos, pi, sin
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from netlab.view import pen, theme

if TYPE_CHECKING:
    from netlab.view.parts import Point
    from netlab.view.route import Hop, Shape, Trail

_CASING, _WIDTH, _SHIFT = 8.0, 3.6, 6.0
_BADGE = 8.0


def paint(body: ET.Element, way: Trail) -> None:
    """Draw the way: what was not taken as dots, casings, then lines, then badges, each with the number of its step."""
    drawn = way.pieces
    last = max((hop.number for hop in way.hops if hop.shape == "octagon"), default=0)
    for points in way.gone:
        _line(body, last, points, ("page", 6.0, "nl-case"))
        dots = _line(body, last, points, ("badline", 3.2, "nl-gone"))
        dots.set("stroke-dasharray", "0.1 8")
        dots.set("stroke-linecap", "round")
    for number, leg, points in drawn:
        _line(body, number, shifted(points, leg), ("page", _CASING, "nl-case"))
    for number, leg, points in drawn:
        line = _line(body, number, shifted(points, leg), ("pkt", _WIDTH, f"nl-way {leg}"))
        if leg == "reply":
            line.set("stroke-dasharray", "1.5 6")
            line.set("stroke-linecap", "round")
    for hop in way.hops:
        badge(body, hop, "nl-hop")


def shifted(points: list[Point], leg: str) -> list[Point]:
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


def badge(body: ET.Element, hop: Hop, kind: str) -> None:
    """Draw a stop: its shape says what happened, its label is that of its row in the table."""
    group = ET.SubElement(body, "g", {"class": f"{kind} {hop.leg} {hop.shape}", "data-step": str(hop.number)})
    group.set("role", "graphics-symbol img")
    group.set("aria-label", pen.clean(hop.sentence))
    ET.SubElement(group, "title").text = pen.clean(hop.sentence)
    stop = hop.shape == "octagon"
    ink = {"diamond": "svcline", "square": "tunline", "octagon": "badline"}.get(hop.shape, "pkt")
    hollow = hop.leg == "reply" and not stop
    attributes = {"fill": theme.light("page" if hollow else ink), "stroke": theme.light(ink), "stroke-width": "1.5"}
    ET.SubElement(group, "polygon", attributes | {"points": outline(hop.shape, *hop.at)})
    text, size = ("✕", 12) if stop else (hop.label or str(hop.number), 10)
    at = hop.at[0], hop.at[1] + size * 0.36
    pen.write(group, at, text, size, fill=ink if hollow else "page", anchor="middle", bold=True)


def outline(shape: Shape, x: float, y: float) -> str:
    """Return the corners of a badge around a point."""
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
