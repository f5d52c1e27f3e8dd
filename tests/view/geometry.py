"""Read a picture back: where its texts, boxes and lines are, to see that nothing covers anything."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from xml.etree import ElementTree as ET

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Box:
    """A rectangle with what it is."""

    left: float
    top: float
    right: float
    bottom: float
    what: str = ""

    def covers(self, other: Box, slack: float = 0.6) -> bool:
        """Tell whether two boxes share more than a hairline."""
        apart = (
            self.right - slack <= other.left
            or other.right - slack <= self.left
            or self.bottom - slack <= other.top
            or other.bottom - slack <= self.top
        )
        return not apart

    def holds(self, other: Box, slack: float = 0.6) -> bool:
        """Tell whether a box is inside."""
        return (
            self.left - slack <= other.left
            and other.right <= self.right + slack
            and self.top - slack <= other.top
            and other.bottom <= self.bottom + slack
        )


@dataclass
class Seen:
    """What a picture shows, in its own coordinates."""

    texts: list[tuple[Box, Box | None]]  # with the box of the thing that they belong to
    chips: list[Box]
    hosts: dict[str, Box]
    lines: list[Box]  # straight upright and level pieces inside of hosts
    size: Box


def local(element: ET.Element) -> str:
    """Return the name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def look(markup: str) -> Seen:
    """Read a picture."""
    root = ET.fromstring(markup)  # noqa: S314 - our own text
    width, height = (float(root.get(name, "0")) for name in ("width", "height"))
    seen = Seen([], [], {}, [], Box(0, 0, width, height))
    _walk(root, (0.0, 0.0), None, seen)
    return seen


def _walk(element: ET.Element, at: tuple[float, float], holder: Box | None, seen: Seen) -> None:
    shift = _NUMBER.findall(element.get("transform", ""))
    x, y = (at[0] + float(shift[0]), at[1] + float(shift[1])) if shift else at
    classes = element.get("class", "").split()
    rect = next((child for child in element if local(child) == "rect"), None)
    if rect is not None and element.get("data-nl-id"):
        left, top, wide, high = (float(rect.get(name, "0")) for name in ("x", "y", "width", "height"))
        holder = Box(x + left, y + top, x + left + wide, y + top + high, element.get("data-nl-id", ""))
        if "iface" in classes:
            seen.chips.append(holder)
        if "host" in classes:
            seen.hosts[holder.what] = holder
    for child in element:
        if local(child) == "text":
            seen.texts.append((_text_box(child, x, y), holder))
        elif local(child) == "path" and classes and classes[0] in {"lane", "bridge"}:
            seen.lines += _pieces(child, x, y)
        _walk(child, (x, y), holder, seen)


def _text_box(element: ET.Element, x: float, y: float) -> Box:
    size, wide = float(element.get("font-size", "0")), float(element.get("data-w", "0"))
    left = x + float(element.get("x", "0")) - (wide / 2 if element.get("text-anchor") == "middle" else 0)
    base = y + float(element.get("y", "0"))
    return Box(left, base - 0.74 * size, left + wide, base + 0.2 * size, element.text or "")


def _pieces(element: ET.Element, x: float, y: float) -> list[Box]:
    course = re.findall(r"([MLQ])([^MLQ]+)", element.get("d", ""))
    points = []
    for _, text in course:
        numbers = [float(number) for number in _NUMBER.findall(text)]
        points.append((x + numbers[-2], y + numbers[-1]))
    found = []
    for (ax, ay), (bx, by) in pairwise(points):
        if abs(ax - bx) < 1 or abs(ay - by) < 1:
            box = (min(ax, bx) - 0.8, min(ay, by) - 0.8, max(ax, bx) + 0.8, max(ay, by) + 0.8)
            found.append(Box(*box, what=element.get("d", "")))
    return found
