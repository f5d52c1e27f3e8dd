"""The open view of one folded node: a box above the row, with a small box for each of its pods, tied to its card.

The row stays where it is: this takes no part in the layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netlab.view import node_faces, pen, words
from netlab.view.measure import fit, text_width
from netlab.view.parts import Part

if TYPE_CHECKING:
    from xml.etree import ElementTree as ET

    from netlab.view.nouns import SceneHost
    from netlab.view.overhead import Box

_BOX, _HEIGHT, _GAP, _PAD = 84.0, 34.0, 6.0, 12.0
_HEAD, _BAR, _TIE = 32.0, 24.0, 20.0
_COLUMNS = 10


@dataclass(frozen=True, slots=True)
class Opened:
    """One folded node that is open: its box, its card, and the room that the box needs above all cards.

    The box is counted from the upper left corner of that room.
    """

    host: SceneHost
    box: Box
    card: Box
    height: float


def open_above(hosts: tuple[SceneHost, ...], cards: dict[str, Box], width: float) -> Opened | None:
    """Place the box of the node that is open, if one is: above its card, and within the picture."""
    for host in hosts:
        if host.opened and host.name in cards:
            rows = -(-len(host.opened) // _COLUMNS)
            columns = min(_COLUMNS, len(host.opened))
            wide = max(columns * (_BOX + _GAP) - _GAP + 2 * _PAD, 360.0)
            high = _HEAD + rows * (_HEIGHT + _GAP) + (_BAR + _GAP if host.bridges else 0) + 4
            x, _, card, _ = cards[host.name]
            left = min(max(0.0, x + card / 2 - wide / 2), max(0.0, width - wide))
            # Where the other cards leave room above the row, it stands beside them.
            near = [top for at, top, size, _ in cards.values() if at < left + wide + _PAD and left - _PAD < at + size]
            extra = max(0.0, high + _TIE - min(near))
            return Opened(host, (left, extra + min(near) - high - _TIE, wide, high), cards[host.name], extra)
    return None


def draw_opened(body: ET.Element, opened: Opened, down: float) -> None:
    """Draw it; ``down`` says how far below its own corner the cards begin."""
    host = opened.host
    x, y, wide, high = opened.box
    cx, cy, card, _ = opened.card
    low, top = y + high, cy + down
    corners = ((cx + 4, top), (x + wide * 0.25, low), (x + wide * 0.75, low), (cx + card - 4, top))
    tie = pen.path(body, "M" + "L".join(pen.pair(corner) for corner in corners) + "Z", "sel", 0.1)
    tie.set("fill", tie.get("stroke", ""))
    said = f"Node {host.name}, open: {words.count(len(host.opened), 'pod')}."
    box = pen.group(body, f"open:{host.name}", "host opened", said)
    box.set("role", "graphics-object group")
    pen.rect(box, (x, y, wide, high), "host", "pkt", rx="10")
    left = x + _PAD
    left += pen.write(box, (left, y + 21), f"▾ {host.name}", 14, "bold") + 14
    bridge = next((bridge for bridge in host.bridges), None)
    listening = sum(bool(pod.programs) for pod in host.opened)
    about = [words.count(len(host.opened), "pod"), "last part of its address below each name"]
    left += pen.write(box, (left, y + 21), about[0], 11) + 14
    left += pen.write(box, (left, y + 21), about[1], 10, fill="muted") + 14
    if listening and left + 120 < x + wide:
        pen.write(box, (left, y + 21), f"■ {words.count(listening, 'listener')}", 11, "bold", fill="l3line")
    for number, pod in enumerate(host.opened):
        row, column = divmod(number, _COLUMNS)
        at = (x + _PAD + column * (_BOX + _GAP), y + _HEAD + row * (_HEIGHT + _GAP))
        if not pod.gone:
            node_faces.pod(box, Part("pod", pod.id, *at, _BOX, _HEIGHT, (pod, bool(pod.programs), ())), node_faces.none)
    if bridge is not None:
        top = y + high - _BAR - _GAP - 2
        pen.rect(box, (x + _PAD, top, wide - 2 * _PAD, _BAR), "l2", "l2line")
        down_ports = sum(chip.state != "up" for pod in host.opened for chip in pod.chips)
        state = "all up" if not down_ports else f"{down_ports} not up"
        text = f"bridge {bridge.name}  {' '.join(bridge.addresses[:1])}  {len(host.opened)} ports, {state}"
        text = fit(text, wide - 3 * _PAD, 11, "mono")
        pen.write(
            box, (x + (wide - text_width(text, 11, "mono")) / 2, top + 16), text, 11, "mono",
            fill="badline" if down_ports else "ink",
        )  # fmt: skip
