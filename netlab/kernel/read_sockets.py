"""Read TCP and UDP sockets (sock_diag(7)) and tracked connections (conntrack) of one network namespace."""

from __future__ import annotations

import errno
import functools
import ipaddress
from socket import IPPROTO_TCP, IPPROTO_UDP
from typing import TYPE_CHECKING, Any

from pyroute2.netlink.diag import inet_diag_msg, inet_diag_req
from pyroute2.netlink.nfnetlink.nfctsocket import nfct_msg
from pyroute2.netlink.nfnetlink.nftsocket import nft_table_msg

from netlab.errors import KernelError
from netlab.kernel.links import AF_INET, AF_INET6
from netlab.kernel.netlink import HEADER, Query, length
from netlab.kernel.read_links import attributes
from netlab.kernel.read_rules import TRACE_PREFIX
from netlab.kernel.values import Connection, Flow, Socket

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netlab.kernel.netlink import NetlinkSocket

SOCK_DIAG_BY_FAMILY = 20
NFNL_SUBSYS_CTNETLINK, NFNL_SUBSYS_NFTABLES = 1, 10
IPCTNL_MSG_CT_GET, NFT_MSG_GETTABLE = 1, 1
#: Kernel numbers of TCP states (include/net/tcp_states.h); UDP uses 7 for a socket that waits for anyone.
TCP_STATES = {
    1: "ESTAB",
    2: "SYN-SENT",
    3: "SYN-RECV",
    4: "FIN-WAIT-1",
    5: "FIN-WAIT-2",
    6: "TIME-WAIT",
    7: "CLOSE",
    8: "CLOSE-WAIT",
    9: "LAST-ACK",
    10: "LISTEN",
    11: "CLOSING",
}
#: Kernel numbers of a tracked TCP connection's states (linux/netfilter/nf_conntrack_tcp.h).
CONNTRACK_TCP = {
    0: "NONE",
    1: "SYN_SENT",
    2: "SYN_RECV",
    3: "ESTABLISHED",
    4: "FIN_WAIT",
    5: "CLOSE_WAIT",
    6: "LAST_ACK",
    7: "TIME_WAIT",
    8: "CLOSE",
    9: "SYN_SENT2",
}
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}
_TIME_WAIT, _LISTEN, _ALL_STATES = 6, 10, 0xFFF
#: Numbers of attributes in linux/netfilter/nfnetlink_conntrack.h, and the size of struct nfgenmsg.
_ORIG, _REPLY, _PROTOINFO, _TIMEOUT, _MARK = 1, 2, 4, 7, 8
_IP, _PROTO, _PROTO_NUM, _SRC_PORT, _DST_PORT, _TCP_STATE = 1, 2, 1, 2, 3, 1
_NFGENMSG = 4


_CONNECTIONS = Query("conntrack -L", NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, nfct_msg())
_TABLES = Query("nft list tables", NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE, nft_table_msg())


def parse_sockstat(*texts: str | None) -> dict[str, int]:
    """Return how many sockets are in use, from /proc/net/sockstat and sockstat6: TCP, UDP, TCP6, UDP6."""
    found = dict.fromkeys(("TCP", "UDP", "TCP6", "UDP6"), 0)
    for line in "\n".join(text or "" for text in texts).splitlines():
        name, _, rest = line.partition(": inuse ")
        if name in found:
            found[name] = int(rest.split()[0])
    return found


def read_sockets(socket: NetlinkSocket, in_use: Mapping[str, int]) -> list[tuple[int, Socket]]:
    """Read all TCP and UDP sockets but those in TIME-WAIT, each with its inode.

    ``in_use`` (from `parse_sockstat`) saves questions. A list of connected TCP sockets costs milliseconds, whoever
    they belong to, since the kernel walks a table of the whole machine; so the listening ones are listed first.
    """
    found: list[tuple[int, Socket]] = []
    for name, protocol, family in (
        ("TCP", IPPROTO_TCP, AF_INET),
        ("TCP6", IPPROTO_TCP, AF_INET6),
        ("UDP", IPPROTO_UDP, AF_INET),
        ("UDP6", IPPROTO_UDP, AF_INET6),
    ):
        if not in_use[name]:
            continue
        answers = []
        if protocol == IPPROTO_TCP:
            answers = socket.dump(_query(protocol, family, 1 << _LISTEN))
        if len(answers) < in_use[name]:
            answers = socket.dump(_query(protocol, family, _ALL_STATES & ~(1 << _TIME_WAIT)))
        found += [_socket(message, name[:3].lower()) for message in answers]
    return found


@functools.cache
def _query(protocol: int, family: int, states: int) -> Query:
    question = inet_diag_req()
    question["sdiag_family"], question["sdiag_protocol"], question["idiag_states"] = family, protocol, states
    return Query("ss -tuna", SOCK_DIAG_BY_FAMILY, question, inet_diag_msg)


def _socket(message: inet_diag_msg, protocol: str) -> tuple[int, Socket]:
    state = TCP_STATES.get(message["idiag_state"], "?")
    if protocol == "udp":
        state = "ESTAB" if state == "ESTAB" else "UNCONN"
    local, remote = ipaddress.ip_address(message["idiag_src"]), ipaddress.ip_address(message["idiag_dst"])
    waits = state in {"LISTEN", "UNCONN"}
    value = Socket(
        protocol=protocol,
        state=state,
        local=local,
        local_port=message["idiag_sport"],
        remote=None if waits else remote,
        remote_port=0 if waits else message["idiag_dport"],
    )
    return message["idiag_inode"], value


