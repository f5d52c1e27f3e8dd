"""Traces beside other traffic and beside each other; what they say of a connection; what they leave behind."""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING, Any

import pytest
from journey_labs import bridged, routed, tunnelled

from netlab import InvalidInputError, KernelError, NotFoundError
from netlab.journey import probe
from netlab.journey.probe import Prober

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netlab import Host, Lab
    from netlab.journey.values import Journey

pytestmark = pytest.mark.kernel

#: Opens connections to one server, some 200 a second, until it is ended.
NOISE = """
import socket, sys, time
print("going", flush=True)
while True:
    began = time.monotonic()
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2) as sock:
        sock.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        sock.recv(4096)
    time.sleep(max(0.005 - (time.monotonic() - began), 0))
"""


def test_a_plain_journey(lab: Lab) -> None:
    """A connection over a router: path, interfaces, steps in order, TTL and MAC before and after, who answered."""
    net = routed(lab)
    journey = net.client.trace("10.0.2.2", 80)
    assert journey.ok
    assert journey.path == ("client", "router", "server")
    assert journey.way_back == ("server", "router", "client")
    assert journey.interfaces == ("client/eth0", "router/eth0", "router/eth1", "server/eth0")
    assert [step.number for step in journey.steps] == list(range(1, len(journey.steps) + 1))
    request = [step for step in journey.steps if step.leg == "request"]
    assert [step.offset_ns for step in request] == sorted(step.offset_ns for step in request)
    out = next(step for step in request if (step.host, step.interface) == ("router", "eth1"))
    assert out.before is not None
    assert out.after is not None
    assert (out.before.ttl, out.after.ttl) == (64, 63)
    assert out.after.source_mac == net.router.state().interface("eth1").mac != out.before.source_mac
    route = next(step for step in request if step.host == "router" and step.kind == "route")
    assert (route.rule, route.verdict, route.observed) == ("10.0.2.0/24 dev eth1 src 10.0.2.1", "forward", True)
    assert request[-1].kind == "socket"
    assert ":80" in request[-1].rule
    assert journey.answers[0].host == "server"
    assert '"server": "server"' in journey.reply
    assert journey.error == ""


@pytest.mark.parametrize("target", ["10.0.2.2", "127.0.0.1", "::1"])
def test_a_host_talks_to_itself(lab: Lab, target: str) -> None:
    """By its loopback: no cable is met, and the route is the one to itself."""
    net = routed(lab)
    net.server.set_link("lo", up=True)
    journey = net.server.trace(target, 80)
    assert journey.ok, journey
    assert journey.path == journey.way_back == ("server",)
    assert set(journey.interfaces) == {"server/lo"}
    route = next(step for step in journey.steps if step.kind == "route")
    assert (route.verdict, route.observed) == ("for this host", True)


def test_handshake_and_data_are_told_apart(lab: Lab) -> None:
    """The packets of a connection are named in order; each was sent once and arrived."""
    net = routed(lab)
    journey = net.client.trace("10.0.2.2", 80)
    names = [(message.leg, message.packet.split()[0]) for message in journey.messages]
    assert names[:4] == [("request", "SYN"), ("reply", "SYN-ACK"), ("request", "ACK"), ("request", "data")]
    assert ("reply", "data") in names
    assert all(message.arrived and message.attempt == 1 for message in journey.messages)


def test_retransmissions_are_counted_as_attempts(lab: Lab) -> None:
    """A SYN that is dropped comes again after a second: a second attempt of the same packet."""
    net = routed(lab)
    net.server.iptables("-A", "INPUT", "-p", "tcp", "--dport", "80", "-j", "DROP")
    journey = net.client.trace("10.0.2.2", 80, timeout=1.3)
    assert [(message.packet, message.attempt, message.arrived) for message in journey.messages] == [
        ("SYN", 1, False),
        ("SYN", 2, False),
    ]
    assert 0.9e9 < journey.messages[1].offset_ns < 1.2e9
    assert "the request was sent 2 times" in journey.notes[0]


def test_data_that_is_too_big_is_found_after_the_handshake(lab: Lab) -> None:
    """A black hole for large packets: the connection opens, and the first data is lost on the way."""
    net = routed(lab)
    net.router.set_link("eth1", mtu=1300)
    # The router would say so; it is not allowed to, as behind many a careless firewall.
    net.router.iptables("-A", "OUTPUT", "-p", "icmp", "-j", "DROP")
    journey = net.client.trace("10.0.2.2", 80, payload=b"GET /" + b"x" * 1400, timeout=0.6)
    assert not journey.ok
    assert journey.drop is not None, journey
    assert (journey.drop.kind, journey.drop.host) == ("too-big", "router"), journey
    assert journey.drop.packet.startswith("data")
    assert [step.packet for step in journey.steps if step.kind == "socket"] == ["SYN", "SYN-ACK"]


