"""How the parts of a node look: its pods, its bridge with ports, its kernel with rules and routes, and its gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.view import pen, words
from netlab.view.cables import draw_cable
from netlab.view.cards import GATE_LANE
from netlab.view.measure import fit, fit_middle, text_width
from netlab.view.nodes import BUS

if TYPE_CHECKING:
    from collections.abc import Callable
    from xml.etree import ElementTree as ET

    from netlab.view.nouns import Bridge, Chip, SceneHost
    from netlab.view.parts import Block, Part


def heading(parent: ET.Element, item: Part) -> None:
    """Write the node's name, and at the right of where lines come down the range of its pods."""
    name, about = item.data
    pen.write(parent, (item.x, item.y + 13), name, 14, "bold")
    if about:
        # Between the lines of the first two columns.
        middle = item.x + 4 + 140 + 12
        pen.write(parent, (middle, item.y + 13), about, 10, "mono", fill="muted", anchor="middle")


def pod(parent: ET.Element, item: Part, chip_face: Callable[[ET.Element, Part], None]) -> None:
    """Draw a pod: a card with its chips, or a small box with the last part of its address."""
    host: SceneHost
    host, endpoint, chips = item.data
    fault = [chip for chip in host.chips if chip.state != "up"]
    box = pen.group(parent, item.id, "host pod", _sentence(host, endpoint=endpoint))
    box.set("role", "graphics-object group")
    small = not chips and item.height < 40
    border = "badline" if fault and small else "l3line" if endpoint and small else "podline"
    pen.rect(box, (item.x, item.y, item.width, item.height), "l3" if endpoint and small else "pod", border)
    size = 10 if small else 12
    glyph = "■ " if endpoint else ""
    room = item.width - (8 if small else 14) - text_width(glyph, size)
    name = fit_middle(host.name, room, size, "bold")
    left = item.x + (item.width - text_width(glyph, size) - text_width(name, size, "bold")) / 2
    y = item.y + (13 if small else 17)
    if glyph:
        pen.write(box, (left, y), glyph.strip(), size - 1, fill="l3line")
        left += text_width(glyph, size)
    pen.write(box, (left, y), name, size, "bold")
    if small:
        _last(box, item, host)
        return
    _programs(box, item, host)
    for chip in chips:
        chip_face(box, chip)


def none(parent: ET.Element, item: Part) -> None:
    """Draw nothing: a small box has no chips."""


def _sentence(host: SceneHost, *, endpoint: bool) -> str:
    addresses = [address for chip in host.chips for address in chip.addresses[:1]]
    ports = [f"{program.name} on {words.join(program.ports)}" for program in host.programs if program.ports]
    parts = [host.sentence[:-1].replace("Host ", "Pod ", 1)]
    parts += [words.join(addresses)] if addresses else []
    parts += [f"listening: {words.join(ports)}"] if ports else []
    parts += ["endpoint of a Service"] if endpoint else []
    return ", ".join(parts) + "."


def _last(box: ET.Element, item: Part, host: SceneHost) -> None:
    """Write the last part of the address, which tells pods of a node apart; or what is wrong."""
    fault = next((chip.word for chip in host.chips if chip.state != "up"), "")
    address = next((a.partition("/")[0] for chip in host.chips for a in chip.addresses), "")
    sign = ":" if ":" in address else "."
    text = f"✕ {fault}" if fault else f"{sign}{address.rpartition(sign)[2]}" if address else "no address"
    face = "bold" if fault or not address else "mono"
    ink = "badline" if fault else "muted"
    text = fit(text, item.width - 6, 10, "bold" if face == "bold" else "mono")
    pen.write(
        box, (item.x + item.width / 2, item.y + 27), text, 10, "bold" if fault else "mono", fill=ink, anchor="middle"
    )


