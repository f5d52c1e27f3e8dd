"""Small labs for the tests of journeys: a router between two hosts, two hosts on a bridge, pods on two nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netlab import Host, Lab
    from netlab.server import Server

TUNNEL_PORT = 8472


@dataclass
class Routed:
    """client 10.0.1.2 - 10.0.1.1 router 10.0.2.1 - 10.0.2.2 server, and the same in fd00:1::/64 and fd00:2::/64."""

    lab: Lab
    client: Host
    router: Host
    server: Host
    #: Servers end when nobody holds them.
    servers: list[Server]


def routed(lab: Lab) -> Routed:
    """Build it, with servers on TCP port 80 and UDP port 53."""
    client, router, server = (lab.add_host(name) for name in ("client", "router", "server"))
    lab.connect(client, router, ["10.0.1.2/24", "fd00:1::2/64"], ["10.0.1.1/24", "fd00:1::1/64"])
    lab.connect(router, server, ["10.0.2.1/24", "fd00:2::1/64"], ["10.0.2.2/24", "fd00:2::2/64"])
    router.sysctl["net.ipv4.ip_forward"] = 1
    router.sysctl["net.ipv6.conf.all.forwarding"] = 1
    for host, net in ((client, 1), (server, 2)):
        host.add_route("default", via=f"10.0.{net}.1")
        host.add_route("::/0", via=f"fd00:{net}::1")
    return Routed(lab, client, router, server, [server.serve(80), server.serve(53, protocol="udp")])


@dataclass
class Bridged:
    """a 10.1.0.1 and b 10.1.0.2, at the ports p1 and p2 of the bridge br0 of a host named switch."""

    lab: Lab
    switch: Host
    a: Host
    b: Host
    servers: list[Server]


def bridged(lab: Lab) -> Bridged:
    """Build it, with a server on port 80 of b."""
    switch = lab.add_host("switch")
    switch.add_bridge("br0")
    hosts = []
    for number, name in enumerate(("a", "b"), 1):
        host = lab.add_host(name)
        lab.connect(switch, host, None, f"10.1.0.{number}/24", names=(f"p{number}", "eth0"))
        switch.add_port("br0", f"p{number}")
        hosts.append(host)
    return Bridged(lab, switch, hosts[0], hosts[1], [hosts[1].serve(80)])


@dataclass
class Tunnelled:
    """Two nodes, 172.18.0.1 and .2, with a VXLAN between them, each with a bridge and a pod 10.244.N.2."""

    lab: Lab
    nodes: tuple[Host, Host]
    pods: tuple[Host, Host]
    servers: list[Server]


def tunnelled(lab: Lab) -> Tunnelled:
    """Build it, with servers on TCP port 80 and UDP port 53 of the second pod."""
    nodes = lab.add_host("node-1"), lab.add_host("node-2")
    lab.connect(*nodes, "172.18.0.1/24", "172.18.0.2/24")
    pods = tuple(_pod(lab, node, number) for number, node in enumerate(nodes, 1))
    for number, node in enumerate(nodes, 1):
        other = 3 - number
        node.add_route(f"10.244.{other}.0/24", via=f"10.244.{other}.0", interface="flannel.1", onlink=True)
        node.add_neighbour("flannel.1", f"10.244.{other}.0", tunnel_mac(other))
        node.add_fdb("flannel.1", tunnel_mac(other), f"172.18.0.{other}")
    servers = [pods[1].serve(80), pods[1].serve(53, protocol="udp")]
    return Tunnelled(lab, nodes, (pods[0], pods[1]), servers)


def tunnel_mac(number: int) -> str:
    """Return the MAC address of a node's end of the tunnel."""
    return f"02:00:00:00:00:0{number}"


def _pod(lab: Lab, node: Host, number: int) -> Host:
    node.sysctl["net.ipv4.ip_forward"] = 1
    node.add_bridge("cni0")
    node.add_address("cni0", f"10.244.{number}.1/24")
    pod = lab.add_host(f"pod-{number}")
    lab.connect(node, pod, None, f"10.244.{number}.2/24", names=("veth1", "eth0"))
    node.add_port("cni0", "veth1")
    pod.add_route("default", via=f"10.244.{number}.1")
    options = {"local": f"172.18.0.{number}", "device": "eth0"}
    node.add_vxlan("flannel.1", 1, **options, port=TUNNEL_PORT, learning=False, mtu=1450)
    node.set_link("flannel.1", mac=tunnel_mac(number))
    node.add_address("flannel.1", f"10.244.{number}.0/32")
    return pod
