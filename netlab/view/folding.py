"""Fold what is too much to read: many hosts on one bridge become one card with a mark for each of them.

Folding is for the reader, not for graphviz, which would draw them all. It never hides a fault: a mark tells of it, the
totals name it, and the card has the border of a fault.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from netlab.view import words
from netlab.view.nouns import Unit, UnitState

if TYPE_CHECKING:
    from netlab.view.nouns import Scene, SceneHost

#: A lab with more hosts than this is folded, …
MANY = 60
#: … each of its bridges with so many hosts that have no other cable, …
_FOLDED = 9
#: … but one bridge alone may have this many before it is.
_ONE_HUB = 110


def fold(scene: Scene, unfolded: str = "") -> Scene:
    """Return the scene with its crowded hubs folded, all but the one that the reader has unfolded."""
    if len(scene.hosts) <= MANY:
        return scene
    hubs = {name: leaves for name, leaves in _hubs(scene).items() if len(leaves) >= _FOLDED}
    if len(hubs) == 1 and len(scene.hosts) <= _ONE_HUB:
        return scene
    hubs.pop(unfolded, None)
    inside = {leaf for leaves in hubs.values() for leaf in leaves}
    cables = tuple(c for c in scene.cables if c.a[0] not in inside and c.b[0] not in inside)
    hosts = tuple(
        _folded(scene, host, hubs[host.name]) if host.name in hubs else host
        for host in scene.hosts
        if host.name not in inside
    )
    return replace(scene, hosts=hosts, cables=cables, _index={})


def _hubs(scene: Scene) -> dict[str, list[str]]:
    """Return the hosts without a bridge that have one neighbour, by that neighbour, which has a bridge."""
    near: dict[str, set[str]] = {host.name: set() for host in scene.hosts}
    for cable in scene.between():
        near[cable.a[0]].add(cable.b[0])
        near[cable.b[0]].add(cable.a[0])
    found: dict[str, list[str]] = {}
    for host in scene.hosts:
        if len(near[host.name]) == 1 and not host.bridges:
            (hub,) = near[host.name]
            if scene[hub].bridges:
                found.setdefault(hub, []).append(host.name)
    return found


def _folded(scene: Scene, hub: SceneHost, leaves: list[str]) -> SceneHost:
    ends = {end for c in scene.between() for end in (c.a, c.b) if {c.a[0], c.b[0]} & set(leaves)}
    units = tuple(_unit(scene[name]) for name in leaves if not scene[name].gone)
    faults = [unit.name for unit in units if unit.state == "fault"]
    sentence = f"{hub.sentence[:-1]}; {words.count(len(units), 'host')} on its bridge, folded"
    sentence += f", {len(faults)} of them with a fault: {words.join(faults[:5])}." if faults else "."
    chips = tuple(chip for chip in hub.chips if (hub.name, chip.name) not in ends)
    return replace(hub, chips=chips, units=units, sentence=sentence)


def _unit(host: SceneHost) -> Unit:
    down = [chip for chip in host.chips if chip.state != "up"]
    ports = [port for program in host.programs for port in program.ports]
    state: UnitState = "fault" if down else "listens" if ports else "up"
    facts = [address for chip in host.chips for address in chip.addresses[:1]]
    facts += [f"{chip.name} {chip.word}" for chip in down] + ([f"listens on {words.join(ports)}"] if ports else [])
    return Unit(host.name, state, f"Host {host.name}: {', '.join(facts) or 'no address'}.")
