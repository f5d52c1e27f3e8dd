"""What a packet says at one place: its addresses, ports and all else that may change on its way, taken apart.

Only what a trace compares is decoded, since it looks at thousands of packets, some of which the kernel has cut short.
What a person looks at is decoded by scapy (`Packet.layers`).
"""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from netlab.kernel.packets import ETHERNET
from netlab.kernel.values import IPAddress  # noqa: TC001 - reading JSON needs the types of the fields

PROTOCOL_NAMES = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}
VXLAN_PORTS = frozenset({4789, 8472})
#: ICMP types that carry the head of a packet which met with an error (RFC 792, RFC 4443).
_IP, _ARP, _VLAN_TAGS = frozenset({0x0800, 0x86DD}), 0x0806, frozenset({0x8100, 0x88A8})
_ARP_REPLY, _NEIGHBOUR_DISCOVERY, _NEIGHBOUR_ADVERTISEMENT = 2, frozenset({135, 136}), 136
#: Bytes of a neighbour advertisement with the option that names the MAC address, and of an ICMP error's own head.
_WITH_OPTION, _ERROR_HEAD = 32, 28
_IPV6_EXTENSIONS, _FRAGMENT_HEADER = frozenset({0, 43, 44, 60}), 44
ICMP_ERRORS, ICMPV6_ERRORS = frozenset({3, 4, 5, 11, 12}), frozenset({1, 2, 3, 4})


@dataclass(frozen=True, slots=True)
class Header:
    """The addresses of a packet at one place, and what else routers change.

    Ports are None for ICMP; ``length`` is that of the IP packet in bytes; a MAC address is empty and ``ttl`` 0 where
    the place does not show it; ``mark`` is the firewall mark, 0 where it was not seen.
    """

    source: IPAddress
    destination: IPAddress
    protocol: str
    source_port: int | None = None
    destination_port: int | None = None
    ttl: int = 0
    length: int = 0
    source_mac: str = ""
    destination_mac: str = ""
    mark: int = 0

    @property
    def flow(self) -> tuple[IPAddress, int | None, IPAddress, int | None]:
        """Return what NAT changes: source, source port, destination, destination port."""
        return self.source, self.source_port, self.destination, self.destination_port

    @property
    def from_text(self) -> str:
        """Return the source as ``10.0.0.1:80`` or ``[fd00::1]:80``."""
        return endpoint(self.source, self.source_port)

    @property
    def to_text(self) -> str:
        """Return the destination in the same way."""
        return endpoint(self.destination, self.destination_port)

    def __str__(self) -> str:
        """Return it as ``source → destination``."""
        return f"{self.from_text} → {self.to_text}"


@dataclass(frozen=True, slots=True)
class Outer:
    """The packet around a packet: a VXLAN tunnel's outer header (RFC 7348)."""

    header: Header
    vni: int
    ip_id: int = 0

    def __str__(self) -> str:
        """Return the tunnel's ends and its number."""
        return f"{self.header.source} → {self.header.destination} VNI {self.vni}"


@dataclass(frozen=True, slots=True)
class Decoded:
    """A packet taken apart as far as a trace needs it.

    ``seq``, ``ack``, ``flags`` are TCP's; ``icmp`` is (type, code) and ``identifier`` that of an echo; ``inner`` is
    the packet whose head an ICMP error carries; ``ip_id`` and ``fragment`` (offset in bytes) are IPv4's, or those of an
    IPv6 fragment header, ``dont_fragment`` IPv4's, ``label`` IPv6's flow label (RFC 6437); ``size`` counts the bytes of
    the payload, of a UDP datagram that is in fragments those of all.
    """

    header: Header
    payload: bytes = b""
    size: int = 0
    seq: int = 0
    ack: int = 0
    flags: str = ""
    icmp: tuple[int, int] | None = None
    identifier: int = 0
    mtu: int = 0
    inner: Decoded | None = None
    outer: Outer | None = None
    ip_id: int = 0
    fragment: int = 0
    more_fragments: bool = False
    dont_fragment: bool = False
    label: int = 0

    @property
    def train(self) -> tuple[IPAddress, IPAddress, str, int]:
        """Return what all fragments of one datagram have in common (RFC 791, RFC 8200)."""
        return self.header.source, self.header.destination, self.header.protocol, self.ip_id


@dataclass(frozen=True, slots=True)
class Question:
    """An ARP (RFC 826) or neighbour discovery (RFC 4861) message: who asks or answers, about which address."""

    kind: str
    target: IPAddress
    sender: IPAddress | None
    answer: bool
    mac: str = ""


def endpoint(address: IPAddress, port: int | None) -> str:
    """Return an address with its port, if it has one."""
    if port is None:
        return str(address)
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


@functools.lru_cache(maxsize=8192)
def decode_frame(data: bytes, link: int, vxlan: frozenset[int] = VXLAN_PORTS) -> Decoded | Question | None:
    """Take a captured frame apart; None for what is neither IP nor ARP, or cut short.

    A packet to one of the UDP ports ``vxlan`` gives the packet in the tunnel.
    """
    try:
        if link != ETHERNET:
            return _decode_ip(data, 0, ("", ""), vxlan)
        macs = data[6:12].hex(":"), data[:6].hex(":")
        kind, start = int.from_bytes(data[12:14], "big"), 14
        while kind in _VLAN_TAGS:
            kind, start = int.from_bytes(data[start + 2 : start + 4], "big"), start + 4
        if kind == _ARP:
            return _decode_arp(data[start:])
        return _decode_ip(data, start, macs, vxlan) if kind in _IP else None
    except (struct.error, IndexError, ValueError):
        return None


