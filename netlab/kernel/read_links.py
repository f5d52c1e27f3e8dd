"""Read the interfaces of one network namespace.

A link has some fifty attributes, of which we want eleven. Decoding them all, with pyroute2, was two thirds of the
time of a large Snapshot; so the plain ones are taken out here, and pyroute2 decodes what a kind of interface adds.
"""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING, Any

from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from netlab.kernel import links
from netlab.kernel.netlink import HEADER, Query, length
from netlab.kernel.values import Counters, Interface, Peer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from netlab.kernel.netlink import NetlinkSocket

    #: From (nsid or None for the same namespace) to a host's name, or None outside of the lab.
    FindHost = Callable[[int | None], str | None]

LINKS = Query("ip link", links.RTM_GETLINK, ifinfmsg())
IFF_LOWER_UP, IFF_LOOPBACK = 0x10000, 0x8
#: Numbers of attributes in linux/if_link.h.
ADDRESS, IFNAME, MTU, LINK, QDISC, MASTER, OPERSTATE, LINKINFO = 1, 3, 4, 5, 6, 10, 16, 18
IFALIAS, STATS64, AF_SPEC, LINK_NETNSID = 20, 23, 26, 37
_AF_SPEC_INET, _IFLA_INET_CONF = 2, 1
OPERSTATES = ("UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP")
PORT_STATES = {0: "disabled", 1: "listening", 2: "learning", 3: "forwarding", 4: "blocking"}
MACVLAN_MODES = {number: name for name, number in links.MACVLAN_MODES.items()}
#: Settings that come with each interface, by their place in the array (IPV4_DEVCONF_* of linux/ip.h, less one).
_DEVCONF = {"proxy_arp": 2, "rp_filter": 7}
#: struct rtnl_link_stats64: rx_packets, tx_packets, rx_bytes, tx_bytes, rx_errors, tx_errors, rx_dropped, tx_dropped, …
_STATS = struct.Struct("=8Q")
_ATTRIBUTE = struct.Struct("=HH")
_INFO = struct.Struct("=BxHiII")
_TYPE_MASK = 0x3FFF  # the upper two bits say "nested" and "network byte order"


