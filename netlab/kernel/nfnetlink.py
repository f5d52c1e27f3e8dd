"""Messages of the netfilter subsystems, byte by byte: what nftables and conntrack are asked (linux/netfilter/*.h)."""

from __future__ import annotations

import socket as _socket
import struct
from typing import TYPE_CHECKING

from netlab.kernel.netlink import HEADER, NLM_F_REQUEST

if TYPE_CHECKING:
    from collections.abc import Iterator

SUBSYS_CTNETLINK, SUBSYS_NFTABLES = 1, 10
NLA_F_NESTED, _TYPE_MASK = 0x8000, 0x3FFF
#: struct nfgenmsg: family, version, resource.
_GENERAL = struct.Struct("=BBH")
_ATTRIBUTE = struct.Struct("=HH")
BODY = HEADER.size + _GENERAL.size


def attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute, padded."""
    size = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(size, kind) + value + b"\0" * (-size % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """Return an attribute that holds others."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """Return an attribute with a name in it."""
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    """Return an attribute with a number of 32 bits, in the network's order as all of netfilter's are."""
    return attribute(kind, struct.pack(">I", value & 0xFFFFFFFF))


def message(kind: int, family: int, *attributes: bytes, flags: int = 0, resource: int = 0) -> bytes:
    """Return a request; ``kind`` is the subsystem shifted left by eight, or'ed with the kind of message."""
    body = _GENERAL.pack(family, 0, _socket.htons(resource)) + b"".join(attributes)
    return HEADER.pack(HEADER.size + len(body), kind, NLM_F_REQUEST | flags, 0, 0) + body


def values(data: bytes, start: int, end: int) -> dict[int, bytes]:
    """Return the attributes between two offsets by their number."""
    return dict(each(data, start, end))


def each(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield (number, value) of each attribute between two offsets."""
    stop = len(data) if end is None else end
    while start + _ATTRIBUTE.size <= stop:
        size, kind = _ATTRIBUTE.unpack_from(data, start)
        if size < _ATTRIBUTE.size:
            return
        yield kind & _TYPE_MASK, data[start + _ATTRIBUTE.size : start + size]
        start += (size + 3) & ~3


def word(value: bytes) -> str:
    """Return the name in an attribute."""
    return value.rstrip(b"\0").decode(errors="replace")


def big(value: bytes) -> int:
    """Return the number in an attribute, of any width."""
    return int.from_bytes(value, "big")
