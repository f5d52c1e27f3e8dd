"""Lay out a node with its pods inside: boxes in boxes, as the namespaces are.

From top to bottom: its name, the pods, the bridge onto which they drop, the kernel's rules and routes with the gate of
forwarding on the lane that leads through them, and its own ways out on the lower border. All is counted from the
bottom, so that the bridges of several nodes stand on one line, and the width never depends on the number of pods: one
more of them moves no other node.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_interface
from itertools import pairwise
from typing import TYPE_CHECKING

from netlab.view import pods
from netlab.view.cards import GATE_LANE, SMALL_GATE, small_chip
from netlab.view.measure import fit_middle, text_width
from netlab.view.parts import PAD, Block, Card, ChipText, Part, Point
from netlab.view.pods import COLUMN_GAP, MARGIN, POD_WIDTH

if TYPE_CHECKING:
    from netlab.view.cards import Spec
    from netlab.view.nouns import Bridge, Cable, Chip, Line, Nest, SceneHost

GATE_WIDTH, GATE_HEIGHT = SMALL_GATE
BAR = 46.0
BUS = 37.0  # how far below the upper edge of a bar its bus is
LANE = 120.0
_TITLE = 30.0
_KERNEL, _RULES = 90.0, 96.0
_CABLE, ABOVE, _BELOW = 28.0, 32.0, 24.0
_FORK = 6.0
_CHIP = 34.0
_LINES, _NARROWEST = 4, 60.0


@dataclass(slots=True)
class _Sheet:
    """A node while it is laid out."""

    host: SceneHost
    nest: Nest
    width: float
    parts: list[Part] = field(default_factory=list)
    anchors: dict[str, Point] = field(default_factory=dict)
    lanes: list[tuple[Point, ...]] = field(default_factory=list)


def node_card(host: SceneHost, spec: Spec) -> Card:
    """Lay out a node."""
    # A node that forwards has a gate even while it has one interface only: its pods come later.
    host, nest = replace(host, forwarding=host.forwarding or "1" * host.forwards), host.nest
    assert nest is not None  # noqa: S101 - the caller has looked
    width = 2 * MARGIN + nest.columns * POD_WIDTH + (nest.columns - 1) * COLUMN_GAP
    sheet = _Sheet(host, nest, width)
    room = pods.height(nest)
    below = _CABLE + BAR + ABOVE + _KERNEL + _BELOW + _CHIP / 2
    height = max(_TITLE + room + below, spec.min_height)
    bar = height - below + _CABLE
    _heading(sheet)
    ports = {cable.other(pod.name): pod.name for pod in nest.pods for cable in nest.cables if pod.name in _hosts(cable)}
    for number, bridge in enumerate(host.bridges):
        _bridge(sheet, bridge, bar, number, ports)
    _routed(sheet, bar, ports)
    if not host.bridges and not nest.pods:
        sheet.parts.append(
            Part("quiet", "", MARGIN - 4, bar - 14, width, 14, "no pod yet: the bridge comes with the first")
        )
    pods.place(nest, bar - _CABLE - room, bar, sheet.parts)
    _kernel(sheet, bar + BAR + ABOVE)
    _ways_out(sheet, height, bar)
    if sheet.lanes and host.forwarding:
        where = next(number for number, part in enumerate(sheet.parts) if part.kind == "kernel") + 1
        sheet.parts.insert(where, Part("lane", f"fwd:{host.name}", 0, 0, 0, 0, (host, tuple(sheet.lanes))))
    return Card(host, width, height, tuple(sheet.parts), sheet.anchors, (0.0, 0.0, _CHIP / 2, 0.0))


def _hosts(cable: Cable) -> set[str]:
    return {cable.a[0], cable.b[0]}


def _heading(sheet: _Sheet) -> None:
    """Write the node's name, and the pods' range where no line of a Service can come down."""
    host = sheet.host
    # The first line comes down on the middle of the first pod.
    name = fit_middle(host.name, POD_WIDTH / 2 - 8, 14, "bold")
    bridge = next((bridge for bridge in host.bridges if bridge.addresses), None)
    about = ""
    if bridge is not None and sheet.nest.rows == 1 and sheet.nest.claims <= 1:
        about = f"pods {ip_interface(bridge.addresses[0]).network}"
        about = about if text_width(about, 10, "mono") <= POD_WIDTH + COLUMN_GAP - 44 else ""
    sheet.parts.append(Part("heading", "", MARGIN - 4, 8, sheet.width - 2 * MARGIN, 18, (name, about)))


def _bridge(sheet: _Sheet, bridge: Bridge, y: float, number: int, ports: dict[tuple[str, str], str]) -> None:
    """Lay a bridge over the whole width; a second one, which no network of pods has, is named only."""
    if number:
        return
    places = pods.drops(sheet.nest)
    drops = []
    for chip in sheet.host.chips:
        pod = ports.get((sheet.host.name, chip.name))
        if chip.master == bridge.name and pod is not None and pod in places:
            drops.append((places[pod], chip))
    left, right = PAD, sheet.width - PAD
    cards = sheet.nest.level == "cards"
    label = MARGIN + POD_WIDTH + COLUMN_GAP / 2
    crowd = 0 if cards else len(drops)
    sheet.parts.append(Part("trunk", bridge.id, left, y, right - left, BAR, (bridge, label, crowd)))
    if cards:
        xs = sorted((left, right, *(x for x, _ in drops)))
        for x, chip in drops:
            # The label stands between the first two columns: names stand outside of it.
            outer = x < MARGIN + POD_WIDTH
            room = min(x - xs[xs.index(x) - 1] if outer else xs[xs.index(x) + 1] - x, 100.0) - 13
            room -= 0 if outer else 8
            room = room if room > 40 else 0.0
            start = x - room - 6 if outer else x - 5  # the reply of a journey runs right beside it
            sheet.parts.append(
                Part(
                    "port",
                    chip.id,
                    start,
                    y + 2,
                    room + (11 if outer else 19),
                    BUS,
                    (chip, x, -room if outer else room),
                )
            )


def _routed(sheet: _Sheet, y: float, ports: dict[tuple[str, str], str]) -> None:
    """Put the ends of cables that lead to no bridge where a bridge would be, each with a lane of its own."""
    places = pods.drops(sheet.nest)
    bridges = {bridge.name for bridge in sheet.host.bridges}
    ends = [
        (places[pod], chip)
        for chip in sheet.host.chips
        if chip.master not in bridges and (pod := ports.get((sheet.host.name, chip.name))) in places
    ]
    xs = sorted(x for x, _ in ends)
    room = min([b - a for a, b in pairwise(xs)], default=POD_WIDTH) - 8
    wide = min(room, POD_WIDTH - 12)
    gate = y + BAR + ABOVE - GATE_HEIGHT / 2
    level = y + _CHIP + (gate - y - _CHIP) / 2
    for x, chip in ends:
        roomy = sheet.nest.level == "cards" and wide >= _NARROWEST
        text = small_chip(chip, wide) if roomy else ChipText(chip, "", words=False, lines=(), size=10)
        own = wide if roomy else min(12.0, wide)
        if not chip.gone:
            sheet.parts.append(Part("chip", chip.id, x - own / 2, y, own, _CHIP, text))
        bend = ((x, level), (LANE, level)) if abs(x - LANE) > 1 else ()
        sheet.lanes.append(((x, y + _CHIP), *bend, (LANE, gate)))


def _kernel(sheet: _Sheet, y: float) -> None:
    """Lay rules and routes side by side, with the lane between them."""
    host = sheet.host
    sheet.parts.append(Part("kernel", "", PAD, y, sheet.width - 2 * PAD, _KERNEL, None))
    if host.rules:
        sheet.parts.append(Part("ruleset", f"ipt:{host.name}", PAD + 6, y + 12, _RULES - 8, 30, host))
    else:
        sheet.parts.append(Part("quiet", "", PAD + 10, y + 12, _RULES - 8, 14, "no rules"))
    named = [program for program in host.programs if program.name != "?"]
    if named:
        more = f" +{len(named) - 1}" if len(named) > 1 else ""
        program = replace(named[0], name=named[0].name + more)
        sheet.parts.append(Part("program", program.id, PAD + 6, y + _KERNEL - 40, _RULES - 8, 34, program))
    tunnels = {chip.name for chip in host.chips if chip.kind == "vxlan"}
    x = LANE + 14
    room = sheet.width - PAD - 6 - x
    lines = tuple(replace(line, text=_short(line, tunnels, room)) for line in _telling(host.routes))
    said = "; ".join(f"{line.text} {line.fault}".strip() for line in host.routes) or "none"
    block = Block("routes", "l3line", lines, f"Routes of {host.name}: {said}.", _LINES)
    sheet.parts.append(Part("table", f"rt:{host.name}/main", x, y + 12, room, _KERNEL - 16, (block, tunnels)))


def _telling(routes: tuple[Line, ...]) -> list[Line]:
    """Return the routes that lead away first: those of the node's own networks say nothing new."""

    def rank(line: Line) -> int:
        return 1 if line.text.startswith("default") else 0 if " via " in line.text else 2

    ordered = sorted(routes, key=rank)
    if len(ordered) <= _LINES:
        return ordered
    more = replace(ordered[0], text=f"and {len(ordered) - _LINES + 1} more", short="", fault="")
    return [*ordered[: _LINES - 1], more]


