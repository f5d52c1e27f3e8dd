"""Fold what is too much to read: many hosts on one bridge become one card with a mark for each of them.

Folding is for the reader, not for graphviz, which would draw them all. It never hides a fault: a mark tells of it, the
totals name it, and the card has the border of a fault.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from netlab.view import words
from netlab.view.folded import to_unit
from netlab.view.nesting import MOST_NODES, nest, pods_of
from netlab.view.underlay import is_switch

if TYPE_CHECKING:
    from netlab.view.nouns import Scene, SceneHost

#: A lab with more hosts than this is folded, …
MANY = 60
#: … each of its bridges with so many hosts that have no other cable, …
_FOLDED = 9
#: … but one bridge alone may have this many before it is.
_ONE_HUB = 110


def fold(scene: Scene, unfolded: str = "") -> Scene:
    """Return the scene with its pods inside their nodes, or else with its crowded hubs folded, all but ``unfolded``."""
    nested = nest(scene)
    nodes = {name: list(pods) for name, pods in pods_of(scene).items()} if nested is scene else {}
    if len(nodes) > MOST_NODES:
        return _with_folded(scene, nodes, unfolded, "pod")
    if nested is not scene or len(scene.hosts) <= MANY:
        return nested
    hubs = {name: leaves for name, leaves in _hubs(scene).items() if len(leaves) >= _FOLDED}
    if len(hubs) == 1 and len(scene.hosts) <= _ONE_HUB:
        return scene
    return _with_folded(scene, hubs, unfolded, "host")


def _with_folded(scene: Scene, hubs: dict[str, list[str]], unfolded: str, noun: str) -> Scene:
    inside = {leaf for leaves in hubs.values() for leaf in leaves}
    cables = tuple(c for c in scene.cables if c.a[0] not in inside and c.b[0] not in inside)
    hosts = tuple(
        replace(_folded(scene, host, hubs[host.name], unfolded), units_are=noun) if host.name in hubs else host
        for host in scene.hosts
        if host.name not in inside
    )
    hosts = tuple(_with_summary(scene, host, hosts) if is_switch(host) else host for host in hosts)
    return replace(scene, hosts=hosts, cables=cables, _index={})


def _with_summary(scene: Scene, switch: SceneHost, hosts: tuple[SceneHost, ...]) -> SceneHost:
    """Return a switch with the totals of the folded hubs that hang on it; who has a fault is named."""
    near = {cable.other(switch.name)[0] for cable in scene.between() if switch.name in {cable.a[0], cable.b[0]}}
    hubs = [host for host in hosts if host.units and host.name in near]
    if not hubs:
        return switch
    units = [(host.name, unit) for host in hubs for unit in host.units]
    faults = [name for name, unit in units if unit.state == "fault"]
    listening = sum(unit.state == "listens" for _, unit in units)
    said = [(f"{words.count(len(hubs), 'node')} · {words.count(len(units), hubs[0].units_are)}", "ink")]
    said += [(f"■ {words.count(listening, 'listener')}", "l3line")] if listening else []
    named = words.join(list(dict.fromkeys(faults))[:3])
    said += [(f"✕ {len(faults)} with a fault ({named})", "badline")] if faults else []
    return replace(switch, summary=tuple(said))


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


def _folded(scene: Scene, hub: SceneHost, leaves: list[str], unfolded: str) -> SceneHost:
    ends = {end for c in scene.between() for end in (c.a, c.b) if {c.a[0], c.b[0]} & set(leaves)}
    opened = tuple(scene[name] for name in leaves) if hub.name == unfolded else ()
    units = tuple(to_unit(scene[name]) for name in leaves if not scene[name].gone)
    faults = [unit.name for unit in units if unit.state == "fault"]
    sentence = f"{hub.sentence[:-1]}; {words.count(len(units), 'host')} on its bridge, folded"
    sentence += f", {len(faults)} of them with a fault: {words.join(faults[:5])}." if faults else "."
    chips = tuple(chip for chip in hub.chips if (hub.name, chip.name) not in ends)
    return replace(hub, chips=chips, units=units, sentence=sentence, opened=opened)
