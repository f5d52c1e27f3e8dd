"""Read one network namespace through its route socket: addresses, routes, neighbours, forwarding tables."""

from __future__ import annotations

import functools
import ipaddress
import struct
from typing import TYPE_CHECKING, Any

from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from netlab.kernel import links
from netlab.kernel.netlink import HEADER, Query, length
from netlab.kernel.values import (
    Address,
    FdbEntry,
    Neighbour,
    NextHop,
    PolicyRule,
    Route,
)

if TYPE_CHECKING:
    from netlab.kernel.netlink import NetlinkSocket

RT_TABLES = {253: "default", 254: "main", 255: "local"}
RT_PROTOCOLS = {
    0: "unspec",
    1: "redirect",
    2: "kernel",
    3: "boot",
    4: "static",
    9: "ra",
    12: "bird",
    16: "dhcp",
    186: "bgp",
}
RT_SCOPES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}
RT_TYPES = {number: name for name, number in links.RTN_TYPES.items()} | {3: "broadcast", 5: "multicast"}
NUD_STATES = {
    1: "INCOMPLETE",
    2: "REACHABLE",
    4: "STALE",
    8: "DELAY",
    16: "PROBE",
    32: "FAILED",
    64: "NOARP",
    128: "PERMANENT",
}
ADDRESS_FLAGS = {
    0x01: "secondary",
    0x02: "nodad",
    0x08: "dadfailed",
    0x20: "deprecated",
    0x40: "tentative",
    0x80: "permanent",
}
_LOCAL_TABLE = 255


def _with(message: Any, **fields: int) -> Any:
    message.update(fields)
    return message


_ADDRESSES = Query("ip addr", links.RTM_GETADDR, ifaddrmsg())
# One question for each family: asked for all at once, the kernel stops after the IPv4 ones.
_ROUTES = tuple(
    Query("ip route", links.RTM_GETROUTE, _with(rtmsg(), family=family)) for family in (links.AF_INET, links.AF_INET6)
)
_RULES = Query("ip rule", links.RTM_GETRULE, fibmsg())
_NEIGHBOURS = Query("ip neigh", links.RTM_GETNEIGH, ndmsg())
_PROXIES = Query("ip neigh show proxy", links.RTM_GETNEIGH, _with(ndmsg(), flags=links.NTF_PROXY))
_FDB = Query("bridge fdb", links.RTM_GETNEIGH, _with(ndmsg(), family=links.AF_BRIDGE))


def read_addresses(socket: NetlinkSocket, names: dict[int, str]) -> tuple[Address, ...]:
    """Read all addresses; ``names`` leads from an interface's index to its name."""
    found = []
    for message in socket.dump(_ADDRESSES):
        attributes = dict(message["attrs"])
        # With a peer address IFA_ADDRESS is the peer's, and IFA_LOCAL our own.
        own = attributes.get("IFA_LOCAL") or attributes["IFA_ADDRESS"]
        bits = attributes.get("IFA_FLAGS", message["flags"])
        found.append(
            Address(
                interface=names.get(message["index"], str(message["index"])),
                address=ipaddress.ip_interface(f"{own}/{message['prefixlen']}"),
                scope=RT_SCOPES.get(message["scope"], str(message["scope"])),
                flags=tuple(word for bit, word in ADDRESS_FLAGS.items() if bits & bit),
            )
        )
    return tuple(found)


def read_routes(socket: NetlinkSocket, names: dict[int, str]) -> tuple[Route, ...]:
    """Read all routes but those of the local table, which the kernel keeps by itself for its own addresses."""

    def wanted(data: bytes, body: int) -> bool:
        return data[body + 4] != _LOCAL_TABLE

    return tuple(to_route(message, names) for query in _ROUTES for message in socket.dump(query, wanted))


def to_route(message: Any, names: dict[int, str]) -> Route:
    """Return a route's message as a value."""
    attributes = dict(message["attrs"])
    empty = "0.0.0.0" if message["family"] == links.AF_INET else "::"  # noqa: S104 - an address family's zero
    table = attributes.get("RTA_TABLE", message["table"])
    metrics = attributes.get("RTA_METRICS")
    source = attributes.get("RTA_PREFSRC")
    return Route(
        destination=ipaddress.ip_network(f"{attributes.get('RTA_DST', empty)}/{message['dst_len']}"),
        hops=_hops(attributes, names),
        type=RT_TYPES.get(message["type"], str(message["type"])),
        table=RT_TABLES.get(table, str(table)),
        protocol=RT_PROTOCOLS.get(message["proto"], str(message["proto"])),
        scope=RT_SCOPES.get(message["scope"], str(message["scope"])),
        source=ipaddress.ip_address(source) if source else None,
        metric=attributes.get("RTA_PRIORITY", 0),
        mtu=metrics.get_attr("RTAX_MTU") if metrics else None,
    )