def _short(line: Line, tunnels: set[str], room: float) -> str:
    """Return a route as it fits: whole, or by its tunnel, or by its gateway."""
    if text_width(line.text, 10, "mono") <= room:
        return line.text
    target, _, rest = line.text.partition(" via ")
    device = rest.rpartition(" dev ")[2]
    return f"{target} dev {device}" if device in tunnels else line.short or line.text


def _ways_out(sheet: _Sheet, height: float, bar: float) -> None:
    """Put the node's own interfaces on the lower border, and lead the lane through gate and kernel to each."""
    host = sheet.host
    bridges = {bridge.name for bridge in host.bridges}
    inside = {end for cable in sheet.nest.cables for end in (cable.a, cable.b)}
    out = [chip for chip in host.chips if chip.master not in bridges and (host.name, chip.name) not in inside]
    chips = sorted(out, key=lambda chip: chip.kind != "vxlan")
    kernel = bar + BAR + ABOVE
    fork = kernel + _KERNEL + _FORK
    gate = (LANE - GATE_LANE, kernel - GATE_HEIGHT / 2, GATE_WIDTH, GATE_HEIGHT)
    identity = f"sysctl:{host.name}/net.ipv4.ip_forward"
    if host.forwarding:
        sheet.parts.append(Part("gatelet", identity, *gate, host))
    if host.bridges:
        sheet.lanes.append(((LANE, bar + BUS), (LANE, gate[1])))
    wide = (sheet.width - 2 * PAD - 10 * (len(chips) - 1)) / max(1, len(chips))
    for chip, x in zip(chips, _places(sheet, len(chips), wide), strict=True):
        text = _way_out(chip, sheet.nest.node_ports, wide)
        own = min(wide, _chip_width(text))
        sheet.parts.append(Part("chip", chip.id, x - own / 2, height - _CHIP / 2, own, _CHIP, text))
        sheet.anchors[chip.name] = (x, height + _CHIP / 2)
        end = height - _CHIP / 2
        knee = ((LANE, fork), (x, fork), (x, end)) if abs(x - LANE) > 1 else ((LANE, fork), (LANE, end))
        sheet.lanes.append(((LANE, kernel + GATE_HEIGHT / 2), *knee))