def test_segments_that_are_joined_on_the_way_arrive(lab: Lab) -> None:
    """Data larger than a tunnel takes: refused once, sent again in segments, which the kernel joins; all of it came."""
    net = tunnelled(lab)
    for node in net.nodes:
        node.set_link("eth0", mtu=1400)
    payload = b"GET / HTTP/1.0\r\nX: " + b"x" * 3000 + b"\r\n\r\n"
    journey = net.pods[0].trace("10.244.2.2", 80, payload=payload)
    assert journey.ok, journey
    sent = [message for message in journey.messages if message.leg == "request" and message.packet.startswith("data")]
    assert (sent[0].attempt, sent[0].arrived, sent[0].hosts) == (1, False, ("pod-1", "node-1"))
    assert len(sent) > 1
    # Of what is sent again once more, since segments overtook each other, the last one counts.
    assert all(message.arrived for message in {message.packet: message for message in sent}.values())
    assert any("fragmentation needed" in message.packet for message in journey.messages)


def test_a_loop_ends_with_its_ttl(lab: Lab) -> None:
    """Two routers that send a packet to each other: each round is a step, and the end is named."""
    net = routed(lab)
    net.router.add_route("10.9.0.0/16", via="10.0.2.2")
    net.server.sysctl["net.ipv4.ip_forward"] = 1
    for host in (net.router, net.server):
        for name in ("all", "eth0", "eth1") if host is net.router else ("all", "eth0"):
            host.sysctl[f"net.ipv4.conf.{name}.send_redirects"] = 0
    net.client.sysctl["net.ipv4.ip_default_ttl"] = 5
    journey = net.client.trace("10.9.0.9", 80, timeout=0.3)
    assert journey.drop is not None
    assert journey.drop.kind == "ttl", journey
    ttls = [step.after.ttl for step in journey.steps if step.leg == "request" and step.kind == "in" and step.after]
    assert ttls == [5, 4, 3, 2, 1]


def test_count_shows_who_answers(lab: Lab) -> None:
    """Ten connections through a rule that shares them out: every one is counted, and by the one who took it."""
    net = routed(lab)
    other = lab.add_host("other")
    lab.connect(net.router, other, "10.0.3.1/24", "10.0.3.2/24")
    other.add_route("default", via="10.0.3.1")
    net.servers.append(other.serve(80))
    share = ("-m", "statistic", "--mode", "nth", "--every", "2", "--packet", "0")
    for words, target in ((share, "10.0.2.2:80"), ((), "10.0.3.2:80")):
        rule = ("-d", "10.96.0.10", "-p", "tcp", *words, "-j", "DNAT", "--to-destination", target)
        net.router.iptables("-t", "nat", "-A", "PREROUTING", *rule)
    journey = net.client.trace("10.96.0.10", 80, count=10)
    assert journey.ok
    assert {answer.host: answer.count for answer in journey.answers} == {"server": 5, "other": 5}
    assert "answered 5 times: other (10.0.3.2:80)" in str(journey)


@pytest.fixture
def noisy(lab: Lab) -> Iterator[Any]:
    """Return the routed lab with some 200 connections a second between its ends, on two ports."""
    net = routed(lab)
    net.router.iptables("-A", "FORWARD", "-p", "tcp", "-j", "ACCEPT")
    net.servers.append(net.server.serve(81))
    import sys  # noqa: PLC0415

    noise = [net.client.popen(sys.executable, "-I", "-S", "-c", NOISE, "10.0.2.2", port) for port in ("80", "81")]
    for each in noise:
        assert each.stdout is not None
        assert each.stdout.readline() == b"going\n"
    yield net
    for each in noise:
        each.close()


def test_noise_does_not_get_in(noisy: Any) -> None:
    """Beside 200 connections a second over the same rule and port, the journey is the same as alone."""
    journey = noisy.client.trace("10.0.2.2", 80)
    assert journey.ok, journey
    assert journey.path == ("client", "router", "server")
    ports = {step.after.source_port for step in journey.steps if step.leg == "request" and step.after}
    assert len(ports) == 1
    flows = {
        frozenset((packet.layers["TCP"].sport, packet.layers["TCP"].dport))
        for packet in journey.packets
        if "TCP" in packet
    }
    assert flows == {frozenset((ports.pop(), 80))}
    assert [step.chain for step in journey.rules("router")] == ["FORWARD", "FORWARD"]


