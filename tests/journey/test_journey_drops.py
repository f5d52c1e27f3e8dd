"""Each fault in a lab that has exactly this one: the journey names it, and without it the packet arrives."""

from __future__ import annotations

import contextlib
import struct
from socket import AF_INET, MSG_DONTWAIT, SOCK_STREAM
from typing import TYPE_CHECKING, Any

import pytest
from drop_cases import BIG, CASES, SERVER, TCP, WAIT, Case
from journey_labs import Bridged, Tunnelled, bridged, routed, tunnel_mac, tunnelled

from netlab.journey.drops import KINDS
from netlab.kernel import nfnetlink as nf
from netlab.kernel.netlink import NLM_F_CREATE, NLMSG_ERROR, walk
from netlab.kernel.wiretap import NETFILTER

if TYPE_CHECKING:
    from collections.abc import Callable

    from netlab import Host, Lab
    from netlab.journey.values import Journey

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_fault_on_the_way_is_named(lab: Lab, case: Case) -> None:
    """Over a router: the control arrives; with the fault, the drop has the right kind, host, leg and words."""
    net = routed(lab)
    target, sent = case.arrives or (case.target, case.sent)
    control = net.client.trace(target, **sent)
    assert control.ok, control
    assert control.drop is None
    case.fault(net)
    journey = net.client.trace(case.target, timeout=WAIT, **case.sent)
    check(journey, case.kind, case.host, case.reason)
    assert journey.drop is not None
    assert journey.drop.leg == case.leg


def check(journey: Journey, kind: str, host: str, reason: str) -> None:
    """See that a journey ends in this drop, and says so in its last line."""
    assert not journey.ok
    drop = journey.drop
    assert drop is not None, journey
    assert (drop.kind, drop.host) == (kind, host), journey
    assert reason in drop.reason
    assert drop.kind in KINDS
    assert drop.step == len(journey.steps)
    assert journey.steps[-1].kind == "drop"
    assert host in str(journey).splitlines()[-1] + str(journey).splitlines()[-2]


def _port_off(net: Bridged) -> object:
    return net.switch.run("bridge", "link", "set", "dev", "p2", "state", "0", check=True)


def _first_port_off(net: Bridged) -> object:
    return net.switch.run("bridge", "link", "set", "dev", "p1", "state", "0", check=True)


def _isolate(net: Bridged) -> None:
    for port in ("p1", "p2"):
        net.switch.set_port(port, isolated=True)


def _drop_in_bridge(net: Bridged) -> object:
    text = (
        "table bridge guard { chain pass { type filter hook forward priority 0; policy accept; tcp dport 80 drop; }; }"
    )
    return net.switch.nft(text)


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        (_port_off, "bridge-port", "bridge port not forwarding: p2 of bridge br0 in switch is disabled"),
        (_first_port_off, "bridge-port", "bridge port not forwarding: p1 of bridge br0 in switch is disabled"),
        (_isolate, "bridge-port", "isolated"),
        (_drop_in_bridge, "rule", "tcp dport 80 drop"),
        (lambda net: net.switch.remove_port("p2"), "no-port", "no other port than p1"),
        (lambda net: net.switch.set_link("br0", up=False), "interface-down", "br0"),
    ],
    ids=["port-disabled", "entry-port-disabled", "isolated", "bridge-rule", "no-port", "bridge-down"],
)
def test_a_fault_in_a_bridge_is_named(lab: Lab, fault: Callable[[Bridged], object], kind: str, reason: str) -> None:
    """Over a bridge: the control arrives; with the fault, the drop is in the host that has the bridge."""
    net = bridged(lab)
    control = net.a.trace("10.1.0.2", 80)
    assert control.ok, control
    fault(net)
    check(net.a.trace("10.1.0.2", 80, timeout=WAIT), kind, "switch", reason)


def _drop_outer(net: Tunnelled) -> object:
    return net.nodes[1].iptables("-A", "INPUT", "-p", "udp", "--dport", "8472", "-j", "DROP")


def _no_entry(net: Tunnelled) -> None:
    net.nodes[0].remove_fdb("flannel.1", tunnel_mac(2), "172.18.0.2")


def _other_end(vni: int = 1, port: int = 8472) -> Callable[[Tunnelled], None]:
    """Return a fault: the second node's end is of another network, or listens on another port."""

    def change(net: Tunnelled) -> None:
        node = net.nodes[1]
        node.delete_link("flannel.1")
        node.add_vxlan("flannel.1", vni, local="172.18.0.2", device="eth0", port=port, learning=False, mtu=1450)

    return change


