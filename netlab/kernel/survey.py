"""Read many namespaces in one pass: from the kernel to a HostState for each."""

from __future__ import annotations

import dataclasses
import errno
import json
import socket as _socket
import time
import weakref
from typing import TYPE_CHECKING, NamedTuple

from pyroute2.netlink.rtnl.nsidmsg import nsidmsg

from netlab.errors import KernelError
from netlab.kernel import links, read, read_links, read_rules, read_sockets
from netlab.kernel.netlink import DUMP_TRIES, NetlinkSocket, Query
from netlab.kernel.process import output_of
from netlab.kernel.values import FirewallRule, HostState, Interface, MapElement, Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netlab.kernel.namespace import Namespace
    from netlab.kernel.sandbox import Sandbox
    from netlab.kernel.values import Connection, Socket

#: Kernel settings that a Snapshot holds, as sysctl(8) names them.
SYSCTLS = (
    "net.ipv4.ip_forward",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.conf.all.arp_ignore",
    "net.ipv4.ip_default_ttl",
    "net.ipv4.icmp_ratelimit",
    "net.ipv6.conf.all.forwarding",
    "net.bridge.bridge-nf-call-iptables",
    "net.netfilter.nf_conntrack_max",
)
_SYSCTL_FILES = [f"sys/{key.replace('.', '/')}" for key in SYSCTLS]
#: How many sockets there are, and how many tracked connections: most hosts have none, and need not be asked.
_USE_FILES = ["net/sockstat", "net/sockstat6", "sys/net/netfilter/nf_conntrack_count"]
_LEGACY_FILES = ["net/ip_tables_names", "net/ip6_tables_names"]


_NO_RULES = '{"nftables": []}'
NETLINK_SOCK_DIAG, NETLINK_NETFILTER = 4, 12
Files = dict[str, str | None]
Tables = tuple[tuple[int, str], ...]


class Firewall(NamedTuple):
    """The rules of one host, and the elements of its sets and maps."""

    rules: tuple[FirewallRule, ...]
    elements: tuple[MapElement, ...]


class Surveyor:
    """Reads the namespaces of one sandbox; keeps the sandbox's own route socket to tell whose peer is where."""

    def __init__(self, sandbox: Sandbox) -> None:
        """Open the socket in the sandbox's own namespace, where every host has an id."""
        self._sandbox = sandbox
        (base,) = sandbox.sockets([None], (_socket.AF_NETLINK, _socket.SOCK_RAW, _socket.NETLINK_ROUTE))
        self.base = NetlinkSocket(base)
        self._finalizer = weakref.finalize(self, base.close)

    def close(self) -> None:
        """Close the socket."""
        self._finalizer()

    def read(
        self, namespaces: Iterable[Namespace], everyone: Iterable[Namespace], *, connections: bool = True
    ) -> dict[str, HostState]:
        """Read some of the lab's namespaces; ``everyone`` are all of them, to name the peers.

        ``connections=False`` leaves out the tracked connections, of which a busy host has thousands.
        """
        chosen = list(namespaces)
        by_nsid: dict[int, str] = {}
        for namespace in everyone:
            by_nsid.setdefault(namespace.nsid, namespace.name)
        states = {namespace.name: self._read_links(namespace, by_nsid) for namespace in chosen}
        names = [namespace.name for namespace in chosen]
        files = self._peek(names)
        legacy = {name: [values[file] for file in _LEGACY_FILES] for name, values in files.items()}
        sockets = self._read_sockets(files)
        tables, tracked = self._read_netfilter(files, connections=connections)
        firewalls = _read_calm_rules(self._sandbox, tables, legacy)
        return {
            name: dataclasses.replace(
                state,
                sockets=sockets[name],
                rules=firewalls[name].rules,
                elements=firewalls[name].elements,
                connections=tracked[name],
                sysctls=_sysctls(files[name]),
            )
            for name, state in states.items()
        }

    def _read_links(self, namespace: Namespace, by_nsid: dict[int, str]) -> HostState:
        route, nsids = namespace.route, None

        def find_host(nsid: int | None) -> str | None:
            nonlocal nsids
            if nsid is None:
                return namespace.name
            if nsids is None:
                nsids = self._nsids(namespace)
            return by_nsid.get(nsids.get(nsid, -1))

        interfaces = read_links.read_interfaces(route, find_host)
        names = {interface.index: interface.name for interface in interfaces}
        return HostState(
            name=namespace.name,
            inode=namespace.inode,
            interfaces=interfaces,
            addresses=read.read_addresses(route, names),
            routes=read.read_routes(route, names),
            policy=read.read_policy(route),
            neighbours=read.read_neighbours(route, names),
            fdb=read.read_fdb(route, names),
        )

    def _nsids(self, namespace: Namespace) -> dict[int, int]:
        """Return, from a namespace's ids of its peers, the ids that the sandbox's own namespace has for them."""
        query = nsidmsg()
        query["attrs"] = [("NETNSA_TARGET_NSID", namespace.nsid)]
        found = self.base.dump(Query("ip netns list-id", links.RTM_GETNSID, query))
        return {m.get_attr("NETNSA_NSID"): m.get_attr("NETNSA_CURRENT_NSID", -1) for m in found}

    def _peek(self, names: list[str]) -> dict[str, Files]:
        """Read the small files below /proc that say what there is to ask for."""
        keys = [*_SYSCTL_FILES, *_LEGACY_FILES, *_USE_FILES]
        values = self._sandbox.request("peek", names=names, keys=keys)[0]["values"]
        return {name: dict(zip(keys, found, strict=True)) for name, found in values.items()}

    def _read_sockets(self, files: dict[str, Files]) -> dict[str, tuple[Socket, ...]]:
        found: dict[str, list[tuple[int, Socket]]] = {name: [] for name in files}
        in_use = {
            name: read_sockets.parse_sockstat(*(values[file] for file in _USE_FILES[:2]))
            for name, values in files.items()
        }
        names: list[str | None] = [name for name, numbers in in_use.items() if any(numbers.values())]
        opened = (
            self._sandbox.sockets(names, (_socket.AF_NETLINK, _socket.SOCK_RAW, NETLINK_SOCK_DIAG)) if names else []
        )
        for name, sock in zip(names, opened, strict=True):
            assert name is not None  # noqa: S101 - for the type checker
            with sock:
                found[name] = read_sockets.read_sockets(NetlinkSocket(sock), in_use[name])
        owners = {}
        if any(found.values()):
            raw = self._sandbox.request("socket_owners")[0]["owners"]
            owners = {int(inode): (pid, process) for inode, (pid, process) in raw.items()}
        return {name: read_sockets.with_owners(sockets, owners) for name, sockets in found.items()}

    def _read_netfilter(
        self, files: dict[str, Files], *, connections: bool
    ) -> tuple[dict[str, Tables], dict[str, tuple[Connection, ...]]]:
        tables: dict[str, Tables] = {}
        tracked: dict[str, tuple[Connection, ...]] = dict.fromkeys(files, ())
        opened = self._sandbox.sockets(list(files), (_socket.AF_NETLINK, _socket.SOCK_RAW, NETLINK_NETFILTER))
        for (name, values), sock in zip(files.items(), opened, strict=True):
            with sock:
                netfilter = NetlinkSocket(sock)
                tables[name] = read_sockets.read_tables(netfilter)
                if connections and values[_USE_FILES[2]] not in {"0", None}:
                    tracked[name] = read_sockets.read_connections(netfilter)
        return tables, tracked