def _hops(attributes: dict[str, Any], names: dict[int, str]) -> tuple[NextHop, ...]:
    several = attributes.get("RTA_MULTIPATH")
    if several:
        return tuple(_hop(dict(hop["attrs"]), hop["oif"], names, hop["hops"] + 1) for hop in several)
    if "RTA_GATEWAY" in attributes or "RTA_VIA" in attributes or "RTA_OIF" in attributes:
        return (_hop(attributes, attributes.get("RTA_OIF"), names, 1),)
    return ()


def _hop(attributes: dict[str, Any], index: int | None, names: dict[int, str], weight: int) -> NextHop:
    gateway = attributes.get("RTA_GATEWAY")
    if gateway is None and "RTA_VIA" in attributes:
        gateway = attributes["RTA_VIA"]["addr"]
    via = ipaddress.ip_address(gateway) if gateway else None
    return NextHop(via, names.get(index, str(index)) if index else None, weight)


def read_policy(socket: NetlinkSocket) -> tuple[PolicyRule, ...]:
    """Read the rules that choose a routing table."""
    found = (
        _policy(data[start + HEADER.size : start + length(data, start)]) for data, start in socket.dump_raw(_RULES)
    )
    return tuple(rule for rule in found if rule is not None)


@functools.lru_cache(maxsize=4096)
def _policy(body: bytes) -> PolicyRule | None:
    """Decode one rule; nearly all hosts have the same five."""
    message = fibmsg(HEADER.pack(HEADER.size + len(body), 0, 0, 0, 0) + body)
    message.decode()
    if message["family"] not in (links.AF_INET, links.AF_INET6):
        return None
    attributes = dict(message["attrs"])
    table = attributes.get("FRA_TABLE", message["table"])
    name = RT_TABLES.get(table, str(table))
    source, target = attributes.get("FRA_SRC"), attributes.get("FRA_DST")
    words = [f"from {source}/{message['src_len']}" if source else "from all"]
    words += [f"to {target}/{message['dst_len']}"] if target else []
    words += [f"fwmark {attributes['FRA_FWMARK']:#x}"] if attributes.get("FRA_FWMARK") else []
    words += [f"iif {attributes['FRA_IIFNAME']}"] if attributes.get("FRA_IIFNAME") else []
    words.append(f"lookup {name}")
    version = 4 if message["family"] == links.AF_INET else 6
    return PolicyRule(attributes.get("FRA_PRIORITY", 0), version, name, " ".join(words))


def read_neighbours(socket: NetlinkSocket, names: dict[int, str]) -> tuple[Neighbour, ...]:
    """Read the neighbour tables of IPv4 and IPv6, without the multicast entries that ``ip neigh`` hides."""
    found = []
    for proxy in (False, True):
        for message in socket.dump(_PROXIES if proxy else _NEIGHBOURS):
            if message["state"] == links.NUD_NOARP or message["family"] not in (links.AF_INET, links.AF_INET6):
                continue
            attributes = dict(message["attrs"])
            found.append(
                Neighbour(
                    interface=names.get(message["ifindex"], str(message["ifindex"])),
                    address=ipaddress.ip_address(attributes["NDA_DST"]),
                    mac=attributes.get("NDA_LLADDR", ""),
                    state=NUD_STATES.get(message["state"], "NONE"),
                    proxy=proxy,
                )
            )
    return tuple(found)


def read_fdb(socket: NetlinkSocket, names: dict[int, str]) -> tuple[FdbEntry, ...]:
    """Read the forwarding tables of bridges and VXLAN interfaces, without the multicast lines of plain interfaces."""

    def wanted(data: bytes, body: int) -> bool:
        # struct ndmsg: state at byte 8, flags at byte 10. A bare "self permanent" line is a multicast filter.
        state, flags = struct.unpack_from("=HB", data, body + 8)
        return not (
            flags & links.NTF_SELF and state == links.NUD_PERMANENT and data.find(b"\x33\x33", body, body + 32) >= 0
        )

    found = []
    for message in socket.dump(_FDB, wanted):
        attributes = dict(message["attrs"])
        mac, target, master = attributes.get("NDA_LLADDR", ""), attributes.get("NDA_DST"), attributes.get("NDA_MASTER")
        if _is_multicast_filter(mac, target, master):
            continue
        found.append(
            FdbEntry(
                interface=names.get(message["ifindex"], str(message["ifindex"])),
                mac=mac,
                destination=ipaddress.ip_address(target) if target else None,
                master=names.get(master, str(master)) if master else None,
                permanent=bool(message["state"] & (links.NUD_PERMANENT | links.NUD_NOARP)),
                vlan=attributes.get("NDA_VLAN"),
            )
        )
    return tuple(found)


def _is_multicast_filter(mac: str, target: object, master: object) -> bool:
    return target is None and master is None and bool(mac) and bool(int(mac[:2], 16) & 1)
