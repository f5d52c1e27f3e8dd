"""What the kernel can be asked about a packet afterwards: routes, neighbours, rules, counters, sockets."""

from __future__ import annotations

import functools
import ipaddress
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from netlab.errors import NotFoundError
from netlab.journey.values import Count
from netlab.kernel import chains, counters, lookups, rulecounters
from netlab.kernel.chains import ChainFacts
from netlab.kernel.read_rules import NFT_FAMILIES, TRACE_PREFIX
from netlab.kernel.survey import Surveyor, compose
from netlab.kernel.values import Snapshot
from netlab.kernel.wiretap import NETFILTER

if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Iterable

    from netlab.kernel.chains import Place, Rules
    from netlab.kernel.counters import Counts
    from netlab.kernel.dropreasons import Reason
    from netlab.kernel.headers import Header
    from netlab.kernel.lookups import RouteAnswer
    from netlab.kernel.rulecounters import CounterKey
    from netlab.kernel.ruletrace import RuleEvent
    from netlab.kernel.values import Connection, HostState, Interface, IPAddress, Neighbour, Route, Socket
    from netlab.lab import Lab

_PORT_FLAGS = {
    "isolated": "IFLA_BRPORT_ISOLATED",
    "flood": "IFLA_BRPORT_UNICAST_FLOOD",
    "hairpin": "IFLA_BRPORT_MODE",
    "learning": "IFLA_BRPORT_LEARNING",
}


class RouteQuestion(NamedTuple):
    """What a route depends on: the packet, the interface it came in by (0: our own), and its mark."""

    header: Header
    iif: int = 0
    mark: int = 0


def counter_of(event: RuleEvent) -> CounterKey:
    """Return which counter belongs to a report."""
    return NFT_FAMILIES.get(event.family, ""), event.table, event.chain, event.handle if event.kind == "rule" else 0


