"""The way of a packet over a drawing: a line along cables and through hosts, numbered hops, a stop sign. Pure.

The layout is never changed for it. Request and reply differ without colour: the request is a solid line with numbers,
the reply a dotted line beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal
from xml.etree import ElementTree as ET

from netlab.view import pen, theme
from netlab.view.cables import courses

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netlab.journey.values import Journey, Step
    from netlab.view.drawing import Drawing
    from netlab.view.layout import Layout
    from netlab.view.parts import Point

Shape = Literal["circle", "diamond", "square", "octagon"]
_CASING, _WIDTH, _SHIFT = 8.0, 3.6, 7.0
_BADGE = 8.0
#: How many pieces stand for one Bézier curve of a cable.
_PIECES = 8
_STRAIGHT = 12.0
#: A lane that begins further than this from an interface belongs to another one.
_NEAR = 90.0


@dataclass(frozen=True, slots=True)
class Spot:
    """Where an interface is: the end of its cable, and the opposite edge, which faces the inside of its host."""

    outer: Point
    inner: Point


@dataclass(frozen=True, slots=True)
class Hop:
    """A step that has a place in the picture: its number, where, and what it did to the packet."""

    number: int
    leg: str
    at: Point
    shape: Shape
    sentence: str


class Places:
    """Where the interfaces, bridges and cables of a drawing are, in the picture's coordinates."""

    def __init__(self, drawing: Drawing, layout: Layout) -> None:
        """Look all of them up once."""
        self.spots: dict[str, Spot] = {}
        self.bars: dict[str, tuple[float, float, float, float]] = {}
        self.hosts: dict[str, tuple[float, float, float, float]] = {}
        self.lanes: dict[str, list[list[Point]]] = {}
        for number, (name, card) in enumerate(drawing.cards.items()):
            x, y = layout.places[number]
            x, y = x + card.overhang[3], y + card.overhang[0]
            self.hosts[name] = (x, y, card.width, card.height)
            for part in card.parts:
                box = (x + part.x, y + part.y, part.width, part.height)
                if part.kind == "chip":
                    interface = part.id.partition("/")[2]
                    end = card.anchors.get(interface)
                    self.spots[f"{name}/{interface}"] = _spot(box, (x + end[0], y + end[1]) if end else None)
                elif part.kind == "bar":
                    self.bars[f"{name}/{part.id.partition('/')[2]}"] = box
                elif part.kind == "lane":
                    self.lanes[name] = [[(x + px, y + py) for px, py in path] for path in part.data[1]]
        self.cables: dict[tuple[str, str], list[Point]] = {}
        for cable, course in courses(drawing, layout):
            points = _flat(course)
            a, b = ("/".join(end) for end in (cable.a, cable.b))
            self.cables[a, b], self.cables[b, a] = points, points[::-1]

    def through(self, host: str, one: str, other: str) -> list[Point] | None:
        """Return the way through a host's gate from one interface to another, along its lanes, where it has such."""
        found = [self._lane(host, key) for key in (one, other)]
        if found[0] is None or found[1] is None or found[0] == found[1]:
            return None
        return [*found[0], *found[1][::-1]]

    def _lane(self, host: str, key: str) -> list[Point] | None:
        """Return the lane that begins at an interface or bridge, led from there to the gate."""
        near = [
            (distance, path if distance == first else path[::-1])
            for path in self.lanes.get(host, ())
            for first, last in ((self._distance(key, path[0]), self._distance(key, path[-1])),)
            for distance in (min(first, last),)
        ]
        distance, path = min(near, default=(_NEAR, None))
        return path if distance < _NEAR else None

    def _distance(self, key: str, point: Point) -> float:
        """Return how far a point is from an interface or a bridge."""
        if key in self.spots:
            spot = self.spots[key]
            return min(abs(point[0] - x) + abs(point[1] - y) for x, y in (spot.inner, spot.outer))
        x, y, width, height = self.bars.get(key, (0.0, 0.0, 0.0, 0.0))
        return max(x - point[0], point[0] - x - width, 0) + max(y - point[1], point[1] - y - height, 0)


def _spot(box: tuple[float, float, float, float], end: Point | None) -> Spot:
    x, y, width, height = box
    middle = (x + width / 2, y + height / 2)
    if end is None:
        return Spot(middle, middle)
    return Spot(end, (2 * middle[0] - end[0], 2 * middle[1] - end[1]))


def _flat(course: tuple[Point, ...]) -> list[Point]:
    """Return a cable's course as points: Bézier curves in pieces."""
    if len(course) <= 2:
        return list(course)
    points = [course[0]]
    for start in range(0, len(course) - 3, 3):
        a, b, c, d = course[start : start + 4]
        for piece in range(1, _PIECES + 1):
            t = piece / _PIECES
            weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
            points.append(
                (
                    sum(w * p[0] for w, p in zip(weights, (a, b, c, d), strict=True)),
                    sum(w * p[1] for w, p in zip(weights, (a, b, c, d), strict=True)),
                )
            )
    return points


