"""Read one network namespace through its route socket: interfaces, addresses, routes, neighbours, forwarding tables."""

from __future__ import annotations

import ipaddress
import struct
from typing import TYPE_CHECKING, Any

from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from netlab.kernel import links
from netlab.kernel.values import (
    Address,
    Counters,
    FdbEntry,
    Interface,
    Neighbour,
    NextHop,
    Peer,
    PolicyRule,
    Route,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from netlab.kernel.netlink import NetlinkSocket

    #: From (nsid or None for the same namespace) to a host's name, or None outside of the lab.
    FindHost = Callable[[int | None], str | None]

IFF_LOWER_UP, IFF_LOOPBACK = 0x10000, 0x8
RT_TABLES = {253: "default", 254: "main", 255: "local"}
RT_PROTOCOLS = {0: "unspec", 1: "redirect", 2: "kernel", 3: "boot", 4: "static", 9: "ra", 12: "bird", 16: "dhcp", 186: "bgp"}
RT_SCOPES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}
RT_TYPES = {number: name for name, number in links.RTN_TYPES.items()} | {3: "broadcast", 5: "multicast"}
NUD_STATES = {1: "INCOMPLETE", 2: "REACHABLE", 4: "STALE", 8: "DELAY", 16: "PROBE", 32: "FAILED", 64: "NOARP", 128: "PERMANENT"}
PORT_STATES = {0: "disabled", 1: "listening", 2: "learning", 3: "forwarding", 4: "blocking"}
ADDRESS_FLAGS = {0x01: "secondary", 0x02: "nodad", 0x08: "dadfailed", 0x20: "deprecated", 0x40: "tentative", 0x80: "permanent"}
_LOCAL_TABLE = 255
#: Numbers of the IPv4 settings that the kernel sends with each interface (enum IPV4_DEVCONF_* in linux/ip.h, less one).
_DEVCONF = {"proxy_arp": 2, "rp_filter": 7}


def read_interfaces(socket: NetlinkSocket, find_host: FindHost) -> tuple[Interface, ...]:
    """Read all interfaces with their state, kind, peer and counters."""
    found = socket.dump("ip link", links.RTM_GETLINK, ifinfmsg())
    names = {message["index"]: message.get_attr("IFLA_IFNAME") for message in found}
    return tuple(_interface(message, names, find_host) for message in found)


def _interface(message: Any, names: dict[int, str], find_host: FindHost) -> Interface:
    flags = message["flags"]
    attributes = dict(message["attrs"])
    info = attributes.get("IFLA_LINKINFO")
    kind = (info.get_attr("IFLA_INFO_KIND") if info else None) or ("loopback" if flags & IFF_LOOPBACK else "")
    name, master = names[message["index"]], attributes.get("IFLA_MASTER")
    return Interface(
        index=message["index"],
        name=name,
        kind=kind,
        up=bool(flags & links.IFF_UP),
        carrier=bool(flags & IFF_LOWER_UP),
        state=str(attributes.get("IFLA_OPERSTATE", "UNKNOWN")),
        mtu=attributes.get("IFLA_MTU", 0),
        mac=attributes.get("IFLA_ADDRESS", ""),
        master=names.get(master, str(master)) if master else None,
        peer=_peer(attributes, names, find_host),
        alias=attributes.get("IFLA_IFALIAS", ""),
        qdisc=attributes.get("IFLA_QDISC", ""),
        details=tuple(_details(kind, info, attributes, names)),
        counters=_counters(attributes.get("IFLA_STATS64")),
    )


def _peer(attributes: dict[str, Any], names: dict[int, str], find_host: FindHost) -> Peer | None:
    index = attributes.get("IFLA_LINK")
    if not index:
        return None
    nsid = attributes.get("IFLA_LINK_NETNSID")
    # The name of an interface elsewhere is filled in once every namespace has been read.
    return Peer(find_host(nsid), names.get(index, "") if nsid is None else "", index)