class Evidence:
    """Answers questions about the hosts of one lab; close it to close its sockets.

    Hosts that share a network namespace count as one, under the first name (the client's, for its own).
    """

    def __init__(self, lab: Lab, client: str) -> None:
        """Find the network namespaces, and read the counters as they are before anything is sent."""
        self._lab = lab
        self._stack = ExitStack()
        self._surveyor = Surveyor(lab.sandbox)
        self._stack.callback(self._surveyor.close)
        hosts = lab.hosts
        inodes: dict[int, str] = {hosts[client].namespace.inode: client}
        for name, host in hosts.items():
            inodes.setdefault(host.namespace.inode, name)
        self._canonical = {name: inodes[host.namespace.inode] for name, host in hosts.items()}
        #: One host for each network namespace, in the order in which they were added.
        self.hosts = [name for name in hosts if inodes[hosts[name].namespace.inode] == name]
        self._namespaces = {name: hosts[name].namespace for name in hosts}
        self._before = counters.read_texts(lab.sandbox, self.hosts)
        self._after: dict[str, list[str | None]] = {}
        self.snapshot = Snapshot(lab.name, 0.0)
        self.layout: dict[str, HostState] = {}
        self.names: dict[str, dict[int, str]] = {}
        self.rules: dict[str, Rules] = {}
        #: Why the kernel says that it dropped packets of ours, where it tells us.
        self.reasons: tuple[Reason, ...] = ()
        self._netfilter: dict[str, _socket.socket] = {}
        self._rules_before: dict[str, list[bytes]] = {}
        self._counters: dict[str, dict[CounterKey, Count]] = {}
        # Each question is asked once. The answers belong to this object, and go with it.
        self.route = functools.cache(self._route)
        self.increases = functools.cache(self._increases)
        self.base_chains = functools.cache(self._base_chains)
        self.counts = functools.cache(self._counts)
        self.setting = functools.cache(self._setting)

    def close(self) -> None:
        """Close the sockets."""
        self._stack.close()

    def count_rules(self, hosts: Iterable[str]) -> None:
        """Note what the rules of some hosts have counted before anything is sent."""
        self._rules_before = {host: rulecounters.dump(self.netfilter(host)) for host in hosts}

    def collect(self) -> None:
        """Read the whole lab and its counters as they are after the packets."""
        self._after = counters.read_texts(self._lab.sandbox, self.hosts)
        spaces = list(self._namespaces.values())
        # The canonical names come first: a peer is known under one of them.
        everyone = sorted(spaces, key=lambda space: self._canonical[space.name] != space.name)
        self.snapshot = compose(self._lab.name, self._surveyor.read(spaces, everyone, connections=False))
        self.layout = {host.name: host for host in self.snapshot.hosts if host.name in self.hosts}
        self.names = {
            name: {interface.index: interface.name for interface in state.interfaces}
            for name, state in self.layout.items()
        }

    def find_rules(self, wanted: dict[str, set[Place]]) -> None:
        """Match the rules in some chains of some hosts with the handles that reports name them by."""
        self.rules = {
            host: chains.match_handles(self.netfilter(host), self.layout[host].rules, places)
            for host, places in wanted.items()
        }

    def compare_counters(self, wanted: dict[str, set[CounterKey]]) -> None:
        """Compare what some rules of some hosts have counted with what they had counted before."""
        for host, keys in wanted.items():
            old = rulecounters.counted(self._rules_before.get(host, []), keys)
            new = rulecounters.counted(rulecounters.dump(self.netfilter(host)), keys) if old else {}
            self._counters[host] = {key: Count(old[key], number) for key, number in new.items() if key in old}

    def counter(self, host: str, event: RuleEvent) -> Count | None:
        """Return what the counter of a reported rule, or of a policy, said before and after; None if it has none."""
        return self._counters.get(host, {}).get(counter_of(event))

    def netfilter(self, host: str) -> _socket.socket:
        """Return a plain netfilter socket of a host."""
        if host not in self._netfilter:
            (sock,) = self._lab.sandbox.sockets([host], NETFILTER)
            self._stack.callback(sock.close)
            self._netfilter[host] = sock
        return self._netfilter[host]

    def chain(self, host: str, event: RuleEvent) -> ChainFacts:
        """Return what the base chain of a report is registered as."""
        if event.table.startswith(TRACE_PREFIX):
            return ChainFacts(event.chain)
        place = (NFT_FAMILIES.get(event.family, ""), event.table, event.chain)
        return self.base_chains(host).get(place, ChainFacts())

    def _base_chains(self, host: str) -> dict[Place, ChainFacts]:
        """Return the chains of a host."""
        return chains.read_chains(self.netfilter(host))

    # -- interfaces -----------------------------------------------------------------

    @property
    def tunnel_ports(self) -> frozenset[int]:
        """Return the UDP ports of the lab's VXLAN interfaces."""
        found = (interface.detail("dstport") for state in self.layout.values() for interface in state.interfaces)
        return frozenset(int(port) for port in found if port)

    def interface(self, host: str, name: str | None) -> Interface | None:
        """Return an interface, or None."""
        if name is None:
            return None
        try:
            return self.layout[host].interface(name)
        except (KeyError, NotFoundError):
            return None

    def index(self, host: str, name: str) -> int:
        """Return an interface's index as a route lookup wants it: 0 for a host's own packets, which come by lo."""
        found = self.interface(host, name)
        return found.index if found and found.kind != "loopback" else 0

    def peer(self, host: str, name: str) -> tuple[str, Interface] | None:
        """Return the host and the interface at the other end of a cable, where that is in the lab."""
        found = self.interface(host, name)
        if found is None or found.peer is None or found.peer.host is None:
            return None
        other = self._canonical.get(found.peer.host, found.peer.host)
        far = self.interface(other, self.names.get(other, {}).get(found.peer.index))
        return (other, far) if far is not None else None

    def owner(self, address: IPAddress) -> str | None:
        """Return the host with this address, or None."""
        for name, state in self.layout.items():
            if any(each.address.ip == address for each in state.addresses):
                return name
        return None

    def owns(self, host: str, address: IPAddress) -> bool:
        """Tell whether a host has this address on one of its interfaces."""
        return any(each.address.ip == address for each in self.layout[host].addresses)

    def master(self, host: str, name: str) -> str | None:
        """Return the bridge that an interface is a port of, or None."""
        found = self.interface(host, name)
        return found.master if found is not None else None

    def bridge_calls(self, host: str, version: int) -> bool:
        """Tell whether the bridges of a host have its iptables rules read for each frame (br_netfilter)."""
        return self.setting(host, f"net/bridge/bridge-nf-call-{'iptables' if version == 4 else 'ip6tables'}") == "1"

    def port_flag(self, host: str, port: str, flag: str) -> bool:
        """Tell whether a setting of a bridge's port is on: isolated, flood, hairpin, learning (bridge(8))."""
        message = self._namespaces[host].find(port)
        info = message.get_attr("IFLA_LINKINFO") if message is not None else None
        data = info.get_attr("IFLA_INFO_SLAVE_DATA") if info is not None else None
        return bool(data.get_attr(_PORT_FLAGS[flag])) if data is not None else False

    # -- what a packet meets ----------------------------------------------------------

    def _route(self, host: str, question: RouteQuestion) -> RouteAnswer:
        """Return the route that a packet takes in a host."""
        socket = self._namespaces[host].route
        return lookups.find_route(socket, question.header, self.names[host], iif=question.iif, mark=question.mark)

    def special_route(self, host: str, address: IPAddress) -> Route | None:
        """Return the most specific route to an address in a host's tables, of whatever type."""
        found = [
            route
            for route in self.layout[host].routes
            if route.destination.version == address.version and address in route.destination
        ]
        return max(found, key=lambda route: route.destination.prefixlen, default=None)

    def neighbour(self, host: str, interface: str | None, address: IPAddress) -> Neighbour | None:
        """Return a host's entry for a neighbour, or None."""
        for each in self.layout[host].neighbours:
            if each.address == address and (interface is None or each.interface == interface) and not each.proxy:
                return each
        return None

    def connection(self, host: str, header: Header, identifier: int = 0) -> Connection | None:
        """Return the conntrack entry that a packet opened in a host, or None."""
        return lookups.find_connection(self.netfilter(host), header, identifier=identifier)

    def _increases(self, host: str) -> Counts:
        """Return which of the kernel's counters of a host have grown meanwhile, and by how much."""
        return counters.increases(self._before[host], self._after[host])

    def _counts(self, host: str) -> Counts:
        """Return the kernel's counters of a host as they are after the packets."""
        return counters.parse(self._after[host])

    def _setting(self, host: str, key: str) -> str | None:
        """Return a kernel setting of a host by its path below /proc/sys, or None."""
        values = self._lab.sandbox.request("peek", names=[host], keys=[f"sys/{key}"])[0]["values"]
        found: str | None = values[host][0]
        return found

    def listeners(self, host: str, header: Header) -> tuple[list[Socket], list[Socket]]:
        """Return the sockets that would take a packet, and those with the same port but another address."""
        taking: list[Socket] = []
        other: list[Socket] = []
        for each in self.layout[host].sockets:
            if not each.listening or each.protocol != header.protocol or each.local_port != header.destination_port:
                continue
            local = each.local
            if isinstance(local, ipaddress.IPv6Address) and local.ipv4_mapped is not None:
                local = local.ipv4_mapped
            fits = local == header.destination or (
                local.is_unspecified and local.version in {header.destination.version, 6}
            )
            (taking if fits else other).append(each)
        return taking, other

    def legacy(self, hosts: Iterable[str]) -> tuple[str, ...]:
        """Return those of some hosts that have rules of legacy iptables."""
        return tuple(name for name in hosts if any("legacy" in rule.tool for rule in self.layout[name].rules))
