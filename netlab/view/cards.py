"""Lay out one host as a card: everything in it gets a place, in points from the card's top left corner."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from netlab.view.measure import fit, fit_middle, text_width
from netlab.view.parts import (
    PAD,
    Card,
    ChipText,
    Part,
    Room,
    chip_size,
    chip_text,
    line_width,
    loopback,
    program_width,
    spread,
    tables,
    title,
)

if TYPE_CHECKING:
    from netlab.view.placing import Level, Side
    from netlab.view.scene import SceneHost

_WIDTH = {"full": 226.0, "medium": 166.0, "compact": 104.0}
GATE_WIDTH, GATE_HEIGHT = 98.0, 36.0
TITLE = 36.0


@dataclass(frozen=True, slots=True)
class Spec:
    """What the picture as a whole demands of one card."""

    level: Level
    sides: dict[str, Side]
    room: Room = field(default_factory=Room)
    min_width: float = 0
    min_height: float = 0
    chip_height: float = 0
    with_mac: bool = False
    ports: dict[str, float] = field(default_factory=dict)  # centres of bridge ports, from the first port's left


def line_card(host: SceneHost, spec: Spec) -> Card:
    """Lay out a host of a line: its cables leave to the left and right, so chips sit on these borders."""
    texts = {chip.name: chip_text(chip, "full", with_mac=spec.with_mac) for chip in host.chips}
    sizes = {name: chip_size(text) for name, text in texts.items()}
    on: dict[Side, list[str]] = {"left": [], "right": [], "bottom": [], "top": []}
    for chip in host.chips:
        on[spec.sides.get(chip.name, "bottom")].append(chip.name)
    chip_height = max([spec.chip_height, *(height for _, height in sizes.values())])
    half = {side: max((sizes[name][0] / 2 for name in on[side]), default=0.0) for side in on}
    gate = GATE_WIDTH + 2 * 22 if host.forwarding and (on["left"] or on["right"]) else 24
    bottom_centres, bottom_width = spread((sizes[name][0] for name in on["bottom"]), 12)
    heading = text_width(host.name, 16, "bold") + 3 * PAD + 116
    width = max(_WIDTH["full"], spec.min_width, half["left"] + gate + half["right"], bottom_width + 2 * PAD, heading)
    rows = max(len(on["left"]), len(on["right"]))
    parts, anchors = [title(host, PAD, 8, width - 2 * PAD - 120)], {}
    parts += filter(None, [loopback(host, width - PAD, 8, width)])
    for side in ("left", "right"):
        for row, name in enumerate(on[side]):
            edge = 0.0 if side == "left" else width
            y = TITLE + 4 + row * (chip_height + 10)
            wide = sizes[name][0]
            parts.append(Part("chip", host.chip(name).id, edge - wide / 2, y, wide, chip_height, texts[name]))
            anchors[name] = (edge + (-wide / 2 if side == "left" else wide / 2), y + chip_height / 2)
    if gate > GATE_WIDTH:
        parts += _line_gate(host, [*on["left"], *on["right"]], parts, width)
    y = TITLE + 4 + rows * (chip_height + 10)
    body, y = tables(host, spec.room, PAD, y, width - 2 * PAD, "full")
    y += PAD
    if on["bottom"]:
        y += chip_height / 2
    height = max(y, spec.min_height)
    start = (width - bottom_width) / 2
    for name, centre in zip(on["bottom"], bottom_centres, strict=True):
        wide = sizes[name][0]
        parts.append(
            Part(
                "chip",
                host.chip(name).id,
                start + centre - wide / 2,
                height - chip_height / 2,
                wide,
                chip_height,
                texts[name],
            )
        )
        anchors[name] = (start + centre, height + chip_height / 2)
    overhang = (0.0, half["right"], chip_height / 2 if on["bottom"] else 0.0, half["left"])
    return Card(host, width, height, tuple(parts + body), anchors, overhang)


def _line_gate(host: SceneHost, names: list[str], parts: list[Part], width: float) -> list[Part]:
    """Return the gate between the chips of a router, and the lanes that lead to it."""
    chips = [part for part in parts if part.kind == "chip" and part.data.chip.name in names]
    left = max((p.x + p.width for p in chips if p.x < 0), default=None)
    right = min((p.x for p in chips if p.x > 0), default=None)
    middle = ((left or 0) + (width if right is None else right)) / 2
    y = min(part.y + part.height / 2 for part in chips)
    lanes = []
    for part in chips:
        end = part.x + part.width if part.x < 0 else part.x
        toward = middle - GATE_WIDTH / 2 if part.x < 0 else middle + GATE_WIDTH / 2
        level = part.y + part.height / 2
        knee = (end + toward) / 2
        lanes.append(((end, level), (knee, level), (knee, y), (toward, y)))
    identity = f"sysctl:{host.name}/net.ipv4.ip_forward"
    gate = Part("gate", identity, middle - GATE_WIDTH / 2, y - GATE_HEIGHT / 2, GATE_WIDTH, GATE_HEIGHT, host)
    return [Part("lane", f"fwd:{host.name}", 0, 0, 0, 0, (host, tuple(lanes))), gate]


def leaf_card(host: SceneHost, spec: Spec) -> Card:
    """Lay out a host of a tree that only uses the network: all its chips on one border, its tables within."""
    texts = {
        chip.name: chip_text(chip, spec.level, with_mac=spec.with_mac and spec.level == "full") for chip in host.chips
    }
    sizes = {name: chip_size(text) for name, text in texts.items()}
    chip_height = max([spec.chip_height, *(height for _, height in sizes.values())])
    on = {
        side: [c.name for c in host.chips if (spec.sides.get(c.name, "bottom") == "top") == (side == "top")]
        for side in ("top", "bottom")
    }
    spreads = {side: spread((sizes[name][0] for name in names), 10) for side, names in on.items()}
    full = spec.level == "full"
    heading = text_width(host.name, 16, "bold") + (3 * PAD + 116 if full else 2 * PAD)
    programs = max((program_width(program) for program in host.programs), default=0.0) + 2 * PAD
    width = max(
        _WIDTH[spec.level],
        spec.min_width,
        heading,
        min(programs, 320),
        *(wide + 2 * PAD for _, wide in spreads.values()),
    )
    y = chip_height / 2 if on["top"] else 0.0
    parts = [title(host, PAD, y + 8, width - 2 * PAD - (120 if full else 0))]
    parts += filter(None, [loopback(host, width - PAD, y + 8, width)] if full else [])
    body, y = tables(host, spec.room, PAD, y + TITLE, width - 2 * PAD, spec.level)
    height = max(y + PAD + (chip_height / 2 if on["bottom"] else 0), spec.min_height)
    anchors = {}
    for side, (centres, wide) in spreads.items():
        edge = 0.0 if side == "top" else height
        for name, centre in zip(on[side], centres, strict=True):
            x = (width - wide) / 2 + centre
            parts.append(
                Part(
                    "chip",
                    host.chip(name).id,
                    x - sizes[name][0] / 2,
                    edge - chip_height / 2,
                    sizes[name][0],
                    chip_height,
                    texts[name],
                )
            )
            anchors[name] = (x, edge + (-chip_height / 2 if side == "top" else chip_height / 2))
    overhang = (chip_height / 2 if on["top"] else 0.0, 0.0, chip_height / 2 if on["bottom"] else 0.0, 0.0)
    return Card(host, width, height, tuple(body + parts), anchors, overhang)


def compact_width(host: SceneHost) -> float:
    """Return the width that a compact card would like, up to a limit."""
    address = max((line_width("address", a, 10) for c in host.chips for a in c.addresses[:1]), default=0.0)
    return min(150.0, max(_WIDTH["compact"], address + 32, text_width(host.name, 13, "bold") + 20))


def compact_card(host: SceneHost, spec: Spec) -> Card:
    """Lay out one host of many: its name, the ports on which it listens, and its chips."""
    width = max(spec.min_width, compact_width(host))
    chip_height = 33.0
    on = {
        side: [c for c in host.chips if (spec.sides.get(c.name, "bottom") == "top") == (side == "top")]
        for side in ("top", "bottom")
    }
    y = chip_height / 2 if on["top"] else 0.0
    name = fit_middle(host.name, width - 16, 13, "bold")
    parts = [Part("title", "", width / 2, y + 5, width - 16, 18, (name, "", 0))]
    y += 24
    ports = tuple(port for program in host.programs for port in program.ports)
    text = fit(" ".join(ports), width - 16, 10, "mono")
    if ports:
        parts.append(Part("programs", f"sock:{host.name}", 8, y, width - 16, 14, (text, host)))
    height = max(y + 16 + (chip_height / 2 if on["bottom"] else 0), spec.min_height)
    anchors = {}
    for side, chips in on.items():
        wide = (width - 12 - 4 * (len(chips) - 1)) / len(chips) if chips else 0
        for number, chip in enumerate(chips):
            x = 6 + number * (wide + 4)
            edge = 0.0 if side == "top" else height
            parts.append(
                Part("chip", chip.id, x, edge - chip_height / 2, wide, chip_height, small_chip(chip.name, chip, wide))
            )
            anchors[chip.name] = (x + wide / 2, edge + (-chip_height / 2 if side == "top" else chip_height / 2))
    overhang = (chip_height / 2 if on["top"] else 0.0, 0.0, chip_height / 2 if on["bottom"] else 0.0, 0.0)
    return Card(host, width, height, tuple(parts), anchors, overhang)


def small_chip(name: str, chip: object, width: float) -> ChipText:
    """Return what a small chip says: its name, and its state in words where it would have said its address."""
    from netlab.view.scene import Chip  # noqa: PLC0415 - only to narrow the type

    assert isinstance(chip, Chip)  # noqa: S101 - for the type checker
    address = fit_middle(chip.addresses[0] if chip.addresses else "", width - 8, 10, "mono")
    short = fit_middle(name, width - 24, 10, "mono")
    return ChipText(chip, short, words=False, lines=(("state", address),), size=10)
