"""From a Snapshot to the nouns of a picture."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from netlab.view import words
from netlab.view.nouns import Bridge, Cable, CableKind, Chip, Line, Program, Scene, SceneHost
from netlab.view.services import services
from netlab.view.tunnels import tunnels

if TYPE_CHECKING:
    from netlab.kernel.values import HostState, Interface, Snapshot


def to_scene(snapshot: Snapshot) -> Scene:
    """Turn a Snapshot into what is drawn of it."""
    snapshot, guests = _merged(snapshot)
    cables = _cables(snapshot)
    lines, tubes = tunnels(snapshot, cables)
    hosts = tuple(
        replace(_host(state, guests.get(state.inode, ())), tubes=tubes.get(state.name, ())) for state in snapshot.hosts
    )
    return Scene(snapshot.lab, hosts, (*cables, *lines), services(snapshot))


def _merged(snapshot: Snapshot) -> tuple[Snapshot, dict[int, tuple[str, ...]]]:
    """Keep one host of each network namespace; return who else lives in it, by its inode."""
    owners: dict[int, HostState] = {}
    guests: dict[int, tuple[str, ...]] = {}
    for host in snapshot.hosts:
        if owners.setdefault(host.inode, host) is not host:
            guests[host.inode] = (*guests.get(host.inode, ()), host.name)
    return replace(snapshot, hosts=tuple(owners.values())), guests


def _host(state: HostState, guests: tuple[str, ...]) -> SceneHost:
    chips = tuple(_chip(state, i) for i in state.interfaces if i.kind not in {"bridge", "loopback"})
    loopback = next((_chip(state, i) for i in state.interfaces if i.kind == "loopback"), None)
    routes = tuple(
        Line(words.route(route), words.linkdown(state, route), words.route_short(route))
        for route in words.visible_routes(state)
    )
    bad = {"FAILED", "INCOMPLETE"}
    neighbours = tuple(
        Line(words.neighbour(n), n.state if n.state in bad else "") for n in words.visible_neighbours(state)
    )
    # A gate is drawn only where packets could pass: between two interfaces that have addresses of their own.
    routed = {a.interface for a in state.addresses if not a.is_link_local} - {loopback.name if loopback else ""}
    several = len(routed) > 1
    six = any(a.address.version == 6 and a.interface in routed and not a.is_link_local for a in state.addresses)
    return SceneHost(
        name=state.name,
        chips=chips,
        loopback=loopback,
        bridges=tuple(_bridge(state, i) for i in state.interfaces if i.kind == "bridge"),
        programs=(*(_guest(state.name, name) for name in guests), *_programs(state)),
        routes=routes,
        neighbours=neighbours,
        rules=words.rule_counts(state),
        forwarding=(state.sysctl("net.ipv4.ip_forward") or "") if several else "",
        forwarding6=(state.sysctl("net.ipv6.conf.all.forwarding") or "") if several and six else "",
        forwards=state.sysctl("net.ipv4.ip_forward") == "1",
        sentence=words.host(state) + (f" {words.join(guests)} shares this namespace." if guests else ""),
    )


def _addresses(state: HostState, name: str) -> tuple[str, ...]:
    return tuple(str(a.address) for a in state.addresses_of(name) if not a.is_link_local)


def _chip(state: HostState, interface: Interface) -> Chip:
    return Chip(
        host=state.name,
        name=interface.name,
        kind=interface.kind,
        state=words.led(interface),
        addresses=_addresses(state, interface.name),
        mac=interface.mac if interface.kind != "loopback" else "",
        note=words.kind_note(interface),
        master=interface.master,
        sentence=words.interface(state, interface),
    )


def _bridge(state: HostState, interface: Interface) -> Bridge:
    ports = tuple(i.name for i in state.interfaces if i.master == interface.name)
    learned = {e.mac for e in state.fdb if not e.permanent and e.master == interface.name}
    return Bridge(
        host=state.name,
        name=interface.name,
        state=words.led(interface),
        addresses=_addresses(state, interface.name),
        learned=len(learned),
        ports=ports,
        sentence=words.bridge(state, interface, len(ports)),
    )


def _guest(host: str, name: str) -> Program:
    return Program(f"host:{name}", name, (), f"Host {name} lives in the network namespace of {host}.")


def _programs(state: HostState) -> tuple[Program, ...]:
    found: dict[tuple[str, int | None], set[tuple[int, str]]] = {}
    for socket in state.sockets:
        if socket.listening:
            found.setdefault((socket.process, socket.pid), set()).add((socket.local_port, socket.protocol.rstrip("6")))
    programs = []
    for (name, pid), ports in found.items():
        texts = tuple(f":{port}" if protocol == "tcp" else f":{port}/{protocol}" for port, protocol in sorted(ports))
        title = name or "a process"
        sentence = f"{title}{f' (pid {pid})' if pid else ''} on {state.name} listens on {words.join(texts)}."
        programs.append(Program(f"sock:{state.name}/{name}/{pid or ''}", name or "?", texts, sentence))
    return tuple(programs)


def _cables(snapshot: Snapshot) -> tuple[Cable, ...]:
    interfaces = {(host.name, i.name): i for host in snapshot.hosts for i in host.interfaces}
    cables: dict[str, Cable] = {}
    for (host, name), interface in interfaces.items():
        peer = interface.peer
        if peer is None or interface.kind not in {"veth", "macvlan"}:
            continue
        other = interfaces.get((peer.host or "", peer.interface))
        if other is None:
            continue
        kind: CableKind = "veth" if interface.kind == "veth" else "macvlan"
        ends = sorted(((host, name), (peer.host or "", peer.interface)))
        up = words.led(interface) == words.led(other) == "up"
        cable = Cable(kind, ends[0], ends[1], up, words.cable(kind, ends, up=up))
        cables.setdefault(cable.id, cable)
    return tuple(cables.values())