def _programs(box: ET.Element, item: Part, host: SceneHost) -> None:
    """Write who listens, and on which ports; who lives in the namespace as well stands before."""
    middle, y = item.x + item.width / 2, item.y + 32
    guests = [program.name for program in host.programs if program.id.startswith("host:")]
    listening = [program for program in host.programs if program.ports]
    name = listening[0].name if listening else ""
    ports = " ".join(port for program in listening for port in program.ports)
    words_ = fit(", ".join([*guests, name] if name else guests), item.width * 0.5, 10)
    ports = fit(ports, item.width - 16 - text_width(words_, 10), 10, "mono")
    left = middle - (text_width(words_, 10) + (2 if words_ and ports else 0) + text_width(ports, 10, "mono")) / 2
    if words_:
        left += pen.write(box, (left, y), words_, 10, fill="muted") + 2
    if ports:
        pen.write(box, (left, y), ports, 10, "mono", fill="l3line", bold=True)


def trunk(parent: ET.Element, item: Part) -> None:
    """Draw a bridge as a bar with its bus; the ports drop onto it."""
    bridge: Bridge
    bridge, middle, ports = item.data
    state = "" if bridge.state == "up" else f" {bridge.state}"
    box = pen.group(parent, bridge.id, f"bridge{state}", bridge.sentence)
    pen.rect(box, (item.x, item.y, item.width, item.height), "l2", "l2line")
    word = {"carrier": "NO CARRIER", "down": "DOWN"}.get(bridge.state, "")
    label = fit_middle(bridge.name, 60, 11, "mono")
    used = text_width("bridge", 10) + 4 + text_width(label, 11, "mono") + 14
    x = middle - used / 2
    pen.led(box, (x + 4, item.y + 12), 3.6, bridge.state, "l2line")
    x += 13
    x += pen.write(box, (x, item.y + 15.5), "bridge", 10, fill="l2line") + 4
    pen.write(box, (x, item.y + 15.5), label, 11, "mono", bold=True)
    text = word or (fit_middle(bridge.addresses[0], 120, 10, "mono") if bridge.addresses else "no address")
    ink = "badline" if word else "ink" if bridge.addresses else "muted"
    text += f" · {words.count(ports, 'port')}" if ports else ""
    pen.write(box, (middle, item.y + 29), text, 10, "bold" if word else "mono", fill=ink, anchor="middle")
    ends = (item.x + 10, item.x + item.width - 10)
    level = item.y + BUS
    pen.line(box, ((ends[0], level), (ends[1], level)), "l2line", 2.2, stroke_linecap="round")


def port(parent: ET.Element, item: Part) -> None:
    """Draw a port of the bridge: its drop onto the bus, and its name beside it where there is room."""
    chip: Chip
    chip, x, room = item.data
    if chip.gone:
        return
    up = chip.state == "up"
    box = pen.group(parent, chip.id, f"iface {chip.kind or 'unknown'}{'' if up else ' ' + chip.state}", chip.sentence)
    pen.rect(box, (item.x, item.y, item.width, item.height - 4), "l2", stroke_opacity="0", fill_opacity="0")
    bar, level = item.y - 2, item.y - 2 + BUS
    if up:
        pen.line(box, ((x, bar), (x, level)), "l2line", 1.7)
        pen.dot(box, (x, level), 3.2, "l2line")
    else:
        pen.line(box, ((x, bar), (x, level)), "badline", 1.7, stroke_dasharray="4 3")
        pen.dot(box, (x, level), 3, "page", "badline")
    if room:
        name = fit_middle(chip.name, abs(room), 10, "mono")
        left = x + 13 if room > 0 else x - 5 - text_width(name, 10, "mono")
        pen.write(box, (left, bar + 15), name, 10, "mono", fill="l2line" if up else "badline")
        if chip.word:
            pen.write(box, (left, bar + 28), fit(chip.word, abs(room), 10, "bold"), 10, "bold", fill="badline")


def kernel(parent: ET.Element, item: Part) -> None:
    """Draw the box of the kernel's network stack."""
    pen.rect(parent, (item.x, item.y, item.width, item.height), "pod", "hair")


def ruleset(parent: ET.Element, item: Part) -> None:
    """Write which firewall has how many rules, table by table."""
    host: SceneHost = item.data
    names = [name for name, _ in host.rules]
    nft = sum(name.startswith("nft ") for name in names)
    tool = "nftables" if nft == len(names) else "firewalls" if nft else "iptables"
    total = sum(number for _, number in host.rules)
    said = ", ".join(f"{name} {number}" for name, number in host.rules)
    box = pen.group(parent, item.id, "rules", f"{tool} of {host.name}: {words.count(total, 'rule')} ({said}).")
    pen.rect(box, (item.x, item.y, item.width, item.height), "pod", rx="4")
    pen.write(box, (item.x + 4, item.y + 12), tool, 11, "bold", fill="svcline")
    parts = " · ".join(f"{name.removeprefix('nft ').removeprefix('ip6 ')} {number}" for name, number in host.rules)
    text = parts if text_width(parts, 10) <= item.width - 6 else words.count(total, "rule")
    pen.write(box, (item.x + 4, item.y + 25), text, 10, fill="muted")


