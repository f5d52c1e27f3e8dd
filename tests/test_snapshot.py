from __future__ import annotations

import dataclasses
import errno
import json
import struct
import time
from typing import TYPE_CHECKING, Any

import pytest
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from netlab import KernelError, Lab, LabError, NotFoundError
from netlab.kernel.netlink import NetlinkSocket, Query
from netlab.kernel.values import Snapshot

if TYPE_CHECKING:
    from netlab import Host


@pytest.mark.kernel
def test_a_snapshot_reads_everything(pair: tuple[Host, Host]) -> None:
    """One pass shows links, addresses, routes, neighbours, sockets, rules, connections and settings of all hosts."""
    red, blue = pair
    blue.iptables("-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "80", "-j", "REDIRECT", "--to-ports", "8080")
    with (
        blue.serve(8080),
        red.popen(
            "python3",
            "-c",
            "import socket; s = socket.create_connection(('10.0.0.2', 80)); print('on', flush=True); input()",
            stdin=-1,
        ) as client,
    ):
        assert client.stdout is not None
        client.stdout.readline()
        before = time.time()
        picture = red.lab.snapshot()
    assert before <= picture.time <= time.time()
    assert [host.name for host in picture.hosts] == ["red", "blue"]
    state = picture["blue"]
    assert [link.name for link in state.interfaces] == ["lo", "eth0"]
    assert {str(each.address) for each in state.addresses} >= {"10.0.0.2/24", "fd00::2/64"}
    assert {str(route) for route in state.routes} >= {
        "10.0.0.0/24 dev eth0 src 10.0.0.2",
        "fd00::/64 dev eth0 metric 256",
    }
    assert {rule.table for rule in state.policy} == {"local", "main", "default"}
    assert "10.0.0.1" in {str(each.address) for each in state.neighbours}
    assert [rule.text for rule in state.rules if rule.text] == ["-p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080"]
    states = {(each.local_port, each.state) for each in state.sockets if each.protocol == "tcp"}
    assert states >= {(8080, "LISTEN"), (8080, "ESTAB")}
    (connection,) = (each for each in state.connections if each.protocol == "tcp")
    assert (connection.state, connection.is_translated) == ("ESTABLISHED", True)
    assert (connection.original.destination_port, connection.reply.source_port) == (80, 8080)
    assert str(connection.original.source) == "10.0.0.1"
    assert state.sysctl("net.ipv4.ip_forward") == "0"


@pytest.mark.kernel
def test_a_connection_over_ipv6_and_a_ping_are_tracked(pair: tuple[Host, Host]) -> None:
    """Connections of IPv6 and of ICMP are seen, and untouched ones are not called translated."""
    red, blue = pair
    for tool in (blue.iptables, blue.ip6tables):
        tool("-A", "INPUT", "-m", "conntrack", "--ctstate", "NEW,ESTABLISHED", "-j", "ACCEPT")
    with blue.serve(53, protocol="udp"):
        assert red.run("ping", "-c1", "-W2", "10.0.0.2").ok
        assert red.run("ping", "-c1", "-W2", "fd00::2").ok
        found = {each.protocol: each for each in blue.state().connections}
    assert {"icmp", "icmpv6"} <= set(found)
    assert str(found["icmpv6"].original.source) == "fd00::1"
    assert not any(each.is_translated for each in found.values())


@pytest.mark.kernel
def test_a_difference_is_told_in_words(pair: tuple[Host, Host]) -> None:
    """`new - old` names what appeared, vanished and changed, host by host."""
    red, blue = pair
    old = red.lab.snapshot()
    red.add_bridge("br0")
    blue.remove_address("eth0", "10.0.0.2/24")
    red.set_link("eth0", mtu=1400)
    red.lab.add_host("green")
    words = str(red.lab.snapshot() - old).splitlines()
    assert "red: br0 appeared" in words
    assert [word for word in words if "MTU of eth0 changed from 1500 to 1400" in word and word.startswith("red: ")]
    assert [word for word in words if word.startswith("blue: the address 10.0.0.2/24 vanished")]
    assert "green: the host appeared" in words
    assert not old - old


@pytest.mark.kernel
def test_a_snapshot_is_kept_as_json(pair: tuple[Host, Host]) -> None:
    """A snapshot of all kinds of things comes back from JSON as an equal value."""
    red, _ = pair
    red.add_vxlan("vx0", 5, local="10.0.0.1")
    red.add_fdb("vx0", "00:00:00:00:00:00", "10.0.0.2")
    red.iptables("-A", "INPUT", "-j", "ACCEPT")
    red.add_route("fd77::/64", kind="blackhole")
    with red.serve(80):
        picture = red.lab.snapshot()
    assert Snapshot.from_json(picture.to_json()) == picture
    assert json.loads(picture.to_json())["lab"] == "test"
    with pytest.raises(LabError):
        Snapshot.from_json("{}")


@pytest.mark.kernel
def test_a_snapshot_prints_much_as_ip_does(pair: tuple[Host, Host]) -> None:
    """The text of a snapshot has each host's links, addresses and routes."""
    red, _ = pair
    text = str(red.lab.snapshot())
    for words in ("lab test, 2 hosts", "inet 10.0.0.1/24", "peer blue:eth0", "10.0.0.0/24 dev eth0 src 10.0.0.1"):
        assert words in text


@pytest.mark.kernel
def test_a_snapshot_cannot_be_changed(pair: tuple[Host, Host]) -> None:
    """A snapshot is frozen in all its depth, and what is not in it is named."""
    picture = pair[0].lab.snapshot()
    with pytest.raises(dataclasses.FrozenInstanceError):
        picture["red"].interface("eth0").mtu = 9000  # type: ignore[misc]
    assert hash(picture) == hash(Snapshot.from_json(picture.to_json()))
    assert "red" in picture
    assert "green" not in picture
    with pytest.raises(NotFoundError, match=r"no host 'green' in this snapshot\. It has: red, blue"):
        picture["green"]


@pytest.mark.kernel
def test_an_empty_lab_has_an_empty_snapshot(lab: Lab) -> None:
    """A lab without hosts can be looked at."""
    assert lab.snapshot().hosts == ()


@pytest.mark.kernel
def test_a_large_lab_is_read_at_once(lab: Lab) -> None:
    """A hundred hosts, each with a server's worth of sockets and rules, are read in one pass."""
    hub = lab.add_host("hub")
    hub.add_bridge("br0")
    for number in range(100):
        host = lab.add_host(f"h{number}")
        lab.connect(hub, host, None, f"10.9.{number}.2/16", names=(f"p{number}", "eth0"))
    for number in range(40):
        lab.host(f"h{number}").nft("table inet t {\n chain c {\n accept\n }\n}")
    # Three thousand sockets: their owners alone are more than one message of the sandbox can hold.
    sockets = "import socket, time; s = [socket.socket(2, 2) for _ in range(3000)]\n"
    sockets += "[x.bind(('', 0)) for x in s]; print('bound', flush=True); time.sleep(1000)"
    process = lab.host("h0").popen("sh", "-c", 'ulimit -n 4000; exec python3 -I -c "$0"', sockets)
    assert process.stdout is not None
    assert process.stdout.readline() == b"bound\n"
    picture = lab.snapshot()
    assert len(picture.hosts) == 101
    assert len(picture["h0"].sockets) == 3000
    assert {each.pid for each in picture["h0"].sockets} == {process.pid}
    assert sum(bool(host.rules) for host in picture.hosts) == 40
    peer = picture["h99"].interface("eth0").peer
    assert peer is not None
    assert (peer.host, peer.interface) == ("hub", "p99")


class FakeKernel:
    """A socket whose kernel answers with what the test has prepared: a list of (type, flags) for each request."""

    def __init__(self, *answers: list[tuple[int, int]]) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.pending: list[bytes] = []

    def setsockopt(self, *_: Any) -> None:
        """Take any option."""

    def fileno(self) -> int:
        """Look open."""
        return 0

    def send(self, data: bytes) -> int:
        """Prepare the next answer, with the sequence number of the question."""
        (sequence,) = struct.unpack_from("=I", data, 8)
        self.asked += 1
        body = bytes(ifinfmsg_body())
        for kind, flags in self.answers.pop(0):
            content = struct.pack("=i", 0) if kind == 3 else body
            self.pending.append(struct.pack("=IHHII", 16 + len(content), kind, flags, sequence, 0) + content)
        return len(data)

    def recv(self, *_: int) -> bytes:
        """Hand over one message."""
        return self.pending.pop(0)


def ifinfmsg_body() -> bytes:
    """Return the body of an answer about interface 1."""
    message = ifinfmsg()
    message["index"] = 1
    message.encode()
    return bytes(message.data[16:])


MULTI, INTERRUPTED = 0x2, 0x12


def test_an_interrupted_list_is_read_again() -> None:
    """A dump that the kernel marks as interrupted, at its start or its end, is asked for anew (NLM_F_DUMP_INTR)."""
    kernel = FakeKernel(
        [(16, INTERRUPTED), (16, INTERRUPTED), (3, MULTI)], [(16, MULTI), (3, INTERRUPTED)], [(16, MULTI), (3, MULTI)]
    )
    route = NetlinkSocket(kernel)  # type: ignore[arg-type]
    (found,) = route.dump(Query("ip link", 18, ifinfmsg()))
    assert found["index"] == 1
    assert kernel.asked == 3


def test_a_list_that_never_comes_whole_is_an_error() -> None:
    """After many interrupted dumps the reader gives up with EINTR, and says what to do."""
    kernel = FakeKernel(*[[(16, INTERRUPTED), (3, INTERRUPTED)]] * 100)
    route = NetlinkSocket(kernel)  # type: ignore[arg-type]
    with pytest.raises(KernelError, match="the list changed each time it was read") as caught:
        route.dump(Query("ip link", 18, ifinfmsg()))
    assert caught.value.errno == errno.EINTR
    assert kernel.asked == 20


def test_answers_to_older_questions_are_passed_over() -> None:
    """What still arrives for an earlier request is not taken for the answer to this one."""
    kernel = FakeKernel([(16, MULTI), (3, MULTI)])
    stale = struct.pack("=IHHII", 16 + 4, 2, 0, 9999, 0) + struct.pack("=i", -errno.EPERM)
    kernel.pending.append(stale)
    route = NetlinkSocket(kernel)  # type: ignore[arg-type]
    assert len(route.dump(Query("ip link", 18, ifinfmsg()))) == 1


@pytest.mark.kernel
def test_a_list_is_whole_while_everything_changes(pair: tuple[Host, Host]) -> None:
    """While bridges come and go in a loop, each snapshot has the links that stay."""
    red, _ = pair
    script = "while true; do ip link add x0 type bridge; ip link del x0; done"
    with red.popen("sh", "-c", script):
        for _ in range(30):
            names = [link.name for link in red.state().interfaces]
            assert names[:2] == ["lo", "eth0"]
            assert set(names) <= {"lo", "eth0", "x0"}


def test_the_elements_of_sets_and_maps_are_read(lab: Lab) -> None:
    """Each is written as nft writes it; one that appears is a change; those with a timeout are left out."""
    red = lab.add_host("red")
    red.nft(
        """table ip web {
        set blocked { type ipv4_addr; flags interval; elements = { 10.0.0.0/24, 10.1.0.1-10.1.0.5, 192.0.2.1 }; }
        set recent { type ipv4_addr; flags timeout; elements = { 10.0.9.9 timeout 1h }; }
        chain one { }
        map ports {
            type ipv4_addr . inet_proto . inet_service : verdict;
            elements = { 10.96.0.1 . tcp . 80 : goto one };
        }
        map names { type inet_service : ipv4_addr; elements = { 80 : 10.0.0.1 }; }
        }"""
    )
    before = lab.snapshot()
    assert [(each.name, each.key, each.value) for each in before["red"].elements] == [
        ("blocked", "10.0.0.0/24", ""),
        ("blocked", "10.1.0.1-10.1.0.5", ""),
        ("blocked", "192.0.2.1", ""),
        ("ports", "10.96.0.1 . tcp . 80", "goto one"),
        ("names", "80", "10.0.0.1"),
    ]
    listing = " ".join(red.run("nft", "list", "ruleset", check=True).stdout.split())
    for each in before["red"].elements:
        assert f"{each.key} : {each.value}".removesuffix(" : ") in listing
    red.nft("add element ip web ports { 10.96.0.2 . udp . 53 : drop }")
    (change,) = [change for change in lab.snapshot() - before if change.what == "element"]
    assert str(change) == "red: element 10.96.0.2 . udp . 53 of nft ip web ports appeared"
    assert Snapshot.from_json(before.to_json()) == before
    assert "10.96.0.1 . tcp . 80 : goto one" in str(before)
