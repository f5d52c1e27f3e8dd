"""Ask graphviz for places: DOT in; corners of cards and courses of cables out, in points, y downwards."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import graphviz

from netlab.errors import MissingFeatureError

if TYPE_CHECKING:
    from netlab.view.parts import Point


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything is: hosts and cables by their number in the drawing.

    A course is made of pieces, each a chain of cubic Bézier curves: 1 + 3n points.
    """

    width: float
    height: float
    places: dict[int, Point]
    courses: dict[int, tuple[tuple[Point, ...], ...]]


@lru_cache(maxsize=32)
def lay_out(dot: str) -> Layout:
    """Run ``dot``; raises MissingFeatureError where it is not installed. The same text is never laid out twice."""
    try:
        text = graphviz.pipe("dot", "json", dot.encode(), quiet=True)
    except graphviz.ExecutableNotFound as error:
        message = "The diagram needs graphviz' `dot`, and it is not in PATH. On Debian or Ubuntu: apt install graphviz."
        raise MissingFeatureError(message) from error
    graph: dict[str, Any] = json.loads(text)
    _, _, width, height = (float(number) for number in graph["bb"].split(","))
    places: dict[int, Point] = {}
    for item in graph.get("objects", ()):
        if "nl" in item:
            x, y = (float(number) for number in item["pos"].split(","))
            wide, high = float(item["width"]) * 72, float(item["height"]) * 72
            places[int(item["nl"][1:])] = (round(x - wide / 2, 1), round(height - y - high / 2, 1))
    pieces: dict[int, dict[int, tuple[Point, ...]]] = {}
    for edge in graph.get("edges", ()):
        if "nl" in edge:
            cable, piece = edge["nl"][1:].split(".")
            pieces.setdefault(int(cable), {})[int(piece)] = _course(edge["pos"], height)
    courses = {cable: tuple(parts[piece] for piece in sorted(parts)) for cable, parts in pieces.items()}
    return Layout(width, height, places, courses)


def _course(position: str, height: float) -> tuple[Point, ...]:
    points = []
    for word in position.split():
        if word[0] not in "se":
            x, y = word.split(",")
            points.append((round(float(x), 1), round(height - float(y), 1)))
    return tuple(points)
