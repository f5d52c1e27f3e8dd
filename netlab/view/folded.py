"""The card of a folded hub: its name, a mark for each host on it, the totals in words, and its own way out."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from netlab.view import words
from netlab.view.cards import compact_width, small_chip
from netlab.view.measure import fit_middle
from netlab.view.nouns import Unit
from netlab.view.parts import Card, Part, Point

if TYPE_CHECKING:
    from netlab.view.cards import Spec
    from netlab.view.nouns import SceneHost, UnitState

MARK = 12.0
_ROW = 6
_PITCH = 14.0
_CHIP = 33.0
_NARROWEST, _WAY = 108.0, 72.0


def folded_card(host: SceneHost, spec: Spec) -> Card:
    """Lay out a folded hub."""
    ways = sum(1 for chip in host.chips)
    width = max(_NARROWEST, spec.min_width, compact_width(host), 8 + ways * _WAY if ways > 1 else 0)
    sides = {chip.name: spec.sides.get(chip.name, "bottom") for chip in host.chips}
    top, low = (_CHIP / 2 if side in sides.values() else 0.0 for side in ("top", "bottom"))
    name = fit_middle(f"{'▾' if host.opened else '▸'} {host.name}", width - 16, 13, "bold")
    parts = [Part("title", "", width / 2, top + 5, width - 16, 18, (name, "", 0))]
    address = next((a for bridge in host.bridges for a in bridge.addresses), "")
    y = top + 26
    if address:
        parts.append(
            Part("note", "", 8, y, width - 16, 14, (fit_middle(address, width - 12, 10, "mono"), "mono", "muted"))
        )
        y += 16
    left = (width - _ROW * _PITCH) / 2
    for number, unit in enumerate(host.units):
        row, column = divmod(number, _ROW)
        x = left + column * _PITCH + (_PITCH - MARK) / 2
        parts.append(Part("unit", "" if host.opened else f"host:{unit.name}", x, y + row * _PITCH, MARK, MARK, unit))
    y += -(-len(host.units) // _ROW) * _PITCH + 4
    for text, token in totals(host):
        parts.append(Part("note", "", 4, y, width - 8, 14, (text, "bold", token)))
        y += 14
    height = max(y + 8 + low, spec.min_height)
    anchors: dict[str, Point] = {}
    for side, edge, out in (("top", 0.0, -1), ("bottom", height, 1)):
        chips = [chip for chip in host.chips if (sides[chip.name] == "top") == (side == "top")]
        wide = (width - 12 - 4 * (len(chips) - 1)) / max(1, len(chips))
        for number, chip in enumerate(chips):
            x = 6 + number * (wide + 4)
            parts.append(Part("chip", chip.id, x, edge - _CHIP / 2, wide, _CHIP, small_chip(chip, wide)))
            anchors[chip.name] = (x + wide / 2, edge + out * _CHIP / 2)
    return Card(host, width, height, tuple(parts), anchors, (top, 0.0, low, 0.0))


def to_unit(host: SceneHost, *, endpoint: bool = False) -> Unit:
    """Return a host as a mark: with a fault, as one that listens or is an endpoint, or as one that is up."""
    down = [chip for chip in host.chips if chip.state != "up"]
    ports = [port for program in host.programs for port in program.ports]
    state: UnitState = "fault" if down else "listens" if ports or endpoint else "up"
    facts = [address for chip in host.chips for address in chip.addresses[:1]]
    facts += [f"{chip.name} {chip.word}" for chip in down] + ([f"listens on {words.join(ports)}"] if ports else [])
    return Unit(host.name, state, f"Host {host.name}: {', '.join(facts) or 'no address'}.")


def totals(host: SceneHost) -> list[tuple[str, str]]:
    """Return how many hosts there are, how many listen, and how many have a fault, each with its colour."""
    counts = Counter(unit.state for unit in host.units)
    lines = [(words.count(len(host.units), host.units_are), "ink")]
    lines += [(f"■ {words.count(counts['listens'], 'listener')}", "l3line")] if counts["listens"] else []
    lines += [(f"✕ {counts['fault']} with a fault", "badline")] if counts["fault"] else []
    return lines
