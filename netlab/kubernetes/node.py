"""A Node: a Host that carries pods, with its own CNI runtime and its own Service proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netlab.kubernetes.cni import NetworkList, Runtime, read_network
from netlab.kubernetes.underlay import make_router

if TYPE_CHECKING:
    from netlab.kernel.process import Result
    from netlab.kernel.values import IPAddress, IPNetwork
    from netlab.kubernetes.dataplane import NodeProxy
    from netlab.kubernetes.networks.base import Member

BRIDGE = "cni0"
#: What containerd does for each pod before it attaches it to the network.
LOOPBACK = read_network({"cniVersion": "1.0.0", "name": "cni-loopback", "plugins": [{"type": "loopback"}]})
_MASQUERADE = "KUBE-NETLAB-OUT"


class Node:
    """One machine of the cluster.

    ``host`` is what it is made of; ``ready`` is false once it failed. ``network_list`` is its CNI configuration, which
    may be replaced by one of the learner's own: pods that start later are wired by it. ``runtime.path`` are the folders
    in which plugins are looked for; put one of your own before the others.
    """

    def __init__(self, member: Member, conflist: dict[str, Any]) -> None:
        """Use `Cluster.add_node` instead."""
        self.member = member
        self.name, self.host, self.number = member.name, member.host, member.number
        self.addresses, self.pod_ranges, self.rack = member.addresses, member.pod_ranges, member.rack
        self.runtime = Runtime(member.host)
        self.network_list: NetworkList = read_network(conflist)
        self.proxies: list[NodeProxy] = []
        self.ready = True

    @property
    def address(self) -> IPAddress:
        """Return its address on the underlay, of the cluster's first family."""
        return next(iter(self.addresses.values()))

    def run(self, *argv: str, **options: Any) -> Result:
        """Run a command on this node; takes what `Host.run` takes."""
        return self.host.run(*argv, **options)

    def __repr__(self) -> str:
        """Return its name and state."""
        return f"<Node {self.name}, {self.address}, {'Ready' if self.ready else 'NotReady'}>"

    def furnish(self, pod_networks: tuple[IPNetwork, ...]) -> None:
        """Make it a router of pods' packets, and let pods reach the world outside by the node's own address.

        Between pods and nodes of the cluster nothing is translated.
        """
        make_router(self.host)
        for key in ("iptables", "ip6tables"):
            # Else the answer of a pod on the same bridge would pass by conntrack, and not look like the Service's.
            self.host.sysctl[f"net.bridge.bridge-nf-call-{key}"] = 1
        self.host.set_link("lo", up=True)
        for network in pod_networks:
            rule = f"-s {network} ! -d {network} -j MASQUERADE --random-fully"
            text = f"*nat\n:{_MASQUERADE} - [0:0]\n-A POSTROUTING -j {_MASQUERADE}\n-A {_MASQUERADE} {rule}\nCOMMIT\n"
            self.host.run(restore_tool(network.version), "--noflush", "-w", input=text, check=True)


def restore_tool(version: int) -> str:
    """Return the name of iptables-restore for a family."""
    return "iptables-restore" if version == 4 else "ip6tables-restore"  # noqa: PLR2004 - IPv4


def bridge_conflist(name: str, ranges: tuple[IPNetwork, ...], mtu: int) -> dict[str, Any]:
    """Return the usual CNI configuration of a node: a bridge that is the pods' gateway, and host ports.

    Addresses are given by host-local, whose files are inside the lab.
    """
    routes = [{"dst": "0.0.0.0/0" if range_.version == 4 else "::/0"} for range_ in ranges]  # noqa: PLR2004 - IPv4
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "hairpinMode": True,
        "mtu": mtu,
        "ipam": {
            "type": "host-local",
            "dataDir": f"/run/cni/{name}/networks",
            "ranges": [[{"subnet": str(range_)}] for range_ in ranges],
            "routes": routes,
        },
    }
    portmap = {"type": "portmap", "snat": True, "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "netlab", "plugins": [bridge, portmap]}