def test_a_connection_is_known_where_its_numbers_cannot_be_chosen(noisy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the right to choose the first sequence number, its SYN tells it, beside noise and NAT."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(probe, "choose_sequence", refuse)
    noisy.router.iptables("-t", "nat", "-A", "POSTROUTING", "-o", "eth1", "-j", "MASQUERADE")
    journey = noisy.client.trace("10.0.2.2", 80)
    assert journey.ok, journey
    assert [(each.host, each.kind) for each in journey.nat] == [("router", "MASQUERADE"), ("router", "un-NAT")]
    assert journey.messages[0].packet == "SYN"
    assert all(message.attempt == 1 for message in journey.messages)
    noisy.router.iptables("-I", "FORWARD", "-p", "tcp", "--dport", "82", "-j", "DROP")
    dropped = noisy.client.trace("10.0.2.2", 82, timeout=0.3).drop
    assert dropped is not None
    assert (dropped.kind, dropped.host) == ("rule", "router")


def test_what_an_earlier_trace_left_does_not_get_in(lab: Lab) -> None:
    """A connection whose data was lost sends it again, and its end, while the next ones are traced."""
    net = routed(lab)
    rule = ("FORWARD", "-p", "tcp", "--dport", "80", "-m", "length", "--length", "80:", "-j", "DROP")
    net.router.iptables("-A", *rule)
    lost = net.client.trace("10.0.2.2", 80, timeout=0.25)
    assert lost.drop is not None
    assert lost.drop.packet.startswith("data")
    net.router.iptables("-D", *rule)
    for _ in range(3):
        journey = net.client.trace("10.0.2.2", 80)
        assert journey.ok, journey
        assert all(message.attempt == 1 and message.arrived for message in journey.messages)
        assert len({packet.layers["TCP"].sport for packet in journey.packets if "TCP" in packet}) == 2


def test_two_traces_at_once(lab: Lab) -> None:
    """Each has its own packets, and neither sees the other's; both tables are gone at the end."""
    net = routed(lab)
    net.router.iptables("-A", "FORWARD", "-p", "tcp", "-j", "ACCEPT")
    net.router.iptables("-A", "FORWARD", "-p", "icmp", "-j", "DROP")
    found: dict[str, list[Journey]] = {"tcp": [], "udp": [], "icmp": []}
    sent: dict[str, dict[str, Any]] = {
        "tcp": {"port": 80},
        "udp": {"port": 53, "protocol": "udp", "payload": "the same"},
        "icmp": {"protocol": "icmp", "timeout": 0.3},
    }
    threads = [
        threading.Thread(target=lambda name=name: found[name].append(net.client.trace("10.0.2.2", **sent[name])))
        for name in sent
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = {"tcp": {"SYN", "SYN-ACK"}, "udp": {"datagram"}, "icmp": {"echo request"}}
    for protocol, journeys in found.items():
        assert len(journeys) == 2
        for journey in journeys:
            assert journey.ok == (protocol != "icmp"), journey
            assert {step.packet for step in journey.steps} == names[protocol]
            assert all(message.attempt == 1 for message in journey.messages)
            assert len({step.after.flow for step in journey.steps if step.after}) == (1 if protocol == "icmp" else 2)
    assert all(journey.drop is not None for journey in found["icmp"])
    assert leftovers(net.router) == []


def leftovers(host: Host) -> list[str]:
    """Return the tables of ours in a host, as nft itself lists them."""
    return [
        line for line in host.run("nft", "list", "tables", check=True).stdout.splitlines() if "netlab-trace" in line
    ]


def test_nothing_is_left_after_an_exception(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong while the packet is out, the tables, sockets and threads of the trace are gone."""
    net = routed(lab)
    net.router.iptables("-A", "FORWARD", "-j", "ACCEPT")
    during: list[str] = []

    def fail(*_: object) -> None:
        during.extend(leftovers(net.router))
        raise KeyboardInterrupt

    monkeypatch.setattr(Prober, "send", fail)
    with pytest.raises(KeyboardInterrupt):
        net.client.trace("10.0.2.2", 80)
    assert len(during) == 1
    assert leftovers(net.router) == []
    assert not [thread for thread in threading.enumerate() if thread.name == "wiretap"]


def test_a_trace_does_not_show_in_snapshots(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a trace is under way, a snapshot has the reader's rules and none of ours."""
    net = routed(lab)
    net.router.iptables("-A", "FORWARD", "-j", "ACCEPT")
    before = net.router.state().rules
    during: list[Any] = []
    original = Prober.send

    def look(self: Prober, *arguments: Any) -> Any:
        during.extend(net.router.state().rules)
        return original(self, *arguments)

    monkeypatch.setattr(Prober, "send", look)
    assert net.client.trace("10.0.2.2", 80).ok
    assert [(rule.table, rule.text) for rule in during] == [(rule.table, rule.text) for rule in before]


def test_legacy_rules_are_told_of(lab: Lab) -> None:
    """The kernel does not report rules of legacy iptables; a journey through such a host says so."""
    net = routed(lab)
    made = net.router.run("iptables-legacy", "-A", "FORWARD", "-p", "tcp", "-j", "ACCEPT")
    if not made.ok:
        pytest.skip(f"iptables-legacy: {made.stderr.strip()}")
    journey = net.client.trace("10.0.2.2", 80)
    assert journey.ok
    assert journey.legacy == ("router",)
    assert "router: rules of legacy iptables" in str(journey)
    net.router.run("iptables-legacy", "-I", "FORWARD", "-p", "tcp", "-j", "DROP", check=True)
    dropped = net.client.trace("10.0.2.2", 80, timeout=0.3).drop
    assert dropped is not None
    assert (dropped.kind, dropped.host) == ("legacy", "router")


def test_the_text_fits_a_terminal(lab: Lab) -> None:
    """No line is wider than 110 columns, whatever the rules are; the last one says what came of it."""
    net = routed(lab)
    for number in range(3):
        comment = ("-m", "comment", "--comment", f"a long word about rule {number} that nobody needs to read in full")
        net.router.iptables("-A", "FORWARD", "-p", "tcp", "-s", f"10.{number}.1.0/24", *comment, "-j", "ACCEPT")
    text = str(net.client.trace("10.0.2.2", 80))
    assert max(map(len, text.splitlines())) <= 110
    assert text.splitlines()[-1] == "✓ an answer came back to client"
    assert "# a long word about rule 0" in " ".join(text.split())


def test_a_bridge_rule_stands_between_its_ports(lab: Lab) -> None:
    """A rule of nftables' bridge family is a step between the two ports that the frame passed."""
    net = bridged(lab)
    net.switch.nft("table bridge guard { chain pass { type filter hook forward priority 0; tcp dport 80 accept; }; }")
    journey = net.a.trace("10.1.0.2", 80)
    assert journey.ok, journey
    places = [step.interface or step.table for step in journey.steps if step.leg == "request" and step.host == "switch"]
    assert places == ["p1", "bridge guard", "p2"]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        (("10.0.2.2",), {}, InvalidInputError, "which tcp port"),
        (("10.0.2.2", 80), {"protocol": "icmp"}, InvalidInputError, "ICMP has no ports"),
        (("10.0.2.2", 80), {"protocol": "sctp"}, InvalidInputError, "sctp"),
        (("nobody", 80), {}, InvalidInputError, "nobody"),
        (("10.0.2.2", 80), {"timeout": 0}, InvalidInputError, "between 0 and 60"),
        (("10.0.2.2", 80), {"count": 0}, InvalidInputError, "number of packets"),
        (("10.0.2.2", 80), {"source": "fd00:1::2"}, InvalidInputError, "one family"),
        (("10.0.2.2", 80), {"source": "10.7.7.7"}, KernelError, "source must be an address of the host"),
        (("10.0.2.2", 80), {"colour": "red"}, InvalidInputError, "colour"),
    ],
)
def test_wrong_inputs_are_refused(
    lab: Lab, arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], words: str
) -> None:
    """An input that cannot be right is refused in words, before anything is sent."""
    net = routed(lab)
    with pytest.raises(error, match=words):
        net.client.trace(*arguments, **options)


def test_hosts_are_found_by_name(lab: Lab) -> None:
    """Client and destination may be named; a host of no lab is refused."""
    net = routed(lab)
    assert lab.trace("client", "server", 80).ok
    assert lab.trace(net.client, "server", protocol="icmp").ok
    with pytest.raises(NotFoundError, match="nobody"):
        lab.trace("nobody", "server", 80)
