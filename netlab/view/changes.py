"""What is marked in the picture when two Snapshots differ, and what is said about it.

Counters, learned MAC addresses, tracked connections and the ageing of neighbours happen all the time: they are shown,
but they are no news.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from netlab.kernel.difference import Change, Difference
    from netlab.kernel.values import Snapshot

Kind = Literal["added", "removed", "changed"]
_SIGNS = {"added": "+", "removed": "\N{MINUS SIGN}", "changed": "~"}
_SAID = 5
_SOURCE = re.compile(r" src \S+")
_LISTENS = re.compile(r"(\w+) \S*:(\d+)$")
_FAILED = {"FAILED"}
_GATES = {"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"}


@dataclass(frozen=True, slots=True)
class Mark:
    """A sign at one thing in the picture: its identity, what happened, and a few words."""

    id: str
    kind: Kind
    text: str

    def to_json(self) -> dict[str, str]:
        """Return it as the browser reads it."""
        return {"id": self.id, "kind": self.kind, "text": self.text}


def marks(difference: Difference, old: Snapshot, new: Snapshot) -> tuple[Mark, ...]:
    """Return one mark for each thing that changed, in the order of the changes."""
    found: dict[str, Mark] = {}
    for change in difference:
        mark = _mark(change, old, new)
        if mark is None:
            continue
        known = found.get(mark.id)
        # What appeared or vanished as a whole needs no second sign for what it brought along.
        if known is None:
            found[mark.id] = mark
        elif known.kind == "changed" and mark.kind == "changed" and mark.text not in known.text:
            found[mark.id] = replace(known, text=f"{known.text}, {mark.text}" if len(known.text) < 30 else known.text)
        elif known.kind == "changed":
            found[mark.id] = mark
    return tuple(found.values())


def news(difference: Difference) -> tuple[str, ...]:
    """Return the changes as sentences, a few at most."""
    lines = [f"{_SIGNS[change.kind]} {change}" for change in difference if is_news(change)]
    return tuple(lines if len(lines) <= _SAID else [*lines[: _SAID - 1], f"and {len(lines) - _SAID + 1} more changes"])


def is_news(change: Change) -> bool:
    """Tell whether a reader wants to hear of it."""
    if change.what in {"fdb", "connection"}:
        return False
    if change.what == "interface" and {field for field, _, _ in change.fields} == {"state"}:
        return False  # the kernel's word follows up and carrier, up to a second later
    if change.what == "neighbour":
        new = {value for field, _, value in change.fields if field == "state"}
        return change.kind != "changed" or bool(new & _FAILED) or any(field == "mac" for field, _, _ in change.fields)
    if change.what == "socket":
        return "(LISTEN)" in change.text or "(UNCONN)" in change.text
    if change.what == "route":
        return " local " not in f" {change.name} " and "ff00::/8" not in change.name and "fe80::" not in change.name
    return not (change.what == "address" and "fe80:" in change.name)


def _mark(change: Change, old: Snapshot, new: Snapshot) -> Mark | None:
    if not is_news(change):
        return None
    host = change.host
    if change.what == "host":
        return Mark(f"host:{host}", change.kind, change.kind)
    if change.what == "interface":
        where = old if change.kind == "removed" else new
        return Mark(_link(where, host, change.name), change.kind, _was(change))
    if change.what == "address":
        where = new if _has(new, host, change.interface) else old
        sign = _SIGNS[change.kind]
        address = change.name.rpartition(" ")[2]
        return Mark(_link(where, host, change.interface or ""), "changed", f"{sign} {address}")
    sign = _SIGNS[change.kind]
    places = {
        "route": (f"rt:{host}/main", f"{sign} {_short(change.name)}"),
        "neighbour": (f"nb:{host}/main", f"{sign} {_short(change.name)}"),
        "rule": (f"ipt:{host}", f"{sign} rule"),
        "element": (f"ipt:{host}", f"{sign} element"),
        "socket": (f"host:{host}", f"{sign} {_port(change)}"),
        "policy": (f"host:{host}", f"{sign} routing policy"),
        "sysctl": (f"sysctl:{host}/net.ipv4.ip_forward" if change.name in _GATES else f"host:{host}", _was(change)),
    }
    identity, text = places[change.what]
    return Mark(identity, "changed", text)


def _port(change: Change) -> str:
    """Return what a socket listens on, short enough for a sign on a pod."""
    found = _LISTENS.match(change.name)
    if found is None:
        return change.text
    return f":{found[2]}" + ("" if found[1].startswith("tcp") else f"/{found[1].rstrip('6')}")


def _was(change: Change) -> str:
    if change.kind != "changed":
        return change.kind
    words = {"True": "yes", "False": "no", "": "none"}
    for field, old, new in change.fields:
        if field == "up":
            return "was up, now down" if new in {"False", "no", "down"} else "was down, now up"
        if field == "carrier":
            return "lost its carrier" if new in {"False", "no"} else "got a carrier"
        if field in {"name", "value"}:
            return f"was {old}, now {new}"
    for field, old, new in change.fields[:1]:
        return f"{field} was {words.get(old, old)}, now {words.get(new, new)}"
    return "changed"


def _short(name: str) -> str:
    name = _SOURCE.sub("", name)
    return name if len(name) < 40 else name[:38] + "…"


def _has(snapshot: Snapshot, host: str, interface: str | None) -> bool:
    return host in snapshot and any(i.name == interface for i in snapshot[host].interfaces)


def _link(snapshot: Snapshot, host: str, name: str) -> str:
    kind = next((i.kind for i in snapshot[host].interfaces if i.name == name), "") if host in snapshot else ""
    return f"{'br' if kind == 'bridge' else 'if'}:{host}/{name}"
