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
    Point,
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
    from collections.abc import Sequence

    from netlab.view.nouns import Chip, SceneHost
    from netlab.view.placing import Level, Side

_WIDTH = {"full": 226.0, "medium": 186.0, "compact": 96.0}
GATE_WIDTH, GATE_HEIGHT = 98.0, 36.0
#: A small gate, and how far from its left end the lane passes through it, beside its words.
SMALL_GATE, GATE_LANE = (138.0, 18.0), 14.0
_LANE_ASIDE = 20.0
_TITLE = 36.0
_LOOPBACK = 116.0
_SMALL_HEIGHT = 33.0
_WIDEST_COMPACT, _WIDEST_PROGRAM = 152.0, 320.0


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
    ports: dict[str, float] = field(default_factory=dict)  # centres of bridge ports, from the end of the bar's label


@dataclass(slots=True)
class _Sheet:
    """A card while it is laid out."""

    host: SceneHost
    texts: dict[str, ChipText]
    on: dict[Side, list[str]]
    parts: list[Part] = field(default_factory=list)
    anchors: dict[str, Point] = field(default_factory=dict)

    @classmethod
    def of(cls, host: SceneHost, spec: Spec, sides: Sequence[Side]) -> _Sheet:
        """Start a card whose chips sit on some of its borders; a chip without a side sits at the bottom."""
        mac = spec.with_mac and spec.level == "full"
        on: dict[Side, list[str]] = {side: [] for side in (*sides, "bottom")}
        for chip in host.chips:
            side = spec.sides.get(chip.name, "bottom")
            on[side if side in on else "bottom"].append(chip.name)
        return cls(host, {chip.name: chip_text(chip, spec.level, with_mac=mac) for chip in host.chips}, on)

    def size(self, name: str) -> tuple[float, float]:
        """Return the size of a chip."""
        return chip_size(self.texts[name])

    def half(self, side: Side) -> float:
        """Return how far the chips of a side stick out."""
        axis = 0 if side in {"left", "right"} else 1
        return max((self.size(name)[axis] / 2 for name in self.on.get(side, ())), default=0.0)

    def length(self, side: Side) -> float:
        """Return the width that the chips of the upper or lower border take."""
        return spread((self.size(name)[0] for name in self.on[side]), 12)[1]

    def put(self, name: str, middle: Point, anchor: Point) -> None:
        """Place a chip around a point; its cable begins at another."""
        width, height = self.size(name)
        box = (middle[0] - width / 2, middle[1] - height / 2, width, height)
        self.parts.append(Part("chip", self.host.chip(name).id, *box, self.texts[name]))
        self.anchors[name] = anchor

    def line_up(self, side: Side, edge: float, middle: float) -> None:
        """Place the chips of the upper or lower border side by side around its middle."""
        centres, wide = spread((self.size(name)[0] for name in self.on[side]), 12)
        for name, centre in zip(self.on[side], centres, strict=True):
            x = middle - wide / 2 + centre
            reach = self.size(name)[1] / 2
            self.put(name, (x, edge), (x, edge - reach if side == "top" else edge + reach))


def line_card(host: SceneHost, spec: Spec) -> Card:
    """Lay out a host of a line: its cables leave to the left and right, so chips sit on these borders."""
    sheet = _Sheet.of(host, spec, ("left", "right"))
    beside = [*sheet.on["left"], *sheet.on["right"]]
    chip_height = max([spec.chip_height, *(sheet.size(name)[1] for name in beside)])
    gated = bool(host.forwarding and beside)
    gate = GATE_WIDTH + 2 * 22 if gated else 24
    heading = text_width(host.name, 16, "bold") + 3 * PAD + _LOOPBACK
    inner = sheet.half("left") + gate + sheet.half("right")
    width = max(_WIDTH["full"], spec.min_width, inner, sheet.length("bottom") + 2 * PAD, heading)
    sheet.parts.append(title(host, PAD, 8, width - 2 * PAD - _LOOPBACK - 4))
    sheet.parts += filter(None, [loopback(host, width - PAD, 8, width)])
    for side, edge, out in (("left", 0.0, -1), ("right", width, 1)):
        for row, name in enumerate(sheet.on[side]):  # type: ignore[index]
            y = _TITLE + 4 + row * (chip_height + 10) + chip_height / 2
            sheet.put(name, (edge, y), (edge + out * sheet.size(name)[0] / 2, y))
    if gated:
        sheet.parts += _line_gate(host, sheet.parts, width)
    rows = max(len(sheet.on["left"]), len(sheet.on["right"]))
    y = _TITLE + 4 + rows * (chip_height + 10)
    body, y = tables(host, spec.room, PAD, y, width - 2 * PAD, "full")
    low = sheet.half("bottom")
    height = max(y + PAD + low, spec.min_height)
    sheet.line_up("bottom", height, width / 2)
    overhang = (0.0, sheet.half("right"), low, sheet.half("left"))
    return Card(host, width, height, tuple(body + sheet.parts), sheet.anchors, overhang)


def _line_gate(host: SceneHost, parts: list[Part], width: float) -> list[Part]:
    """Return the gate between the chips of a router, and the lanes that lead to it."""
    chips = [part for part in parts if part.kind == "chip" and not part.data.inside]
    left = max((part.x + part.width for part in chips if part.x < 0), default=0.0)
    right = min((part.x for part in chips if part.x > 0), default=width)
    middle = (left + right) / 2
    y = min(part.y + part.height / 2 for part in chips)
    lanes = []
    for part in chips:
        end, toward = (left, -1) if part.x < 0 else (right, 1)
        start = part.x + part.width if part.x < 0 else part.x
        level = part.y + part.height / 2
        gate = middle + toward * GATE_WIDTH / 2
        knee = (end + gate) / 2
        lanes.append(((start, level), (knee, level), (knee, y), (gate, y)))
    identity = f"sysctl:{host.name}/net.ipv4.ip_forward"
    gate_part = Part("gate", identity, middle - GATE_WIDTH / 2, y - GATE_HEIGHT / 2, GATE_WIDTH, GATE_HEIGHT, host)
    return [Part("lane", f"fwd:{host.name}", 0, 0, 0, 0, (host, tuple(lanes))), gate_part]


