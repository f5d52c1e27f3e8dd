"""Read how many packets each rule of a host has counted, fast: what a trace compares before and after it.

The kernel's answers are kept as they came; of thousands of rules a packet meets a dozen, and only those are decoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.kernel import nfnetlink as nf
from netlab.kernel.netlink import NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR, length, walk
from netlab.kernel.read_rules import NFT_FAMILIES

if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Collection

_GETCHAIN, _GETRULE = (nf.SUBSYS_NFTABLES << 8 | kind for kind in (4, 7))
#: NFTA_RULE_* and NFTA_CHAIN_* (linux/netfilter/nf_tables.h).
_TABLE, _RULE_CHAIN, _HANDLE, _EXPRESSIONS, _CHAIN_NAME, _CHAIN_COUNTERS = 1, 2, 3, 4, 3, 8
_PACKETS = 2
#: (family, table, chain, handle of a rule); the handle 0 stands for the chain's policy.
CounterKey = tuple[str, str, str, int]


def dump(sock: _socket.socket) -> list[bytes]:
    """Return the kernel's list of the chains and rules of a host, undecoded, through a netfilter socket of it."""
    found = []
    for question in (_GETCHAIN, _GETRULE):
        sock.send(nf.message(question, 0, flags=NLM_F_DUMP))
        while True:
            data = sock.recv(1 << 18)
            found.append(data)
            if any(kind in {NLMSG_DONE, NLMSG_ERROR} for kind, _, _, _ in walk(data)):
                break
    return found


def counted(dumped: list[bytes], wanted: Collection[CounterKey]) -> dict[CounterKey, int]:
    """Return the packets that some rules and policies had counted; those without a counter are left out."""
    found = {}
    handles, tables = {each[3] for each in wanted}, {each[1] for each in wanted}
    for data in dumped:
        for kind, _, _, start in walk(data):
            if kind & 0xFF not in {3, 6} or kind >> 8 != nf.SUBSYS_NFTABLES:  # NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE
                continue
            values = nf.values(data, start + nf.BODY, start + length(data, start))
            rule = kind & 0xFF == 6
            handle = nf.big(values[_HANDLE]) if rule else 0
            if handle not in handles or nf.word(values[_TABLE]) not in tables:
                continue
            chain = nf.word(values[_RULE_CHAIN if rule else _CHAIN_NAME])
            key = (NFT_FAMILIES.get(data[start + 16], ""), nf.word(values[_TABLE]), chain, handle)
            packets = _rule_packets(values) if rule else _packets(values.get(_CHAIN_COUNTERS))
            if key in wanted and packets is not None:
                found[key] = packets
    return found


def _rule_packets(values: dict[int, bytes]) -> int | None:
    for _, element in nf.each(values.get(_EXPRESSIONS, b"")):
        expression = dict(nf.each(element))
        if nf.word(expression.get(1, b"")) == "counter":
            return _packets(expression.get(2))
    return None


def _packets(value: bytes | None) -> int | None:
    found = dict(nf.each(value)) if value is not None else {}
    return nf.big(found[_PACKETS]) if _PACKETS in found else None