def read_connections(socket: NetlinkSocket) -> tuple[Connection, ...]:
    """Read the conntrack table; empty where the kernel has none."""
    try:
        found = socket.dump_raw(_CONNECTIONS)
    except KernelError as error:
        if error.errno in {errno.EINVAL, errno.EOPNOTSUPP}:  # nfnetlink answers so for a subsystem that is not there
            return ()
        raise
    return tuple(_connection(data, start) for data, start in found)


def _connection(data: bytes, start: int) -> Connection:
    """Return a conntrack entry as a value; by hand, since pyroute2 takes half a second for a thousand of them."""
    end = start + length(data, start)
    values = {kind: (low, high) for kind, low, high in attributes(data, start + HEADER.size + _NFGENMSG, end)}
    original, protocol = _raw_flow(data, values[_ORIG])
    reply, _ = _raw_flow(data, values[_REPLY])
    state = ""
    for _, *tcp in attributes(data, *values.get(_PROTOINFO, (0, 0))):
        states = [data[low] for kind, low, _ in attributes(data, *tcp) if kind == _TCP_STATE]
        state = CONNTRACK_TCP[states[0]] if states and protocol == IPPROTO_TCP else ""
    mark, timeout = (_unpacked(data, values.get(kind)) for kind in (_MARK, _TIMEOUT))
    return Connection(PROTOCOLS.get(protocol, str(protocol)), original, reply, state, mark, timeout)


def _raw_flow(data: bytes, place: tuple[int, int]) -> tuple[Flow, int]:
    parts = {kind: (low, high) for kind, low, high in attributes(data, *place)}
    # CTA_IP_V4_SRC and V4_DST, or V6_SRC and V6_DST: the source's number is the smaller one.
    ends = sorted((kind, data[low:high]) for kind, low, high in attributes(data, *parts[_IP]))
    source, destination = (ipaddress.ip_address(value) for _, value in ends)
    proto = {kind: data[low:high] for kind, low, high in attributes(data, *parts[_PROTO])}
    ports = [int.from_bytes(proto[kind], "big") if kind in proto else None for kind in (_SRC_PORT, _DST_PORT)]
    return Flow(source, destination, *ports), proto[_PROTO_NUM][0]


def _unpacked(data: bytes, place: tuple[int, int] | None) -> int:
    return int.from_bytes(data[slice(*place)], "big") if place else 0


def to_connection(message: Any) -> Connection:
    """Return a conntrack entry's message as a value."""
    attributes = dict(message["attrs"])
    original, protocol = _flow(attributes["CTA_TUPLE_ORIG"])
    reply, _ = _flow(attributes["CTA_TUPLE_REPLY"])
    state = ""
    details = attributes.get("CTA_PROTOINFO")
    tcp = details.get_attr("CTA_PROTOINFO_TCP") if details else None
    if tcp:
        state = CONNTRACK_TCP[tcp.get_attr("CTA_PROTOINFO_TCP_STATE")]
    return Connection(
        protocol=PROTOCOLS.get(protocol, str(protocol)),
        original=original,
        reply=reply,
        state=state,
        mark=attributes.get("CTA_MARK", 0),
        timeout=attributes.get("CTA_TIMEOUT", 0),
    )


def _flow(pair: Any) -> tuple[Flow, int]:
    ip, proto = dict(pair.get_attr("CTA_TUPLE_IP")["attrs"]), dict(pair.get_attr("CTA_TUPLE_PROTO")["attrs"])
    version = "V4" if "CTA_IP_V4_SRC" in ip else "V6"
    flow = Flow(
        source=ipaddress.ip_address(ip[f"CTA_IP_{version}_SRC"]),
        destination=ipaddress.ip_address(ip[f"CTA_IP_{version}_DST"]),
        source_port=proto.get("CTA_PROTO_SRC_PORT"),
        destination_port=proto.get("CTA_PROTO_DST_PORT"),
    )
    return flow, proto["CTA_PROTO_NUM"]


def read_tables(socket: NetlinkSocket) -> tuple[tuple[int, str], ...]:
    """Read which nftables tables there are, as (family, name); iptables-nft keeps its rules in such tables too.

    The tables of a trace that is under way are left out.
    """
    try:
        found = socket.dump(_TABLES)
    except KernelError as error:
        if error.errno in {errno.EINVAL, errno.EOPNOTSUPP}:
            return ()
        raise
    tables = ((message["nfgen_family"], message.get_attr("NFTA_TABLE_NAME")) for message in found)
    return tuple((family, name) for family, name in tables if not name.startswith(TRACE_PREFIX))


def with_owners(sockets: list[tuple[int, Socket]], owners: Mapping[int, tuple[int, str]]) -> tuple[Socket, ...]:
    """Join sockets with the processes that hold them, by inode."""
    joined = []
    for inode, value in sockets:
        pid, process = owners.get(inode, (None, ""))
        joined.append(
            Socket(
                value.protocol,
                value.state,
                value.local,
                value.local_port,
                value.remote,
                value.remote_port,
                process,
                pid,
            )
        )
    return tuple(joined)