def trail(journey: Journey, places: Places) -> tuple[list[Hop], list[tuple[int, str, list[Point]]]]:
    """Return the hops of a journey, and the pieces of line between them as (number of the later step, leg, points)."""
    hops: list[Hop] = []
    pieces: list[tuple[int, str, list[Point]]] = []
    before: Step | None = None
    here: Point | None = None
    for step in journey.steps:
        if before is not None and (before.leg, before.packet) != (step.leg, step.packet):
            before, here = None, None
        where = _where(step, places)
        if where is not None:
            if here is not None and before is not None:
                pieces.append((step.number, step.leg, _between(before, step, places)))
            hops.append(Hop(step.number, step.leg, where, _shape(step), sentence(step)))
            before, here = step, where
        elif step.rewritten or step.kind == "drop" or step.verdict in {"DROP", "REJECT"}:
            if step.kind == "drop" and hops and hops[-1].shape == "octagon":
                continue  # the rule that dropped it has its sign already
            hops.append(Hop(step.number, step.leg, _inside(step, here, places), _shape(step), sentence(step)))
    return _spread(hops), pieces


def _where(step: Step, places: Places) -> Point | None:
    key = f"{step.host}/{step.interface}"
    if step.kind not in {"in", "out", "wrap", "unwrap"}:
        return None
    if key in places.spots:
        return places.spots[key].outer
    if key in places.bars:
        x, y, _, height = places.bars[key]
        return x + 16, y + height / 2
    return None


def _shape(step: Step) -> Shape:
    if step.kind == "drop" or step.verdict in {"DROP", "REJECT"}:
        return "octagon"
    if step.kind in {"wrap", "unwrap"}:
        return "square"
    return "diamond" if step.rewritten else "circle"


def _inside(step: Step, here: Point | None, places: Places) -> Point:
    """Return a place for what happens between two interfaces: in the host, near where the packet came in."""
    x, y, width, height = places.hosts.get(step.host, (0.0, 0.0, 0.0, 0.0))
    if here is None:
        return x + width / 2, y + height / 2
    # From the border towards the middle, a little.
    middle = (x + width / 2, y + height / 2)
    share = 46 / max(((middle[0] - here[0]) ** 2 + (middle[1] - here[1]) ** 2) ** 0.5, 46)
    return here[0] + (middle[0] - here[0]) * share, here[1] + (middle[1] - here[1]) * share


def _between(one: Step, other: Step, places: Places) -> list[Point]:
    """Return the line from one step to the next: along a cable, or through a host."""
    a, b = f"{one.host}/{one.interface}", f"{other.host}/{other.interface}"
    if (a, b) in places.cables:
        return places.cables[a, b]
    start, end = _edge(a, places, one), _edge(b, places, other)
    if one.host != other.host:
        return [start, end]
    if (lane := places.through(one.host, a, b)) is not None:
        # A bridge's sign stands beside its name: the line joins the bus before it leaves by the lane.
        first = [start, (lane[0][0], start[1])] if a in places.bars else []
        last = [(lane[-1][0], end[1]), end] if b in places.bars else []
        return [*first, *lane, *last]
    bars = [key for key in places.bars if key.startswith(f"{one.host}/")]
    bar = next(
        (key for key in (a, b) if key in places.bars), bars[0] if len(bars) == 1 and _ports(one, other) else None
    )
    if bar is not None:
        _, y, _, height = places.bars[bar]
        bus = y + height / 2
        return [start, (start[0], bus), (end[0], bus), end]
    if abs(start[1] - end[1]) < _STRAIGHT or abs(start[0] - end[0]) < _STRAIGHT:
        return [start, end]
    middle = (start[1] + end[1]) / 2
    return [start, (start[0], middle), (end[0], middle), end]


def _ports(one: Step, other: Step) -> bool:
    return "bridge" in one.verdict or "bridge" in other.verdict


def _edge(key: str, places: Places, step: Step) -> Point:
    if key in places.spots:
        return places.spots[key].inner
    return _where(step, places) or (0.0, 0.0)


def _spread(hops: list[Hop]) -> list[Hop]:
    """Move badges that would lie on each other apart, in the order of their numbers."""
    placed: list[Hop] = []
    for hop in hops:
        x, y = hop.at[0] + (_SHIFT if hop.leg == "reply" else 0), hop.at[1]
        while any(abs(x - other.at[0]) < 2 * _BADGE and abs(y - other.at[1]) < 2 * _BADGE for other in placed):
            x += 2 * _BADGE + 2
        placed.append(replace(hop, at=(x, y)))
    return placed


def sentence(step: Step) -> str:
    """Return a step as a sentence for a screen reader."""
    where = step.interface or f"{step.table} {step.chain}".strip() or step.hook
    words = [f"Step {step.number}", step.host, where, step.verdict]
    if step.rewritten:
        words.append(f"{step.before} becomes {step.after}")
    return ", ".join(word for word in words if word)


def paint(body: ET.Element, hops: Iterable[Hop], pieces: Iterable[tuple[int, str, list[Point]]]) -> None:
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
    return [(x + _SHIFT, y + _SHIFT) for x, y in points] if leg == "reply" else points


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
    x, y = hop.at
    stop = hop.shape == "octagon"
    ink = {"diamond": "svcline", "square": "tunline", "octagon": "badline"}.get(hop.shape, "pkt")
    hollow = hop.leg == "reply" and not stop
    attributes = {"fill": theme.light("page" if hollow else ink), "stroke": theme.light(ink), "stroke-width": "1.5"}
    ET.SubElement(group, "polygon", attributes | {"points": _outline(hop.shape, x, y)})
    text = "✕" if stop else str(hop.number)
    pen.write(group, (x, y + 3.5), text, 10, fill=ink if hollow else "page", anchor="middle", bold=True)


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
    from math import cos, pi, sin  # noqa: PLC0415 - needed here alone

    angles = [2 * pi * (corner + turn) / corners for corner in range(corners)]
    return tuple((cos(angle), sin(angle)) for angle in angles)
