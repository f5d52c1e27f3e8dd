"""What differs between two snapshots, in words.

Things are matched as the kernel tells them apart: an interface by its index (so a rename is one change), a route by
table, destination and metric, a connection by its first direction. Counters, conntrack's timeouts and the numbers of
rules that only moved up or down are no changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, Literal

from netlab.kernel.describe import describe, flow_words, peer_words, socket_words, visible_routes
from netlab.kernel.values import Flow, Interface, NextHop, Peer

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from netlab.kernel.values import FirewallRule, HostState, Snapshot

__all__ = ["Change", "Difference", "describe", "difference"]

Kind = Literal["added", "removed", "changed"]
What = Literal[
    "host",
    "interface",
    "address",
    "route",
    "policy",
    "neighbour",
    "fdb",
    "socket",
    "rule",
    "element",
    "connection",
    "sysctl",
]
Fields = tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that appeared, vanished or changed in a host.

    ``name`` is its identity inside the host, ``interface`` the interface it belongs to, ``text`` the sentence without
    the host, and ``fields`` each changed field as (field, old, new); str() is the sentence with the host.
    """

    kind: Kind
    host: str
    what: What
    name: str
    text: str
    interface: str | None = None
    fields: Fields = ()

    def __str__(self) -> str:
        """Return the sentence, with the host in front."""
        return f"{self.host}: {self.text}"


@dataclass(frozen=True, slots=True)
class Difference:
    """The changes between two snapshots; false if there are none, and one line a change as text."""

    changes: tuple[Change, ...] = ()

    def __iter__(self) -> Iterator[Change]:
        """Return the changes one by one: host by host, links first."""
        return iter(self.changes)

    def __len__(self) -> int:
        """Return how many changes there are."""
        return len(self.changes)

    def __str__(self) -> str:
        """Return one line a change."""
        return "\n".join(str(change) for change in self.changes)


def difference(old: Snapshot, new: Snapshot) -> Difference:
    """Compare two snapshots; a host that is there in one of them only is one change, whatever it contains."""
    before = {host.name: host for host in old.hosts}
    after = {host.name: host for host in new.hosts}
    changes = [Change("removed", name, "host", name, "the host vanished") for name in before if name not in after]
    for name, host in after.items():
        if name not in before:
            changes.append(Change("added", name, "host", name, "the host appeared"))
        elif before[name] != host:
            changes += _compare_hosts(before[name], host)
    return Difference(tuple(changes))


def _compare_hosts(old: HostState, new: HostState) -> list[Change]:
    """Return what differs in one host; of another inode, it was removed and made again under its old name."""
    changes = []
    if old.inode != new.inode:
        fields = (("inode", str(old.inode), str(new.inode)),)
        changes.append(Change("changed", new.name, "host", new.name, "the host was made anew", None, fields))
    for noun in _NOUNS:
        if noun.items(old) != noun.items(new):
            changes += noun.compare(old, new)
    return changes + (_compare_rules(old, new) if old.rules != new.rules else [])


@dataclass(frozen=True, slots=True)
class _Sysctl:
    name: str
    value: str


class _Names:
    """The interfaces of one host at one time, to recognise them by index where values refer to them by name."""

    def __init__(self, host: HostState) -> None:
        self.indexes = {interface.name: interface.index for interface in host.interfaces}

    def index(self, name: str | None) -> Hashable:
        """Return the index of an interface, or the name itself where none has it."""
        return None if name is None else self.indexes.get(name, name)

    def facts(self, item: Any, compared: Iterable[str]) -> dict[str, Hashable]:
        """Return what is compared of a thing, in a form in which the rename of an interface makes no difference."""
        found: dict[str, Hashable] = {}
        for key in compared:
            value = getattr(item, key)
            if isinstance(value, Peer):
                found[key] = (value.host, value.index)
            elif key == "hops":
                found[key] = tuple((hop.via, self.index(hop.interface), hop.weight) for hop in value)
            else:
                found[key] = self.index(value) if key == "master" else value
        return found | dict(item.details) if isinstance(item, Interface) else found


