"""Put pods into the boxes of their nodes. Pure, and read from the kernel alone.

A pod is a host whose one cable ends in an interface that bears a name which container networks give to it: a port of
a bridge for pods, or one of a host that has a way out beside. Whoever wires a pod by hand under such a name sees it
inside its node too.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from netlab.view import words
from netlab.view.nouns import Nest
from netlab.view.underlay import is_switch

if TYPE_CHECKING:
    from netlab.view.nouns import Cable, Scene, SceneHost

Level = Literal["cards", "boxes", "marks"]

#: How the reference plugins, Calico and Cilium name the node's end of a pod's cable.
_PORT = re.compile(r"(veth|cali|lxc)")
#: How bridges for pods are named; one with an address is for pods whatever its name.
_BRIDGE = re.compile(r"(cni|cbr|docker|podman|kube)")
#: So many nodes show their pods; of more, each is folded.
MOST_NODES = 3
#: So many pods are cards; so many are small boxes; more are marks.
MOST_CARDS, MOST_BOXES = 4, 12


def nest(scene: Scene) -> Scene:
    """Return the scene with each pod inside its node, if there are few nodes; else, and without pods, as it was."""
    pods = pods_of(scene)
    nodes = dict.fromkeys((*pods, *_companions(scene, pods)))
    if not 0 < len(nodes) <= MOST_NODES:
        return scene
    inside = {name for names in pods.values() for name in names}
    columns = 2 if len(nodes) > 1 else min(MOST_CARDS, max([2, *map(len, pods.values())]))
    levels = {name: _level(len(pods.get(name, ()))) for name in nodes}
    rows = max(1, *(-(-len(pods.get(name, ())) // columns) for name in nodes if levels[name] == "cards"), 1)
    hosts = tuple(
        replace(host, nest=_nest(scene, pods.get(host.name, ()), levels[host.name], (columns, rows)))
        if host.name in nodes
        else host
        for host in scene.hosts
        if host.name not in inside
    )
    cables = tuple(c for c in scene.cables if not {c.a[0], c.b[0]} & inside)
    return replace(scene, hosts=hosts, cables=cables, _index={})


def pods_of(scene: Scene) -> dict[str, tuple[str, ...]]:
    """Return the pods of each node, in the order of their birth."""
    near: dict[str, list[Cable]] = {}
    for cable in scene.between():
        if cable.kind == "veth":
            near.setdefault(cable.a[0], []).append(cable)
            near.setdefault(cable.b[0], []).append(cable)
    bridged: dict[str, tuple[str, ...]] = {}
    routed: dict[str, tuple[str, ...]] = {}
    for host in scene.hosts:
        cables = near.get(host.name, [])
        if len(cables) != 1 or host.bridges or any(chip.kind == "vxlan" for chip in host.chips):
            continue
        node, port = cables[0].other(host.name)
        bridges = {bridge.name for bridge in scene[node].bridges if bridge.addresses or _BRIDGE.match(bridge.name)}
        master = next((chip.master for chip in scene[node].chips if chip.name == port), None)
        if not _PORT.match(port):
            continue
        if master in bridges:
            bridged[node] = (*bridged.get(node, ()), host.name)
        elif master is None and _has_uplink(node, near[node]):
            routed[node] = (*routed.get(node, ()), host.name)
    # A node with a bridge for its pods has no room for others that have none.
    found = {node: bridged.get(node) or routed[node] for node in (*bridged, *(n for n in routed if n not in bridged))}
    return {node: pods for node, pods in found.items() if _has_no_other_ports(scene, node, pods)}


def _has_no_other_ports(scene: Scene, node: str, pods: tuple[str, ...]) -> bool:
    """Tell whether all cables that end in bridges of a host are those of its pods: others have no place in a node."""
    masters = {chip.name for chip in scene[node].chips if chip.master}
    ends = [
        (end, cable) for cable in scene.cables for end in (cable.a, cable.b) if end[0] == node and end[1] in masters
    ]
    return all({cable.a[0], cable.b[0]} & set(pods) for _, cable in ends)


def _has_uplink(node: str, cables: list[Cable]) -> bool:
    """Tell whether a host has a way out that is no pod's cable."""
    return any(not _PORT.match((cable.a if cable.a[0] == node else cable.b)[1]) for cable in cables)


def _companions(scene: Scene, pods: dict[str, tuple[str, ...]]) -> list[str]:
    """Return the nodes that have no pod yet: they hang on a switch, by their one cable, and forward packets.

    They have rules, a tunnel or a bridge with an address. Beside a node with pods that is enough, so that a node stays
    one when its ip_forward is set to 0.
    """
    near: dict[str, set[str]] = {host.name: set() for host in scene.hosts}
    for cable in scene.between():
        if cable.kind != "tunnel":
            near[cable.a[0]].add(cable.b[0])
            near[cable.b[0]].add(cable.a[0])
    inside = {name for names in pods.values() for name in names}
    switches = {other for node in pods for other in near[node] - inside if scene[other].bridges}
    return [
        host.name
        for host in scene.hosts
        if host.name not in pods
        and len(near[host.name]) == 1
        and (near[host.name] <= switches if pods else is_switch(scene[next(iter(near[host.name]))]))
        and _has_no_other_ports(scene, host.name, ())
        and (_has_kernel_of_node(host) if pods else host.forwards and _has_kernel_of_node(host))
    ]


def _has_kernel_of_node(host: SceneHost) -> bool:
    tunnel = any(chip.kind == "vxlan" for chip in host.chips)
    return tunnel or bool(host.rules) or any(bridge.addresses for bridge in host.bridges)


def _level(pods: int) -> Level:
    return "cards" if pods <= MOST_CARDS else "boxes" if pods <= MOST_BOXES else "marks"


def _nest(scene: Scene, pods: tuple[str, ...], level: Level, grid: tuple[int, int]) -> Nest:
    names = set(pods)
    ends = {end for service in scene.services for end in (e.host for e in service.endpoints)}
    ports = {port for service in scene.services for port in service.ports}
    cables = tuple(c for c in scene.cables if {c.a[0], c.b[0]} & names)
    claims = Counter(e.host for service in scene.services for e in service.endpoints if e.host in names)
    return Nest(
        pods=tuple(scene[name] for name in pods),
        cables=cables,
        level=level,
        columns=grid[0],
        rows=grid[1] if level == "cards" else 1,
        endpoints=frozenset(ends & names),
        node_ports=tuple(sorted(ports)),
        claims=max(claims.values(), default=0),
    )


def sentence(host: SceneHost) -> str:
    """Return the sentence of a node with what is inside of it."""
    if host.nest is None or not host.nest.pods:
        return host.sentence
    pods = [pod.name for pod in host.nest.pods if not pod.gone]
    named = words.join(pods) if len(pods) <= MOST_BOXES else words.count(len(pods), "pod")
    return f"{host.sentence} Inside: {named}."