@pytest.mark.parametrize(
    ("fault", "sent", "expected"),
    [
        (_drop_outer, TCP, ("rule", "node-2", "--dport 8472 -j DROP")),
        (_no_entry, TCP, ("no-fdb", "node-1", "has no FDB entry for 02:00:00:00:00:02")),
        (
            _other_end(vni=2),
            TCP,
            ("no-tunnel", "node-2", "with VNI 1 and port 8472 (it has flannel.1: VNI 2, port 8472)"),
        ),
        (_other_end(port=4789), TCP, ("no-tunnel", "node-2", "(it has flannel.1: VNI 1, port 4789)")),
        (lambda _: None, BIG, ("too-big", "node-1", "too big for flannel.1 of node-1 (MTU 1450), DF set")),
    ],
    ids=["outer-rule", "no-fdb", "other-vni", "other-port", "too-big"],
)
def test_a_fault_in_a_tunnel_is_named(
    lab: Lab, fault: Callable[[Tunnelled], object], sent: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    """Over VXLAN: the control arrives; with the fault, the drop is in the node that has it."""
    net = tunnelled(lab)
    control = net.pods[0].trace("10.244.2.2", 80)
    assert control.ok, control
    fault(net)
    check(net.pods[0].trace("10.244.2.2", timeout=WAIT, **sent), *expected)


def test_a_full_queue_of_a_listener_is_named(lab: Lab) -> None:
    """A program that listens and never accepts: when its queue is full, the kernel drops what comes."""
    net = routed(lab)
    kind = (AF_INET, SOCK_STREAM, 0)
    (listener,) = lab.sandbox.sockets(["server"], kind)
    waiting = lab.sandbox.sockets(["client"] * 4, kind)
    with listener, contextlib.ExitStack() as stack:
        listener.bind((SERVER, 85))
        listener.listen(0)
        control = net.client.trace(SERVER, 85, payload=b"")
        assert control.ok, control
        for sock in waiting:
            stack.enter_context(sock).setblocking(False)  # noqa: FBT003 - the library takes no keyword
            sock.connect_ex((SERVER, 85))
        check(net.client.trace(SERVER, 85, payload=b"", timeout=WAIT), "backlog", "server", "port 85 in server is full")


def test_a_full_conntrack_table_is_named(lab: Lab) -> None:
    """A router whose table is full drops what is new; the limit is the machine's, so that the table must be filled."""
    net = routed(lab)
    net.router.iptables("-A", "FORWARD", "-m", "conntrack", "--ctstate", "NEW,ESTABLISHED", "-j", "ACCEPT")
    control = net.client.trace(SERVER, 80)
    assert control.ok, control
    most = int(net.router.sysctl["net.netfilter.nf_conntrack_max"])
    if most > 300_000:
        pytest.skip(f"filling a conntrack table of {most} entries takes too long")
    fill_conntrack(net.lab, net.router, most)
    check(net.client.trace(SERVER, 80, timeout=WAIT), "conntrack-full", "router", "conntrack table full in router")


def fill_conntrack(lab: Lab, host: Host, most: int) -> None:
    """Write connections that never were until the kernel takes no more; assured ones are not thrown out."""
    (sock,) = lab.sandbox.sockets([host.name], NETFILTER)
    with sock:
        for start in range(0, most + 512, 256):
            # Nothing is answered but an error.
            sock.send(b"".join(_connection(number) for number in range(start, start + 256)))
            try:
                data = sock.recv(1 << 16, MSG_DONTWAIT)
            except BlockingIOError:
                continue
            assert all(kind == NLMSG_ERROR for kind, _, _, _ in walk(data))
            return


def _connection(number: int) -> bytes:
    ips = struct.pack(">I", 0x0A640000 + number // 60000), struct.pack(">I", 0x0AC80001)
    ports = struct.pack(">H", 1024 + number % 60000), struct.pack(">H", 80)
    tuples = []
    for kind, (source, target), (from_port, to_port) in ((1, ips, ports), (2, ips[::-1], ports[::-1])):
        addresses = nf.nested(1, nf.attribute(1, source), nf.attribute(2, target))
        numbers = nf.nested(2, nf.attribute(1, b"\x11"), nf.attribute(2, from_port), nf.attribute(3, to_port))
        tuples.append(nf.nested(kind, addresses, numbers))
    # CTA_STATUS: seen reply, assured, confirmed; CTA_TIMEOUT in seconds.
    return nf.message(0x100, 2, *tuples, nf.number(3, 0xE), nf.number(7, 600), flags=NLM_F_CREATE)