@dataclass(frozen=True, slots=True)
class _Noun:
    """How one kind of thing is found, told apart, compared and named."""

    what: What
    items: Callable[[HostState], tuple[Any, ...]]
    key: Callable[[Any, _Names], Hashable]
    name: Callable[[Any], str]
    subject: str
    compared: dict[str, str]  # attribute: its word in a sentence

    def compare(self, old: HostState, new: HostState) -> list[Change]:
        """Return the changes of this kind between two states of a host."""
        groups: dict[Hashable, tuple[list[Any], list[Any]]] = {}
        for side, host in enumerate((old, new)):
            names = _Names(host)
            for item in self.items(host):
                group = groups.setdefault(self.key(item, names), ([], []))
                group[side].append((item, names.facts(item, self.compared)))
        changes: list[Change] = []
        for before, after in groups.values():
            gone, come = _unmatched(before, after)
            if len(gone) == len(come) == 1:
                changes.append(self.changed(new.name, gone[0], come[0]))
            else:
                changes += [self.change("removed", new.name, item, self.say(item, "vanished")) for item, _ in gone]
                changes += [self.change("added", new.name, item, self.say(item, "appeared")) for item, _ in come]
        return changes

    def change(self, kind: Kind, host: str, item: Any, text: str) -> Change:
        """Return a change without fields."""
        interface = item.name if isinstance(item, Interface) else getattr(item, "interface", None)
        return Change(kind, host, self.what, self.name(item), text, interface)

    def say(self, item: Any, verb: str = "") -> str:
        """Return a thing as the subject of a sentence, with a verb and where it is."""
        preposition = "from" if verb == "vanished" else "on"
        where = f"{preposition} {item.interface}" if self.what in {"address", "neighbour", "fdb"} else ""
        return " ".join(filter(None, (self.subject.format(name=self.name(item), item=item), verb, where)))

    def changed(self, host: str, old: tuple[Any, dict[str, Any]], new: tuple[Any, dict[str, Any]]) -> Change:
        """Return the one change between a thing and what became of it."""
        (was, before), (now, after) = old, new
        keys = [key for key in before | after if before.get(key) != after.get(key)]
        fields = tuple((key, _field(was, key), _field(now, key)) for key in keys)
        spoken, sentences = self.special(was, now, set(keys))
        subject = self.say(now)
        sentences += [
            _from_to(self.compared.get(key, key), subject, *pair) for key, *pair in fields if key not in spoken
        ]
        return replace(self.change("changed", host, now, "; ".join(sentences)), fields=fields)

    def special(self, was: Any, now: Any, keys: set[str]) -> tuple[set[str], list[str]]:
        """Return the fields that have sentences of their own, and those sentences."""
        if self.what == "route" and "hops" in keys:
            return {"hops"}, [f"route {was} became {now}"]
        if self.what != "interface":
            return set(), []
        sentences = [f"{was.name} was renamed to {now.name}"] if "name" in keys else []
        if "up" in keys:
            sentences.append(f"{now.name} went {'up' if now.up else 'down'}")
        elif "carrier" in keys:
            sentences.append(f"{now.name} {'got a' if now.carrier else 'lost its'} carrier")
        # Carrier and state follow from up, and state from carrier.
        follows = {"carrier", "state"} if keys & {"up", "carrier"} else set()
        return {"name", "up"} | follows, sentences


def _unmatched(before: list[Any], after: list[Any]) -> tuple[list[Any], list[Any]]:
    """Take away the pairs that are equal in what is compared."""
    gone, come = [], list(after)
    for item in before:
        twin = next((other for other in come if other[1] == item[1]), None)
        if twin is None:
            gone.append(item)
        else:
            come.remove(twin)
    return gone, come


def _field(item: Any, key: str) -> str:
    """Return one compared field as text; empty for nothing."""
    value = getattr(item, key) if hasattr(item, key) else item.detail(key)
    if isinstance(value, Peer):
        return peer_words(value)
    if isinstance(value, Flow):
        return flow_words(value)
    if isinstance(value, tuple):
        return " ".join(f"via {hop.via or hop.interface}" if isinstance(hop, NextHop) else hop for hop in value)
    return "" if value is None else str(value)


def _from_to(what: str, subject: str, old: str, new: str) -> str:
    return f"{what} of {subject} changed from {old or 'nothing'} to {new or 'nothing'}"


def _compare_rules(old: HostState, new: HostState) -> list[Change]:
    """Compare rules chain by chain and in order, since order decides: one that moved vanished and appeared."""
    changes: list[Change] = []
    before, after = _chains(old), _chains(new)
    for key in before | after:
        first, second = before.get(key, []), after.get(key, [])
        lines = [[(rule.text, rule.policy) for rule in rules] for rules in (first, second)]
        for tag, a, b, c, d in SequenceMatcher(None, lines[0], lines[1], autojunk=False).get_opcodes():
            gone, come = (first[a:b], second[c:d]) if tag != "equal" else ([], [])
            if len(gone) == len(come) == 1 and not gone[0].text and not come[0].text:
                changes.append(_policy_changed(new.name, gone[0], come[0]))
            else:
                changes += [_rule_change("removed", new.name, rule) for rule in gone]
                changes += [_rule_change("added", new.name, rule) for rule in come]
    return changes


