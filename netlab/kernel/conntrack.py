"""Find tracked UDP connections, and make the kernel forget them (ctnetlink; linux/netfilter/nfnetlink_conntrack.h)."""

from __future__ import annotations

import errno
import os
import socket as _socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netlab.errors import KernelError
from netlab.kernel import nfnetlink as nf
from netlab.kernel.netlink import HEADER, NLM_F_ACK, NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR, length, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

NETLINK_NETFILTER = 12
_GET, _DELETE = (nf.SUBSYS_CTNETLINK << 8 | kind for kind in (1, 2))
_TUPLE_ORIG, _TUPLE_REPLY, _TUPLE_IP, _TUPLE_PROTO = 1, 2, 1, 2
_PROTO_NUMBER, _PROTO_SOURCE, _PROTO_DESTINATION = 1, 2, 3
#: Source and destination among the attributes of CTA_TUPLE_IP, by address family.
_ADDRESSES = {_socket.AF_INET: (1, 2), _socket.AF_INET6: (3, 4)}
_ERROR = struct.Struct("=i")


@dataclass(frozen=True, slots=True)
class Entry:
    """A tracked UDP connection: (address, port) of who asked whom, and of who answers; ``key`` names it to the kernel.

    Addresses are texts in their canonical spelling.
    """

    source: tuple[str, int]
    destination: tuple[str, int]
    answers: tuple[str, int]
    key: bytes


def udp_entries(sock: _socket.socket, family: _socket.AddressFamily) -> list[Entry]:
    """List the tracked UDP connections of a host, through a netfilter socket of it.

    Raises KernelError where the kernel does not track connections.
    """
    sock.send(nf.message(_GET, family, flags=NLM_F_DUMP))
    found: list[Entry] = []
    while True:
        data = sock.recv(1 << 18)
        for kind, _, _, start in walk(data):
            if kind == NLMSG_DONE:
                return found
            if kind == NLMSG_ERROR:
                raise _refusal("conntrack -L -p udp", data, start)
            found += _read(data, start, family)


def _read(data: bytes, start: int, family: _socket.AddressFamily) -> Iterator[Entry]:
    values = nf.values(data, start + nf.BODY, start + length(data, start))
    asked, protocol = _ends(values[_TUPLE_ORIG], family)
    if protocol == _socket.IPPROTO_UDP:
        answered, _ = _ends(values[_TUPLE_REPLY], family)
        yield Entry(asked[0], asked[1], answered[0], values[_TUPLE_ORIG])


def _ends(value: bytes, family: _socket.AddressFamily) -> tuple[tuple[tuple[str, int], tuple[str, int]], int]:
    parts = dict(nf.each(value))
    addresses, ports = dict(nf.each(parts[_TUPLE_IP])), dict(nf.each(parts[_TUPLE_PROTO]))
    source, destination = (_socket.inet_ntop(family, addresses[key]) for key in _ADDRESSES[family])
    first, second = (nf.big(ports.get(key, b"")) for key in (_PROTO_SOURCE, _PROTO_DESTINATION))
    return ((source, first), (destination, second)), nf.big(ports[_PROTO_NUMBER])


def forget(sock: _socket.socket, family: _socket.AddressFamily, entry: Entry) -> bool:
    """Delete one entry; return false if it was gone already."""
    sock.send(nf.message(_DELETE, family, nf.attribute(_TUPLE_ORIG | nf.NLA_F_NESTED, entry.key), flags=NLM_F_ACK))
    data = sock.recv(1 << 16)
    (code,) = _ERROR.unpack_from(data, HEADER.size)
    if code and code != -errno.ENOENT:
        raise _refusal("conntrack -D", data, 0)
    return not code


def _refusal(command: str, data: bytes, start: int) -> KernelError:
    (code,) = _ERROR.unpack_from(data, start + HEADER.size)
    return KernelError(command, -code, os.strerror(-code))
