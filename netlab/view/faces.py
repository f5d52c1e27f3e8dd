"""How each part of a card looks: one function a kind, from a `Part` to SVG elements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netlab.view import node_faces, pen, underlay
from netlab.view.measure import fit, fit_middle, text_width
from netlab.view.parts import LINE, Block, ChipText, Part

if TYPE_CHECKING:
    from xml.etree import ElementTree as ET

    from netlab.view.nouns import Bridge, Chip, Program, SceneHost, Tube, Unit
    from netlab.view.parts import Point


def part(parent: ET.Element, item: Part) -> None:
    """Draw one part of a card."""
    if item.kind == "pod":
        node_faces.pod(parent, item, part)
    else:
        _FACES[item.kind](parent, item)


def _chip(parent: ET.Element, item: Part) -> None:
    text: ChipText = item.data
    chip = text.chip
    if chip.gone:
        return
    bad = chip.state != "up"
    special = chip.kind == "vxlan"
    fill, stroke = ("bad", "badline") if bad else ("tun", "tunline") if special else ("chip", "chipline")
    if bad and text.inside:
        # A new namespace has its loopback down: that is worth a word, but it is no fault.
        fill, stroke = "pod", "podline"
    classes = f"iface {chip.kind or 'unknown'}{'' if chip.state == 'up' else ' ' + chip.state}"
    box = pen.group(parent, item.id, classes, chip.sentence)
    pen.rect(box, (item.x, item.y, item.width, item.height), fill, stroke)
    lines = [line for line in text.lines if line[0] not in {"inline", "nodeport"}]
    style, inline = next((line for line in text.lines if line[0] in {"inline", "nodeport"}), ("", ""))
    middle = item.x + item.width / 2
    y = item.y + (item.height - LINE * (1 + len(lines))) / 2 + 10.5
    word = chip.word if text.words else ""
    tail = word or inline
    widths = [text.size * 0.8, text_width(text.name, text.size, "mono") * 1.02]
    widths += [text_width(tail, 10, "bold" if word else "mono")] if tail else []
    x = middle - (sum(widths) + (4 if text.name else 0) + (6 if tail else 0)) / 2
    radius = text.size * 0.36
    pen.led(box, (x + radius, y - text.size * 0.35), radius, chip.state, stroke)
    x += widths[0] + 4
    if text.name:
        pen.write(box, (x, y), text.name, text.size, "mono", bold=True)
        x += widths[1] + 6
    if word:
        pen.write(box, (x, y), word, 10, "bold", fill="badline")
    elif inline:
        mono = inline[:1].isdigit() or ":" in inline
        ink = "svcline" if style == "nodeport" else "ink" if mono else "muted"
        pen.write(box, (x, y), inline, 10, "mono" if mono else "ui", fill=ink)
    for style, line in lines:
        y += LINE
        _chip_line(box, (middle, y), style, line, text)


def _chip_line(box: ET.Element, at: Point, style: str, line: str, text: ChipText) -> None:
    chip = text.chip
    if style == "state" and chip.word:
        pen.write(box, at, chip.word, 10, "bold", fill="badline", anchor="middle")
    elif style in {"address", "state"}:
        pen.write(box, at, line, text.size, "mono", anchor="middle")
    elif style == "mac":
        pen.write(box, at, line, 10, "mono", fill="muted", anchor="middle")
    else:
        pen.write(
            box, at, line, 10, fill="tunline" if chip.kind == "vxlan" and style == "note" else "muted", anchor="middle"
        )


def _title(parent: ET.Element, item: Part) -> None:
    name, sub, used = item.data
    if not used:
        pen.write(parent, (item.x, item.y + 13), name, 13, "bold", anchor="middle")
        return
    pen.write(parent, (item.x, item.y + 16), name, 16, "bold")
    if sub:
        pen.write(parent, (item.x + used + 8, item.y + 16), sub, 11, fill="muted")


def _bar(parent: ET.Element, item: Part) -> None:
    bridge: Bridge
    bridge, label, drops = item.data
    box = pen.group(parent, bridge.id, f"bridge{'' if bridge.state == 'up' else ' ' + bridge.state}", bridge.sentence)
    pen.rect(box, (item.x, item.y, item.width, item.height), "l2", "l2line")
    x, y = item.x + 12, item.y + 18
    pen.led(box, (x + 4, y - 4), 4, bridge.state, "l2line")
    x += 13
    x += pen.write(box, (x, y), "bridge", 11, fill="l2line") + 5
    pen.write(box, (x, y), fit_middle(bridge.name, item.x + label - 6 - x, 11, "mono"), 11, "mono", bold=True)
    x, y = item.x + 12, y + 15
    shown = fit_middle(bridge.addresses[0], label - 26, 10, "mono") if bridge.addresses else ""
    more = f" +{len(bridge.addresses) - 1}" if len(bridge.addresses) > 1 else ""
    if shown:
        pen.write(box, (x, y), shown + more, 10, "mono")
    else:
        pen.write(box, (x, y), "no address", 10, fill="muted")
    word = {"carrier": "NO CARRIER", "down": "DOWN"}.get(bridge.state, "")
    if word:
        pen.write(box, (x, y + 14), word, 10, "bold", fill="badline")
    else:
        learned = f"{bridge.learned} MAC{'' if bridge.learned == 1 else 's'} learned"
        pen.write(box, (x, y + 14), learned, 10, fill="muted")
    _bus(box, item, label, drops)


def _bus(box: ET.Element, item: Part, label: float, drops: tuple[tuple[Chip, float, float], ...]) -> None:
    bus = item.y + item.height / 2
    start, end = item.x + label, item.x + item.width - 12
    if not drops:
        room = end - start
        if room > text_width("no ports", 10):
            pen.write(box, ((start + end) / 2, bus + 4), "no ports", 10, fill="muted", anchor="middle")
        return
    pen.line(box, ((start - 2, bus), (max(end, start + 4), bus)), "l2line", 2.6, stroke_linecap="round")
    for chip, x, y in drops:
        if chip.gone:
            continue
        if chip.state == "up":
            pen.line(box, ((x, y), (x, bus)), "l2line", 1.7)
            pen.dot(box, (x, bus), 3.4, "l2line")
        else:
            pen.line(box, ((x, y), (x, bus)), "badline", 1.7, stroke_dasharray="4 3")
            pen.dot(box, (x, bus), 3, "page", "badline")


def _tube(parent: ET.Element, item: Part) -> None:
    tube: Tube
    tube, lanes = item.data
    box = pen.group(parent, tube.id, "tube", tube.sentence)
    pen.rect(box, (item.x, item.y, item.width, item.height), "tun", "tunline", stroke_dasharray="5 3")
    for x in lanes:
        course = f"M{pen.number(x)},0V{pen.number(item.y + item.height / 2)}"
        pen.path(box, course, "tunline", 5.4)
        pen.path(box, course, "tun", 2.6)
    clear = min((x for x in lanes if x > item.x + 12), default=item.x + item.width) - 8
    x, y = item.x + 12, item.y + item.height / 2 + 4
    heading = "VXLAN tunnel"
    if text_width(f"{heading} {tube.about}", 11, "bold") + 8 > clear - x:
        heading = "VXLAN"
    x += pen.write(box, (x, y), heading, 11, "bold", fill="tunline") + 8
    pen.write(box, (x, y), fit(tube.about, max(clear - x, 20), 10, "mono"), 10, "mono")


def _program(parent: ET.Element, item: Part) -> None:
    program: Program = item.data
    box = pen.group(parent, item.id, "program", program.sentence)
    guest = program.id.startswith("host:")
    dashes = {"stroke_dasharray": "4 3"} if guest else {}
    pen.rect(box, (item.x, item.y, item.width, item.height), "pod", "podline", **dashes)
    middle = item.x + item.width / 2
    name = fit_middle(program.name, item.width - 8, 11)
    pen.write(box, (middle, item.y + 14), name, 11, anchor="middle")
    if guest:
        pen.write(box, (middle, item.y + 28), "lives in here", 10, fill="muted", anchor="middle")
        return
    ports = fit(" ".join(program.ports), item.width - 8, 11, "mono")
    pen.write(box, (middle, item.y + 28), ports, 11, "mono", fill="l3line", anchor="middle", bold=True)


def _programs(parent: ET.Element, item: Part) -> None:
    text, host = item.data
    sentence = " ".join(program.sentence for program in host.programs)
    box = pen.group(parent, item.id, "program", sentence)
    pen.write(box, (item.x + item.width / 2, item.y + 10), text, 10, "mono", fill="l3line", anchor="middle", bold=True)


def _block(parent: ET.Element, item: Part) -> None:
    block: Block = item.data
    box = pen.group(parent, item.id, block.heading, block.sentence)
    pen.rect(box, (item.x, item.y, item.width, item.height), "pod", "hair")
    left, y = item.x + 8, item.y + 15
    pen.write(box, (left, y), block.heading, 11, "bold", fill=block.token)
    y += LINE
    room = item.width - 16
    if not block.lines:
        pen.write(box, (left, y), "none", 10, fill="muted")
    for line in block.lines:
        fault = text_width(line.fault, 10, "bold") + 8 if line.fault else 0
        text = line.text if text_width(line.text, 10, "mono") <= room - fault else line.short or line.text
        used = pen.write(box, (left, y), fit(text, room - fault, 10, "mono"), 10, "mono")
        if line.fault:
            pen.write(box, (left + used + 8, y), line.fault, 10, "bold", fill="badline")
        y += LINE


def _rules(parent: ET.Element, item: Part) -> None:
    host: SceneHost = item.data
    names = [name for name, _ in host.rules]
    tool = "nftables" if all(name.startswith("nft ") for name in names) else "iptables"
    total = sum(number for _, number in host.rules)
    said = ", ".join(f"{name} {number}" for name, number in host.rules)
    box = pen.group(parent, item.id, "rules", f"{tool} of {host.name}: {total} rules ({said}).")
    pen.rect(box, (item.x, item.y, item.width, item.height), "svc", "svcline")
    x, y = item.x + 8, item.y + 16
    x += pen.write(box, (x, y), tool, 11, "bold", fill="svcline") + 8
    parts = " · ".join(f"{name.removeprefix('nft ')} {number}" for name, number in host.rules)
    room = item.x + item.width - 8 - x
    whole = f"{parts} rule{'' if total == 1 else 's'}"
    text = whole if text_width(whole, 10) <= room else f"{total} rules"
    pen.write(box, (x, y), fit(text, room, 10), 10)


def _gate(parent: ET.Element, item: Part) -> None:
    host: SceneHost = item.data
    opened = host.forwarding == "1"
    words = "open" if opened else "closed"
    six = f"; for IPv6 it is {host.forwarding6}" if host.forwarding6 else ""
    sentence = f"Forwarding gate of {host.name}: net.ipv4.ip_forward is {host.forwarding}, {words}{six}."
    box = pen.group(parent, item.id, f"gate {words}", sentence)
    fill, stroke = ("l3", "l3line") if opened else ("bad", "badline")
    pen.rect(
        box, (item.x, item.y, item.width, item.height), fill, stroke, **({} if opened else {"stroke_dasharray": "5 3"})
    )
    left = item.x + (item.width - text_width("ip_forward", 11, "bold") - 14) / 2
    used = pen.write(box, (left, item.y + 15), "ip_forward", 11, "bold")
    pen.write(box, (left + used + 7, item.y + 15), host.forwarding[:2], 12, "mono", fill=stroke, bold=True)
    below = f"gate {words}" if not host.forwarding6 else f"IPv6 {'open' if host.forwarding6 == '1' else 'closed'}"
    pen.write(box, (item.x + item.width / 2, item.y + 29), below, 10, fill=stroke, anchor="middle")


def _lane(parent: ET.Element, item: Part) -> None:
    host, paths = item.data
    opened = host.forwarding == "1"
    passes = "can pass" if opened else "cannot pass"
    box = pen.group(
        parent,
        item.id,
        f"lane{'' if opened else ' closed'}",
        f"Packets {passes} between the interfaces of {host.name}.",
    )
    for points in paths:
        if opened:
            pen.line(box, points, "l3line", 1.7)
        else:
            pen.line(box, points, "badline", 1.7, stroke_dasharray="5 4")


def _unit(parent: ET.Element, item: Part) -> None:
    unit: Unit = item.data
    box = pen.group(parent, item.id, f"unit {unit.state}", unit.sentence)
    x, y = item.x + item.width / 2, item.y + item.height / 2
    # The ground makes the mark easier to hit, and shows that it is chosen.
    pen.rect(box, (item.x - 0.5, item.y - 0.5, item.width + 1, item.height + 1), "host", rx="3")
    if unit.state == "up":
        pen.dot(box, (x, y), 4.2, "cable")
    elif unit.state == "listens":
        pen.rect(box, (x - 4, y - 4, 8, 8), "l3line", rx="1")
    else:
        cross = f"M{pen.pair((x - 3.5, y - 3.5))}L{pen.pair((x + 3.5, y + 3.5))}"
        cross += f"M{pen.pair((x - 3.5, y + 3.5))}L{pen.pair((x + 3.5, y - 3.5))}"
        pen.path(box, cross, "badline", 2.2, stroke_linecap="round")


def _note(parent: ET.Element, item: Part) -> None:
    text, face, token = item.data
    pen.write(parent, (item.x + item.width / 2, item.y + 10), text, 10, face, fill=token, anchor="middle")


_FACES: dict[str, Any] = (
    node_faces.FACES
    | underlay.FACES
    | {
        "bar": _bar,
        "block": _block,
        "chip": _chip,
        "gate": _gate,
        "lane": _lane,
        "program": _program,
        "programs": _programs,
        "rules": _rules,
        "note": _note,
        "title": _title,
        "unit": _unit,
        "tube": _tube,
    }
)
