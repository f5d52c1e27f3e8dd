"""The cables: their course between two hosts, and how they look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.view import pen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree import ElementTree as ET

    from netlab.view.drawing import Drawing
    from netlab.view.layout import Layout
    from netlab.view.nouns import Cable
    from netlab.view.parts import Point

_STRAIGHT = 9.0
_TOGETHER = 26.0  # a cable shorter than this has no room for a sign in its middle


def courses(drawing: Drawing, layout: Layout) -> Iterator[tuple[Cable, tuple[Point, ...]]]:
    """Yield each cable with its course: a straight line of two points, or Bézier curves of 1 + 3n."""
    places = {name: layout.places[number] for number, name in enumerate(drawing.cards)}
    number = 0
    for cable in drawing.scene.cables:
        within = cable.a[0] == cable.b[0]
        pieces = () if within else layout.courses[number]
        number += not within
        if any(drawing.scene[end[0]].gone for end in (cable.a, cable.b)):
            continue
        a, b = (_shift(drawing.anchor(end), places[end[0]]) for end in (cable.a, cable.b))
        yield cable, _loop((a, b)) if within else _course(drawing, pieces, (a, b))


def _shift(point: Point, by: Point) -> Point:
    return point[0] + by[0], point[1] + by[1]


def _course(drawing: Drawing, pieces: tuple[tuple[Point, ...], ...], ends: tuple[Point, ...]) -> tuple[Point, ...]:
    """Return the course of a cable: straight if it nearly is, else as graphviz led it around the hosts."""
    (ax, ay), (bx, by) = ends
    bent = max(abs((p[1] - ay) if drawing.plan.columns else (p[0] - ax)) for piece in pieces for p in piece)
    if bent <= _STRAIGHT and drawing.plan.columns:
        return ((ax, (ay + by) / 2), (bx, (ay + by) / 2))
    if bent <= _STRAIGHT:
        middle = (ax + bx) / 2
        return ((middle, ay), (middle, by))
    points: list[Point] = []
    for piece in pieces:
        # Between two pieces the cable runs straight on.
        points += [points[-1], piece[0], piece[0]] if points else [piece[0]]
        points += piece[1:]
    if abs(points[0][0] - ax) + abs(points[0][1] - ay) > abs(points[-1][0] - ax) + abs(points[-1][1] - ay):
        points.reverse()
    points[0], points[-1] = (ax, ay), (bx, by)
    return tuple(points)


def _loop(ends: tuple[Point, ...]) -> tuple[Point, ...]:
    (ax, ay), (bx, by) = ends
    return ((ax, ay), (ax, ay + 26), (bx, by + 26), (bx, by))


def draw_cable(body: ET.Element, cable: Cable, course: tuple[Point, ...]) -> None:
    """Draw a cable with its plugs; one that carries nothing is dashed, its plugs are hollow."""
    classes = {"veth": "cable", "macvlan": "cable macvlan", "tunnel": "tunnel"}[cable.kind]
    box = pen.group(body, cable.id, classes + ("" if cable.up else " down"), cable.sentence)
    text = pen.curve(course) if len(course) > 2 else _straight(course)
    pen.path(box, text, "page", 12, stroke_opacity="0", pointer_events="stroke")
    if not cable.up:
        pen.path(box, text, "badline", 2.0, stroke_dasharray="6 4")
    elif cable.kind == "tunnel":
        pen.path(box, text, "tunline", 5.4)
        pen.path(box, text, "tun", 2.6)
    else:
        pen.path(box, text, "l2line" if cable.kind == "macvlan" else "cable", 1.9)
    if cable.kind != "tunnel":
        for end in (course[0], course[-1]):
            pen.dot(box, end, 3.6, "cable") if cable.up else pen.dot(box, end, 3.3, "page", "badline")
    if not cable.up:
        _cross(box, course)


def _straight(course: tuple[Point, ...]) -> str:
    (ax, ay), (bx, by) = course
    return f"M{pen.pair((ax, ay))}L{pen.pair((bx, by))}"


def _cross(box: ET.Element, course: tuple[Point, ...]) -> None:
    """Draw the sign of a cable that carries nothing, in its middle."""
    x, y = middle(course)
    (ax, ay), (bx, by) = course[0], course[-1]
    radius = 8.0 if abs(ax - bx) + abs(ay - by) > _TOGETHER else 5.0
    pen.dot(box, (x, y), radius, "page", "badline")
    arm = radius * 0.45
    text = f"M{pen.pair((x - arm, y - arm))}L{pen.pair((x + arm, y + arm))}"
    text += f"M{pen.pair((x - arm, y + arm))}L{pen.pair((x + arm, y - arm))}"
    pen.path(box, text, "badline", 2.0, stroke_linecap="round")


def middle(course: tuple[Point, ...]) -> Point:
    """Return the point half-way along a cable."""
    if len(course) == 2:
        return (course[0][0] + course[1][0]) / 2, (course[0][1] + course[1][1]) / 2
    curves = (len(course) - 1) // 3
    which, share = divmod(curves / 2, 1)
    p = course[int(which) * 3 : int(which) * 3 + 4]
    if len(p) < 4:
        return p[0]
    weights = ((1 - share) ** 3, 3 * share * (1 - share) ** 2, 3 * share**2 * (1 - share), share**3)
    return (
        sum(w * q[0] for w, q in zip(weights, p, strict=True)),
        sum(w * q[1] for w, q in zip(weights, p, strict=True)),
    )
