"""Know our own packets again wherever they are met: by what routers and NAT do not change."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from socket import IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP
from typing import TYPE_CHECKING, NamedTuple

from netlab.kernel.headers import ICMP_ERRORS, ICMPV6_ERRORS
from netlab.kernel.ruletrace import Match

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netlab.kernel.headers import Decoded
    from netlab.kernel.values import IPAddress

#: Bytes of payload by which UDP and ICMP are known: the reports of rules show twelve.
TOKEN = 12
_SEQ, _ACK, _PAYLOAD = 4, 8, 8
#: Where the inner transport header begins in a VXLAN packet, from the outer one: UDP, VXLAN, Ethernet, IPv4 or IPv6.
_INSIDE = {4: 8 + 8 + 14 + 20, 6: 8 + 8 + 14 + 40}
#: ICMP types that name an error or a redirection, for rules that switch tracing on.
_ERRORS = {IPPROTO_ICMP: (3, 5, 11), IPPROTO_ICMPV6: (1, 2, 3)}
_ICMP_WORDS = {
    (3, 0): "network unreachable",
    (3, 1): "host unreachable",
    (3, 2): "protocol unreachable",
    (3, 3): "port unreachable",
    (3, 4): "fragmentation needed",
    (3, 9): "network prohibited",
    (3, 10): "host prohibited",
    (3, 13): "communication prohibited",
    (5, 0): "redirect",
    (5, 1): "redirect",
    (11, 0): "time exceeded",
}
_ICMPV6_WORDS = {
    (1, 0): "no route",
    (1, 1): "prohibited",
    (1, 3): "address unreachable",
    (1, 4): "port unreachable",
    (1, 5): "policy failed",
    (1, 6): "reject route",
    (2, 0): "packet too big",
    (3, 0): "time exceeded",
}


class Key(NamedTuple):
    """What one packet is at every place it passes: direction, name, and what tells it from others of its name."""

    leg: str
    packet: str
    detail: tuple[int, ...] = ()


@dataclass(slots=True)
class Identity:
    """One probe: ``token`` is its first TCP sequence number in bytes, or the beginning of its payload.

    ``flows`` are the addresses and ports under which the request was met so far: its answer has their reverse.
    """

    protocol: str
    token: bytes
    size: int = 0
    port: int = 0
    #: The first sequence number of a TCP connection, 0 for others.
    first: int = 0
    identifier: int = 0
    #: What else the request is known by where its payload is nothing special: IPv4's id, or IPv6's flow label.
    mark: int = 0
    flows: set[tuple[IPAddress, int | None, IPAddress, int | None]] = field(default_factory=set)

    def classify(self, packet: Decoded) -> Key | None:
        """Return which packet of this probe this is, or None for anything else."""
        if packet.inner is not None and packet.icmp is not None:
            return self._classify_error(packet)
        if packet.header.protocol != self.protocol:
            return None
        if packet.fragment:
            return None
        if self.protocol == "tcp":
            return self._classify_tcp(packet)
        return self._classify_udp(packet) if self.protocol == "udp" else self._classify_echo(packet)

    def _classify_error(self, packet: Decoded) -> Key | None:
        assert packet.inner is not None  # noqa: S101 - for the type checker
        assert packet.icmp is not None  # noqa: S101
        about = self.classify(packet.inner)
        # The head of a packet that an error carries may end before the payload that we know it by.
        if about is None and packet.inner.header.flow in self.flows and packet.inner.header.protocol == self.protocol:
            about = Key("request", "")
        if about is None:
            return None
        words = (_ICMP_WORDS if packet.header.protocol == "icmp" else _ICMPV6_WORDS).get(packet.icmp, str(packet.icmp))
        leg = "reply" if about.leg == "request" else "request"
        return Key(leg, f"ICMP {words}", (*packet.icmp, *about.detail))

    def _classify_tcp(self, packet: Decoded) -> Key | None:
        span = self.size + 3
        detail = (packet.seq, packet.ack, packet.size)
        if (packet.seq - self.first) % 2**32 <= span and not ("A" not in packet.flags and "S" not in packet.flags):
            return Key("request", _tcp_word(packet), detail)
        if "A" in packet.flags and 1 <= (packet.ack - self.first) % 2**32 <= span:
            return Key("reply", _tcp_word(packet), detail)
        if "R" in packet.flags and (packet.seq - self.first) % 2**32 <= span:
            return Key("request", "RST", detail)
        return None

    def _classify_udp(self, packet: Decoded) -> Key | None:
        source, source_port, destination, destination_port = packet.header.flow
        if (destination, destination_port, source, source_port) in self.flows:
            return Key("reply", "datagram", (packet.size,))
        known = self.mark or self.token or packet.header.flow in self.flows
        if known and self.may_be(packet) and self.mark in {0, mark_of(packet)}:
            self.flows.add(packet.header.flow)
            return Key("request", "datagram", (packet.size,))
        return None

    def may_be(self, packet: Decoded) -> bool:
        """Tell whether a packet has the size and the beginning of this request: others may have them too."""
        same = packet.header.protocol == self.protocol and packet.size == self.size
        return same and not packet.fragment and packet.payload.startswith(self.token)

    def begins(self, packet: Decoded) -> bool:
        """Tell whether a packet of the right addresses and ports may be the first one of this request."""
        if self.protocol == "tcp":
            return packet.header.protocol == "tcp" and "S" in packet.flags and "A" not in packet.flags
        return self.may_be(packet)

    def _classify_echo(self, packet: Decoded) -> Key | None:
        if packet.icmp is None or not packet.payload.startswith(self.token):
            return None
        if packet.icmp[0] in {8, 128}:
            self.flows.add(packet.header.flow)
            return Key("request", "echo request")
        return Key("reply", "echo reply") if packet.icmp[0] in {0, 129} else None


def mark_of(packet: Decoded) -> int:
    """Return what a sender gives to a datagram and no router changes: IPv4's id (RFC 791), IPv6's flow label."""
    return packet.label if packet.header.source.version == 6 else packet.ip_id


def _tcp_word(packet: Decoded) -> str:
    if "R" in packet.flags:
        return "RST"
    if "S" in packet.flags:
        return "SYN-ACK" if "A" in packet.flags else "SYN"
    if packet.size:
        return f"data ({packet.size} bytes)"
    return "FIN" if "F" in packet.flags else "ACK"


class Family:
    """The probes of one trace: how they are told from all other traffic, in Python and in the kernel."""

    def __init__(self, protocol: str, version: int, payload: bytes | None, count: int) -> None:
        """Choose random tokens: nobody else in the lab has them."""
        self.protocol, self.version = protocol, version
        self._given = payload is not None
        #: Whether the kernel chose the connections' first sequence numbers, so that all packets may be ours at first.
        self.unchosen = False
        self.payloads: list[bytes] = []
        self.probes: list[Identity] = []
        if protocol == "tcp":
            self._make_tcp(payload or b"", count)
            return
        name = "icmpv6" if protocol == "icmp" and version == 6 else protocol
        for _ in range(count):
            token = secrets.token_hex(TOKEN // 2).encode()
            whole = payload if payload is not None else token + b" netlab trace\n"
            if protocol == "icmp" and self._given:
                whole = token + (payload or b"")[TOKEN:]
            self.payloads.append(whole)
            self.probes.append(Identity(name, whole[:TOKEN], len(whole), identifier=secrets.randbelow(65535) + 1))

    def _make_tcp(self, payload: bytes, count: int) -> None:
        """Give each connection a first sequence number; all of them begin with the same bytes."""
        stride = len(payload) + 8
        common = next(size for size in (3, 2, 1, 0) if count * stride < 256 ** (4 - size))
        prefix = secrets.token_bytes(common)
        self.prefix = prefix
        for number in range(count):
            first = int.from_bytes(prefix, "big") << 8 * (4 - common) | (number * stride + 1)
            self.payloads.append(payload)
            self.probes.append(Identity("tcp", first.to_bytes(4, "big"), len(payload), first=first))

    def leave_unchosen(self) -> None:
        """Have all TCP packets kept and reported: only afterwards is it known which ones are ours."""
        self.unchosen, self.prefix = True, b""

    def learn(self, packets: Iterable[Decoded]) -> None:
        """Find out by what the requests are known, from all packets in the order in which they were met.

        A payload that the reader has chosen may be that of others too, and of an earlier trace. The datagram that left
        from our own socket's address and port tells which mark is ours; ``flows`` hold those, and nothing else yet.
        Where we could not choose a connection's first sequence number, its SYN tells that in the same way.
        """
        if not (self.unchosen or (self.protocol == "udp" and self._given)):
            return
        waiting = [probe for probe in self.probes if probe.flows]
        for packet in packets:
            for probe in waiting:
                if packet.header.flow in probe.flows and probe.begins(packet):
                    probe.mark, probe.first = mark_of(packet), packet.seq
                    waiting.remove(probe)
                    break

    def matches(self) -> list[Match]:
        """Return which packets the kernel should report the rules of: the probes, in a tunnel too, and errors."""
        errors = IPPROTO_ICMP if self.version == 4 else IPPROTO_ICMPV6
        found = [Match(errors, 0, bytes([kind])) for kind in _ERRORS[errors]]
        if self.protocol == "tcp":
            found += [Match(IPPROTO_TCP, place, self.prefix) for place in (_SEQ, _ACK)]
            return found + [Match(IPPROTO_UDP, _INSIDE[self.version] + place, self.prefix) for place in (_SEQ, _ACK)]
        if self.protocol == "udp":
            return [Match(IPPROTO_UDP), *found]
        found += [Match(errors, _PAYLOAD, probe.token) for probe in self.probes]
        inside = _INSIDE[self.version] + _PAYLOAD
        return found + [Match(IPPROTO_UDP, inside, probe.token) for probe in self.probes]

    def keep(self, data: bytes) -> bool:
        """Tell whether a captured frame may be ours, or explains what became of ours; as cheap as can be."""
        kind = data[12:14]
        if kind == b"\x08\x06":
            return True
        if kind == b"\x86\xdd" and data[20:21] in {b"\x3a", b"\x2c"}:  # neighbour discovery, errors, fragments
            return True
        if self.protocol == "tcp":
            return self.prefix in data
        if self.protocol == "udp":
            return True
        return data[23:24] == b"\x01" or any(probe.token in data for probe in self.probes) or _is_fragment(data)

    def find(self, packet: Decoded) -> tuple[int, Key] | None:
        """Return the number of the probe that a packet belongs to, and which of its packets it is."""
        for number, probe in enumerate(self.probes):
            key = probe.classify(packet)
            if key is not None:
                return number, key
        return None


def _is_fragment(data: bytes) -> bool:
    return data[12:14] == b"\x08\x00" and bool(int.from_bytes(data[20:22], "big") & 0x3FFF)


def is_error(packet: Decoded) -> bool:
    """Tell whether a packet is an ICMP error; the reports of rules do not show about what."""
    if packet.icmp is None:
        return False
    return packet.icmp[0] in (ICMP_ERRORS if packet.header.protocol == "icmp" else ICMPV6_ERRORS)