def attributes(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (type, start, end) of each attribute's value between two offsets (netlink(7))."""
    while start + _ATTRIBUTE.size <= end:
        size, kind = _ATTRIBUTE.unpack_from(data, start)
        if size < _ATTRIBUTE.size:
            return
        yield kind & _TYPE_MASK, start + _ATTRIBUTE.size, start + size
        start += (size + 3) & ~3


def read_interfaces(socket: NetlinkSocket, find_host: FindHost) -> tuple[Interface, ...]:
    """Read all interfaces with their state, kind, peer and counters."""
    found = []
    for data, start in socket.dump_raw(LINKS):
        _, _, index, flags, _ = _INFO.unpack_from(data, start + HEADER.size)
        body = start + HEADER.size + _INFO.size
        values = {kind: data[low:high] for kind, low, high in attributes(data, body, start + length(data, start))}
        found.append((index, flags, values))
    names = {index: _text(values[IFNAME]) for index, _, values in found}
    return tuple(_interface(index, flags, values, names, find_host) for index, flags, values in found)


def _interface(
    index: int, flags: int, values: dict[int, bytes], names: dict[int, str], find_host: FindHost
) -> Interface:
    kind, details = _describe(values[LINKINFO]) if LINKINFO in values else ("", ())
    master = _number(values.get(MASTER))
    if kind == "vxlan":
        details = tuple((key, names.get(int(value), "?") if key == "dev" else value) for key, value in details)
    return Interface(
        index=index,
        name=names[index],
        kind=kind or ("loopback" if flags & IFF_LOOPBACK else ""),
        up=bool(flags & links.IFF_UP),
        carrier=bool(flags & IFF_LOWER_UP),
        state=OPERSTATES[values[OPERSTATE][0]] if OPERSTATE in values else "UNKNOWN",
        mtu=_number(values.get(MTU)) or 0,
        mac=values.get(ADDRESS, b"").hex(":"),
        master=names.get(master, str(master)) if master else None,
        peer=_peer(values, names, find_host),
        alias=_text(values.get(IFALIAS, b"")),
        qdisc=_text(values.get(QDISC, b"")),
        details=details + _settings(values.get(AF_SPEC, b"")),
        counters=_counters(values.get(STATS64)),
    )


def _peer(values: dict[int, bytes], names: dict[int, str], find_host: FindHost) -> Peer | None:
    index = _number(values.get(LINK))
    if not index:
        return None
    nsid = struct.unpack("=i", values[LINK_NETNSID])[0] if LINK_NETNSID in values else None
    # The name of an interface elsewhere is filled in once every namespace has been read.
    return Peer(find_host(nsid), names.get(index, "") if nsid is None else "", index)


@functools.lru_cache(maxsize=4096)
def _describe(info: bytes) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return an interface's kind, and what only this kind and this kind of port have, from IFLA_LINKINFO."""
    body = _INFO.pack(0, 0, 0, 0, 0) + _ATTRIBUTE.pack(_ATTRIBUTE.size + len(info), LINKINFO) + info
    message = ifinfmsg(HEADER.pack(HEADER.size + len(body), links.RTM_GETLINK, 0, 0, 0) + body)
    message.decode()
    decoded = message.get_attr("IFLA_LINKINFO")
    kind = decoded.get_attr("IFLA_INFO_KIND") or ""
    data = decoded.get_attr("IFLA_INFO_DATA")
    found: list[tuple[str, str]] = []
    if data and kind == "vxlan":
        found += _describe_vxlan(dict(data["attrs"]))
    elif data and kind == "macvlan":
        mode = data.get_attr("IFLA_MACVLAN_MODE")
        found.append(("mode", MACVLAN_MODES.get(mode, str(mode))))
    elif data and kind == "bridge":
        found.append(("stp", "on" if data.get_attr("IFLA_BR_STP_STATE") else "off"))
    if decoded.get_attr("IFLA_INFO_SLAVE_KIND") == "bridge":
        port = dict(decoded.get_attr("IFLA_INFO_SLAVE_DATA")["attrs"])
        found.append(("port state", PORT_STATES.get(port.get("IFLA_BRPORT_STATE", -1), "?")))
        found.append(("hairpin", "on" if port.get("IFLA_BRPORT_MODE") else "off"))
    return kind, tuple(found)


def _describe_vxlan(values: dict[str, Any]) -> list[tuple[str, str]]:
    names = (
        ("id", "ID"),
        ("local", "LOCAL"),
        ("local", "LOCAL6"),
        ("remote", "GROUP"),
        ("remote", "GROUP6"),
        ("dev", "LINK"),
    )
    # A network may have the number 0, while an address or an interface of 0 is none.
    values = {name: value for name, value in values.items() if value or name == "IFLA_VXLAN_ID"}
    found = [(key, str(values[f"IFLA_VXLAN_{name}"])) for key, name in names if f"IFLA_VXLAN_{name}" in values]
    found.append(("dstport", str(values.get("IFLA_VXLAN_PORT", ""))))
    found.append(("learning", "on" if values.get("IFLA_VXLAN_LEARNING") else "off"))
    return found


@functools.lru_cache(maxsize=1024)
def _settings(spec: bytes) -> tuple[tuple[str, str], ...]:
    """Return the IPv4 settings of one interface that come with it, from IFLA_AF_SPEC."""
    for family, low, high in attributes(spec, 0, len(spec)):
        if family != _AF_SPEC_INET:
            continue
        for kind, start, end in attributes(spec, low, high):
            if kind == _IFLA_INET_CONF:
                numbers = struct.unpack_from(f"={(end - start) // 4}I", spec, start)
                return tuple((key, str(numbers[place])) for key, place in _DEVCONF.items() if place < len(numbers))
    return ()


def _counters(stats: bytes | None) -> Counters:
    if stats is None:
        return Counters()
    rx, tx, rx_bytes, tx_bytes, rx_errors, tx_errors, rx_dropped, tx_dropped = _STATS.unpack_from(stats)
    return Counters(rx, rx_bytes, rx_errors, rx_dropped, tx, tx_bytes, tx_errors, tx_dropped)


def _number(value: bytes | None) -> int | None:
    return None if value is None else int.from_bytes(value[:4], "little" if struct.pack("=H", 1)[0] else "big")


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")
