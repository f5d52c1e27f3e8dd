"""Small strokes: SVG elements with the colours of the theme and the faces of the text."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from netlab.view.measure import Face, text_width
from netlab.view.theme import MONO_FONT, light

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netlab.view.parts import Point

#: Characters that XML 1.0 has no way to hold; an interface name may contain them.
_FORBIDDEN = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 65534, 65535], 65533)
_RADIUS = 8.0


def clean(text: str) -> str:
    """Return the text without what XML cannot hold."""
    return text.translate(_FORBIDDEN)


def number(value: float) -> str:
    """Write a coordinate, short."""
    return f"{value:.1f}".rstrip("0").rstrip(".") if value % 1 else str(int(value))


def pair(point: Point) -> str:
    """Write a point."""
    return f"{number(point[0])},{number(point[1])}"


def group(parent: ET.Element, identity: str, classes: str, sentence: str = "") -> ET.Element:
    """Start a thing that has an identity, and a sentence that says what it is."""
    element = ET.SubElement(parent, "g", {"class": classes})
    if identity:
        element.set("data-nl-id", clean(identity))
    if sentence:
        say(element, sentence)
        element.set("role", "graphics-symbol img")
    return element


def say(element: ET.Element, sentence: str) -> None:
    """Give an element its sentence, for the ear and as a tooltip."""
    element.set("aria-label", clean(sentence))
    ET.SubElement(element, "title").text = clean(sentence)


def rect(
    parent: ET.Element, box: tuple[float, float, float, float], fill: str, stroke: str = "", **extra: str
) -> ET.Element:
    """Draw a rounded box (x, y, width, height)."""
    x, y, width, height = (number(value) for value in box)
    attributes = {"x": x, "y": y, "width": width, "height": height, "rx": "7", "fill": light(fill)}
    attributes |= {"stroke": light(stroke)} if stroke else {}
    return ET.SubElement(parent, "rect", attributes | _dashed(extra))


def line(parent: ET.Element, points: Sequence[Point], stroke: str, width: float, **extra: str) -> ET.Element:
    """Draw a line through points, its corners rounded."""
    return path(parent, _rounded(points), stroke, width, **extra)


def path(parent: ET.Element, course: str, stroke: str, width: float, **extra: str) -> ET.Element:
    """Draw a course."""
    attributes = {"d": course, "fill": "none", "stroke": light(stroke), "stroke-width": number(width)}
    return ET.SubElement(parent, "path", attributes | _dashed(extra))


def dot(parent: ET.Element, at: Point, radius: float, fill: str, stroke: str = "") -> ET.Element:
    """Draw a small disc, or a ring."""
    attributes = {"cx": number(at[0]), "cy": number(at[1]), "r": number(radius), "fill": light(fill)}
    attributes |= {"stroke": light(stroke), "stroke-width": "1.5"} if stroke else {}
    return ET.SubElement(parent, "circle", attributes)


def write(  # noqa: PLR0913 - a text has a place, a face, a size and a colour
    parent: ET.Element,
    at: Point,
    text: str,
    size: float,
    face: Face = "ui",
    *,
    fill: str = "ink",
    anchor: str = "",
    bold: bool = False,
) -> float:
    """Write one line of text, its baseline at a point; return its width."""
    width = text_width(text, size, face)
    attributes = {"x": number(at[0]), "y": number(at[1]), "font-size": number(size), "fill": light(fill)}
    if face == "mono":
        attributes |= {"class": "mono", "font-family": MONO_FONT}
    if bold or face == "bold":
        attributes["font-weight"] = "bold"
    if anchor:
        attributes["text-anchor"] = anchor
    attributes["data-w"] = number(width)
    ET.SubElement(parent, "text", attributes).text = clean(text)
    return width


def led(parent: ET.Element, at: Point, radius: float, state: str, colour: str) -> None:
    """Draw the led of an interface: full when up, half without a carrier, hollow when down."""
    if state == "up":
        dot(parent, at, radius, colour)
        return
    dot(parent, at, radius - 0.7, "page", "badline")
    if state == "carrier":
        x, y = at
        top, bottom, r = number(y - radius), number(y + radius), number(radius)
        half = f"M{number(x)},{top}A{r},{r} 0 0 0 {number(x)},{bottom}Z"
        ET.SubElement(parent, "path", {"d": half, "fill": light("badline")})


def curve(points: Sequence[Point]) -> str:
    """Return the course of a chain of cubic Bézier curves."""
    words = [pair(point) for point in points]
    return f"M{words[0]}C{' '.join(words[1:])}"


def _rounded(points: Sequence[Point]) -> str:
    course = f"M{pair(points[0])}"
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        enter, leave = _toward(corner, before), _toward(corner, after)
        course += f"L{pair(enter)}Q{pair(corner)} {pair(leave)}"
    return course + f"L{pair(points[-1])}"


def _toward(corner: Point, other: Point) -> Point:
    """Return the point near a corner at which its rounding begins."""
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    length = (dx * dx + dy * dy) ** 0.5
    share = min(_RADIUS, length / 2) / length if length else 0.0
    return corner[0] + dx * share, corner[1] + dy * share


def _dashed(extra: dict[str, str]) -> dict[str, str]:
    return {key.replace("_", "-"): value for key, value in extra.items()}