def leaf_card(host: SceneHost, spec: Spec) -> Card:
    """Lay out a host of a tree that only uses the network: its chips above or below, its tables within."""
    sheet = _Sheet.of(host, spec, ("top",))
    full = spec.level == "full"
    heading = text_width(host.name, 16, "bold") + (3 * PAD + _LOOPBACK if full else 2 * PAD)
    programs = max((program_width(program) for program in host.programs), default=0.0) + 2 * PAD
    borders = max(sheet.length("top"), sheet.length("bottom")) + 2 * PAD
    width = max(_WIDTH[spec.level], spec.min_width, heading, min(programs, _WIDEST_PROGRAM), borders)
    top, low = sheet.half("top"), sheet.half("bottom")
    sheet.parts.append(title(host, PAD, top + 8, width - 2 * PAD - (_LOOPBACK + 4 if full else 0)))
    sheet.parts += filter(None, [loopback(host, width - PAD, top + 8, width)] if full else [])
    body, y = tables(host, spec.room, PAD, top + _TITLE, width - 2 * PAD, spec.level)
    height = max(y + PAD + low, spec.min_height)
    sheet.line_up("top", 0.0, width / 2)
    sheet.line_up("bottom", height, width / 2)
    return Card(host, width, height, tuple(body + sheet.parts), sheet.anchors, (top, 0.0, low, 0.0))


def compact_width(host: SceneHost) -> float:
    """Return the width that a compact card would like, up to a limit."""
    address = max((line_width("address", a, 10) for chip in host.chips for a in chip.addresses[:1]), default=0.0)
    least = SMALL_GATE[0] + 2 * (_LANE_ASIDE - GATE_LANE) if host.forwarding and not host.units else _WIDTH["compact"]
    return min(_WIDEST_COMPACT, max(least, address + 24, text_width(host.name, 13, "bold") + 20))


def compact_card(host: SceneHost, spec: Spec) -> Card:
    """Lay out one host of many: its name, the ports on which it listens, and its chips."""
    sheet = _Sheet.of(host, spec, ("top",))
    width = max(spec.min_width, compact_width(host))
    top, low = (_SMALL_HEIGHT / 2 if sheet.on[side] else 0.0 for side in ("top", "bottom"))
    name = fit_middle(host.name, width - 16, 13, "bold")
    aside = _LANE_ASIDE if host.forwarding else 0.0
    sheet.parts.append(Part("title", "", (width + aside) / 2, top + 5, width - 16 - aside, 18, (name, "", 0)))
    ports = tuple(port for program in host.programs for port in program.ports)
    if ports:
        text = fit(" ".join(ports), width - 16, 10, "mono")
        sheet.parts.append(Part("programs", f"sock:{host.name}", 8, top + 24, width - 16, 14, (text, host)))
    height = max(top + 40 + low, spec.min_height)
    if host.forwarding:
        height = max(height, top + 70 + low)
        sheet.parts += _small_gate(host, (width, height), (top, low))
    for side, edge, out in (("top", 0.0, -1), ("bottom", height, 1)):
        chips = [host.chip(name) for name in sheet.on[side]]  # type: ignore[index]
        wide = (width - 12 - 4 * (len(chips) - 1)) / max(1, len(chips))
        for number, chip in enumerate(chips):
            x = 6 + number * (wide + 4)
            box = (x, edge - _SMALL_HEIGHT / 2, wide, _SMALL_HEIGHT)
            sheet.parts.append(Part("chip", chip.id, *box, small_chip(chip, wide)))
            sheet.anchors[chip.name] = (x + wide / 2, edge + out * _SMALL_HEIGHT / 2)
    return Card(host, width, height, tuple(sheet.parts), sheet.anchors, (top, 0.0, low, 0.0))


def _small_gate(host: SceneHost, size: tuple[float, float], reach: tuple[float, float]) -> list[Part]:
    """Return the gate of a small router on the lane between its chips."""
    height = size[1]
    x, y = _LANE_ASIDE, height - reach[1] - 14 - SMALL_GATE[1]
    gate = (x - GATE_LANE, y, *SMALL_GATE)
    lanes = (((x, reach[0]), (x, y)), ((x, y + SMALL_GATE[1]), (x, height - reach[1])))
    identity = f"sysctl:{host.name}/net.ipv4.ip_forward"
    return [Part("lane", f"fwd:{host.name}", 0, 0, 0, 0, (host, lanes)), Part("gatelet", identity, *gate, host)]


def small_chip(chip: Chip, width: float) -> ChipText:
    """Return what a small chip says: its name, and its state in words where it would have said its address."""
    address = chip.addresses[0] if chip.addresses else ""
    if text_width(address, 10, "mono") > width - 8 and "." in address:
        address = f".{address.rpartition('.')[2].partition('/')[0]}"  # what tells it from its neighbours
    address = fit_middle(address, width - 8, 10, "mono")
    short = fit_middle(chip.name, width - 24, 10, "mono")
    return ChipText(chip, short, words=False, lines=(("state", address),), size=10)
