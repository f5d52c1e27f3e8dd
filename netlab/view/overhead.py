"""What stands above all hosts because no host has it: Services, and where their packets are sent.

It takes no part in the layout: endpoints never move anything, and a Service that comes or goes moves the rest as one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netlab.view import pen, words
from netlab.view.measure import fit, text_width
from netlab.view.theme import light

if TYPE_CHECKING:
    from collections.abc import Sequence
    from xml.etree import ElementTree as ET

    from netlab.view.nouns import Endpoint, Service
    from netlab.view.parts import Point

Box = tuple[float, float, float, float]  # x, y, width, height

_MOST = 6
_HEIGHT, _GAP, _TRACK, _LANDING = 46.0, 18.0, 9.0, 34.0
_APART = 52.0
_ABOUT = "no interface holds this address: it exists only as rules on"


@dataclass(frozen=True, slots=True)
class Overhead:
    """The row of Services: each with its place, and the height that all of it takes."""

    placed: tuple[tuple[Service, float, float], ...]  # the Service, its left end, its width
    more: int = 0
    height: float = 0.0
    width: float = 0.0


def arrange(services: Sequence[Service], cards: dict[str, Box]) -> Overhead:
    """Place each Service above its endpoints, in their order from left to right; ``cards`` says where hosts are."""
    if not services:
        return Overhead(())
    middles = [(_middle(service, cards), number) for number, service in enumerate(services[:_MOST])]
    placed, x = [], 0.0
    for middle, number in sorted(middles):
        width = _width(services[number])
        left = max(x, middle - width / 2)
        placed.append((services[number], left, width))
        x = left + width + _GAP
    height = _HEIGHT + 12 + _TRACK * len(placed) + _LANDING
    more = len(services) - len(placed)
    return Overhead(tuple(placed), more, height, x - _GAP + (text_width(_more(more), 11) + _GAP if more else 0))


def _more(number: int) -> str:
    return f"and {words.count(number, 'more Service')}"


def _middle(service: Service, cards: dict[str, Box]) -> float:
    ends = [cards[e.host] for e in service.endpoints if e.host in cards]
    return sum(x + width / 2 for x, _, width, _ in ends) / len(ends) if ends else 0.0


def _titles(service: Service) -> tuple[str, str, str]:
    name = service.name.partition("/")[2] or service.name
    ports = {e.address.rpartition(":")[2] for e in service.endpoints}
    to = f"→ {words.count(len(service.endpoints), 'endpoint')}" + (f" :{ports.pop()}" if len(ports) == 1 else "")
    heading = f"Service {name}" if "/" in service.name else "virtual address"
    return heading, ", ".join(service.addresses), to


def _width(service: Service) -> float:
    heading, address, to = _titles(service)
    ports = f"NodePort {' '.join(service.ports)}" if service.ports else ""
    first = 30 + text_width(heading, 13, "bold") + text_width(address, 11, "mono") + text_width(to, 11, "mono")
    first += text_width(ports, 11, "mono") + 14 * 3
    return max(first, text_width(_about(service), 10) + 24)


def _about(service: Service) -> str:
    return f"{_ABOUT} {words.count(len(service.hosts), 'host')}"


def draw_overhead(body: ET.Element, overhead: Overhead, cards: dict[str, Box]) -> None:
    """Draw the Services at the top, and a dashed line from each to those of its endpoints that it can reach freely."""
    claims = [end.host for service, _, _ in overhead.placed for end in service.endpoints if end.host]
    taken: dict[str, int] = {}
    for number, (service, left, width) in enumerate(overhead.placed):
        track = _HEIGHT + 12 + _TRACK * number
        # From left to right, so that no two lines of a Service cross.
        reached = sorted((end for end in service.endpoints if end.host in cards), key=lambda end: cards[end.host][0])
        for place, end in enumerate(reached):
            start = left + width * (place + 1) / (len(reached) + 1)
            slot = taken.get(end.host, 0)
            taken[end.host] = slot + 1
            x, top, wide, _ = cards[end.host]
            to = x + wide / 2 + (slot - (claims.count(end.host) - 1) / 2) * _APART
            _endpoint(body, service, end, ((start, _HEIGHT), (start, track), (to, track), (to, top)), cards)
    for service, left, width in overhead.placed:
        _box(body, service, left, width)
    if overhead.more:
        right = max(left + width for _, left, width in overhead.placed)
        pen.write(body, (right + _GAP, _HEIGHT / 2 + 4), _more(overhead.more), 11, fill="muted")


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


def _endpoint(
    body: ET.Element, service: Service, end: Endpoint, course: tuple[Point, ...], cards: dict[str, Box]
) -> None:
    x, top = course[-1]
    share = f"{end.share * 100:.0f} %"
    sentence = f"{share} of the packets to {service.name} go to {end.host}, {end.address}."
    box = pen.group(body, f"ep:{service.name}/{end.host}/{end.address}", "ep", sentence)
    free = not any(
        cx - 4 < x < cx + wide + 4 and course[2][1] < cy + high and cy < top - 1
        for cx, cy, wide, high in cards.values()
    )
    if free:
        pen.line(box, course, "svcline", 1.5, stroke_dasharray="5 3")
        head = f"M{pen.pair((x - 5, top - 8))}L{pen.pair((x + 5, top - 8))}L{pen.pair((x, top - 1))}Z"
        pen.path(box, head, "svcline", 1).set("fill", light("svcline"))
    middle = top - 19 if free else top
    width = text_width(share, 10, "bold") + 14
    pen.rect(box, (x - width / 2, middle - 9, width, 18), "svc", "svcline", rx="9")
    pen.write(box, (x, middle + 3.5), share, 10, "bold", fill="svcline", anchor="middle")
