"""Tell whether somebody changed a host's rules: two questions that cost microseconds, whatever the number of rules.

nf_tables counts its transactions (the generation), and each chain counts its rules and those that lead to it (its use).
"""

from __future__ import annotations

import errno
import os
import struct
from typing import TYPE_CHECKING

from netlab.errors import KernelError
from netlab.kernel import nfnetlink as nf
from netlab.kernel.netlink import HEADER, NLMSG_ERROR, length, walk

if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Iterable

_GETCHAIN, _GETGEN = (nf.SUBSYS_NFTABLES << 8 | kind for kind in (4, 16))
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_USE, _GEN_ID = 1, 3, 6, 1
_ERROR = struct.Struct("=i")
#: Bytes that an answer may have: a chain's has some hundred.
_ANSWER = 1 << 13


def read_generation(sock: _socket.socket) -> int:
    """Return the number of the last transaction on a host's rules, through a netfilter socket of it."""
    return nf.big(_ask(sock, nf.message(_GETGEN, 0), "nft list ruleset")[_GEN_ID])


def read_uses(sock: _socket.socket, family: int, chains: Iterable[tuple[str, str]]) -> tuple[int | None, ...]:
    """Return the use of chains, given as (table, chain); None for one that is not there.

    ``family`` is 2 for IPv4 (``ip``) and 10 for IPv6 (``ip6``).
    """
    found: list[int | None] = []
    for table, chain in chains:
        question = nf.message(_GETCHAIN, family, nf.text(_CHAIN_TABLE, table), nf.text(_CHAIN_NAME, chain))
        try:
            found.append(nf.big(_ask(sock, question, f"nft list chain {table} {chain}")[_CHAIN_USE]))
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise
            found.append(None)
    return tuple(found)


def _ask(sock: _socket.socket, question: bytes, command: str) -> dict[int, bytes]:
    sock.send(question)
    data = sock.recv(_ANSWER)
    for kind, _, _, start in walk(data):
        if kind == NLMSG_ERROR:
            (code,) = _ERROR.unpack_from(data, start + HEADER.size)
            raise KernelError(command, -code, os.strerror(-code))
        return nf.values(data, start + nf.BODY, start + length(data, start))
    raise KernelError(command, errno.EIO, "no answer")
