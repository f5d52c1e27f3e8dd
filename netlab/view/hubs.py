"""Lay out a host that joins others: a switch with its bridges, a router with its gate, or both.

No line may cross text. A bridge lies on top and the tables below it: in a column to the left of all ports where these
leave downwards too. A host without a bridge, or with cables of its own that come from above, has its tables in a
column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.view import ports
from netlab.view.cards import GATE_HEIGHT, GATE_WIDTH
from netlab.view.measure import text_width
from netlab.view.parts import PAD, Card, Part, Point, chip_size, chip_text, loopback, program_width, tables, title
from netlab.view.ports import BAR, DROP, Draft

if TYPE_CHECKING:
    from netlab.view.cards import Spec
    from netlab.view.nouns import SceneHost

_LANE_X = 18.0
_GATE_X = 32.0
_ASIDE = 134.0  # the gate and the loopback, beside the tables
_COLUMN = 226.0
_NARROW = 226.0
_HEADER = 36.0


def hub_card(host: SceneHost, spec: Spec) -> Card:
    """Lay out a switch or router."""
    draft = Draft(host, spec)
    for chip in draft.routed:
        draft.texts[chip.name] = chip_text(chip, "full", with_mac=spec.with_mac)
        draft.sizes[chip.name] = chip_size(draft.texts[chip.name])
    ups = [chip for chip in draft.routed if draft.side(chip) == "top"]
    return _stacked(draft) if host.bridges and not ups else _beside(draft)


def _is_switch(draft: Draft) -> bool:
    """Tell whether a host only switches: it has no part in the network whose frames it passes on."""
    host = draft.host
    addresses = any(bridge.addresses for bridge in host.bridges)
    return bool(host.bridges) and not (draft.routed or host.routes or addresses or host.programs or host.rules)


# -- the bridge on top, the tables below ------------------------------------------------


def _stacked(draft: Draft) -> Card:
    host, spec = draft.host, draft.spec
    switch = _is_switch(draft)
    below = [chip for chip in draft.ports if draft.side(chip) == "bottom"]
    narrow = bool(below) and not switch
    if narrow:
        left = _GATE_X if host.forwarding else PAD
        draft.aside = max(left + _NARROW, ports.routed_width(draft, "bottom"))
    found = ports.zones(draft)
    half = {side: draft.half(side) for side in ("top", "bottom")}
    name = text_width(host.name, 16, "bold") + 2 * PAD
    wide = [
        found[-1].x + found[-1].width + 2 * PAD,
        spec.min_width,
        ports.routed_width(draft, "bottom") + _LANE_X,
        name,
    ]
    width = max(wide) if switch or narrow else max(*wide, _ASIDE + _COLUMN + 2 * PAD)
    bar_y = max(_HEADER, half["top"] + DROP)
    draft.parts.append(title(host, PAD, 9, draft.label - 8 if half["top"] else width - 2 * PAD))
    y = ports.tubes(draft, PAD, width - PAD, bar_y + BAR)
    floor = PAD + (half["bottom"] if below else 0)
    if not switch:
        y = _under_bar(draft, y + 12, draft.aside if narrow else width, narrow=narrow)
        floor = PAD if not draft.routed else half["bottom"] + (16 if host.forwarding else 8)
    height = max(y + floor, spec.min_height)
    ports.place(draft, found, PAD, width - PAD, (bar_y, BAR), height)
    ports.bottom_chips(draft, height, 8)
    if host.forwarding:
        _stacked_lanes(draft, bar_y + BAR, height)
    return Card(host, width, height, tuple(draft.parts), draft.anchors, (half["top"], 0.0, half["bottom"], 0.0))


def _under_bar(draft: Draft, y: float, width: float, *, narrow: bool) -> float:
    """Write gate and loopback to the left of the tables, or above them; return where they end."""
    host = draft.host
    aside = y
    if narrow:
        return _under_bar_narrow(draft, y, width)
    if host.forwarding:
        draft.parts.append(_gate(host, _GATE_X, y))
        aside += GATE_HEIGHT + 8
    lo = loopback(host, _GATE_X + _ASIDE, aside, 118)
    if lo is not None:
        x = _GATE_X if host.forwarding else PAD
        draft.parts.append(Part("chip", lo.id, x, aside, lo.width, lo.height, lo.data))
        aside += lo.height
    left = (_GATE_X if host.forwarding else PAD) + _ASIDE - 8
    body, end = tables(host, draft.spec.room, left, y, width - PAD - left, "full")
    draft.parts += body
    return max(end, aside)


def _under_bar_narrow(draft: Draft, y: float, width: float) -> float:
    host = draft.host
    left = _GATE_X if host.forwarding else PAD
    if host.forwarding:
        draft.parts.append(_gate(host, left, y))
    lo = loopback(host, width - 4 if host.forwarding else left + 118, y + (7 if host.forwarding else 0), 118)
    if lo is not None:
        draft.parts.append(Part("chip", lo.id, lo.x, lo.y, lo.width, lo.height, lo.data))
    y += GATE_HEIGHT + 8 if host.forwarding else 28
    body, y = tables(host, draft.spec.room, left, y, width - left - 4, "full")
    draft.parts += body
    return y


def _stacked_lanes(draft: Draft, bar_end: float, height: float) -> None:
    gate = next(part for part in draft.parts if part.kind == "gate")
    middle = gate.y + GATE_HEIGHT / 2
    paths: list[tuple[Point, ...]] = [((gate.x + 40, bar_end), (gate.x + 40, gate.y))]
    for chip in draft.routed:
        x = draft.anchors[chip.name][0]
        half = draft.sizes[chip.name][1] / 2
        paths.append(((gate.x, middle), (_LANE_X, middle), *_tail(x, height - half, draft.sizes[chip.name][0])))
    draft.parts.insert(0, Part("lane", f"fwd:{draft.host.name}", 0, 0, 0, 0, (draft.host, tuple(paths))))


def _tail(x: float, end: float, wide: float) -> tuple[Point, ...]:
    """Return the last part of a lane: straight down onto a chip that lies below it, or along the floor to another."""
    if x - wide / 2 < _LANE_X:
        return ((_LANE_X, end),)
    return (_LANE_X, end - 8), (x, end - 8), (x, end)


# -- the tables in a column on the left ---------------------------------------------------


def _beside(draft: Draft) -> Card:
    host, spec = draft.host, draft.spec
    found = ports.zones(draft)
    half = {side: draft.half(side) for side in ("top", "bottom")}
    switch = _is_switch(draft)
    column = _column_width(draft, switch=switch)
    bars = (found[-1].x + found[-1].width + PAD) if found else 0.0
    width = max(column + bars + (PAD if switch else 0), spec.min_width)
    top_ports = any(draft.side(chip) == "top" for chip in draft.ports)
    bar_y = half["top"] + (DROP if top_ports else 14)
    if switch:
        bar_y = max(bar_y, _HEADER)
        draft.parts.append(title(host, PAD, 9, draft.label - 8))
        end = bar_y + BAR
    else:
        gate_y = bar_y + (BAR - GATE_HEIGHT) / 2 if found else half["top"] + 18
        end = _column(draft, column, gate_y)
    left = PAD if switch else column
    pipes = ports.tubes(draft, left, width - PAD, bar_y + BAR) - bar_y - BAR
    low = any(draft.side(chip) == "bottom" for chip in draft.ports)
    floor = (
        half["bottom"] + (16 if host.forwarding else 8) if any(draft.side(c) == "bottom" for c in draft.routed) else PAD
    )
    height = max(
        bar_y + BAR + pipes + (half["bottom"] + DROP if low else PAD), end + (0 if switch else floor), spec.min_height
    )
    bar_height = BAR if pipes else height - bar_y - (half["bottom"] + DROP if low else PAD)
    ports.place(draft, found, left, width - PAD, (bar_y, bar_height), height)
    x = 8.0
    for chip in draft.routed:
        if draft.side(chip) == "top":
            draft.put(chip, x + draft.sizes[chip.name][0] / 2, 0.0)
            x += draft.sizes[chip.name][0] + 12
    ports.bottom_chips(draft, height, 8)
    if host.forwarding:
        _beside_lanes(draft, height)
    return Card(host, width, height, tuple(draft.parts), draft.anchors, (half["top"], 0.0, half["bottom"], 0.0))


def _column_width(draft: Draft, *, switch: bool) -> float:
    host = draft.host
    if switch:
        return 0.0
    lane = _GATE_X if host.forwarding else PAD
    name = text_width(host.name, 16, "bold") + lane + (GATE_WIDTH + 2 * PAD if host.forwarding else PAD)
    programs = max((program_width(program) for program in host.programs), default=0.0)
    chips = max(ports.routed_width(draft, side) for side in ("top", "bottom"))
    return max(_COLUMN + lane, name, chips, min(programs, 320) + lane) + (22 if host.bridges else PAD)


def _column(draft: Draft, column: float, gate_y: float) -> float:
    """Fill the left column: name and gate side by side, then the tables; return where it ends."""
    host = draft.host
    left = _GATE_X if host.forwarding else PAD
    right = column - (22 if host.bridges else PAD)
    room = right - left - (GATE_WIDTH + 12 if host.forwarding else 0)
    top = gate_y + (GATE_HEIGHT - 20) / 2
    draft.parts.append(title(host, left, top if host.forwarding else min(top, draft.half("top") + 8), room))
    if host.forwarding:
        draft.parts.append(_gate(host, right - GATE_WIDTH, gate_y))
    y = gate_y + GATE_HEIGHT + 8
    lo = loopback(host, left + 120, y, 120)
    if lo is not None:
        draft.parts.append(Part("chip", lo.id, left, y, lo.width, lo.height, lo.data))
        y += lo.height + 6
    body, y = tables(host, draft.spec.room, left, y, right - left, "full")
    draft.parts += body
    return y


def _beside_lanes(draft: Draft, height: float) -> None:
    """Draw how packets pass: from each chip of no bridge over the gate, and from the gate to the bridges."""
    gate = next(part for part in draft.parts if part.kind == "gate")
    merge, top = gate.y - 8, gate.x + GATE_WIDTH / 2
    paths: list[tuple[Point, ...]] = []
    for chip in draft.routed:
        x = draft.anchors[chip.name][0]
        half = draft.sizes[chip.name][1] / 2
        if draft.side(chip) == "top":
            paths.append(((x, half), (x, merge), (top, merge), (top, gate.y)))
        else:
            tail = _tail(x, height - half, draft.sizes[chip.name][0])
            paths.append(((top, gate.y), (top, merge), (_LANE_X, merge), *tail))
    middle = gate.y + GATE_HEIGHT / 2
    bars = [part for part in draft.parts if part.kind == "bar" and part.data[0].addresses]
    paths += [((gate.x + GATE_WIDTH, middle), (bar.x, middle)) for bar in bars[-1:]]
    draft.parts.insert(0, Part("lane", f"fwd:{draft.host.name}", 0, 0, 0, 0, (draft.host, tuple(paths))))


def _gate(host: SceneHost, x: float, y: float) -> Part:
    return Part("gate", f"sysctl:{host.name}/net.ipv4.ip_forward", x, y, GATE_WIDTH, GATE_HEIGHT, host)
