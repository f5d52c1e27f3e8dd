"""Follow packets through the rules of a host: the kernel tells of each rule that a marked packet matches.

This is what ``nft monitor trace`` prints (nft(8), "TRACING"), read in process and undecoded, so that each report comes
with the packet's own headers. Rules of iptables-nft are told of too, rules of legacy iptables never are.
"""

from __future__ import annotations

import errno
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from netlab.errors import KernelError
from netlab.kernel import nfnetlink as nf
from netlab.kernel.netlink import (
    NETLINK_ADD_MEMBERSHIP,
    NLM_F_ACK,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLMSG_ERROR,
    SOL_NETLINK,
    length,
    walk,
)
from netlab.kernel.read_rules import TRACE_PREFIX

if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Iterator, Sequence

#: NFNLGRP_NFTRACE (linux/netfilter/nfnetlink.h).
_GROUP = 9
_NEWTABLE, _NEWCHAIN, _NEWRULE, _DELTABLE, _TRACE = (nf.SUBSYS_NFTABLES << 8 | kind for kind in (0, 3, 6, 2, 17))
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
#: NFT_TABLE_F_OWNER (Linux 5.12): the table goes with the socket that made it, whatever ends that socket.
_OWNER = 2
#: Earlier than raw (-300) and than defragmentation (-400): all rules of the reader come after ours.
_PRIORITY = -1000
INET, NETDEV, BRIDGE = 1, 5, 7
_TABLE_KINDS = {INET: "inet", NETDEV: "netdev", BRIDGE: "bridge"}
#: Places in the packet for a comparison: NFT_PAYLOAD_TRANSPORT_HEADER.
_TRANSPORT = 2
_META_L4PROTO, _META_NFTRACE = 16, 12
_HOOKS = {"prerouting": 0, "output": 3}
_INGRESS = {"ingress": 0}
_NAMES = {0: "DROP", 1: "ACCEPT", 2: "STOLEN", 3: "QUEUE", -1: "CONTINUE", -3: "JUMP", -4: "GOTO", -5: "RETURN"}
_KINDS = {1: "policy", 2: "return", 3: "rule"}


class Match(NamedTuple):
    """Which packets to follow: of a protocol, with some bytes at an offset of their transport header."""

    protocol: int
    offset: int = 0
    value: bytes = b""


@dataclass(frozen=True, slots=True)
class RuleEvent:
    """One report: a packet met a rule, or the end of a chain.

    ``kind`` is "rule", "return" or "policy"; ``network`` and ``transport`` are the headers' first bytes, which the
    kernel sends with a base chain's first report only; ``time_ns`` is when the report reached us.
    """

    time_ns: int
    host: str
    trace: int
    family: int
    table: str
    chain: str
    kind: str
    handle: int
    verdict: str
    target: str
    mark: int
    iif: int
    oif: int
    network: bytes
    transport: bytes


