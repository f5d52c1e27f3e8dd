"""UDP and fragments: datagrams that look like others, empty ones, and those that are larger than a link allows."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from journey_labs import Routed, routed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netlab import Lab
    from netlab.journey.values import Journey

pytestmark = pytest.mark.kernel

UDP: dict[str, Any] = {"port": 53, "protocol": "udp"}
#: Sends datagrams, each from a port of its own, some 200 a second, until it is ended.
NOISE = """
import socket, sys, time
print("going", flush=True)
while True:
    began = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.2)
        sock.connect((sys.argv[1], 53))
        sock.send(sys.argv[2].encode())
        try:
            sock.recv(4096)
        except OSError:
            pass
    time.sleep(max(0.005 - (time.monotonic() - began), 0))
"""


@pytest.fixture
def net(lab: Lab) -> Routed:
    """Return a router that hides the client, for both families."""
    made = routed(lab)
    for hide in (made.router.iptables, made.router.ip6tables):
        hide("-t", "nat", "-A", "POSTROUTING", "-o", "eth1", "-j", "MASQUERADE")
    return made


def check_alone(journey: Journey) -> None:
    """See that a journey is that of one datagram and its answer, from one port of the client, and nothing else."""
    assert journey.ok, journey
    assert journey.path == ("client", "router", "server")
    assert journey.way_back == ("server", "router", "client")
    assert [(each.host, each.kind) for each in journey.nat] == [("router", "MASQUERADE"), ("router", "un-NAT")]
    assert [(message.leg, message.attempt) for message in journey.messages] == [("request", 1), ("reply", 1)]
    ports = {packet.layers["UDP"].sport for packet in journey.packets if "UDP" in packet and packet.host == "client"}
    assert ports == {53, journey.nat[0].before.source_port}


@pytest.fixture(params=["the same words", ""], ids=["same-payload", "empty"])
def noisy(net: Routed, request: pytest.FixtureRequest) -> Iterator[tuple[Routed, str]]:
    """Send some 200 datagrams a second between the same hosts, with the payload of the trace; return both."""
    noise = net.client.popen(sys.executable, "-I", "-S", "-c", NOISE, "10.0.2.2", request.param)
    assert noise.stdout is not None
    assert noise.stdout.readline() == b"going\n"
    yield net, request.param
    noise.close()


def test_a_datagram_is_told_from_others_with_its_payload(noisy: tuple[Routed, str]) -> None:
    """Beside 200 flows a second with the very same payload over the same NAT, only the trace's own shows."""
    net, payload = noisy
    for _ in range(3):  # those that come late belong to an earlier trace
        check_alone(net.client.trace("10.0.2.2", payload=payload, **UDP))
    shared = net.client.trace("10.0.2.2", payload=payload, count=4, **UDP)
    assert [(answer.host, answer.count) for answer in shared.answers] == [("server", 4)]


@pytest.mark.parametrize("target", ["10.0.2.2", "fd00:2::2"])
@pytest.mark.parametrize("payload", [b"", b"short", b"x" * 4000], ids=["empty", "short", "fragments"])
def test_any_payload_is_known_again_behind_nat(net: Routed, target: str, payload: bytes) -> None:
    """Without any payload, with a word, and in fragments, of which only the first has ports."""
    check_alone(journey := net.client.trace(target, payload=payload, **UDP))
    pieces = [step for step in journey.steps if "fragments" in step.verdict]
    assert bool(pieces) == (len(payload) > 1500)
    if pieces:
        assert "in 3 fragments" in pieces[0].verdict
        assert ("router", "eth1") in {(step.host, step.interface) for step in pieces}
        sizes = [
            len(packet.data) for packet in journey.packets if (packet.host, packet.interface) == ("server", "eth0")
        ]
        assert sum(size > 1000 for size in sizes) >= 3


def test_a_large_echo_is_one_packet_in_fragments(net: Routed) -> None:
    """An echo request larger than the MTU is one packet of the journey, and its answer too."""
    journey = net.client.trace("10.0.2.2", protocol="icmp", payload=b"x" * 4000)
    assert journey.ok, journey
    assert {step.packet for step in journey.steps} == {"echo request", "echo reply"}
    assert any("in 3 fragments" in step.verdict for step in journey.steps)


def test_a_dropped_fragment_is_named(net: Routed) -> None:
    """Where a rule drops the later fragments, they are what was lost, and the first one is not delivered."""
    whole = net.client.trace("10.0.2.2", payload=b"x" * 4000, **UDP)
    assert whole.ok, whole
    net.server.iptables("-t", "raw", "-A", "PREROUTING", "-f", "-j", "DROP")
    journey = net.client.trace("10.0.2.2", payload=b"x" * 4000, timeout=0.3, **UDP)
    assert journey.drop is not None, journey
    assert (journey.drop.kind, journey.drop.host, journey.drop.packet) == ("rule", "server", "datagram, fragment 2")
    assert "-f -j DROP" in journey.drop.reason
    assert not any(step.kind == "socket" for step in journey.steps)
    assert not any(message.arrived for message in journey.messages)
    assert len(set(journey.packets)) == len(journey.packets)
