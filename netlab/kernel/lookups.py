"""Ask the kernel about one packet: which route it takes, which conntrack entry it belongs to."""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyroute2.netlink.nfnetlink.nfctsocket import nfct_msg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from netlab.errors import KernelError
from netlab.kernel import links, nfnetlink as nf, read
from netlab.kernel.headers import endpoint
from netlab.kernel.netlink import NLMSG_ERROR, Query, walk
from netlab.kernel.read_sockets import to_connection

if TYPE_CHECKING:
    import socket as _socket

    from netlab.kernel.headers import Header
    from netlab.kernel.netlink import NetlinkSocket
    from netlab.kernel.values import Connection, Route

#: RTM_F_FIB_MATCH (linux/rtnetlink.h): answer with the line of the table that matched.
_FIB_MATCH = 0x2000
_CT_GET = nf.SUBSYS_CTNETLINK << 8 | 1
_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58}
_ECHO = {"icmp": (8, 0), "icmpv6": (128, 129)}


@dataclass(frozen=True, slots=True)
class RouteAnswer:
    """The line of the routing table that a packet takes, or why there is none: ``error`` is 0, or an errno."""

    command: str
    route: Route | None
    error: int = 0

    @property
    def reason(self) -> str:
        """Return the errno's name, or nothing."""
        return errno.errorcode.get(self.error, str(self.error)) if self.error else ""


def find_route(
    socket: NetlinkSocket, header: Header, names: dict[int, str], *, iif: int = 0, mark: int = 0
) -> RouteAnswer:
    """Return what ``ip route get fibmatch`` answers for a packet that comes in by an interface, or is our own.

    ``names`` leads from an interface's index to its name; ``iif`` is the index, 0 for a packet of this host's own.
    """
    words = ["ip route get fibmatch", str(header.destination), "from", str(header.source)]
    words += ["iif", names.get(iif, str(iif))] if iif else []
    words += ["mark", hex(mark)] if mark else []
    message = rtmsg()
    bits = header.destination.max_prefixlen
    message["family"] = links.AF_INET if bits == 32 else links.AF_INET6
    message["dst_len"], message["src_len"], message["flags"] = bits, bits, _FIB_MATCH
    message["attrs"] = [("RTA_DST", str(header.destination)), ("RTA_SRC", str(header.source))]
    message["attrs"] += [("RTA_IIF", iif)] if iif else []
    message["attrs"] += [("RTA_MARK", mark)] if mark else []
    if header.source_port is not None and header.protocol in _PROTOCOLS:
        message["attrs"] += [("RTA_IP_PROTO", _PROTOCOLS[header.protocol])]
        message["attrs"] += [("RTA_SPORT", header.source_port), ("RTA_DPORT", header.destination_port)]
    command = " ".join(words)
    try:
        answer = socket.get(Query(command, links.RTM_GETROUTE, message, flags=0))
    except KernelError as error:
        return RouteAnswer(command, None, error.errno or errno.EIO)
    return RouteAnswer(command, read.to_route(answer, names))


def find_connection(sock: _socket.socket, header: Header, *, identifier: int = 0) -> Connection | None:
    """Return the conntrack entry with this packet as its first direction, or None (``conntrack -G``).

    ``identifier`` is that of an ICMP echo. The socket is a plain netfilter one of the host.
    """
    if header.protocol not in _PROTOCOLS or (header.source_port is None and header.protocol not in _ECHO):
        return None  # a later fragment has no ports
    family = links.AF_INET if header.source.version == 4 else links.AF_INET6
    first = 1 if family == links.AF_INET else 3
    addresses = nf.nested(
        1, nf.attribute(first, header.source.packed), nf.attribute(first + 1, header.destination.packed)
    )
    number = _PROTOCOLS[header.protocol]
    parts = [nf.attribute(1, bytes([number]))]
    if header.source_port is not None and header.destination_port is not None:
        parts += [nf.attribute(2, struct.pack(">H", header.source_port))]
        parts += [nf.attribute(3, struct.pack(">H", header.destination_port))]
    else:
        kinds = (4, 5, 6) if number == 1 else (7, 8, 9)
        kind = _ECHO[header.protocol][0]
        values = (struct.pack(">H", identifier), bytes([kind]), b"\0")
        parts += [nf.attribute(key, value) for key, value in zip(kinds, values, strict=True)]
    sock.send(nf.message(_CT_GET, family, nf.nested(1, addresses, nf.nested(2, *parts)), flags=0))
    data = sock.recv(1 << 16)
    for kind, _, _, start in walk(data):
        if kind == NLMSG_ERROR:
            return None
        message = nfct_msg(data, offset=start)
        message.decode()
        return to_connection(message)
    return None


def describe_connection(found: Connection) -> str:
    """Return a conntrack entry in words: the way there, and the way of the answers."""
    ways = [
        f"{endpoint(flow.source, flow.source_port)} → {endpoint(flow.destination, flow.destination_port)}"
        for flow in (found.original, found.reply)
    ]
    name = f"{found.protocol} {found.state}".rstrip()
    mark = f" mark {found.mark:#x}" if found.mark else ""
    return f"{name} {ways[0]}, answers {ways[1]}{mark}"
