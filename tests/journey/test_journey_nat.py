"""Every kind of address translation is seen: what became of what, by which rule, there and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from journey_labs import Routed, bridged, routed

from netlab.kernel.chains import target_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from netlab import Lab
    from netlab.journey.values import Journey

pytestmark = pytest.mark.kernel


def kinds(journey: Journey, leg: str) -> list[tuple[str, str]]:
    """Return who translated in one direction, and how."""
    return [(each.host, each.kind) for each in journey.nat if each.leg == leg]


@pytest.mark.parametrize(
    ("words", "target"),
    [
        ('meta mark set meta mark | 0x00004000 comment "masquerade"', ""),
        ("meta mark & 0x00004000 != 0x00000000 masquerade fully-random", "MASQUERADE"),
        ('-p tcp -m comment --comment "see -j DROP" -j DNAT --to-destination 10.0.2.2:80', "DNAT"),
        ('ip daddr 10.0.0.1 counter drop comment "no accept here"', "DROP"),
    ],
)
def test_a_comment_is_no_target(words: str, target: str) -> None:
    """What a rule does is read from its words, and not from what it is called."""
    assert target_of(words) == target


def test_without_nat_there_is_no_rewrite(lab: Lab) -> None:
    """Rules that translate nothing are steps, and no rewrites."""
    net = routed(lab)
    net.router.iptables("-t", "nat", "-A", "POSTROUTING", "-s", "10.9.0.0/16", "-j", "MASQUERADE")
    journey = net.client.trace("10.0.2.2", 80)
    assert journey.ok
    assert journey.nat == ()
    assert any(step.kind == "policy" and step.chain == "POSTROUTING" for step in journey.steps)


def dnat(net: Routed) -> None:
    """Write it for iptables."""
    rule = ("-d", "10.96.0.10", "-p", "tcp", "--dport", "8000", "-j", "DNAT", "--to-destination", "10.0.2.2:80")
    net.router.iptables("-t", "nat", "-A", "PREROUTING", *rule)


def dnat_nft(net: Routed) -> None:
    """Write the same for nft."""
    rule = "ip daddr 10.96.0.10 tcp dport 8000 dnat to 10.0.2.2:80"
    chain = f"chain pre {{ type nat hook prerouting priority dstnat; {rule}; }}"
    net.router.nft(f"table ip services {{ {chain}; }}")


@pytest.mark.parametrize("write", [dnat, dnat_nft])
def test_dnat_changes_the_destination_and_is_undone(lab: Lab, write: Callable[[Routed], None]) -> None:
    """The request's destination is rewritten by a rule, the reply's source back without one."""
    net = routed(lab)
    write(net)
    journey = net.client.trace("10.96.0.10", 8000)
    assert journey.ok, journey
    there, back = journey.nat
    assert (there.host, there.kind, there.leg) == ("router", "DNAT", "request")
    assert (there.before.to_text, there.after.to_text) == ("10.96.0.10:8000", "10.0.2.2:80")
    assert there.before.from_text == there.after.from_text
    assert "10.0.2.2:80" in there.rule
    assert (back.host, back.kind, back.leg) == ("router", "un-NAT", "reply")
    assert (back.before.from_text, back.after.from_text) == ("10.0.2.2:80", "10.96.0.10:8000")
    assert "answers 10.0.2.2:80" in journey.steps[back.step - 1].conntrack
    assert f"{there.before.to_text} ⇒ {there.after.to_text}" in str(journey)


@pytest.mark.parametrize(
    ("kind", "words"),
    [("MASQUERADE", ()), ("SNAT", ("--to-source", "10.0.2.77:4242"))],
)
def test_the_source_is_changed_on_the_way_out(lab: Lab, kind: str, words: tuple[str, ...]) -> None:
    """SNAT and MASQUERADE rewrite the request's source, and the reply's destination back."""
    net = routed(lab)
    net.router.add_address("eth1", "10.0.2.77/24")
    net.router.iptables("-t", "nat", "-A", "POSTROUTING", "-o", "eth1", "-p", "tcp", "-j", kind, *words)
    journey = net.client.trace("10.0.2.2", 80)
    assert journey.ok, journey
    assert kinds(journey, "request") == [("router", kind)]
    assert kinds(journey, "reply") == [("router", "un-NAT")]
    there, back = journey.nat
    expected = words[1] if words else "10.0.2.1:"
    assert there.after.from_text.startswith(expected)
    assert back.before.to_text == there.after.from_text
    assert back.after.to_text == there.before.from_text


def test_redirect_leads_to_the_router_itself(lab: Lab) -> None:
    """REDIRECT changes the destination to an address of the host that has the rule; the packet ends there."""
    net = routed(lab)
    net.servers.append(net.router.serve(8080))
    net.router.iptables(
        "-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "80", "-j", "REDIRECT", "--to-ports", "8080"
    )
    journey = net.client.trace("10.0.2.2", 80)
    assert journey.ok, journey
    assert journey.path == ("client", "router")
    there, back = journey.nat
    assert (there.kind, there.after.to_text) == ("REDIRECT", "10.0.1.1:8080")
    assert (back.before.from_text, back.after.from_text) == ("10.0.1.1:8080", "10.0.2.2:80")


def test_double_nat_changes_both_ends(lab: Lab) -> None:
    """DNAT and MASQUERADE in one host: two rewrites there, two back, in the order of the hooks."""
    net = routed(lab)
    dnat(net)
    net.router.iptables("-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE")
    journey = net.client.trace("10.96.0.10", 8000)
    assert journey.ok, journey
    assert kinds(journey, "request") == [("router", "DNAT"), ("router", "MASQUERADE")]
    assert kinds(journey, "reply") == [("router", "un-NAT"), ("router", "un-NAT")]
    end = journey.nat[-1].after
    first = journey.nat[0].before
    assert (end.from_text, end.to_text) == (first.to_text, first.from_text)


def test_ipv6_is_translated_too(lab: Lab) -> None:
    """DNAT and MASQUERADE of IPv6."""
    net = routed(lab)
    rule = ("-d", "fd00:96::10", "-p", "tcp", "--dport", "80", "-j", "DNAT", "--to-destination", "[fd00:2::2]:80")
    net.router.ip6tables("-t", "nat", "-A", "PREROUTING", *rule)
    net.router.ip6tables("-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE")
    journey = net.client.trace("fd00:96::10", 80)
    assert journey.ok, journey
    assert kinds(journey, "request") == [("router", "DNAT"), ("router", "MASQUERADE")]
    assert journey.nat[0].after.to_text == "[fd00:2::2]:80"


@pytest.mark.parametrize("protocol", ["udp", "icmp"])
def test_datagrams_and_echoes_are_translated(lab: Lab, protocol: str) -> None:
    """UDP and ICMP are known again behind a MASQUERADE, and their answers are."""
    net = routed(lab)
    net.router.iptables("-t", "nat", "-A", "POSTROUTING", "-o", "eth1", "-j", "MASQUERADE")
    port = {"port": 53} if protocol == "udp" else {}
    journey = net.client.trace("10.0.2.2", protocol=protocol, **port)
    assert journey.ok, journey
    assert kinds(journey, "request") == [("router", "MASQUERADE")]
    assert kinds(journey, "reply") == [("router", "un-NAT")]
    assert journey.way_back == ("server", "router", "client")


def test_a_hairpin_comes_back_to_its_sender(lab: Lab) -> None:
    """A pod that asks a Service and is its endpoint: out by a port of the bridge, and in again by the same one."""
    net = bridged(lab)
    node = net.switch
    node.sysctl["net.ipv4.ip_forward"] = 1
    node.add_address("br0", "10.1.0.254/24")
    net.b.add_route("default", via="10.1.0.254")
    node.set_port("p2", hairpin=True)
    rule = ("-d", "10.96.0.10", "-p", "tcp", "--dport", "80", "-j", "DNAT", "--to-destination", "10.1.0.2:80")
    node.iptables("-t", "nat", "-A", "PREROUTING", *rule)
    node.iptables("-t", "nat", "-A", "POSTROUTING", "-s", "10.1.0.2", "-d", "10.1.0.2", "-j", "MASQUERADE")
    journey = net.b.trace("10.96.0.10", 80)
    assert journey.ok, journey
    assert journey.path == ("b", "switch", "b")
    assert kinds(journey, "request") == [("switch", "DNAT"), ("switch", "MASQUERADE")]
    assert journey.interfaces[0] == journey.interfaces[-1] == "b/eth0"
    assert journey.answers[0].host == "b"


def test_the_output_hook_translates_a_hosts_own_packets(lab: Lab) -> None:
    """DNAT in OUTPUT: the host that sends is the host that translates."""
    net = routed(lab)
    rule = ("-d", "10.96.0.10", "-p", "tcp", "--dport", "80", "-j", "DNAT", "--to-destination", "10.0.2.2:80")
    net.client.iptables("-t", "nat", "-A", "OUTPUT", *rule)
    journey = net.client.trace("10.96.0.10", 80)
    assert journey.ok, journey
    assert kinds(journey, "request") == [("client", "DNAT")]
    assert kinds(journey, "reply") == [("client", "un-NAT")]
