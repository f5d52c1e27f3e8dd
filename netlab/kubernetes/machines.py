"""The machines of a cluster: nodes on their underlay, as objects and as Hosts, and the network between their pods."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netlab.errors import InvalidInputError
from netlab.kernel import check
from netlab.kubernetes.manifests import Key
from netlab.kubernetes.networks import NETWORKS, Member, make_network
from netlab.kubernetes.node import LOOPBACK, Node, bridge_conflist
from netlab.kubernetes.node_objects import node_object
from netlab.kubernetes.proxy.settings import MODES
from netlab.kubernetes.ranges import ServiceRanges, read_ranges, subnet
from netlab.kubernetes.underlay import MOST_RACKS, Underlay

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netlab.host import Host
    from netlab.kernel.values import IPNetwork
    from netlab.kubernetes.store import Store
    from netlab.lab import Lab

#: The MTU of the underlay's cables, in bytes.
MTU = 1500
ROUTER = "router"
#: A number that no node has: what follows from numbers, such as a router id, is then its own too.
_ROUTER_NUMBER = (1 << 16) - 1
#: Seconds that a network's daemons get.
PATIENCE = 6.0


def check_proxy(mode: object) -> None:
    """Raise InvalidInputError for what is no mode of a proxy; ``none`` is one that is switched off."""
    if mode not in (*MODES, "none"):
        raise InvalidInputError(f"The proxy must be one of {', '.join(MODES)}, none; {mode!r} is not.")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a cluster was asked to be."""

    network: str
    proxy: str
    pod_networks: tuple[IPNetwork, ...]
    service_ranges: ServiceRanges
    proxy_config: dict[str, Any] = field(default_factory=dict)
    reflector: str | None = None
    racks: int = 1

    @classmethod
    def read(cls, options: dict[str, Any]) -> Settings:
        """Check the options of `Cluster`; raises InvalidInputError."""
        known = {"network", "proxy", "pod_cidr", "service_cidr", "proxy_config", "reflector", "racks"}
        if unknown := set(options) - known:
            more = ", ".join(sorted([*known, "name", "privileged", "progress"]))
            raise InvalidInputError(f"A cluster has the options {more}; not {', '.join(sorted(unknown))}.")
        network, proxy = options.get("network", "routed"), options.get("proxy", "iptables")
        if network not in NETWORKS:
            raise InvalidInputError(f"The network must be one of {', '.join(NETWORKS)}; {network!r} is not.")
        check_proxy(proxy)
        pods = read_ranges(options.get("pod_cidr", "10.244.0.0/16"), "The range of pods (pod_cidr)")
        services = read_ranges(options.get("service_cidr", "10.96.0.0/16"), "The range of Services (service_cidr)")
        if [each.version for each in pods] != [each.version for each in services]:
            raise InvalidInputError(
                f"pod_cidr and service_cidr must have the same families in the same order; not {pods} and {services}."
            )
        if any(one.version == other.version and one.overlaps(other) for one in pods for other in services):
            raise InvalidInputError(f"pod_cidr and service_cidr overlap: {pods} and {services}.")
        racks = check.number(options.get("racks", 1), "The number of racks", 1, MOST_RACKS)
        if racks > 1 and options.get("reflector"):
            raise InvalidInputError("With several racks it is the router that reflects routes; leave out reflector.")
        config = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": proxy,
            "clusterCIDR": ",".join(str(network) for network in pods),
            **(options.get("proxy_config") or {}),
        }
        return cls(network, proxy, pods, ServiceRanges(services), config, options.get("reflector"), racks)


