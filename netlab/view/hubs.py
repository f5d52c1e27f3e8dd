"""Lay out a host that joins others: a switch with its bridges, a router with its gate, or both.

The tables stand in a left column, the ports of the bridges to the right of it, so that no line ever crosses text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from netlab.view.cards import GATE_HEIGHT, GATE_WIDTH, TITLE, Spec, small_chip
from netlab.view.measure import text_width
from netlab.view.parts import (
    PAD,
    Card,
    ChipText,
    Part,
    Point,
    chip_size,
    chip_text,
    loopback,
    program_width,
    spread,
    tables,
    title,
)

if TYPE_CHECKING:
    from netlab.view.scene import Bridge, Chip, SceneHost

BAR = 58.0
LABEL = 136.0
DROP = 18.0
SMALL_CHIP = 24.0
_LANE_X = 18.0
_COLUMN = 236.0
_NARROWEST_NAME = 44.0


@dataclass(slots=True)
class _Draft:
    """A hub while it is laid out."""

    host: SceneHost
    spec: Spec
    texts: dict[str, ChipText] = field(default_factory=dict)
    sizes: dict[str, tuple[float, float]] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    anchors: dict[str, Point] = field(default_factory=dict)

    def side(self, chip: Chip) -> str:
        return "top" if self.spec.sides.get(chip.name) == "top" else "bottom"

    def put(self, chip: Chip, x: float, edge: float) -> None:
        """Place a chip with its middle on a border of the card."""
        width, height = self.sizes[chip.name]
        self.parts.append(Part("chip", chip.id, x - width / 2, edge - height / 2, width, height, self.texts[chip.name]))
        self.anchors[chip.name] = (x, edge + (-height / 2 if self.side(chip) == "top" else height / 2))


def hub_card(host: SceneHost, spec: Spec) -> Card:
    """Lay out a switch or router."""
    draft = _Draft(host, spec)
    bridges = {bridge.name for bridge in host.bridges}
    ports = [chip for chip in host.chips if chip.master in bridges]
    routed = [chip for chip in host.chips if chip.master not in bridges]
    zones, zone_width = _zones(draft, ports)
    for chip in routed:
        draft.texts[chip.name] = chip_text(chip, "full", with_mac=spec.with_mac)
        draft.sizes[chip.name] = chip_size(draft.texts[chip.name])
    plain = (
        bool(host.bridges)
        and not routed
        and not host.routes
        and not any(b.addresses for b in host.bridges)
        and not host.programs
    )
    column = _column_width(draft, routed, plain=plain, bars=bool(host.bridges))
    half = {
        side: max((draft.sizes[c.name][1] / 2 for c in host.chips if draft.side(c) == side), default=0.0)
        for side in ("top", "bottom")
    }
    width = max(column + (zone_width + PAD if host.bridges else 0), spec.min_width)
    bar_y = half["top"] + (DROP if any(draft.side(p) == "top" for p in ports) else 12)
    bar_y = max(bar_y, half["top"] + 14 if routed else 12, TITLE if plain else 0)
    gate_y = bar_y + (BAR - GATE_HEIGHT) / 2 if host.bridges else half["top"] + 18
    end = _column(draft, routed, column, gate_y, plain=plain) if not plain else TITLE + BAR
    if plain:
        draft.parts.append(title(host, PAD, 8 if half["top"] == 0 or zones else half["top"] + 4, column - PAD))
    lowest = bar_y + BAR + (half["bottom"] + DROP if any(draft.side(p) == "bottom" for p in ports) else PAD)
    below = [chip for chip in routed if draft.side(chip) == "bottom"]
    routed_end = end + (
        max(draft.sizes[c.name][1] for c in below) / 2 + (18 if host.forwarding else 8) if below else PAD
    )
    height = max(lowest, routed_end if not plain else 0, spec.min_height)
    _place_ports(draft, zones, 0.0 if plain else column, (bar_y, height), plain=plain, width=width)
    _place_routed(draft, routed, height)
    _lanes(draft, routed, (column, gate_y, height), bars=[p for p in draft.parts if p.kind == "bar"])
    overhang = (half["top"], 0.0, half["bottom"], 0.0)
    return Card(host, width, height, tuple(draft.parts), draft.anchors, overhang)


def _column_width(draft: _Draft, routed: list[Chip], *, plain: bool, bars: bool) -> float:
    host = draft.host
    name = text_width(host.name, 16, "bold") + 2 * PAD
    if plain:
        return max(name, LABEL + PAD)
    lanes = _LANE_X + 14
    gate = GATE_WIDTH + 26 if host.forwarding else 0
    chips = max(
        spread((draft.sizes[c.name][0] for c in routed if draft.side(c) == side), 12)[1] + lanes
        for side in ("top", "bottom")
    )
    programs = max((program_width(program) for program in host.programs), default=0.0)
    return max(_COLUMN + lanes, max(name, _NARROWEST_NAME) + lanes + gate, chips, min(programs, 320) + lanes) + (
        4 if bars else 0
    )


def _column(draft: _Draft, routed: list[Chip], column: float, gate_y: float, *, plain: bool) -> float:
    """Fill the left column: name and gate side by side, then the tables; return where it ends."""
    host = draft.host
    left = _LANE_X + 14 if host.forwarding else PAD
    right = column - (22 if host.bridges else PAD)
    name_room = right - left - (GATE_WIDTH + 12 if host.forwarding else 0)
    draft.parts.append(title(host, left, gate_y + (GATE_HEIGHT - 20) / 2, name_room))
    if host.forwarding:
        identity = f"sysctl:{host.name}/net.ipv4.ip_forward"
        draft.parts.append(Part("gate", identity, right - GATE_WIDTH, gate_y, GATE_WIDTH, GATE_HEIGHT, host))
    y = gate_y + GATE_HEIGHT + 8
    lo = loopback(host, left + 120, y, 120)
    if lo is not None:
        draft.parts.append(Part("chip", lo.id, left, y, lo.width, lo.height, lo.data))
        y += 28
    body, y = tables(host, draft.spec.room, left, y, right - left, "full" if not routed and not plain else "full")
    draft.parts += body
    return y + 4


def _zones(draft: _Draft, ports: list[Chip]) -> tuple[list[tuple[Bridge, float, float]], float]:
    """Give each bridge its width: room for a label, then for its ports; return (bridge, x, width) and the sum."""
    zones, x = [], 0.0
    for bridge in draft.host.bridges:
        mine = [chip for chip in ports if chip.master == bridge.name]
        width = LABEL
        for side in ("top", "bottom"):
            row = [chip for chip in mine if draft.side(chip) == side]
            centres = _port_centres(draft, row)
            gap = min((b - a for a, b in zip(centres, centres[1:], strict=False)), default=120.0)
            for chip, centre in zip(row, centres, strict=True):
                _port_text(draft, chip, gap - 6)
                draft.anchors[chip.name] = (centre, 0)
            edge = draft.sizes[row[-1].name][0] / 2 + 10 if row else 0
            tail = draft.spec.ports.get(f"end {side}", 0.0) if row else 0
            width = max(width, LABEL + (max(centres[-1] + edge, tail) if centres else 0))
        zones.append((bridge, x, width))
        x += width + 10
    return zones, max(0.0, x - 10)


def _port_centres(draft: _Draft, row: list[Chip]) -> list[float]:
    known = draft.spec.ports
    if row and all(chip.name in known for chip in row):
        return [known[chip.name] for chip in row]
    widths = []
    for chip in row:
        text = chip_text(chip, "medium", with_mac=False)
        widths.append(chip_size(text)[0])
    centres, _ = spread(widths, 10)
    return centres


def _port_text(draft: _Draft, chip: Chip, room: float) -> None:
    """Write a port as large as its neighbours let it be: with words, as a short name, or as a led only."""
    text = chip_text(chip, "medium", with_mac=False)
    width, height = chip_size(text)
    if width > room:
        short = small_chip(chip.name, chip, room)
        text = ChipText(chip, short.name if room >= _NARROWEST_NAME - 8 else "", words=False, lines=(), size=10)
        width, height = max(12.0, min(room, text_width(text.name, 10, "mono") + 30)), SMALL_CHIP
    draft.texts[chip.name], draft.sizes[chip.name] = text, (width, max(height, SMALL_CHIP))


def _place_ports(
    draft: _Draft,
    zones: list[tuple[Bridge, float, float]],
    left: float,
    ys: tuple[float, float],
    *,
    plain: bool,
    width: float,
) -> None:
    bar_y, height = ys
    for number, (bridge, x, wide) in enumerate(zones):
        start = left + x + (PAD if plain else 0)
        last = number + 1 == len(zones)
        room = (width - PAD - start) if last else wide
        ports = [chip for chip in draft.host.chips if chip.master == bridge.name]
        drops = []
        for chip in ports:
            centre = start + LABEL + draft.anchors[chip.name][0]
            top = draft.side(chip) == "top"
            draft.put(chip, centre, 0.0 if top else height)
            half = draft.sizes[chip.name][1] / 2
            drops.append((chip, centre, half if top else height - half))
        draft.parts.insert(0, Part("bar", bridge.id, start, bar_y, room, BAR, (bridge, LABEL, tuple(drops))))


def _place_routed(draft: _Draft, routed: list[Chip], height: float) -> None:
    for side, edge in (("top", 0.0), ("bottom", height)):
        row = [chip for chip in routed if draft.side(chip) == side]
        centres, _ = spread((draft.sizes[chip.name][0] for chip in row), 12)
        for chip, centre in zip(row, centres, strict=True):
            draft.put(chip, 8 + centre, edge)


def _lanes(draft: _Draft, routed: list[Chip], where: tuple[float, float, float], bars: list[Part]) -> None:
    """Draw how packets pass between the interfaces: from each chip to the gate, and from the gate to the bridges."""
    host = draft.host
    if not host.forwarding:
        return
    column, gate_y, height = where
    gate_x = column - (22 if host.bridges else PAD) - GATE_WIDTH
    paths: list[tuple[Point, ...]] = []
    merge, top = gate_y - 8, gate_x + GATE_WIDTH / 2
    for chip in routed:
        x, _ = draft.anchors[chip.name]
        half = draft.sizes[chip.name][1] / 2
        if draft.side(chip) == "top":
            paths.append(((x, half), (x, merge), (top, merge), (top, gate_y)))
        else:
            floor = height - half - 8
            tail = (
                ((_LANE_X, floor), (x, floor), (x, height - half))
                if abs(x - _LANE_X) > 1
                else ((_LANE_X, height - half),)
            )
            paths.append(((top, gate_y), (top, merge), (_LANE_X, merge), *tail))
    middle = gate_y + GATE_HEIGHT / 2
    paths += [((gate_x + GATE_WIDTH, middle), (bar.x, bar.y + BAR / 2)) for bar in bars[-1:] if bar.data[0].addresses]
    draft.parts.insert(0, Part("lane", f"fwd:{host.name}", 0, 0, 0, 0, (host, tuple(paths))))