def _details(kind: str, info: Any, attributes: dict[str, Any], names: dict[int, str]) -> list[tuple[str, str]]:
    data = info.get_attr("IFLA_INFO_DATA") if info else None
    found: list[tuple[str, str]] = []
    if data and kind == "vxlan":
        values = dict(data["attrs"])
        for key, name in (("id", "ID"), ("local", "LOCAL"), ("remote", "GROUP"), ("local", "LOCAL6"), ("remote", "GROUP6")):
            if (value := values.get(f"IFLA_VXLAN_{name}")) is not None:
                found.append((key, str(value)))
        found.append(("dstport", str(values.get("IFLA_VXLAN_PORT", ""))))
        if values.get("IFLA_VXLAN_LINK"):
            found.append(("dev", names.get(values["IFLA_VXLAN_LINK"], "?")))
        found.append(("learning", "on" if values.get("IFLA_VXLAN_LEARNING") else "off"))
    elif data and kind == "macvlan":
        found.append(("mode", str(data.get_attr("IFLA_MACVLAN_MODE"))))
    if info and info.get_attr("IFLA_INFO_SLAVE_KIND") == "bridge":
        port = dict(info.get_attr("IFLA_INFO_SLAVE_DATA")["attrs"])
        found.append(("port state", PORT_STATES.get(port.get("IFLA_BRPORT_STATE"), "?")))
        found.append(("hairpin", "on" if port.get("IFLA_BRPORT_MODE") else "off"))
    family = attributes.get("IFLA_AF_SPEC")
    inet = family.get_attr("AF_INET") if family else None
    if inet:
        settings = dict(inet) if isinstance(inet, dict) else {}
        for key in _DEVCONF:
            if key in settings:
                found.append((key, str(settings[key])))
    return found


def _counters(stats: Any) -> Counters:
    if not stats:
        return Counters()
    return Counters(**{name: stats[name] for name in Counters.__slots__})


def read_addresses(socket: NetlinkSocket, names: dict[int, str]) -> tuple[Address, ...]:
    """Read all addresses; ``names`` leads from an interface's index to its name."""
    found = []
    for message in socket.dump("ip addr", links.RTM_GETADDR, ifaddrmsg()):
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

    found = []
    for family in (links.AF_INET, links.AF_INET6):
        query = rtmsg()
        query["family"] = family
        found += [_route(message, names) for message in socket.dump("ip route", links.RTM_GETROUTE, query, wanted)]
    return tuple(found)


def _route(message: Any, names: dict[int, str]) -> Route:
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
    found = []
    for family in (links.AF_INET, links.AF_INET6):
        query = fibmsg()
        query["family"] = family
        for message in socket.dump("ip rule", links.RTM_GETRULE, query):
            attributes = dict(message["attrs"])
            table = attributes.get("FRA_TABLE", message["table"])
            name = RT_TABLES.get(table, str(table))
            source, target = attributes.get("FRA_SRC"), attributes.get("FRA_DST")
            words = [f"from {source}/{message['src_len']}" if source else "from all"]
            words += [f"to {target}/{message['dst_len']}"] if target else []
            words += [f"fwmark {attributes['FRA_FWMARK']:#x}"] if attributes.get("FRA_FWMARK") else []
            words += [f"iif {attributes['FRA_IIFNAME']}"] if attributes.get("FRA_IIFNAME") else []
            words.append(f"lookup {name}")
            found.append(PolicyRule(attributes.get("FRA_PRIORITY", 0), 4 if family == links.AF_INET else 6, name, " ".join(words)))
    return tuple(found)


def read_neighbours(socket: NetlinkSocket, names: dict[int, str]) -> tuple[Neighbour, ...]:
    """Read the neighbour tables of IPv4 and IPv6, without the multicast and loopback entries that ``ip neigh`` hides."""
    found = []
    for proxy in (False, True):
        for family in (links.AF_INET, links.AF_INET6):
            query = ndmsg()
            query["family"], query["flags"] = family, links.NTF_PROXY if proxy else 0
            for message in socket.dump("ip neigh", links.RTM_GETNEIGH, query):
                if message["state"] == links.NUD_NOARP:
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
        return not (flags & links.NTF_SELF and state == links.NUD_PERMANENT and data.find(b"\x33\x33", body, body + 32) >= 0)

    query = ndmsg()
    query["family"] = links.AF_BRIDGE
    found = []
    for message in socket.dump("bridge fdb", links.RTM_GETNEIGH, query, wanted):
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
