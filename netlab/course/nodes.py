"""A small cluster as a scene: nodes on a switch or around a router, a pod on each, and no way between pods yet."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations, permutations
from typing import TYPE_CHECKING, TypeVar

from netlab.course.proof import ask, follow, next_hop
from netlab.course.values import Hint, Verdict, failed, passed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from netlab.course.scene import Scene
    from netlab.host import Host

#: Seconds: a pod that answers does so at once.
_PATIENCE = 0.5
_BRIDGE = "br0"
_Choice = TypeVar("_Choice", IPv4Address, IPv4Network)


def add_switch(scene: Scene) -> None:
    """Build the underlay: a switch and the range of the hosts, in which nobody is yet; and choose the range of pods."""
    (switch,) = scene.add_hosts("switch", names=["switch"])
    switch.add_bridge(_BRIDGE)
    pods = IPv4Network((10 << 24 | scene.random.randrange(130, 250) << 16, 16))
    hosts = IPv4Network((192 << 24 | 168 << 16 | scene.random.randrange(10, 250) << 8, 24))
    scene.values |= {"pods_net": str(pods), "hosts_net": str(hosts)}


def add_underlay(scene: Scene, mtu: int = 1500) -> None:
    """Build another underlay: a router that knows the hosts and no pods; each host has a network of its own."""
    (underlay,) = scene.add_hosts("underlay", names=["underlay"])
    underlay.sysctl["net.ipv4.ip_forward"] = 1
    pods = IPv4Network((10 << 24 | scene.random.randrange(130, 250) << 16, 16))
    scene.values |= {"pods_net": str(pods), "underlay_mtu": str(mtu)}


def plug_in(scene: Scene, role: str, name: str) -> Host:
    """Add a host on the underlay, with an address in the range of the hosts: the value ``ROLE_ip``."""
    (host,) = scene.add_hosts(role, names=[name])
    if "underlay" in scene.roles:
        network = _unused(scene, list(IPv4Network("192.168.0.0/16").subnets(new_prefix=24))[10:250])
        address, gateway = network[scene.random.randrange(11, 200)], network[1]
        scene.values |= {f"{role}_net": str(network), f"{role}_ip": str(address)}
        ends, mtu = (f"{address}/24", f"{gateway}/24"), int(scene.values["underlay_mtu"])
        scene.lab.connect(host, scene.host("underlay"), *ends, names=("eth0", host.name), mtu=mtu)
        host.add_route("default", via=str(gateway))
        return host
    address = _unused(scene, list(IPv4Network(scene.values["hosts_net"]))[11:200])
    switch = scene.host("switch")
    scene.lab.connect(host, switch, f"{address}/24", names=("eth0", host.name))
    switch.add_port(_BRIDGE, host.name)
    scene.values[f"{role}_ip"] = str(address)
    return host


def add_node(scene: Scene, letter: str, *, bare: bool = False) -> None:
    """Add ``node_a`` on the underlay with ``pod_a`` behind it; a ``bare`` one has no range, and its pod no address.

    Both have the same word in their names. The values are ``node_a_ip``, ``range_a``, ``gateway_a`` (the node's
    address in that range) and ``pod_a_ip``.
    """
    name = scene.name()
    node = plug_in(scene, f"node_{letter}", f"node-{name}")
    (pod,) = scene.add_hosts(f"pod_{letter}", names=[f"pod-{name}"])
    range_ = _unused(scene, list(IPv4Network(scene.values["pods_net"]).subnets(new_prefix=24))[1:])
    gateway, address = range_[1], range_[scene.random.randrange(2, 250)]
    scene.values |= {
        f"range_{letter}": str(range_),
        f"gateway_{letter}": str(gateway),
        f"pod_{letter}_ip": str(address),
    }
    ends = [] if bare else [f"{gateway}/24", f"{address}/24"]
    scene.lab.connect(node, pod, *ends, names=("veth0", "eth0"))
    # What a packet met shall be the reader's work: no advice of a node to take a shorter way.
    for key in ("all", "default", "eth0", "veth0"):
        node.sysctl[f"net.ipv4.conf.{key}.send_redirects"] = 0
    if not bare:
        node.sysctl["net.ipv4.ip_forward"] = 1
        pod.add_route("default", via=str(gateway))
    pod.serve(80)


def _unused(scene: Scene, choices: Sequence[_Choice]) -> _Choice:
    """Return one that no value of the scene names yet."""
    return scene.random.choice([one for one in choices if str(one) not in scene.values.values()])


def told(letters: Iterable[str]) -> str:
    """Return lines that say what each node is, for a goal; with placeholders."""
    return "\n\n".join(
        f"{{node_{x}}} ({{node_{x}_ip}}) has the range {{range_{x}}}; its pod is {{pod_{x}}} ({{pod_{x}_ip}})."
        for x in letters
    )


def check_pairs(scene: Scene, letters: str, *, explain: bool = True) -> Verdict:
    """See that each pod reaches each other one, straight from node to node, and is seen by its own address."""
    values = scene.values
    pairs = list(permutations(letters, 2))
    with ThreadPoolExecutor(len(pairs)) as pool:
        answers = list(pool.map(lambda pair: _call(scene, *pair), pairs))
    for (one, other), answer in zip(pairs, answers, strict=True):
        verdict = _judge(scene, (one, other), answer, explain=explain)
        if not verdict.passed:
            return verdict
    for one, other in combinations(letters, 2):
        way = _way(scene, one, other)
        verdict = follow(scene, f"pod_{one}", f"{values[f'pod_{other}_ip']}:80", by=way, explain=explain)
        if not verdict.passed:
            return verdict
    return passed("each pod reaches each other one straight from node to node, and is seen by its own address")


def _call(scene: Scene, one: str, other: str) -> dict[str, object] | None:
    return ask(scene, f"pod_{one}", scene.values[f"pod_{other}_ip"], 80, patience=_PATIENCE)


def _judge(scene: Scene, pair: tuple[str, str], answer: dict[str, object] | None, *, explain: bool) -> Verdict:
    """Return the verdict on what a pod got from another one; where that is nothing, on the way of one more packet."""
    values = scene.values
    client, server = (f"pod_{letter}" for letter in pair)
    if answer is None:
        way = _way(scene, *pair)
        verdict = follow(scene, client, f"{values[f'{server}_ip']}:80", by=way, explain=explain)
        if not verdict.passed:
            return verdict
        answer = _call(scene, *pair) or {}
    if answer.get("client_address") != values[f"{client}_ip"]:
        seen = answer.get("client_address")
        return failed(
            f"{values[server]} answers {values[client]}, but sees {seen} as the caller",
            f"{values[server]} sees {values[f'{client}_ip']}, the own address of {values[client]}",
            f"who has the address {seen}, and what rewrites the source of packets there?",
        )
    return passed(f"{values[server]} answers {values[client]}, and sees its own address")


def _way(scene: Scene, one: str, other: str) -> tuple[str, ...]:
    """Return the roles that a packet from pod to pod passes."""
    return (f"node_{one}", "underlay" if "underlay" in scene.roles else "switch", f"node_{other}", f"pod_{other}")


def lacks_way(one: str, other: str) -> Hint:
    """Return the hint for a node that has no route to the pod on another one."""
    text = (
        f"Ask {{node_{one}}} where it would send a packet for {{pod_{other}}}: `ip route get {{pod_{other}_ip}}`. "
        "Which node has that range, and by which of its addresses is it a neighbour?"
    )
    return Hint(text, lambda scene: next_hop(scene, f"node_{one}", scene.values[f"pod_{other}_ip"])[1] is None)