def _places(sheet: _Sheet, chips: int, wide: float) -> list[float]:
    """Return where chips stand: one on the lane, two or more side by side."""
    if chips == 1:
        return [LANE]
    if chips == 2 and wide >= 2 * (LANE - PAD) - 80:
        return [LANE - 20 if sheet.width < 2 * LANE + 40 else LANE, sheet.width - PAD - wide / 2 + 4]
    return [PAD + wide / 2 + number * (wide + 10) for number in range(chips)]


def _way_out(chip: Chip, node_ports: tuple[str, ...], room: float) -> ChipText:
    """Return what a chip on the lower border says: a port of every node is a number at each way out."""
    address = fit_middle(chip.addresses[0] if chip.addresses else "no address", room - 12, 10, "mono")
    more = f" +{len(chip.addresses) - 1}" if len(chip.addresses) > 1 else ""
    ports = " ".join(node_ports) if chip.kind != "vxlan" else ""
    used = text_width(chip.name, 11, "mono") + 30
    tail = [("nodeport", ports)] if ports and used + text_width(ports, 10, "mono") <= room else []
    return ChipText(chip, chip.name, words=False, lines=(*tail, ("state", address + more)), size=10)


def _chip_width(text: ChipText) -> float:
    ports = next((line for style, line in text.lines if style == "nodeport"), "")
    head = 16 + text_width(text.name, 10, "mono") * 1.02 + (6 + text_width(ports, 10, "mono") if ports else 0)
    return max(head, *(text_width(line, 10, "mono") for style, line in text.lines if style == "state")) + 22
