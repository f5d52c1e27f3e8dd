"""Where things are inside a node, for what is drawn over it: its pods, its bridge with ports, and its kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from netlab.view import pods
from netlab.view.nodes import ABOVE, BUS, GATE_HEIGHT, LANE

if TYPE_CHECKING:
    from netlab.view.nouns import Nest
    from netlab.view.overhead import Box
    from netlab.view.parts import Card, Part, Point
    from netlab.view.places import Places

#: How many pieces stand for one Bézier curve of a cable.
_PIECES = 8
#: The free strip around a gate and a bar.
_STRIP, _ABOVE = 8.0, 7.0
#: A small pod as near as this to the bar has none below it.
_CLOSE = 34.0


@dataclass(frozen=True, slots=True)
class Spot:
    """Where an interface is: the end of its cable, the opposite edge, which faces the inside of its host, its width.

    ``sign`` is where its sign belongs, if that is not on its cable.
    """

    outer: Point
    inner: Point
    width: float = 0.0
    sign: Point | None = None

    @property
    def out(self) -> Point:
        """Return the direction in which its cable leaves."""
        dx, dy = self.outer[0] - self.inner[0], self.outer[1] - self.inner[1]
        length = abs(dx) + abs(dy)
        return (dx / length, dy / length) if length else (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Bus:
    """A bridge: its bar, and the point on its line at which the host itself is joined."""

    box: Box
    entry: Point
    sign: Point | None = None

    def approach(self, end: Point) -> list[Point]:
        """Return the way from a lane's end at the bar's border to the line, around the words in the bar."""
        x, y, _, height = self.box
        if abs(end[0] - self.entry[0]) < 1 and abs(end[1] - self.entry[1]) < 1:
            return [self.entry]
        if end[1] >= y + height - 1:
            return [(end[0], y + height + 4), (self.entry[0], y + height + 4), self.entry]
        return [(x - _STRIP, end[1]), (x - _STRIP, y - _ABOVE), (self.entry[0], y - _ABOVE), self.entry]


@dataclass(frozen=True, slots=True)
class Kernel:
    """The kernel of a node: the lane that leads through it, from its bridge at the top to its ways out."""

    x: float
    top: float
    bottom: float
    rows: tuple[float, ...] = ()  # the gaps between its lines of text
    above: float = 0.0  # the strip between the bridge and the kernel

    def hook(self, name: str, *, downwards: bool) -> Point:
        """Return the place of a hook on the lane, for a packet that comes from above or from below."""
        inside = (self.bottom - self.top) / 4
        share = {"prerouting": 0, "postrouting": 2}.get(name, 1)
        from_top = share if downwards else 2 - share
        return self.x, self.top + inside * (1 + from_top)


def note_node(places: Places, card: Card, corner: Point) -> None:
    """Note the places within one node."""
    host, nest = card.host, card.host.nest
    assert nest is not None  # noqa: S101 - the caller has looked
    bar = 0.0
    for each in card.parts:
        part = each.moved(*corner)
        box = (part.x, part.y, part.width, part.height)
        key = f"{host.name}/{part.id.partition('/')[2]}"
        if part.kind == "trunk":
            bar = part.y
            entry = (corner[0] + LANE, part.y + BUS)
            places.buses[key] = Bus(box, entry, (entry[0], part.y + part.height + 14))
        elif part.kind == "kernel":
            rows = tuple(part.y + row for row in (27.5, 40.5, 53.5, 66.5))
            places.kernels[host.name] = Kernel(
                corner[0] + LANE, part.y + GATE_HEIGHT / 2, part.y + part.height, rows, part.y - ABOVE + 4
            )
        elif part.kind == "chip" and key in places.spots and part.data.chip.kind == "vxlan":
            # What is wrapped or unwrapped happens on the lane, right above the interface.
            spot = places.spots[key]
            places.spots[key] = replace(spot, sign=(spot.inner[0], spot.inner[1] - 9))
        elif part.kind in {"pod", "unit"}:
            _pod(places, nest, part, corner)
    _ports(places, card, corner, bar)
    for each in card.parts:
        if each.kind == "cable":
            cable, course = each.data
            places.join(
                cable, [(corner[0] + x, corner[1] + y) for x, y in _turned(flat(course), turn=cable.a[0] == host.name)]
            )


def _pod(places: Places, nest: Nest, part: Part, corner: Point) -> None:
    """Note a pod and its interfaces: a chip on its lower border, or the border itself where it is small."""
    name = part.id.removeprefix("host:")
    x, y, width, height = part.x, part.y, part.width, part.height
    places.hosts[name] = (x, y, width, height)
    chips = part.data[2] if part.kind == "pod" else ()
    for chip in chips:
        middle, top = corner[0] + chip.x + chip.width / 2, corner[1] + chip.y
        spot = Spot((middle, top + chip.height), (middle, top), chip.width)
        places.spots[f"{name}/{chip.id.partition('/')[2]}"] = spot
    for cable in nest.cables if not chips else ():
        for end in (cable.a, cable.b):
            if end[0] == name:
                places.spots["/".join(end)] = Spot((x + width / 2, y + height), (x + width / 2, y), width)


def _ports(places: Places, card: Card, corner: Point, bar: float) -> None:
    """Note the ports of the bridge; the cable of a small pod runs down beside the pods below it."""
    host, nest = card.host, card.host.nest
    ends = pods.drops(nest) if nest is not None else {}
    masters = {chip.name: chip.master for chip in host.chips}
    # An end without a bridge is a chip of its own.
    chips = {
        part.data.chip.name: (corner[1] + part.y, corner[1] + part.y + part.height, part.width)
        for part in card.parts
        if part.kind == "chip" and part.data.chip.name not in card.anchors
    }
    for cable in nest.cables if nest is not None else ():
        port, pod = (cable.a, cable.b) if cable.a[0] == host.name else (cable.b, cable.a)
        if pod[0] not in ends or (bar == 0 and port[1] not in chips):
            continue
        x, key = corner[0] + ends[pod[0]], "/".join(port)
        top, end, wide = chips.get(port[1], (bar, bar + 1, 10.0))
        places.spots[key] = Spot((x, top), (x, end), wide)
        if masters.get(port[1]):
            places.masters[key] = f"{host.name}/{masters[port[1]]}"
        start = places.spots.get("/".join(pod))
        if nest is not None and nest.level != "cards" and start is not None:
            (sx, sy), gap = start.outer, start.width / 2 + 4
            way = [(sx, sy), (sx, sy + 4), (sx + gap, sy + 4), (sx + gap, bar - 8), (x, bar - 8), (x, bar)]
            free = bar - sy < _CLOSE
            places.join(cable, _turned([way[0], way[-1]] if free else way, turn=pod != cable.a))


def _turned(points: list[Point], *, turn: bool) -> list[Point]:
    return points[::-1] if turn else points


def flat(course: tuple[Point, ...]) -> list[Point]:
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
