"""What stands above all hosts because no host has it: Services, and where their packets are sent.

It takes no part in the layout: endpoints never move anything, and a Service that comes or goes moves the rest as one.
Where hosts leave room at the top, Services stand beside them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from netlab.view import pen, words
from netlab.view.measure import fit, text_width
from netlab.view.nouns import Endpoint
from netlab.view.theme import light

if TYPE_CHECKING:
    from collections.abc import Sequence
    from xml.etree import ElementTree as ET

    from netlab.view.nouns import Service
    from netlab.view.parts import Point

Box = tuple[float, float, float, float]  # x, y, width, height

_MOST = 6
_HEIGHT, _GAP, _TRACK, _LANDING = 46.0, 18.0, 9.0, 34.0
_APART, _APART_INSIDE = 52.0, 42.0
_SIDE, _HEAD = 6.0, 17.0  # a line to a card below another comes from its side, at the height of its name
_ABOUT = "no interface holds this address: it exists only as rules on"


@dataclass(frozen=True, slots=True)
class Overhead:
    """The row of Services: each with its place; the room that it needs above all hosts, and where it begins."""

    placed: tuple[tuple[Service, float, float], ...]  # the Service, its left end, its width
    more: int = 0
    height: float = 0.0
    width: float = 0.0
    top: float = 0.0
    ends: dict[str, tuple[Endpoint, ...]] = field(default_factory=dict)  # those that a line can lead to


def arrange(services: Sequence[Service], cards: dict[str, Box], inside: dict[str, str]) -> Overhead:
    """Place each Service above its endpoints, in their order from left to right; ``cards`` says where hosts are.

    ``inside`` names the node of each pod that is too small for a line of its own: one leads to the node.
    """
    if not services:
        return Overhead(())
    known = {service.id: _ends(service, cards, inside) for service in services[:_MOST]}
    middles = [(_middle(known[service.id], cards), number) for number, service in enumerate(services[:_MOST])]
    placed, x = [], 0.0
    for middle, number in sorted(middles):
        width = _width(services[number])
        left = max(x, middle - width / 2)
        placed.append((services[number], left, width))
        x = left + width + _GAP
    needed = _HEIGHT + 12 + _TRACK * len(placed) + _LANDING
    more = len(services) - len(placed)
    right = x - _GAP + (text_width(_more(more), 11) + _GAP if more else 0)
    ends = [cards[end.host] for service, _, _ in placed for end in known[service.id]]
    edges = (min([placed[0][1], *(box[0] for box in ends)]), max([right, *(box[0] + box[2] for box in ends)]))
    below = [top for left, top, wide, _ in cards.values() if left < edges[1] + _GAP and edges[0] - _GAP < left + wide]
    room = min(below, default=0.0)
    height = max(0.0, needed - room)
    return Overhead(tuple(placed), more, height, right, room + height - needed, known)


def _more(number: int) -> str:
    return f"and {words.count(number, 'more Service')}"


def _ends(service: Service, cards: dict[str, Box], inside: dict[str, str]) -> tuple[Endpoint, ...]:
    """Return the endpoints by the host to which a line can lead: small pods count together as their node."""
    found: dict[tuple[str, str], Endpoint] = {}
    counts: dict[str, int] = {}
    for end in service.endpoints:
        host = inside.get(end.host, end.host)
        if host not in cards:
            continue
        if host == end.host:
            found[host, end.address] = end
            continue
        counts[host] = counts.get(host, 0) + 1
        share = end.share + (found[host, ""].share if (host, "") in found else 0.0)
        found[host, ""] = Endpoint(words.count(counts[host], "pod"), host, share)
    return tuple(found.values())


def _middle(ends: tuple[Endpoint, ...], cards: dict[str, Box]) -> float:
    middles = [cards[end.host][0] + cards[end.host][2] / 2 for end in ends]
    return sum(middles) / len(middles) if middles else 0.0


def _titles(service: Service) -> tuple[str, str, str]:
    name = service.name.partition("/")[2] or service.name
    ports = {e.address.rpartition(":")[2] for e in service.endpoints}
    to = f"→ {words.count(len(service.endpoints), 'endpoint')}" + (f" :{ports.pop()}" if len(ports) == 1 else "")
    heading = f"Service {name}" if "/" in service.name else "virtual address"
    return heading, ", ".join(service.addresses), to


def _width(service: Service) -> float:
    heading, address, to = _titles(service)
    ports = f"NodePort {' '.join(service.ports)}" if service.ports else ""
    first = 32 + text_width(heading, 13, "bold") + text_width(address, 11, "mono") + text_width(to, 11, "mono")
    first += text_width(ports, 11, "mono") + 14 * (4 if ports else 3)
    return max(first, text_width(_about(service), 10) + 24)


def _about(service: Service) -> str:
    return f"{_ABOUT} {words.count(len(service.hosts), 'host')}"


def draw_overhead(body: ET.Element, overhead: Overhead, cards: dict[str, Box]) -> None:
    """Draw the Services at the top, and a dashed line from each to those of its endpoints that it can reach freely."""
    claims = [end.host for service, _, _ in overhead.placed for end in overhead.ends[service.id]]
    taken: dict[str, int] = {}
    for number, (service, left, width) in enumerate(overhead.placed):
        track = _HEIGHT + 12 + _TRACK * number
        # From left to right, so that no two lines of a Service cross.
        reached = sorted(overhead.ends[service.id], key=lambda end: cards[end.host][0])
        for place, end in enumerate(reached):
            start = left + width * (place + 1) / (len(reached) + 1)
            slot = taken.get(end.host, 0)
            taken[end.host] = slot + 1
            course, pill = _way(cards, end.host, (start, track), (slot, claims.count(end.host)))
            _endpoint(body, service, end, (course, pill))
    for service, left, width in overhead.placed:
        _box(body, service, left, width)
    if overhead.more:
        right = max(left + width for _, left, width in overhead.placed)
        pen.write(body, (right + _GAP, _HEIGHT / 2 + 4), _more(overhead.more), 11, fill="muted")


def _way(
    cards: dict[str, Box], name: str, start: Point, slot: tuple[int, int]
) -> tuple[tuple[Point, ...] | None, Point]:
    """Return the course of a line to a host, or None where it would cross others; and the place of its share."""
    x, top, wide, high = cards[name]
    number, count = slot
    around = [box for box in cards.values() if _holds(box, cards[name])]
    others = [box for other, box in cards.items() if other != name and box not in around]
    border = min((box[1] for box in around), default=top - 19)
    to = x + wide / 2 + (number * _APART_INSIDE if around else (number - (count - 1) / 2) * _APART)
    if to < x + wide - 8 and _is_free(others, to, (start[1], top)):
        course = ((start[0], _HEIGHT), start, (to, start[1]), (to, top))
        return course, (to, border)
    if around and number == 0 and high > 2 * _HEAD:
        # A card below another: from the side on which the way between the columns is.
        node = around[0]
        left = x + wide / 2 > node[0] + node[2] / 2
        to = x - _SIDE if left else x + wide + _SIDE
        if _is_free(others, to, (start[1], top + _HEAD)):
            end = (x if left else x + wide, top + _HEAD)
            return ((start[0], _HEIGHT), start, (to, start[1]), (to, end[1]), end), (to, border)
    shift = max(0.0, wide / 2 - 20 - max(0, number - 2) * _APART_INSIDE) if around else to - x - wide / 2
    return None, (x + wide / 2 + shift, top if around else top - 10)


def _holds(outer: Box, inner: Box) -> bool:
    return (
        outer != inner
        and outer[0] <= inner[0]
        and outer[1] <= inner[1]
        and inner[0] + inner[2] <= outer[0] + outer[2]
        and inner[1] + inner[3] <= outer[1] + outer[3]
    )


def _is_free(others: Sequence[Box], x: float, span: tuple[float, float]) -> bool:
    return not any(
        cx - 4 < x < cx + wide + 4 and span[0] < cy + high and cy < span[1] - 1 for cx, cy, wide, high in others
    )


def _box(body: ET.Element, service: Service, left: float, width: float) -> None:
    box = pen.group(body, service.id, "svc virt", words.service(service))
    pen.rect(box, (left, 0, width, _HEIGHT), "svc", "svcline", stroke_dasharray="5 3")
    heading, address, to = _titles(service)
    x = left + 12
    x += pen.write(box, (x, 20), "◆", 11, fill="svcline") + 6
    x += pen.write(box, (x, 20), heading, 13, "bold") + 14
    if address:
        x += pen.write(box, (x, 20), address, 11, "mono", fill="svcline", bold=True) + 14
    x += pen.write(box, (x, 20), to, 11, "mono") + 14
    if service.ports:
        pen.write(box, (x, 20), f"NodePort {' '.join(service.ports)}", 11, "mono", fill="svcline")
    pen.write(box, (left + width / 2, 37), fit(_about(service), width - 16, 10), 10, fill="muted", anchor="middle")


def _endpoint(body: ET.Element, service: Service, end: Endpoint, way: tuple[tuple[Point, ...] | None, Point]) -> None:
    course, (x, y) = way
    share = f"{end.share * 100:.0f} %"
    sentence = f"{share} of the packets to {service.name} go to {end.host}, {end.address}."
    box = pen.group(body, f"ep:{service.name}/{end.host}/{end.address}", "ep", sentence)
    if course is not None:
        pen.line(box, course, "svcline", 1.5, stroke_dasharray="5 3")
        _head(box, course[-2], course[-1])
    width = text_width(share, 10, "bold") + 14
    pen.rect(box, (x - width / 2, y - 9, width, 18), "svc", "svcline", rx="9")
    pen.write(box, (x, y + 3.5), share, 10, "bold", fill="svcline", anchor="middle")


def _head(box: ET.Element, before: Point, end: Point) -> None:
    """Draw the head of an arrow, which ends right before a point."""
    x, y = end
    if abs(before[0] - x) < 1:
        corners = ((x - 5, y - 8), (x + 5, y - 8), (x, y - 1))
    else:
        back = x - 5 if before[0] < x else x + 5
        corners = ((back, y - 4), (back, y + 4), (x, y))
    text = "M" + "L".join(pen.pair(corner) for corner in corners) + "Z"
    pen.path(box, text, "svcline", 1).set("fill", light("svcline"))