def _chains(host: HostState) -> dict[tuple[str, ...], list[FirewallRule]]:
    found: dict[tuple[str, ...], list[FirewallRule]] = {}
    for rule in host.rules:
        found.setdefault((rule.tool, rule.family, rule.table, rule.chain), []).append(rule)
    return found


def _rule_place(rule: FirewallRule) -> str:
    return f"{rule.tool} {rule.family + ' ' if rule.tool == 'nft' else ''}{rule.table} {rule.chain}"


def _rule_change(kind: Kind, host: str, rule: FirewallRule) -> Change:
    verb = "appeared" if kind == "added" else "vanished"
    if rule.text:
        text = f"rule {rule.number} of {_rule_place(rule)} {verb}: {rule.text}"
    else:
        text = f"the chain {_rule_place(rule)} {verb}" + (f" with policy {rule.policy}" if rule.policy else "")
    return Change(kind, host, "rule", f"{_rule_place(rule)} {rule.text}".strip(), text)


def _policy_changed(host: str, old: FirewallRule, new: FirewallRule) -> Change:
    pair = (old.policy or "", new.policy or "")
    text = _from_to("policy", f"the chain {_rule_place(new)}", *pair)
    return Change("changed", host, "rule", _rule_place(new), text, None, (("policy", *pair),))


_NOUNS = (
    _Noun(
        "interface",
        lambda host: host.interfaces,
        lambda interface, _: interface.index,
        lambda interface: str(interface.name),
        "{name}",
        {"name": "name", "kind": "kind", "up": "up", "carrier": "carrier", "state": "state", "mtu": "MTU", "mac": "MAC"}
        | {"master": "master", "peer": "peer", "alias": "alias", "qdisc": "queueing discipline"},
    ),
    _Noun(
        "address",
        lambda host: host.addresses,
        lambda address, names: (names.index(address.interface), address.address),
        lambda address: str(address.address),
        "the address {name}",
        {"scope": "scope", "flags": "flags"},
    ),
    _Noun(
        "route",
        visible_routes,
        lambda route, _: (route.table, route.destination, route.metric),
        str,
        "route {name}",
        {"hops": "way", "type": "type", "protocol": "protocol", "scope": "scope", "source": "source", "mtu": "MTU"},
    ),
    _Noun(
        "policy",
        lambda host: host.policy,
        lambda rule, _: rule,
        lambda rule: f"{rule.priority}: {rule.text}",
        "policy rule {name}",
        {},
    ),
    _Noun(
        "neighbour",
        lambda host: host.neighbours,
        lambda neighbour, names: (names.index(neighbour.interface), neighbour.address, neighbour.proxy),
        lambda neighbour: str(neighbour.address),
        "neighbour {name}",
        {"mac": "MAC", "state": "state"},
    ),
    _Noun(
        "fdb",
        lambda host: host.fdb,
        lambda entry, names: (names.index(entry.interface), entry.mac, entry.vlan),
        lambda entry: str(entry.mac),
        "FDB entry {name}",
        {"destination": "destination", "master": "master", "permanent": "permanence"},
    ),
    _Noun(
        "socket",
        lambda host: host.sockets,
        lambda socket, _: (socket.protocol, socket.local, socket.local_port, socket.remote, socket.remote_port),
        socket_words,
        "socket {name} ({item.state})",
        {"state": "state", "process": "process", "pid": "process id"},
    ),
    _Noun(
        "element",
        lambda host: host.elements,
        lambda element, _: (element.family, element.table, element.name, element.key),
        lambda element: f"{element.key} of nft {element.family} {element.table} {element.name}",
        "element {name}",
        {"value": "value"},
    ),
    _Noun(
        "connection",
        lambda host: host.connections,
        lambda connection, _: (connection.protocol, connection.original),
        lambda connection: f"{connection.protocol} {flow_words(connection.original)}",
        "connection {name}",
        {"reply": "reply", "state": "state", "mark": "mark"},
    ),
    _Noun(
        "sysctl",
        lambda host: tuple(_Sysctl(*pair) for pair in host.sysctls),
        lambda sysctl, _: sysctl.name,
        lambda sysctl: str(sysctl.name),
        "sysctl {name}",
        {"value": "value"},
    ),
)