def decode_headers(network: bytes, transport: bytes) -> Decoded | None:
    """Take apart the first bytes of two headers, as the reports of rules carry them."""
    try:
        decoded = _decode_ip(
            network[:20] if network[:1] and network[0] >> 4 == 4 else network, 0, ("", ""), None, transport
        )
    except (struct.error, IndexError, ValueError):
        return None
    return decoded if isinstance(decoded, Decoded) else None


def _decode_arp(data: bytes) -> Question | None:
    """Decode ARP for IPv4 over Ethernet."""
    operation, sender_mac, sender, target = struct.unpack_from("!6xH6s4s6x4s", data)
    if data[:6] != b"\0\1\x08\0\6\4":
        return None
    answer = operation == _ARP_REPLY
    about = sender if answer else target
    return Question("ARP", IPv4Address(about), IPv4Address(sender), answer, sender_mac.hex(":") if answer else "")


def _decode_ip(
    data: bytes,
    start: int,
    macs: tuple[str, str],
    vxlan: frozenset[int] | None,
    transport: bytes | None = None,
) -> Decoded | Question | None:
    """Decode an IP packet; the bytes of its transport header come apart where they were kept apart."""
    base: dict[str, object]
    if data[start] >> 4 == 4:
        length, ip_id, bits, ttl, protocol, source, destination = struct.unpack_from("!2xHHHBB2x4s4s", data, start)
        base = {
            "ip_id": ip_id,
            "fragment": (bits & 0x1FFF) * 8,
            "more_fragments": bool(bits & 0x2000),
            "dont_fragment": bool(bits & 0x4000),
        }
        addresses: tuple[IPAddress, IPAddress] = (IPv4Address(source), IPv4Address(destination))
        body, end = start + (data[start] & 15) * 4, start + length
    else:
        first, payload_length, protocol, ttl, source, destination = struct.unpack_from("!IHBB16s16s", data, start)
        addresses = (IPv6Address(source), IPv6Address(destination))
        length, body = payload_length + 40, start + 40
        end = start + length
        base = {"label": first & 0xFFFFF}
        while transport is None and protocol in _IPV6_EXTENSIONS:
            if protocol == _FRAGMENT_HEADER:
                bits, ip_id = struct.unpack_from("!2xHI", data, body)
                base |= {"ip_id": ip_id, "fragment": bits & 0xFFF8, "more_fragments": bool(bits & 1)}
            size = 8 if protocol == _FRAGMENT_HEADER else data[body + 1] * 8 + 8
            protocol, body = data[body], body + size
    rest = transport if transport is not None else data[body:end]
    header = Header(*addresses, PROTOCOL_NAMES.get(protocol, str(protocol)), None, None, ttl, length, *macs)
    if base.get("fragment"):
        return Decoded(header, rest, len(rest), **base)  # type: ignore[arg-type]
    size = max(end - body, 0) if transport is None else max(length - (body - start), 0)
    return _decode_transport(header, rest, size, (base, vxlan))


def _decode_transport(
    header: Header, data: bytes, size: int, rest: tuple[dict[str, Any], frozenset[int] | None]
) -> Decoded | Question | None:
    """Decode what is inside an IP packet; ``size`` is how long that was before it was cut."""
    base, vxlan = rest
    if header.protocol == "tcp":
        source, destination, seq, ack, offset, bits = struct.unpack_from("!HHIIBB", data.ljust(14, b"\0"))
        flags = "".join(letter for bit, letter in enumerate("FSRPAU") if bits >> bit & 1)
        start = (offset >> 4) * 4
        header = replace(header, source_port=source, destination_port=destination)
        return Decoded(header, data[start:], max(size - start, 0), seq, ack, flags, **base)
    if header.protocol == "udp":
        source, destination, length = struct.unpack_from("!HHH", data.ljust(6, b"\0"))
        header = replace(header, source_port=source, destination_port=destination)
        if vxlan is not None and destination in vxlan:
            vni = int.from_bytes(data[12:15], "big")
            inside = decode_frame(data[16:], ETHERNET, vxlan)
            if isinstance(inside, Decoded):
                return replace(inside, outer=Outer(header, vni, base.get("ip_id", 0)))
        # Of a datagram in fragments only its own head says how long it is.
        size = length if base.get("more_fragments") else size
        return Decoded(header, data[8:], max(size - 8, 0), **base)
    if header.protocol not in {"icmp", "icmpv6"}:
        return Decoded(header, data, size, **base)
    kind, code, identifier, mtu = struct.unpack_from("!BB2xHH", data)
    if header.protocol == "icmpv6" and kind in _NEIGHBOUR_DISCOVERY:
        mac = data[26:32].hex(":") if len(data) >= _WITH_OPTION else ""
        answer = kind == _NEIGHBOUR_ADVERTISEMENT
        return Question("NDP", IPv6Address(data[8:24]), header.source, answer, mac if answer else "")
    inner = None
    if kind in (ICMP_ERRORS if header.protocol == "icmp" else ICMPV6_ERRORS):
        found = _decode_ip(data, 8, ("", ""), None) if len(data) > _ERROR_HEAD else None
        inner = found if isinstance(found, Decoded) else None
        mtu = mtu if header.protocol == "icmp" else int.from_bytes(data[4:8], "big")
    return Decoded(
        header, data[8:], max(size - 8, 0), icmp=(kind, code), identifier=identifier, mtu=mtu, inner=inner, **base
    )