def quiet(parent: ET.Element, item: Part) -> None:
    """Write a few words that tell of nothing."""
    pen.write(parent, (item.x, item.y + 12), item.data, 10, fill="muted")


def table(parent: ET.Element, item: Part) -> None:
    """Write the routes; what leads into a tunnel has its colour."""
    block: Block
    block, tunnels = item.data
    box = pen.group(parent, item.id, block.heading, block.sentence)
    pen.rect(box, (item.x - 4, item.y, item.width + 4, item.height), "pod", rx="4")
    pen.write(box, (item.x, item.y + 12), block.heading, 11, "bold", fill=block.token)
    y = item.y + 26
    for line in block.lines:
        fault = text_width(line.fault, 10, "bold") + 6 if line.fault else 0
        text = fit(line.text, item.width - fault, 10, "mono")
        head, mark, device = text.rpartition(" dev ")
        x = item.x
        if mark and device in tunnels:
            x += pen.write(box, (x, y), head + " ", 10, "mono")
            x += pen.write(box, (x, y), f"dev {device}", 10, "mono", fill="tunline")
        else:
            x += pen.write(box, (x, y), text, 10, "mono", fill="muted" if text.startswith("and ") else "ink")
        if line.fault:
            pen.write(box, (x + 6, y), line.fault, 10, "bold", fill="badline")
        y += 13
    if not block.lines:
        pen.write(box, (item.x, y), "none", 10, fill="muted")


def gatelet(parent: ET.Element, item: Part) -> None:
    """Draw the gate of forwarding where the lane enters the kernel."""
    host: SceneHost = item.data
    opened = host.forwarding == "1"
    state = "open" if opened else "closed"
    six = f"; for IPv6 it is {host.forwarding6}" if host.forwarding6 else ""
    sentence = f"Forwarding gate of {host.name}: net.ipv4.ip_forward is {host.forwarding}, {state}{six}."
    box = pen.group(parent, item.id, f"gate {state}", sentence)
    fill, stroke = ("l3", "l3line") if opened else ("bad", "badline")
    dashes = {} if opened else {"stroke_dasharray": "5 3"}
    pen.rect(box, (item.x, item.y, item.width, item.height), fill, stroke, rx="9", **dashes)
    value = host.forwarding[:2]
    used = text_width("ip_forward", 10, "bold") + 5 + text_width(value, 11, "mono") + 5 + text_width(state, 10)
    lane, middle = item.x + GATE_LANE, item.y + item.height / 2
    if opened:
        pen.line(box, ((lane, item.y), (lane, item.y + item.height)), stroke, 1.7)
        for post in (lane - 6, lane + 6):
            pen.line(box, ((post, middle - 4.5), (post, middle + 4.5)), stroke, 2, stroke_linecap="round")
    else:
        pen.line(box, ((lane - 6, middle), (lane + 6, middle)), stroke, 2.4, stroke_linecap="round")
    x, y = item.x + 12 + (item.width - used) / 2, item.y + 12.8
    x += pen.write(box, (x, y), "ip_forward", 10, "bold") + 5
    x += pen.write(box, (x, y), value, 11, "mono", fill=stroke, bold=True) + 5
    pen.write(box, (x, y), state, 10, fill=stroke)


def cable(parent: ET.Element, item: Part) -> None:
    """Draw the cable between a pod and the bridge."""
    draw_cable(parent, *item.data)


FACES: dict[str, Callable[[ET.Element, Part], None]] = {
    "heading": heading,
    "trunk": trunk,
    "port": port,
    "kernel": kernel,
    "ruleset": ruleset,
    "table": table,
    "quiet": quiet,
    "gatelet": gatelet,
    "cable": cable,
}
