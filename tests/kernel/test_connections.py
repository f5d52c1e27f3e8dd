"""The conntrack table, read by hand: as pyroute2 reads it, and in a fraction of the time."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from netlab.kernel import read_sockets
from netlab.kernel.netlink import NetlinkSocket, _decode

if TYPE_CHECKING:
    from netlab import Host
    from netlab.kernel.values import Connection

NETLINK_NETFILTER = 12
pytestmark = pytest.mark.kernel


def table(host: Host) -> list[tuple[bytes, int]]:
    """Return the conntrack table of a host as the kernel sends it."""
    (opened,) = host.lab.sandbox.sockets([host.name], (socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER))
    with opened:
        return NetlinkSocket(opened).dump_raw(read_sockets._CONNECTIONS)


def decode(raw: list[tuple[bytes, int]]) -> list[Connection]:
    """Return the entries as pyroute2 decodes them."""
    return [read_sockets.to_connection(_decode(read_sockets._CONNECTIONS.codec, *piece)) for piece in raw]


def test_each_kind_of_entry_is_read_as_pyroute2_does(pair: tuple[Host, Host]) -> None:
    """TCP and UDP over both families, echo requests, translated and marked ones: all fields are the same."""
    red, blue = pair
    blue.iptables("-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "80", "-j", "REDIRECT", "--to-ports", "8080")
    blue.iptables("-t", "mangle", "-A", "PREROUTING", "-p", "tcp", "-j", "CONNMARK", "--set-mark", "0x12345678")
    blue.ip6tables("-A", "INPUT", "-m", "conntrack", "--ctstate", "NEW")
    with blue.serve(8080), blue.serve(9000, protocol="udp"):
        calls = [red.call("10.0.0.2", 80), red.call("fd00::2", 8080)]
        assert all(call.ask() for call in calls)
        for address in ("10.0.0.2", "fd00::2"):
            red.run("ping", "-c1", address, check=True)
            red.run("bash", "-c", f"echo x >/dev/udp/{address}/9000", check=True)
        raw = table(blue)
    by_hand = [read_sockets._connection(data, start) for data, start in raw]
    assert by_hand == decode(raw)
    assert {each.protocol for each in by_hand} == {"tcp", "udp", "icmp", "icmpv6"}
    assert {each.original.source.version for each in by_hand} == {4, 6}
    assert any(each.is_translated and each.mark == 0x12345678 and each.state == "ESTABLISHED" for each in by_hand)


def test_many_entries_are_read_in_a_fraction_of_the_time(pair: tuple[Host, Host]) -> None:
    """Pyroute2 takes more than three times as long: with a picture that follows each change, everybody waits for it."""
    red, blue = pair
    blue.iptables("-A", "INPUT", "-m", "conntrack", "--ctstate", "NEW")
    with blue.serve(80):
        assert red.count_answers("10.0.0.2", 80, 500) == {"blue": 500}
    raw = table(blue)
    assert len(raw) >= 500
    begin = time.process_time()
    by_hand = [read_sockets._connection(data, start) for data, start in raw]
    between = time.process_time()
    assert decode(raw) == by_hand
    assert (between - begin) * 3 < time.process_time() - between
