"""Everything the reader can ask for, told before it is asked: facts and lists of each thing in the picture.

The browser holds them, so that a click is answered while the kernel is busy with a cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netlab.view import words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netlab.kernel.values import FdbEntry, FirewallRule, HostState, Interface, Snapshot, Socket
    from netlab.view.nouns import Service

Detail = dict[str, Any]
_MOST = 60


def details(snapshot: Snapshot, services: tuple[Service, ...] = ()) -> dict[str, Detail]:
    """Return what is known of each thing, by its identity.

    ``facts`` are [name, value], ``counters`` [name, received, sent], ``lists`` [title, lines].
    """
    found: dict[str, Detail] = {}
    for host in snapshot.hosts:
        found[f"host:{host.name}"] = _host(host)
        for link in host.interfaces:
            prefix = "br" if link.kind == "bridge" else "if"
            found[f"{prefix}:{host.name}/{link.name}"] = _interface(host, link)
    return found | {service.id: _service(service) for service in services}


def _service(service: Service) -> Detail:
    ends = (
        f"{end.share * 100:3.0f} %  {end.address}  {end.host or 'outside of this lab'}" for end in service.endpoints
    )
    lists = [
        _list("Addresses", service.addresses, always=True),
        _list("Port of every node", service.ports),
        _list("Endpoints, with their share", ends),
        _list("Hosts that have its rules", service.hosts),
    ]
    return {
        "title": service.name,
        "about": "Service: no interface holds its address, it exists only as rules",
        "facts": [],
        "lists": [entry for entry in lists if entry[1]],
    }


def _host(host: HostState) -> Detail:
    links = [f"{i.name}  {i.state_words}  {' '.join(_addresses(host, i.name))}".rstrip() for i in host.interfaces]
    usual = {(0, "local"), (32766, "main"), (32767, "default")}
    policy = (f"{rule.priority}: {rule.text}" for rule in host.policy if (rule.priority, rule.table) not in usual)
    lists = [
        _list("Interfaces", links),
        _list("Routes", (str(route) for route in words.visible_routes(host))),
        _list("Other tables", (str(route) for route in host.routes if route.table not in {"main", "local"})),
        _list("Policy rules", policy),
        _list("Neighbours", (_neighbour(n) for n in words.visible_neighbours(host))),
        _list("Listening", (_socket(s) for s in host.sockets if s.listening)),
        _list("Connected", (_socket(s) for s in host.sockets if not s.listening)),
        *_rules(host.rules),
        _list("Tracked connections", (_connection(c) for c in host.connections)),
        _list("Settings", (f"{key} = {value}" for key, value in host.sysctls)),
    ]
    return {
        "title": host.name,
        "about": "network namespace",
        "facts": [],
        "lists": [entry for entry in lists if entry[1]],
    }


def _interface(host: HostState, link: Interface) -> Detail:
    facts = [["state", f"{link.state_words} ({link.state})"], ["kind", link.kind or "unknown"], ["MTU", str(link.mtu)]]
    facts += [["MAC", link.mac]] if link.mac else []
    facts += [["bridge", link.master]] if link.master else []
    if link.peer is not None:
        where = f"{link.peer.interface} of {link.peer.host}" if link.peer.host else "outside of this lab"
        facts.append(["peer" if link.kind == "veth" else "on", where])
    facts += [["alias", link.alias]] if link.alias else []
    facts += [["qdisc", link.qdisc]] if link.qdisc else []
    facts += [[key, value] for key, value in link.details]
    c = link.counters
    pairs = ("packets", "bytes", "errors", "dropped")
    counters = [[name, getattr(c, f"rx_{name}"), getattr(c, f"tx_{name}")] for name in pairs]
    routes = (str(r) for r in words.visible_routes(host) if any(hop.interface == link.name for hop in r.hops))
    ports = [i.name for i in host.interfaces if i.master == link.name]
    fdb = [_fdb(entry) for entry in host.fdb if link.name in {entry.interface, entry.master}]
    neighbours = (
        _neighbour(n) for n in host.neighbours if n.interface == link.name and n.state not in {"NONE", "NOARP"}
    )
    lists = [
        _list("Addresses", _addresses(host, link.name, all_of_them=True), always=True),
        _list("Neighbours", neighbours, always=link.kind != "loopback"),
        _list("Routes", routes, always=True),
        _list("Ports", ports),
        _list("Forwarding table", sorted(fdb, key=lambda line: "permanent" in line)),
    ]
    return {
        "title": link.name,
        "about": f"{link.kind or 'interface'} of {host.name}",
        "state": link.state_words,
        "facts": facts,
        "counters": counters,
        "lists": [entry for entry in lists if entry[1]],
    }


def _addresses(host: HostState, name: str, *, all_of_them: bool = False) -> list[str]:
    return [
        " ".join((str(a.address), *((f"scope {a.scope}", *a.flags) if all_of_them else ())))
        for a in host.addresses_of(name)
        if all_of_them or not a.is_link_local
    ]


def _list(title: str, lines: Iterable[str], *, always: bool = False) -> list[Any]:
    shown = list(lines)
    if len(shown) > _MOST:
        shown = [*shown[:_MOST], f"and {len(shown) - _MOST} more"]
    return [title, shown or (["none"] if always else [])]


def _rules(rules: tuple[FirewallRule, ...]) -> list[list[Any]]:
    chains: dict[str, list[str]] = {}
    for rule in rules:
        if rule.text:
            seen = f"{rule.packets:>5}  " if rule.packets is not None else ""
            chains.setdefault(f"{rule.tool} {rule.table} {rule.chain}", []).append(f"{seen}{rule.text}")
    return [_list(name, lines) for name, lines in chains.items()]


def _fdb(entry: FdbEntry) -> str:
    words_of = [entry.mac, entry.interface, f"at {entry.destination}" if entry.destination else ""]
    return "  ".join(filter(None, [*words_of, "permanent" if entry.permanent else ""]))


def _neighbour(n: Any) -> str:
    return f"{n.address}  {n.mac or '(no MAC)'}  {n.state}{'  proxy' if n.proxy else ''}"


def _socket(s: Socket) -> str:
    far = f" ↔ {s.remote}:{s.remote_port}" if s.remote is not None else ""
    who = f"  {s.process}" + (f" ({s.pid})" if s.pid else "") if s.process else ""
    return f"{s.protocol} {s.local}:{s.local_port}{far}{'' if s.listening else f'  {s.state}'}{who}"


def _connection(c: Any) -> str:
    there, back = c.original, c.reply
    ports = f":{there.source_port}", f":{there.destination_port}"
    far = f"{there.source}{ports[0] if there.source_port is not None else ''} → {there.destination}"
    far += ports[1] if there.destination_port is not None else ""
    nat = (
        f"  ⇒ replies from {back.source}{f':{back.source_port}' if back.source_port is not None else ''}"
        if c.is_translated
        else ""
    )
    return f"{c.protocol} {far} {c.state}{nat}".rstrip()
