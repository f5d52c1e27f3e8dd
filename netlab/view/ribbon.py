"""The ribbon below a journey's picture: who the packet says it is from and for, stop by stop.

One column a stop; a bar lasts as long as its value does. Where a bar ends and another begins, the packet was rewritten;
where there is a third row, it was inside another packet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from netlab.view import pen
from netlab.view.measure import fit_middle, text_width
from netlab.view.svg import SVG
from netlab.view.waymarks import badge

if TYPE_CHECKING:
    from netlab.journey.values import Journey, Step
    from netlab.view.nouns import Scene
    from netlab.view.route import Hop

_LABEL, _ROW, _HIGH, _HEAD = 88.0, 24.0, 20.0, 26.0
_WIDTH, _NARROW = 1180.0, 26.0
#: Who an address belongs to: its glyph, the fill of its bar, and its ink.
_LOOKS = {
    "client": ("● ", "sel", "pkt"),
    "service": ("◆ ", "svc", "svcline"),
    "endpoint": ("■ ", "l3", "l3line"),
    "node": ("", "chip", "chipline"),
    "outer": ("", "tun", "tunline"),
}


@dataclass(frozen=True, slots=True)
class Bar:
    """A value that lasts from one stop to another, both counted, with the number of the step that brought it."""

    first: int
    last: int
    text: str
    who: str
    step: int


def bars(journey: Journey, hops: list[Hop], scene: Scene) -> dict[str, list[Bar]]:
    """Return the bars of each row: source, destination and, where there is one, the outer header."""
    steps = {step.number: step for step in journey.steps}
    roles = _roles(journey, scene)
    rows: dict[str, list[Bar]] = {"source": [], "destination": [], "outer header": []}
    for column, hop in enumerate(hops):
        step = steps[hop.number]
        values = _values(step, roles)
        # Where it is put into a tunnel it has its outer header already, and where it is taken out it still does.
        beside = {"wrap": hops[column + 1 :][:1], "unwrap": hops[max(column - 1, 0) : column]}.get(step.kind, [])
        for other in beside:
            outer = _values(steps[other.number], roles).get("outer header")
            values |= {"outer header": outer} if outer is not None else {}
        for row, (text, who) in values.items():
            found = rows[row]
            if found and found[-1].text == text and found[-1].last == column - 1:
                found[-1] = replace(found[-1], last=column)
            else:
                found.append(Bar(column, column, text, who, hop.number))
    return {row: found for row, found in rows.items() if found}


def _values(step: Step, roles: dict[str, str]) -> dict[str, tuple[str, str]]:
    header = step.after or step.before
    found = {}
    if header is not None:
        found["source"] = (header.from_text, roles.get(str(header.source), "node"))
        found["destination"] = (header.to_text, roles.get(str(header.destination), "node"))
    if step.outer is not None:
        ends = step.outer.header
        found["outer header"] = (f"{ends.source} → {ends.destination}", "outer")
    return found


def _roles(journey: Journey, scene: Scene) -> dict[str, str]:
    """Return whose each address is: the client's, a Service's, or that of who was meant to answer."""
    headers = [step.after or step.before for step in journey.steps if step.leg == "request"]
    known = [header for header in headers if header is not None]
    roles: dict[str, str] = {}
    if known:
        roles[str(known[-1].destination)] = "endpoint"
        roles[str(known[0].source)] = "client"
    for rewrite in journey.nat:
        if rewrite.leg == "request" and rewrite.before.destination != rewrite.after.destination:
            roles[str(rewrite.before.destination)] = "service"
    for service in scene.services:
        roles |= {address.rpartition(":")[0] or address: "service" for address in service.addresses}
    return roles


def height(found: dict[str, list[Bar]]) -> float:
    """Return the height of a ribbon."""
    return _HEAD + _ROW * len(found) + 8


def draw_ribbon(
    root: ET.Element, found: dict[str, list[Bar]], hops: list[Hop], place: tuple[float, float, float]
) -> None:
    """Draw the ribbon; ``place`` is its left end, its upper edge and its width."""
    left, top, width = place
    group = ET.SubElement(root, "g", {"class": "nl-ribbon"})
    start = left + _LABEL
    pitch = (width - _LABEL) / max(1, len(hops))
    for column, hop in enumerate(hops):
        badge(group, replace(hop, at=(start + (column + 0.5) * pitch, top + 11)), "nl-col")
    for number, (row, values) in enumerate(found.items()):
        y = top + _HEAD + number * _ROW
        pen.write(group, (left, y + 14), row, 11, fill="muted")
        for bar in values:
            glyph, fill, ink = _LOOKS[bar.who]
            x, wide = start + bar.first * pitch + 1, (bar.last - bar.first + 1) * pitch - 2
            box = ET.SubElement(group, "g", {"class": "nl-bar-of", "data-step": str(bar.step)})
            ET.SubElement(box, "title").text = f"{row}: {bar.text}"
            pen.rect(box, (x, y, wide, _HIGH), fill, ink, rx="4")
            text = glyph + bar.text
            if text_width(text, 10, "mono") > wide - 8:
                text = glyph + fit_middle(bar.text, wide - 8 - text_width(glyph, 10, "mono"), 10, "mono")
            if wide > _NARROW:
                pen.write(box, (x + 5, y + 14), text, 10, "mono", fill=ink, bold=True)


def ribbon(journey: Journey, found: dict[str, list[Bar]], hops: list[Hop]) -> str:
    """Return the ribbon as a picture of its own, which a page may stretch to its width."""
    high = pen.number(height(found))
    label = f"{', '.join(found)} at each stop of the {repr(journey).strip('<>')}"
    attributes = {"xmlns": SVG, "viewBox": f"0 0 {pen.number(_WIDTH)} {high}", "role": "graphics-document"}
    root = ET.Element("svg", attributes | {"class": "nl live", "aria-label": pen.clean(label)})
    draw_ribbon(root, found, hops, (2, 2, _WIDTH - 4))
    return ET.tostring(root, encoding="unicode")
