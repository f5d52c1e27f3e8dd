"""Lay out the network between nodes: a switch that is nothing but its bridge, drawn as one bar.

The tube of a tunnel lies inside of the bar, since its packets ride inside packets of this network.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from netlab.view import pen, ports
from netlab.view.measure import fit_middle, text_width
from netlab.view.parts import PAD, Card, Part
from netlab.view.ports import Draft

if TYPE_CHECKING:
    from xml.etree import ElementTree as ET

    from netlab.view.cards import Spec
    from netlab.view.nouns import Bridge, Chip, SceneHost, Tube

HEIGHT, BUS = 48.0, 32.0
_TUBE, _INSET = 32.0, 7.0


def is_switch(host: SceneHost) -> bool:
    """Tell whether a host only switches, by one bridge: it has no part in the network whose frames it passes on."""
    bridges = {bridge.name for bridge in host.bridges}
    addresses = any(bridge.addresses for bridge in host.bridges)
    routed = any(chip.master not in bridges for chip in host.chips)
    return len(bridges) == 1 and not (addresses or routed or host.routes or host.programs or host.rules)


def underlay_card(host: SceneHost, spec: Spec) -> Card:
    """Lay out the switch between nodes."""
    draft = Draft(host, spec)
    (zone,) = ports.zones(draft)
    width = max(zone.width + PAD, spec.min_width)
    height = HEIGHT + (18 if host.summary else 0) + len(host.tubes) * (_TUBE + _INSET)
    xs = {chip.name: draft.label + draft.centres[chip.name] for chip in draft.ports if chip.name in draft.centres}
    parts = [Part("underlay", zone.bridge.id, 0, 0, width, HEIGHT, (host, zone.bridge, draft.label))]
    ordered = sorted(xs.values())
    anchors = {}
    for chip in draft.ports:
        x = xs[chip.name]
        after = min((other for other in ordered if other > x), default=width - 4)
        top = draft.side(chip) == "top"
        parts.append(Part("socket", chip.id, x - 6, 2, min(after - x - 4, 118.0), HEIGHT - 6, (chip, x, top)))
        anchors[chip.name] = (x, 0.0 if top else height)
    y = HEIGHT
    if host.summary:
        parts.append(Part("totals", "", draft.label, y - 4, width - draft.label, 18, host.summary))
        y += 18
    for tube in host.tubes:
        lanes = []
        for name in tube.lanes:
            x = draft.label + spec.ports.get(name, 0.0)
            lanes.append(x)
            anchors[name] = (x, 0.0)
        parts.append(Part("pipe", tube.id, _INSET, y, width - 2 * _INSET, _TUBE, (tube, tuple(lanes))))
        y += _TUBE + _INSET
    return Card(host, width, height, tuple(parts), anchors)


def underlay(parent: ET.Element, item: Part) -> None:
    """Draw the bar: the name of the host, its bridge, and the bus."""
    host: SceneHost
    bridge: Bridge
    host, bridge, label = item.data
    state = "" if bridge.state == "up" else f" {bridge.state}"
    pen.write(parent, (item.x + 12, item.y + 20), fit_middle(host.name, label - 16, 13, "bold"), 13, "bold")
    box = pen.group(parent, bridge.id, f"bridge{state}", bridge.sentence)
    pen.rect(box, (item.x + 4, item.y + 25, label - 8, 20), "l2", rx="4")
    pen.led(box, (item.x + 16, item.y + 34), 3.6, bridge.state, "l2line")
    x = item.x + 24
    x += pen.write(box, (x, item.y + 38), "bridge", 10, fill="l2line") + 4
    pen.write(box, (x, item.y + 38), fit_middle(bridge.name, label - 8 - x, 11, "mono"), 11, "mono", bold=True)
    level = item.y + BUS
    start = item.x + label
    pen.line(box, ((start, level), (item.x + item.width - 12, level)), "l2line", 2.4, stroke_linecap="round")


def socket(parent: ET.Element, item: Part) -> None:
    """Draw a port of the bar: its drop onto the bus, and its name beside it."""
    chip: Chip
    chip, x, top = item.data
    if chip.gone:
        return
    up = chip.state == "up"
    box = pen.group(parent, chip.id, f"iface {chip.kind or 'unknown'}{'' if up else ' ' + chip.state}", chip.sentence)
    pen.rect(box, (item.x, item.y, item.width, item.height), "l2", stroke_opacity="0", fill_opacity="0")
    end = (x, item.y - 2 if top else item.y + item.height + 4)
    if up:
        pen.line(box, (end, (x, BUS)), "l2line", 1.7)
        pen.dot(box, (x, BUS), 3.2, "l2line")
    else:
        pen.line(box, (end, (x, BUS)), "badline", 1.7, stroke_dasharray="4 3")
        pen.dot(box, (x, BUS), 3, "page", "badline")
    room = item.width - 20
    word = f" {chip.word}" if chip.word else ""
    name = fit_middle(chip.name, room - text_width(word, 10, "bold"), 10, "mono")
    if text_width(name + word, 10, "mono") <= room + 8:
        used = pen.write(box, (x + 14, item.y + 16), name, 10, "mono", fill="l2line" if up else "badline")
        if word:
            pen.write(box, (x + 14 + used, item.y + 16), word, 10, "bold", fill="badline")


def pipe(parent: ET.Element, item: Part) -> None:
    """Draw a tunnel as a tube, with the lanes that lead into it."""
    tube: Tube
    tube, lanes = item.data
    box = pen.group(parent, item.id, "tube", tube.sentence)
    pen.rect(box, (item.x, item.y, item.width, item.height), "tun", "tunline", stroke_dasharray="5 3")
    middle = item.y + item.height / 2
    for x in lanes:
        pen.line(box, ((x, 0), (x, middle)), "tunline", 5.4)
        pen.line(box, ((x, 0), (x, middle + 1)), "tun", 2.6)
    x, y = item.x + 10, middle + 4
    x += pen.write(box, (x, y), "VXLAN", 11, "bold", fill="tunline") + 8
    room = min((lane for lane in lanes if lane > x), default=item.x + item.width) - x - 8
    text = next((t for t in (tube.about, tube.about.rpartition(" · ")[0]) if text_width(t, 10, "mono") <= room), "")
    pen.write(box, (x, y), text or fit_middle(tube.about, room, 10, "mono"), 10, "mono")
    says = "pod packets ride inside packets between nodes"
    gaps = sorted((*[lane for lane in lanes if lane > x], item.x + item.width))
    for before, after in pairwise(gaps):
        if after - before > text_width(says, 10) + 24:
            pen.write(box, ((before + after) / 2, y), says, 10, fill="muted", anchor="middle")
            break


def totals(parent: ET.Element, item: Part) -> None:
    """Write what hangs on the bar, in words."""
    x = item.x
    for text, ink in item.data:
        x += pen.write(parent, (x, item.y + 12), text, 11, "bold", fill=ink) + 18


FACES = {"totals": totals, "underlay": underlay, "socket": socket, "pipe": pipe}