class RuleTrace:
    """A netfilter socket of one host that switches tracing on for some packets and receives the reports.

    Tracing is switched on by a table of our own. The kernel removes it when the socket is closed or its owner dies;
    `close` may be called twice.
    """

    def __init__(self, host: str, sock: _socket.socket, label: str) -> None:
        """Take over a socket that was opened in the host; ``label`` makes the table's name unique."""
        self.host, self.socket, self.table = host, sock, TRACE_PREFIX + label
        self._families: list[int] = []
        self._owned = True

    def start(self, matches: list[Match], *, bridge: bool = False, devices: Sequence[str] = ()) -> None:
        """Begin to report; ``bridge`` includes the rules of nftables' bridge family.

        ``devices`` are interfaces at which rules read packets as they come in, before all others (the ingress hook).
        Raises KernelError where the kernel refuses.
        """
        self.socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, _GROUP)
        for family in [INET, *([BRIDGE] if bridge else []), *([NETDEV] if devices else [])]:
            code = self._send(self._additions(family, matches, devices))
            if code in {errno.EOPNOTSUPP, errno.EINVAL} and self._owned:
                # A kernel before 5.12 knows no owners: then `close` has to take the table away.
                self._owned = False
                code = self._send(self._additions(family, matches, devices))
            if code:
                command = f"nft add table {_TABLE_KINDS[family]} {self.table}"
                raise KernelError(command, code, os.strerror(code))
            self._families.append(family)

    def _additions(self, family: int, matches: list[Match], devices: Sequence[str]) -> bytes:
        create = NLM_F_CREATE | NLM_F_ACK
        flags = nf.number(2, _OWNER) if self._owned else b""
        parts = [nf.message(_NEWTABLE, family, nf.text(1, self.table), flags, flags=create | NLM_F_EXCL)]
        listed = [nf.nested(4, *(nf.text(1, name) for name in devices))] if family == NETDEV else []
        for chain, hook in (_INGRESS if family == NETDEV else _HOOKS).items():
            where = nf.nested(4, nf.number(1, hook), nf.number(2, _PRIORITY), *listed)
            names = (nf.text(1, self.table), nf.text(3, chain))
            parts.append(nf.message(_NEWCHAIN, family, *names, where, nf.text(7, "filter"), flags=create))
            for match in matches:
                names = (nf.text(1, self.table), nf.text(2, chain))
                parts.append(
                    nf.message(_NEWRULE, family, *names, nf.nested(4, *_rule(match)), flags=create | NLM_F_APPEND)
                )
        return _batch(parts)

    def _send(self, batch: bytes) -> int:
        """Send a batch and return the first errno in its answers: all of it was done, or nothing."""
        self.socket.send(batch)
        expected = sum(1 for _, flags, _, _ in walk(batch) if flags & NLM_F_ACK)
        while expected:
            data = self.socket.recv(1 << 16)
            for kind, _, _, start in walk(data):
                if kind == NLMSG_ERROR:
                    expected -= 1
                    (code,) = struct.unpack_from("=i", data, start + 16)
                    if code:
                        return int(-code)
        return 0

    def close(self) -> None:
        """Stop: close the socket, and with it goes the table."""
        if self.socket.fileno() < 0:
            return
        try:
            if not self._owned:
                for family in self._families:
                    gone = nf.message(_DELTABLE, family, nf.text(1, self.table), flags=NLM_F_ACK)
                    self.socket.send(_batch([gone]))
        finally:
            self.socket.close()


def _batch(parts: list[bytes]) -> bytes:
    begin, end = (nf.message(kind, 0, resource=nf.SUBSYS_NFTABLES) for kind in (_BATCH_BEGIN, _BATCH_END))
    return b"".join([begin, *parts, end])


def _rule(match: Match) -> Iterator[bytes]:
    """Yield the expressions of ``meta l4proto … @th,… … meta nftrace set 1``."""
    register = nf.number(1, 1)
    yield _expression("meta", nf.number(2, _META_L4PROTO), register)
    yield _equals(bytes([match.protocol]))
    if match.value:
        place = (nf.number(2, _TRANSPORT), nf.number(3, match.offset), nf.number(4, len(match.value)))
        yield _expression("payload", register, *place)
        yield _equals(match.value)
    yield _expression("immediate", register, nf.nested(2, nf.attribute(1, b"\1")))
    yield _expression("meta", nf.number(2, _META_NFTRACE), nf.number(3, 1))


def _equals(value: bytes) -> bytes:
    return _expression("cmp", nf.number(1, 1), nf.number(2, 0), nf.nested(3, nf.attribute(1, value)))


def _expression(name: str, *data: bytes) -> bytes:
    return nf.nested(1, nf.text(1, name), nf.nested(2, *data))


def decode(data: bytes, host: str, time_ns: int) -> Iterator[RuleEvent]:
    """Yield the reports in what one recv returned."""
    for kind, _, _, start in walk(data):
        if kind != _TRACE:
            continue
        found = nf.values(data, start + nf.BODY, start + length(data, start))
        verdict = dict(nf.each(found.get(5, b"")))
        # A drop may carry an errno in the upper half (NF_DROP_ERR), and a queue its number.
        code = struct.unpack(">i", verdict[1])[0] if 1 in verdict else -1
        policy = found.get(16)
        if policy is not None:
            code = nf.big(policy)
        words = _NAMES.get(code if code < 0 else code & 0xFF, str(code))
        yield RuleEvent(
            time_ns=time_ns,
            host=host,
            trace=nf.big(found.get(6, b"")),
            family=data[start + 16],
            table=nf.word(found.get(1, b"")),
            chain=nf.word(found.get(2, b"")),
            kind=_KINDS.get(nf.big(found.get(4, b"")), "rule"),
            handle=nf.big(found.get(3, b"")),
            verdict=words,
            target=nf.word(verdict.get(2, b"")),
            mark=nf.big(found.get(14, b"")),
            iif=nf.big(found.get(10, b"")),
            oif=nf.big(found.get(12, b"")),
            network=found.get(8, b""),
            transport=found.get(9, b""),
        )
