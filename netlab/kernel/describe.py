"""One snapshot as text, much as iproute2 and conntrack print it, and the words that differences use too."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import IPv4Address
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netlab.kernel.values import (
        Address,
        Connection,
        FdbEntry,
        FirewallRule,
        Flow,
        HostState,
        Interface,
        IPAddress,
        Peer,
        Route,
        Snapshot,
        Socket,
    )


def describe(snapshot: Snapshot) -> str:
    """Return a snapshot as text, host by host, much as ``ip``, ``bridge``, ``ss`` and ``conntrack`` print it."""
    when = datetime.fromtimestamp(snapshot.time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    count = f"{len(snapshot.hosts)} host{'' if len(snapshot.hosts) == 1 else 's'}"
    blocks = [f"lab {snapshot.lab}, {count}, {when}"]
    for host in snapshot.hosts:
        lines = [host.name]
        for interface in host.interfaces:
            lines.append("  " + _interface_line(interface))
            lines += [f"       {_address_line(address)}" for address in host.addresses_of(interface.name)]
        for title, entries in _sections(host):
            lines += [f"  {title}:", *(f"    {entry}" for entry in entries)] if entries else []
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _interface_line(interface: Interface) -> str:
    words = [f"{interface.index}: {interface.name}", interface.state_words, interface.kind, f"mtu {interface.mtu}"]
    words += [interface.mac] if interface.mac else []
    words += [f"master {interface.master}"] if interface.master else []
    words += [f"peer {peer_words(interface.peer)}"] if interface.peer else []
    # As `ip -d` does: what is switched off is not worth a word.
    words += [f"{key} {value}" for key, value in interface.details if value not in {"0", "off"}]
    words += [f"alias {interface.alias}"] if interface.alias else []
    return "  ".join(words)


def _address_line(address: Address) -> str:
    family = "inet" if isinstance(address.address, IPv4Address) else "inet6"
    flags = [flag for flag in address.flags if flag != "permanent"]
    return " ".join((family, str(address.address), "scope", address.scope, *flags))


def _sections(host: HostState) -> Iterator[tuple[str, list[str]]]:
    """Return each part of a host with its title; empty parts are left out by the caller."""
    yield "routes", [str(route) for route in visible_routes(host)]
    usual = {(0, "local"), (32766, "main"), (32767, "default")}
    rules = [rule for rule in host.policy if (rule.priority, rule.table) not in usual]
    yield "policy rules", [f"{rule.priority}: {rule.text}" for rule in rules]
    yield "neighbours", [f"{n.address} dev {n.interface} {n.mac} {n.state}" for n in host.neighbours]
    yield "bridge FDB", [_fdb_line(entry) for entry in host.fdb]
    listening = [socket for socket in host.sockets if socket.listening]
    yield "listening sockets", [_socket_line(socket) for socket in listening]
    yield (
        "connected sockets",
        [f"{_socket_line(socket)} {socket.state}" for socket in host.sockets if not socket.listening],
    )
    for (tool, table, name), rules_of in groupby(host.rules, lambda rule: (rule.tool, rule.table, rule.chain)):
        yield f"{tool} {table} {name}", [_rule_line(rule) for rule in rules_of]
    for (family, table, name), inside in groupby(host.elements, lambda each: (each.family, each.table, each.name)):
        yield f"nft {family} {table} {name}", [f"{each.key} : {each.value}".removesuffix(" : ") for each in inside]
    yield "connections", [_connection_line(connection) for connection in host.connections]
    yield "sysctls", [f"{key} = {value}" for key, value in host.sysctls]


def _fdb_line(entry: FdbEntry) -> str:
    words = [entry.mac, "dev", entry.interface]
    words += ["dst", str(entry.destination)] if entry.destination else []
    words += ["vlan", str(entry.vlan)] if entry.vlan is not None else []
    words += ["master", entry.master] if entry.master else []
    return " ".join(words + (["permanent"] if entry.permanent else []))


def _socket_line(socket: Socket) -> str:
    holder = f" {socket.process}" if socket.process else ""
    return socket_words(socket) + holder + (f" (pid {socket.pid})" if socket.pid is not None else "")


def _rule_line(rule: FirewallRule) -> str:
    text = f"{rule.number}: {rule.text}" if rule.text else f"policy {rule.policy or 'none'}"
    return text if rule.packets is None else f"{text} [{rule.packets} packets, {rule.bytes or 0} bytes]"


def _connection_line(connection: Connection) -> str:
    text = f"{connection.protocol} {flow_words(connection.original)}, reply {flow_words(connection.reply)}"
    return f"{text} {connection.state}".rstrip()


def visible_routes(host: HostState) -> tuple[Route, ...]:
    """Leave out the local and broadcast routes that the kernel adds for each address, as ``ip route`` does."""
    return tuple(route for route in host.routes if (route.table, route.protocol) != ("local", "kernel"))


def _endpoint(address: IPAddress, port: int | None) -> str:
    if port is None:
        return str(address)
    return f"{address}:{port}" if isinstance(address, IPv4Address) else f"[{address}]:{port}"


def flow_words(flow: Flow) -> str:
    """Return one direction of a connection."""
    source, destination = _endpoint(flow.source, flow.source_port), _endpoint(flow.destination, flow.destination_port)
    return f"{source} to {destination}"


def peer_words(peer: Peer) -> str:
    """Return the other end of a cable, with its host where it is in the lab."""
    return f"{peer.host}:{peer.interface}" if peer.host else peer.interface


def socket_words(socket: Socket) -> str:
    """Return a socket by what tells it from others: protocol and both ends."""
    text = f"{socket.protocol} {_endpoint(socket.local, socket.local_port)}"
    return f"{text} to {_endpoint(socket.remote, socket.remote_port)}" if socket.remote else text
