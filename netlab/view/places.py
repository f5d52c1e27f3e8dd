"""Where things are in a picture, for what is drawn over it: interfaces, bridges, cables, and a host's lanes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.view.cables import courses
from netlab.view.node_places import Bus, Kernel, Spot, flat, note_node
from netlab.view.underlay import BUS as UNDERLAY_BUS

if TYPE_CHECKING:
    from netlab.view.drawing import Drawing
    from netlab.view.layout import Layout
    from netlab.view.nouns import Cable
    from netlab.view.overhead import Box
    from netlab.view.parts import Part, Point

#: A lane that begins further than this from an interface belongs to another one.
_NEAR = 90.0
#: The free strip around a gate and a bar, and where on its bus a bridge is entered, past its words.
_STRIP, _ABOVE, _ENTRY = 8.0, 7.0, 10.0


class Places:
    """Where the interfaces, bridges and cables of a drawing are, in the picture's coordinates."""

    def __init__(self, drawing: Drawing, layout: Layout) -> None:
        """Look all of them up once."""
        self.spots: dict[str, Spot] = {}
        self.buses: dict[str, Bus] = {}
        self.masters: dict[str, str] = {}
        self.hosts: dict[str, Box] = {}
        self.gates: dict[str, Box] = {}
        self.tables: dict[str, Box] = {}
        self.lanes: dict[str, list[list[Point]]] = {}
        self.kernels: dict[str, Kernel] = {}
        self.cables: dict[tuple[str, str], list[Point]] = {}
        #: Who holds an address: its interface.
        self.holders = {
            address.partition("/")[0]: f"{host.name}/{chip.name}"
            for host in drawing.scene.everybody()
            for chip in host.chips
            for address in chip.addresses
        }
        for number, (name, card) in enumerate(drawing.cards.items()):
            x, y = layout.places[number]
            x, y = x + card.overhang[3], y + card.overhang[0]
            self.hosts[name] = (x, y, card.width, card.height)
            for part in card.parts:
                self._note(name, part.moved(x, y), (x, y), card.anchors)
            if card.host.nest is not None:
                note_node(self, card, (x, y))
        for cable, course in courses(drawing, layout):
            self.join(cable, flat(course))

    def join(self, cable: Cable, points: list[Point]) -> None:
        """Note the course of a cable, from either of its ends."""
        a, b = ("/".join(end) for end in (cable.a, cable.b))
        self.cables[a, b], self.cables[b, a] = points, points[::-1]

    def _note(self, host: str, part: Part, corner: Point, anchors: dict[str, Point]) -> None:
        box = (part.x, part.y, part.width, part.height)
        key = f"{host}/{part.id.partition('/')[2]}"
        if part.kind == "chip":
            end = anchors.get(part.id.partition("/")[2])
            self.spots[key] = _spot(box, (corner[0] + end[0], corner[1] + end[1]) if end else None)
            if master := part.data.chip.master:
                self.masters[key] = f"{host}/{master}"
        elif part.kind == "bar":
            self.buses[key] = Bus(box, (part.x + part.data[1] + _ENTRY, part.y + part.height / 2))
        elif part.kind == "underlay":
            self.buses[key] = Bus(box, (part.x + part.data[2], part.y + UNDERLAY_BUS))
        elif part.kind == "socket":
            chip, x, top = part.data
            edge, inner = (part.y - 2, 1.0) if top else (part.y + part.height + 4, -1.0)
            self.spots[key] = Spot((corner[0] + x, edge), (corner[0] + x, edge + inner), 10.0)
            self.masters[key] = f"{host}/{chip.master}"
        elif part.kind == "gate":
            self.gates[host] = box
        elif part.kind in {"rules", "block", "kernel"}:
            # The rules come first, then the routes: the first table is where a packet of the host's own ends.
            self.tables.setdefault(host, box)
        elif part.kind == "lane":
            self.lanes[host] = [[(corner[0] + px, corner[1] + py) for px, py in path] for path in part.data[1]]

    def where(self, key: str) -> Point | None:
        """Return the place of the sign of an interface or bridge: on its cable or bus, off its words."""
        if key in self.buses:
            return self.buses[key].sign or self.buses[key].entry
        spot = self.spots.get(key)
        if spot is None or spot.sign is not None:
            return spot.sign if spot is not None else None
        cable = next((points for (end, _), points in self.cables.items() if end == key), None)
        room = abs(cable[0][0] - cable[-1][0]) + abs(cable[0][1] - cable[-1][1]) if cable else 2 * _STRIP
        far = max(0.0, min(10.0, room / 2 - 9.0))
        return spot.outer[0] + spot.out[0] * far, spot.outer[1] + spot.out[1] * far

    def across(self, one: str, other: str) -> list[Point] | None:
        """Return the way over a bridge: between two of its ports, or between a port and the host itself."""
        buses = [self.buses.get(key) or self.buses.get(self.masters.get(key, "")) for key in (one, other)]
        if buses[0] is None or buses[0] is not buses[1] or one == other:
            return None
        level = buses[0].entry[1]
        points: list[Point] = []
        for key in (one, other):
            if key in self.buses:
                end = [buses[0].entry]
            else:
                inner = self.spots[key].inner
                end = [inner, (inner[0], level)]
            points += end if not points else end[::-1]
        return points

    def through(self, host: str, one: str, other: str, *, forwarded: bool) -> list[Point] | None:
        """Return the way from one interface to another along a host's lanes: by its gate, if it is ``forwarded``."""
        a, b = self.lane(host, one), self.lane(host, other)
        if a is None or b is None or a == b:
            return None
        if not forwarded:
            # Both lanes end in the same way: what is sent by the host itself need not come near the gate.
            while len(a) > 1 and len(b) > 1 and a[-2:] == b[-2:]:
                a, b = a[:-1], b[:-1]
            if a[-1] == b[-1]:
                return [*a, *b[-2::-1]]
        return [*a[:-1], *self._around(host, a[-1], b[-1]), *b[-2::-1]]

    def lane(self, host: str, key: str) -> list[Point] | None:
        """Return the way from an interface or bridge to the gate, along the lane that begins there."""
        near = [
            (distance, path if distance == first else path[::-1])
            for path in self.lanes.get(host, ())
            for first, last in ((self._distance(key, path[0]), self._distance(key, path[-1])),)
            for distance in (min(first, last),)
        ]
        distance, path = min(near, default=(_NEAR, None))
        if path is None or distance >= _NEAR:
            return None
        return [*self.buses[key].approach(path[0])[::-1], *path[1:]] if key in self.buses else path

    def _around(self, host: str, start: Point, end: Point) -> list[Point]:
        """Return the way from one end of a lane at the gate to another, past the words on it."""
        if host not in self.gates or start == end:
            return [start, end]
        x, y, width, _ = self.gates[host]
        top = y - _STRIP

        def corner(point: Point) -> list[Point]:
            if point[1] <= y + 1:
                return [(point[0], top)]
            side = x - _STRIP if point[0] < x + width / 2 else x + width + _STRIP
            return [(side, point[1]), (side, top)]

        return [*corner(start), *corner(end)[::-1]]

    def _distance(self, key: str, point: Point) -> float:
        """Return how far a point is from an interface or a bridge."""
        if key in self.spots:
            spot = self.spots[key]
            return min(abs(point[0] - x) + abs(point[1] - y) for x, y in (spot.inner, spot.outer))
        x, y, width, height = self.buses[key].box if key in self.buses else (0.0, 0.0, 0.0, 0.0)
        return max(x - point[0], point[0] - x - width, 0) + max(y - point[1], point[1] - y - height, 0)


def _spot(box: Box, end: Point | None) -> Spot:
    x, y, width, height = box
    middle = (x + width / 2, y + height / 2)
    if end is None:
        return Spot(middle, middle, width)
    return Spot(end, (2 * middle[0] - end[0], 2 * middle[1] - end[1]), width)
