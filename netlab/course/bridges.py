"""Pods on a bridge, for exercises: a node that is their gateway, and who answers for which address."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from netlab.course.proof import ping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netlab.course.scene import Scene
    from netlab.kernel.values import Interface

BRIDGE = "cni0"


def setup_node(scene: Scene, *pods: str, spare: Sequence[str] = ()) -> None:
    """Build a node with a bridge that is its pods' gateway, a host outside, and ``spare`` hosts without a cable."""
    outside, node = scene.add_hosts("outside", "node")
    uplink, network = scene.network(), scene.network()
    scene.lab.connect(outside, node, f"{uplink[33]}/24", f"{uplink[1]}/24")
    outside.add_route(network, via=str(uplink[1]))
    node.add_route("default", via=str(uplink[33]))
    node.sysctl["net.ipv4.ip_forward"] = 1
    node.add_bridge(BRIDGE)
    node.add_address(BRIDGE, f"{network[1]}/24")
    scene.values |= {"outside_ip": str(uplink[33]), "node_ip": str(uplink[1])}
    scene.values |= {"pods_net": str(network), "gateway": str(network[1])}
    last = scene.random.randrange(2, 200)
    for number, role in enumerate((*pods, *spare)):
        scene.add_hosts(role)
        scene.values |= {
            f"{role}_ip": str(network[last + number]),
            f"{role}_mac": f"02:00:{last:02x}:00:00:{number:02x}",
        }
        if role in pods:
            plug_in(scene, role)


def plug_in(scene: Scene, role: str) -> None:
    """Lay the cable of a pod to the bridge, and give the pod its address and its gateway."""
    node, pod, values = scene.host("node"), scene.host(role), scene.values
    scene.lab.connect(node, pod, None, f"{values[f'{role}_ip']}/24", names=(f"veth-{pod.name}", "eth0"))
    pod.set_link("eth0", mac=values[f"{role}_mac"])
    node.add_port(BRIDGE, f"veth-{pod.name}")
    pod.add_route("default", via=values["gateway"])


def node_end(scene: Scene, role: str) -> Interface | None:
    """Return the node's end of a pod's cable, or None where there is no cable."""
    snapshot, node = scene.lab.snapshot(), scene.values["node"]
    ends = [link.peer for link in snapshot[scene.values[role]].interfaces if link.peer and link.peer.host == node]
    return snapshot[node].interface(ends[0].interface) if ends else None


def has_address(scene: Scene, role: str, address: str) -> bool:
    """Tell whether a host has an address, with any prefix, on any interface."""
    return any(str(each.address.ip) == address for each in scene.host(role).state().addresses)


def forget(scene: Scene) -> None:
    """Let all hosts forget their neighbours: an old entry would hide what is wrong, or what is right again."""
    for role in scene.roles:
        scene.host(role).run("ip", "neigh", "flush", "all")


def claimants(scene: Scene, role: str, address: str) -> set[str]:
    """Ask by ARP, from a host, who has an address; return the MAC addresses of all that answer."""
    host = scene.host(role)
    host.run("ip", "neigh", "del", address, "dev", "eth0" if role != "node" else BRIDGE)
    with host.capture(filter="arp[6:2] = 2") as seen:
        ping(scene, role, address)
    answers = [packet.layers["ARP"] for packet in seen if packet.direction == "in"]
    return {answer.hwsrc for answer in answers if IPv4Address(answer.psrc) == IPv4Address(address)}
