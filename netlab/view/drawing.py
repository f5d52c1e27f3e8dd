"""From a Snapshot to DOT: every host a card of a known size, every cable an edge between two ports of cards.

Pure and deterministic. The DOT holds sizes and places only, no text and no state: it changes when the topology does,
and as long as it does not, graphviz need not run. What stands on the cards is written by `netlab.view.svg`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from netlab.view.cards import Spec, compact_card, compact_width, leaf_card, line_card
from netlab.view.folded import folded_card
from netlab.view.hubs import hub_card
from netlab.view.nodes import node_card
from netlab.view.parts import Card, Room, chip_size, chip_text
from netlab.view.placing import Entry, Plan, plan
from netlab.view.scene import to_scene
from netlab.view.underlay import is_switch, underlay_card

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from netlab.kernel.values import Snapshot
    from netlab.view.nouns import Cable, End, Scene

NODE_GAP = 14.0
LANE_WIDTH = 2.0
_COLUMN_GAP, _ROW_GAP = 68.0, 46.0
_LOOP = 30.0  # room under a host for a cable between two of its own interfaces
#: The MAC stands on the chip only where few hosts share the picture.
_MAC_HOSTS = 4


@dataclass(frozen=True, slots=True)
class Drawing:
    """A scene with its plan and the laid-out card of each host."""

    scene: Scene
    plan: Plan
    cards: dict[str, Card] = field(default_factory=dict)

    def anchor(self, end: End) -> tuple[float, float]:
        """Return where the cable of an interface begins, from the outer corner of its host."""
        card = self.cards[end[0]]
        x, y = card.anchors[end[1]]
        return x + card.overhang[3], y + card.overhang[0]


def draw(scene: Scene, rooms: Mapping[str, Room] | None = None) -> Drawing:
    """Lay out every host of a scene."""
    drawing = Drawing(scene, plan(scene))
    specs = {host.name: _spec(drawing, host.name, rooms or {}) for host in scene.hosts}
    rows = [[entry.host for entry in row if not entry.lane] for row in drawing.plan.rows]
    if drawing.plan.columns:
        _equal([name for row in rows for name in row], drawing, specs)
    else:
        hubs = {name for name in specs if name in drawing.plan.parents.values()}
        # Leaves first: the ports of a bridge stand where the hosts above and below it are.
        for row in (*rows, *rows):
            _equal([name for name in row if name not in hubs], drawing, specs)
        for name in sorted(hubs, key=lambda n: -drawing.plan.depth(n)):
            specs[name] = replace(specs[name], ports=_ports(drawing, name))
            drawing.cards[name] = _card(drawing, specs[name], name)
        for row in rows:
            _equal([name for name in row if name in hubs], drawing, specs)
    for cable in scene.cables:
        if cable.a[0] == cable.b[0]:
            _make_loop_room(drawing, cable)
    return drawing


def to_dot(snapshot: Snapshot) -> str:
    """Return the DOT text of a Snapshot."""
    return dot(draw(to_scene(snapshot)))


def _spec(drawing: Drawing, name: str, rooms: Mapping[str, Room]) -> Spec:
    host = drawing.scene[name]
    found = drawing.plan
    sides = {chip.name: found.side(name, chip.name) for chip in host.chips}
    few = len(drawing.scene.hosts) <= _MAC_HOSTS
    return Spec(found.levels[name], sides, rooms.get(name, Room()).widened(host), with_mac=few)


def _card(drawing: Drawing, spec: Spec, name: str) -> Card:
    host = drawing.scene[name]
    if host.units:
        return folded_card(host, spec)
    if host.nest is not None:
        return node_card(host, spec)
    if drawing.plan.columns:
        return line_card(host, spec)
    if spec.level == "compact":
        return underlay_card(host, spec) if is_switch(host) else compact_card(host, spec)
    is_hub = name in drawing.plan.parents.values()
    return hub_card(host, spec) if is_hub or host.bridges or host.forwarding else leaf_card(host, spec)


def _equal(names: list[str], drawing: Drawing, specs: dict[str, Spec]) -> None:
    """Lay out the hosts of one row, all as high as the highest, and the compact ones as wide as the widest."""
    hosts = [drawing.scene[name] for name in names]
    sized = [host for host in hosts if specs[host.name].level != "compact"]
    chips = [
        chip_size(
            chip_text(chip, "full" if drawing.plan.columns else specs[h.name].level, with_mac=specs[h.name].with_mac)
        )[1]
        for h in sized
        for chip in h.chips
        if not chip.master
    ]
    wide = max((compact_width(h) for h in hosts if h not in sized), default=0.0)
    for host in hosts:
        compact = host not in sized
        specs[host.name] = replace(
            specs[host.name], chip_height=max(chips, default=0.0), min_width=wide if compact else 0, min_height=0
        )
        drawing.cards[host.name] = _card(drawing, specs[host.name], host.name)
    for compact in (False, True):
        group = [name for name in names if (drawing.scene[name] not in sized) == compact]
        tallest = max((drawing.cards[name].height for name in group), default=0.0)
        for name in group:
            specs[name] = replace(specs[name], min_height=tallest)
            drawing.cards[name] = _card(drawing, specs[name], name)


def _ports(drawing: Drawing, name: str) -> dict[str, float]:
    """Return where each bridge port of a hub should stand, so that its cable is straight: centres per bridge."""
    found: dict[str, float] = {}
    host = drawing.scene[name]
    if name in drawing.plan.wrapped:
        found = _wrapped_ports(drawing, name)
    peers = _peers(drawing)
    slots: dict[str, float] = {}
    for bridge in host.bridges:
        for side in ("top", "bottom"):
            x = max(
                (found[c.name] + 40 for c in host.chips if c.name in found and c.master == bridge.name), default=0.0
            )
            for chip in host.chips:
                if chip.master != bridge.name or drawing.plan.side(name, chip.name) != side or chip.name in found:
                    continue
                own = chip_size(chip_text(chip, "medium", with_mac=False))[0]
                other = peers.get((name, chip.name))
                if other is None or not _is_next(drawing.plan, name, other[0]):
                    found[chip.name] = x + own / 2
                    x += own + 10
                    continue
                start = slots.setdefault(other[0], x)
                found[chip.name] = start + drawing.anchor(other)[0]
                x = max(x, start + drawing.cards[other[0]].outer[0] + NODE_GAP)
            found[f"end {side}"] = max(found.get(f"end {side}", 0.0), x - NODE_GAP)
    for cable in drawing.scene.between():
        # An end on a host that is laid out later comes straight down at its left end.
        if cable.lane and cable.b[0] == name and cable.a[0] in drawing.cards:
            found[cable.b[1]] = slots.get(cable.a[0], 0.0) + drawing.anchor(cable.a)[0]
    return found


def _is_next(found: Plan, name: str, other: str) -> bool:
    """Tell whether another host is a child of this one, right above or below it."""
    return found.parents.get(other) == name and abs(found.row(other) - found.row(name)) == 1


def _wrapped_ports(drawing: Drawing, name: str) -> dict[str, float]:
    peers = {end[0]: port for port, end in _peers(drawing).items() if port[0] == name}
    leaves = drawing.plan.wrapped[name]
    both = name not in drawing.plan.parents
    width = max(drawing.cards[leaf].outer[0] for leaf, _, _ in leaves)
    found = {}
    for leaf, row, column in leaves:
        side = row % 2 if both else 0
        rows = {r for _, r, _ in leaves if not both or r % 2 == side}
        lanes = len(rows) - 1
        step = LANE_WIDTH + NODE_GAP
        pitch = width + NODE_GAP + lanes * step
        lane = lanes - sorted(rows).index(row)
        centre = lanes * step + width / 2 if lane == lanes else lane * step + LANE_WIDTH / 2
        found[peers[leaf][1]] = column * pitch + centre + width / 2 * bool(lanes)
    return found


def _peers(drawing: Drawing) -> dict[End, End]:
    found: dict[End, End] = {}
    for cable in drawing.scene.between():
        if cable.kind != "tunnel":
            found[cable.a], found[cable.b] = cable.b, cable.a
    return found


def _make_loop_room(drawing: Drawing, cable: Cable) -> None:
    card = drawing.cards[cable.a[0]]
    top, right, bottom, left = card.overhang
    lowest = max(card.anchors[end[1]][1] for end in (cable.a, cable.b)) - card.height
    drawing.cards[cable.a[0]] = replace(card, overhang=(top, right, max(bottom, lowest + _LOOP), left))


def dot(drawing: Drawing) -> str:
    """Return the DOT text of a drawing."""
    columns = drawing.plan.columns
    gap = _COLUMN_GAP if columns else _ROW_GAP
    lines = [
        "digraph netlab {",
        f"  graph [rankdir={'LR' if columns else 'TB'}, newrank=true, splines=true, outputorder=edgesfirst]",
        f"  graph [nodesep={NODE_GAP / 72:.4f}, ranksep={gap / 72:.4f}, pad=0, margin=0]",
        "  node [shape=plain, margin=0]",
        "  edge [dir=none]",
    ]
    lines += [
        f"  {_quote(name)} [id={_quote('host:' + name)}, nl=h{number}, label={_label(drawing, name)}]"
        for number, name in enumerate(drawing.cards)
    ]
    lanes = [_node(entry, number) for number, row in enumerate(drawing.plan.rows) for entry in row if entry.lane]
    lines += [f"  {lane} [shape=point, width={LANE_WIDTH / 72:.4f}, height=0.01]" for lane in lanes]
    lines += _order(drawing.plan)
    lines += [line for number, cable in enumerate(drawing.scene.between()) for line in _edges(drawing, cable, number)]
    return "\n".join((*lines, "}", ""))


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _node(entry: Entry, row: int) -> str:
    return _quote(f"lane in row {row} of {entry.host}" if entry.lane else entry.host)


def _order(found: Plan) -> Iterator[str]:
    rows = [[_node(entry, number) for entry in row] for number, row in enumerate(found.rows)]
    for row in rows:
        yield f"  {{rank=same; {' -> '.join(row)} [style=invis]}}"
    for upper, lower in pairwise(rows):
        yield f"  {upper[0]} -> {lower[0]} [style=invis, weight=0]"
    for upper, lower in pairwise(found.grid):
        # Hosts without cables stand in columns.
        for above, below in zip(upper, lower, strict=False):
            yield f"  {_quote(above)} -> {_quote(below)} [style=invis, weight=5]"


def _edges(drawing: Drawing, cable: Cable, place: int) -> Iterator[str]:
    rows = [{(entry.host, entry.lane) for entry in row} for row in drawing.plan.rows]
    height = {host: number for number, row in enumerate(rows) for host, lane in row if not lane}
    first, last = sorted((cable.a, cable.b), key=lambda end: height[end[0]])
    sides = ("e", "w") if drawing.plan.columns else ("s", "n")
    same = height[first[0]] == height[last[0]]
    stops = [f"{_quote(first[0])}:{_port(drawing, first)}:{sides[0]}"]
    for number in range(height[first[0]] + 1, height[last[0]]):
        passing = [Entry(end[0], lane=True) for end in (first, last) if (end[0], True) in rows[number]]
        stops += [_node(entry, number) for entry in passing[:1]]
    stops.append(f"{_quote(last[0])}:{_port(drawing, last)}:{sides[0] if same else sides[1]}")
    loose = same or (cable.kind == "tunnel" and not cable.lane)
    extra = ", constraint=false" if loose else f", weight={40 if len(stops) > 2 else 10}"
    for number, (tail, head) in enumerate(pairwise(stops)):
        yield f'  {tail} -> {head} [id={_quote(cable.id)}, nl="c{place}.{number}"{extra}]'


def _port(drawing: Drawing, end: End) -> str:
    return f"p{list(drawing.cards[end[0]].anchors).index(end[1])}"


def _label(drawing: Drawing, name: str) -> str:
    """Return a table of empty cells: as large as the card, with a port wherever a cable begins."""
    card = drawing.cards[name]
    width, height = (round(size) for size in card.outer)
    ends = [(number, *drawing.anchor((name, chip))) for number, chip in enumerate(card.anchors)]
    if drawing.plan.columns:
        sides = [sorted((y, number) for number, x, y in ends if side == (x > width / 2)) for side in (False, True)]
        left, right = (_cells(side, height, upright=True) for side in sides)
        inner = f"<TR><TD>{left}</TD>{_cell(width - 4, height)}<TD>{right}</TD></TR>"
    else:
        rows = [sorted((x, number) for number, x, y in ends if low == (y > height / 2)) for low in (False, True)]
        top, bottom = (_cells(row, width, upright=False) for row in rows)
        inner = f"<TR><TD>{top}</TD></TR><TR>{_cell(width, height - 4)}</TR><TR><TD>{bottom}</TD></TR>"
    return f"<{_TABLE}{inner}</TABLE>>"


_TABLE = '<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0">'


def _cell(width: float, height: float, port: str = "") -> str:
    extra = f' PORT="{port}"' if port else ""
    return f'<TD{extra} FIXEDSIZE="TRUE" WIDTH="{max(1, round(width))}" HEIGHT="{max(1, round(height))}"></TD>'


def _cells(ends: list[tuple[float, int]], length: float, *, upright: bool) -> str:
    """Return a thin table along one border: a cell of 2 points at each port, empty cells between."""
    cells, at = [], 0
    for place, number in ends:
        before = max(1, round(place) - 1 - at)
        cells += [(before, ""), (2, f"p{number}")]
        at += before + 2
    cells.append((max(1, round(length) - at), ""))
    texts = [_cell(2, size, port) if upright else _cell(size, 2, port) for size, port in cells]
    body = "".join(f"<TR>{text}</TR>" for text in texts) if upright else f"<TR>{''.join(texts)}</TR>"
    return f"{_TABLE}{body}</TABLE>"
