"""The VXLAN tunnels of a lab, drawn where their packets travel."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from netlab.view import words
from netlab.view.nouns import Cable, End, Tube

if TYPE_CHECKING:
    from netlab.kernel.values import Snapshot


def tunnels(snapshot: Snapshot, cables: tuple[Cable, ...]) -> tuple[tuple[Cable, ...], dict[str, tuple[Tube, ...]]]:
    """Return the lines of all VXLAN tunnels, and the tubes by the host through which they pass.

    Where the hosts of a tunnel share a switch, the tunnel is drawn inside of it, since that is how its packets
    travel. Elsewhere each host is joined to the one before it.
    """
    lines: list[Cable] = []
    tubes: dict[str, tuple[Tube, ...]] = {}
    for number, ends in _members(snapshot).items():
        hub = _common_switch(snapshot, cables, [host for (host, _), _ in ends])
        if hub is None:
            lines += _chain(number, ends)
            continue
        lanes = tuple(f"{number}/{'/'.join(end)}" for end, _ in ends)
        for (end, up), lane in zip(ends, lanes, strict=True):
            sentence = f"{end[1]} of {end[0]} leads into VXLAN tunnel {number}, {'up' if up else 'down'}."
            lines.append(Cable("tunnel", end, (hub, lane), up, sentence))
        hosts = words.join([host for (host, _), _ in ends])
        link = snapshot[ends[0][0][0]].interface(ends[0][0][1])
        about = f"VNI {number} · UDP {link.detail('dstport') or '?'} · MTU {link.mtu}"
        sentence = f"VXLAN tunnel {number} between {hosts}: its packets ride inside UDP packets over {hub}."
        tubes[hub] = (*tubes.get(hub, ()), Tube(hub, number, about, lanes, sentence))
    return tuple(lines), tubes


_Members = list[tuple[End, bool]]


def _members(snapshot: Snapshot) -> dict[str, _Members]:
    found: dict[str, _Members] = {}
    for host in snapshot.hosts:
        for link in host.interfaces:
            if link.kind == "vxlan":
                end = (host.name, link.name)
                found.setdefault(link.detail("id") or "?", []).append((end, words.led(link) == "up"))
    return found


def _common_switch(snapshot: Snapshot, cables: tuple[Cable, ...], hosts: list[str]) -> str | None:
    """Return the host with a bridge to which all of these hosts have a cable."""
    if len(set(hosts)) < 2:
        return None
    near: dict[str, set[str]] = {}
    for cable in cables:
        near.setdefault(cable.a[0], set()).add(cable.b[0])
        near.setdefault(cable.b[0], set()).add(cable.a[0])
    for host in snapshot.hosts:
        has_bridge = any(link.kind == "bridge" for link in host.interfaces)
        if has_bridge and host.name not in hosts and set(hosts) <= near.get(host.name, set()):
            return host.name
    return None


def _chain(number: str, ends: _Members) -> list[Cable]:
    found = []
    for (a, a_up), (b, b_up) in pairwise(ends):
        if a[0] != b[0]:
            first, second = sorted((a, b))
            up = a_up and b_up
            found.append(Cable("tunnel", first, second, up, words.tunnel(number, first, second, up=up)))
    return found
