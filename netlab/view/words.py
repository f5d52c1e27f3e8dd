"""The words of the picture: sentences for readers who do not see it, and short forms for those who do."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netlab.kernel.values import HostState, Interface, Neighbour, Route
    from netlab.view.nouns import Service, State

_LINK_LOCAL = ip_network("fe80::/10")
_LINK = ip_network("fe80::/64")
_MULTICAST = ip_network("ff00::/8")


def join(items: Sequence[str]) -> str:
    """Join with commas and a last "and"."""
    return " and ".join(filter(None, (", ".join(items[:-1]), items[-1]))) if items else ""


def count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it is due."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def state(interface: Interface) -> str:
    """Return the state as a sentence would have it."""
    return {"UP": "is up", "NO CARRIER": "is up but has no carrier", "DOWN": "is down"}[interface.state_words]


def led(link: Interface) -> State:
    """Return the state that the led of an interface shows."""
    if not link.up:
        return "down"
    return "up" if link.carrier else "carrier"


def host(state_of_host: HostState) -> str:
    """Say what a host is: its interfaces, routes and forwarding."""
    names = [i.name for i in state_of_host.interfaces]
    down = [i.name for i in state_of_host.interfaces if not i.up]
    parts = [f"Host {state_of_host.name}, a network namespace with {count(len(names), 'interface')}"]
    parts[0] += f" ({join(names)})" if len(names) <= 6 else ""
    parts += [f"{join(down)} {'is' if len(down) == 1 else 'are'} down"] if down else []
    parts.append(count(len(visible_routes(state_of_host)), "route"))
    return ", ".join(parts) + "."


def interface(host_state: HostState, link: Interface) -> str:
    """Say what an interface is, its state and its addresses."""
    addresses = [str(a.address) for a in host_state.addresses_of(link.name) if not a.is_link_local]
    words = f"Interface {link.name} of {host_state.name}, {link.kind or 'of unknown kind'}, {state(link)}"
    words += f", address{'es' if len(addresses) > 1 else ''} {join(addresses)}" if addresses else ", without an address"
    words += f", port of bridge {link.master}" if link.master else ""
    if link.peer is not None and link.kind == "veth":
        where = f"{link.peer.interface} of {link.peer.host}" if link.peer.host else "an interface outside of this lab"
        words += f", cabled to {where}"
    return words + "."


def bridge(host_state: HostState, link: Interface, ports: int) -> str:
    """Say what a bridge is."""
    addresses = [str(a.address) for a in host_state.addresses_of(link.name) if not a.is_link_local]
    words = f"Bridge {link.name} of {host_state.name} with {count(ports, 'port')}, {state(link)}"
    return words + (f", address {join(addresses)}." if addresses else ", without an address.")


def cable(kind: str, ends: Sequence[tuple[str, str]], *, up: bool) -> str:
    """Say what a cable joins, and whether it carries."""
    (host_a, a), (host_b, b) = ends
    name = "Cable (veth pair)" if kind == "veth" else f"{kind.capitalize()} link"
    return f"{name} between {a} of {host_a} and {b} of {host_b}, {'up' if up else 'carries nothing'}."


def tunnel(number: str, a: tuple[str, str], b: tuple[str, str], *, up: bool) -> str:
    """Say what a VXLAN tunnel joins."""
    state_words = "up" if up else "down"
    return f"VXLAN tunnel {number} between {a[1]} of {a[0]} and {b[1]} of {b[0]}, {state_words}."


def service(item: Service) -> str:
    """Say what a Service is: where it is found, and where its packets go."""
    ends = join([f"{end.host or end.address} ({end.share * 100:.0f} %)" for end in item.endpoints[:8]])
    more = len(item.endpoints) - 8
    where = f" at {join(item.addresses)}" if item.addresses else ""
    words = f"Service {item.name}{where}: no interface holds this address; rules on {join(item.hosts[:4])}"
    return f"{words} send its packets to {ends}{f' and {more} more' if more > 0 else ''}."


def kind_note(link: Interface) -> str:
    """Return the few words that a chip has about its kind, empty for a veth and the loopback."""
    if link.kind == "vxlan":
        return f"VNI {link.detail('id') or '?'}"
    if link.kind == "macvlan":
        return f"macvlan {link.detail('mode') or ''}".strip()
    return "" if link.kind in {"veth", "loopback"} else (link.kind or "unknown kind")


def visible_routes(host_state: HostState) -> tuple[Route, ...]:
    """Return the routes a reader looks for: the main table without what IPv6 adds to each link by itself."""
    return tuple(
        route for route in host_state.routes_of("main") if not (route.destination.version == 6 and _is_automatic(route))
    )


def _is_automatic(route: Route) -> bool:
    network = route.destination
    automatic = network in (_LINK, _MULTICAST)
    return automatic or (network.prefixlen > 0 and network.network_address in _LINK_LOCAL)


def route(item: Route) -> str:
    """Return a route as ``ip route`` has it, without its source and metric."""
    device = f" dev {item.interface}" if item.via is not None and item.interface and len(item.hops) == 1 else ""
    return route_short(item) + device


def route_short(item: Route) -> str:
    """Return a route in the shortest form: where to, and by what."""
    what = "default" if item.is_default else str(item.destination)
    head = what if item.type == "unicast" else f"{item.type} {what}"
    if len(item.hops) > 1:
        return f"{head} {' '.join(f'via {hop.via or hop.interface}' for hop in item.hops)}"
    if item.via is not None:
        return f"{head} via {item.via}"
    return f"{head} dev {item.interface}" if item.interface else head


def linkdown(host_state: HostState, item: Route) -> str:
    """Return the word of ``ip route`` for a route whose interfaces have no carrier, else nothing."""
    names = {hop.interface for hop in item.hops if hop.interface}
    links = [i for i in host_state.interfaces if i.name in names and i.kind != "loopback"]
    return "linkdown" if links and not any(i.carrier for i in links) else ""


def visible_neighbours(host_state: HostState) -> tuple[Neighbour, ...]:
    """Return the neighbours a reader looks for: none that the kernel made for itself."""
    return tuple(
        n
        for n in host_state.neighbours
        if n.state not in {"NOARP", "NONE"} and not n.address.is_multicast and not n.address.is_link_local
    )


def neighbour(item: Neighbour) -> str:
    """Return a neighbour in the short form of the picture."""
    known = item.mac or "no MAC"
    return f"{item.address} {known}"


def rule_counts(host_state: HostState) -> tuple[tuple[str, int], ...]:
    """Return each table of a firewall that holds rules, with their number; policies are no rules."""
    counts: dict[str, int] = {}
    for rule in host_state.rules:
        if rule.text:
            name = {"nft": f"nft {rule.table}", "ip6tables": f"ip6 {rule.table}"}.get(rule.tool, rule.table)
            counts[name] = counts.get(name, 0) + 1
    return tuple(counts.items())