class Machines:
    """Adds, removes and fails nodes, and keeps the network between them."""

    def __init__(self, lab: Lab, store: Store, settings: Settings) -> None:
        """Build the underlay; there are no nodes yet."""
        self.lab, self.store, self.settings = lab, store, settings
        self.underlay = Underlay(lab, tuple(network.version for network in settings.pod_networks), settings.racks)
        self.network = make_network(settings.network, settings.pod_networks, settings.reflector)
        self.nodes: dict[str, Node] = {}

    @property
    def watched(self) -> dict[str, Host]:
        """The hosts whose state the network keeps: the nodes, and the router where it joins racks."""
        hosts = {name: node.host for name, node in self.nodes.items()}
        return {**hosts, ROUTER: self.underlay.router} if self.underlay.racks > 1 else hosts

    def add(self, name: str, rack: int | None = None) -> Node:
        """Add a machine and its Node object; it has no proxy yet. Without a rack it comes into the emptiest one."""
        check.host_name(name)
        if name in self.nodes:
            raise InvalidInputError(f"There is a node {name!r} already; choose another name.")
        used = {node.number for node in self.nodes.values()}
        number = next(number for number in range(1, 1 << 16) if number not in used)
        ranges = tuple(subnet(network, number) for network in self.settings.pod_networks)
        rack = self._emptiest() if rack is None else check.number(rack, "The rack", 1, self.underlay.racks)
        host = self.lab.add_host(name)
        try:
            self.underlay.plug_in(host, number, rack)
            gateways = self.underlay.gateways(rack) if self.underlay.racks > 1 else {}
            addresses = self.underlay.node_addresses(number, rack)
            member = Member(name, number, host, addresses, ranges, rack, gateways)
            node = Node(member, bridge_conflist(name, ranges, MTU - self.network.overhead))
            node.furnish(self.settings.pod_networks)
            self.network.prepare(member)
        except BaseException:
            self.lab.remove_host(name)
            raise
        self.nodes[name] = node
        self.store.put(node_object(node, racks=self.underlay.racks))
        return node

    def _emptiest(self) -> int:
        load = Counter(node.rack for node in self.nodes.values())
        return min(range(1, self.underlay.racks + 1), key=lambda rack: (load[rack], rack))

    def connect(self, names: Iterable[str] | None = None) -> dict[str, list[str]]:
        """Let the network bring some nodes, or all, to the state they should have; return what was changed by node."""
        ready = [node.member for node in self.nodes.values() if node.ready]
        wanted = self.watched if names is None else names
        done = {
            member.name: self.network.reconcile(member, [other for other in ready if other is not member])
            for member in ready
            if member.name in wanted
        }
        if self.underlay.racks > 1 and ROUTER in wanted:
            router = Member(ROUTER, _ROUTER_NUMBER, self.underlay.router, self.underlay.gateways(1), (), rack=0)
            done[ROUTER] = self.network.join(router, ready)
        return done

    def await_connection(self) -> None:
        """Wait until the network's daemons have done their part, but not for ever: a learner may have stopped one."""
        deadline = time.monotonic() + PATIENCE
        ready = [node.member for node in self.nodes.values() if node.ready]
        for member in ready:
            others = [other for other in ready if other is not member]
            while not self.network.connected(member, others) and time.monotonic() < deadline:
                time.sleep(0.02)

    def remove(self, node: Node) -> None:
        """Take a machine away with its object; its pods have ended before."""
        self.network.leave(node.member)
        del self.nodes[node.name]
        self.store.remove(Key("Node", "", node.name))
        self.lab.remove_host(node.host)
        self.connect()

    def fail(self, node: Node) -> None:
        """Cut a machine's power; its pods are cut off by the kubelet."""
        node.ready = False
        self.network.leave(node.member)
        self.underlay.set_cable(node.name, node.rack, up=False)
        self.connect()

    def recover(self, node: Node) -> None:
        """Switch a machine on again."""
        self.underlay.set_cable(node.name, node.rack, up=True)
        # As a kubelet does after a restart: what belonged to pods that are gone is given back.
        for network in (LOOPBACK, node.network_list):
            node.runtime.gc(network, [])
        node.ready = True
        self.network.prepare(node.member)
        self.connect()