def _sysctls(values: Files) -> tuple[tuple[str, str], ...]:
    read_values = ((key, values[file]) for key, file in zip(SYSCTLS, _SYSCTL_FILES, strict=True))
    return tuple((key, value) for key, value in read_values if value is not None)


def _read_calm_rules(
    sandbox: Sandbox, tables: dict[str, Tables], legacy: dict[str, list[str | None]]
) -> dict[str, Firewall]:
    """Read all rules; again where nft broke off its list, since they were changed meanwhile."""
    for _ in range(DUMP_TRIES):
        try:
            return read_all_rules(sandbox, tables, legacy)
        except json.JSONDecodeError:
            continue
    words = "the rules changed each time they were listed"
    raise KernelError("nft -j list ruleset", errno.EAGAIN, words, "Try again when less is going on.")


def read_all_rules(
    sandbox: Sandbox, tables: dict[str, Tables], legacy: dict[str, list[str | None]]
) -> dict[str, Firewall]:
    """Read the rules of the hosts that have any, all at once."""
    wanted: list[tuple[str, tuple[str, ...]]] = []
    for name, found in tables.items():
        families = {family for family, table in found if table in read_rules.IPTABLES_TABLES}
        wanted += [(name, ("iptables-save", "-c"))] if 2 in families else []
        wanted += [(name, ("ip6tables-save", "-c"))] if 10 in families else []
        if found:
            wanted += [(name, ("nft", "-j", "-a", "list", "ruleset")), (name, ("nft", "-a", "list", "ruleset"))]
        for text, tool in zip(legacy[name], ("iptables-legacy-save", "ip6tables-legacy-save"), strict=True):
            wanted += [(name, (tool, "-c"))] if text else []
    printed = output_of(sandbox, wanted)
    found_in: dict[str, Firewall] = {}
    for name in tables:
        saved: tuple[FirewallRule, ...] = ()
        for tool in ("iptables", "ip6tables", "iptables-legacy", "ip6tables-legacy"):
            saved += read_rules.parse_iptables_save(printed.get((name, (f"{tool}-save", "-c")), ""), tool)
        entries = read_rules.parse_listing(printed.get((name, ("nft", "-j", "-a", "list", "ruleset")), _NO_RULES))
        if saved and entries:
            native = read_rules.native_tables(entries)
            saved = tuple(rule for rule in saved if "legacy" in rule.tool or (rule.family, rule.table) not in native)
        skip = frozenset((rule.family, rule.table) for rule in saved if "legacy" not in rule.tool)
        if entries:
            saved += read_rules.parse_nft(entries, printed[name, ("nft", "-a", "list", "ruleset")], skip)
        found_in[name] = Firewall(saved, read_rules.parse_elements(entries))
    return found_in


def compose(name: str, states: dict[str, HostState]) -> Snapshot:
    """Join what was read of each host; name the far ends of cables, which only the other host's list can tell."""
    names = {
        (state.name, interface.index): interface.name for state in states.values() for interface in state.interfaces
    }

    def named(interface: Interface) -> Interface:
        peer = interface.peer
        if peer is None or peer.interface or peer.host is None:
            return interface
        return dataclasses.replace(
            interface, peer=dataclasses.replace(peer, interface=names.get((peer.host, peer.index), ""))
        )

    hosts = tuple(
        dataclasses.replace(state, interfaces=tuple(named(interface) for interface in state.interfaces))
        for state in states.values()
    )
    return Snapshot(name, time.time(), hosts)
