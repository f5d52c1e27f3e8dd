"""Faults on the way over a router, one each, and what a journey must say of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from journey_labs import Routed

SERVER, SERVER6 = "10.0.2.2", "fd00:2::2"
TCP: dict[str, Any] = {"port": 80}
UDP: dict[str, Any] = {"port": 53, "protocol": "udp"}
ICMP: dict[str, Any] = {"protocol": "icmp"}
TO_SERVER, PING6 = (SERVER, TCP), (SERVER6, ICMP)
#: Seconds to wait for an answer that does not come.
WAIT = 0.2


@dataclass(frozen=True)
class Case:
    """A fault: what it does to the lab, what is sent, and the drop that must be named.

    ``arrives`` is what is sent in the control, before the fault is made; None for the same as with the fault.
    """

    name: str
    kind: str
    host: str
    reason: str
    fault: Callable[[Routed], object] = lambda _: None
    target: str = SERVER
    sent: dict[str, Any] = field(default_factory=lambda: TCP)
    arrives: tuple[str, dict[str, Any]] | None = None
    leg: str = "request"

    def __str__(self) -> str:
        """Name the test."""
        return self.name


def _drop_rule(net: Routed) -> object:
    return net.router.iptables("-A", "FORWARD", "-p", "tcp", "--dport", "80", "-j", "DROP")


def _drop_rule6(net: Routed) -> object:
    return net.router.ip6tables("-A", "FORWARD", "-p", "tcp", "--dport", "80", "-j", "DROP")


def _nft(rule: str) -> Callable[[Routed], object]:
    text = "table inet guard { chain pass { type filter hook forward priority 0; policy accept; %s; }; }"
    return lambda net: net.router.nft(text % rule)


def _at_device(family: str, hook: str, device: str) -> Callable[[Routed], object]:
    """Write a rule that reads packets at an interface: before all other rules, or behind them."""
    chain = f'chain gate {{ type filter hook {hook} device "{device}" priority 0; tcp dport 80 counter drop; }}'
    return lambda net: net.router.nft(f"table {family} guard {{ {chain}; }}")


def _filter(host: str, *rule: str) -> Callable[[Routed], object]:
    return lambda net: net.lab.host(host).iptables(*rule)


def _route(host: str, kind: str) -> Callable[[Routed], object]:
    return lambda net: net.lab.host(host).add_route(f"{SERVER}/32", kind=kind)


def _sysctl(host: str, key: str, value: int) -> Callable[[Routed], object]:
    return lambda net: net.lab.host(host).sysctl.__setitem__(key, value)


def _down(host: str, interface: str) -> Callable[[Routed], object]:
    return lambda net: net.lab.host(host).set_link(interface, up=False)


def _mtu(host: str, size: int) -> Callable[[Routed], object]:
    return lambda net: net.lab.host(host).set_link({"router": "eth1", "server": "eth0"}[host], mtu=size)


def _asymmetric(net: Routed) -> None:
    """Have the router expect 172.16.0.0/16 on the other side, and check it."""
    net.client.add_address("eth0", "172.16.0.1/32")
    net.router.add_route("172.16.0.0/16", via=SERVER)
    net.router.sysctl["net.ipv4.conf.eth0.rp_filter"] = 1


def _other_way_back(net: Routed) -> None:
    """Have the server answer the client by another cable than the one by which it asks, and check that strictly."""
    other = net.lab.add_host("other")
    net.lab.connect(other, net.server, "10.0.9.1/24", "10.0.9.2/24")
    net.server.add_route("10.0.1.0/24", via="10.0.9.1")
    net.server.sysctl["net.ipv4.conf.eth0.rp_filter"] = 1


def _no_way_back_checked(net: Routed) -> None:
    _no_way_back(net)
    net.server.sysctl["net.ipv4.conf.eth0.rp_filter"] = 2


def _elsewhere(net: Routed) -> None:
    net.server.set_link("lo", up=True)
    net.servers.append(net.server.serve(82, address="127.0.0.1"))


def _lost_gateway(net: Routed) -> None:
    net.server.remove_route("default", via="10.0.2.1")
    net.server.add_route("default", via="10.0.2.77")


def _no_way_back(net: Routed) -> None:
    net.server.remove_route("default", via="10.0.2.1")


BIG = {"payload": b"x" * 1450, "protocol": "icmp"}
CASES = [
    Case("rule", "rule", "router", "--dport 80 -j DROP", _drop_rule),
    Case("rule-ipv6", "rule", "router", "--dport 80 -j DROP", _drop_rule6, SERVER6),
    Case("rule-nft", "rule", "router", "drop", _nft("ip daddr 10.0.2.2 counter drop"), sent=ICMP),
    Case(
        "rule-output", "rule", "client", "filter OUTPUT", _filter("client", "-A", "OUTPUT", "-p", "tcp", "-j", "DROP")
    ),
    Case(
        "rule-udp",
        "rule",
        "client",
        "filter OUTPUT",
        _filter("client", "-A", "OUTPUT", "-p", "udp", "-j", "DROP"),
        sent=UDP,
    ),
    Case("reject", "reject", "server", "-j REJECT", _filter("server", "-A", "INPUT", "-p", "tcp", "-j", "REJECT")),
    Case("reject-nft", "reject", "router", "reject", _nft("udp dport 53 reject"), sent=UDP),
    Case("rule-ingress", "rule", "router", "rule 1 of netdev guard gate", _at_device("netdev", "ingress", "eth0")),
    Case("rule-ingress-inet", "rule", "router", "rule 1 of inet guard gate", _at_device("inet", "ingress", "eth0")),
    Case("rule-egress", "rule", "router", "rule 1 of netdev guard gate", _at_device("netdev", "egress", "eth1")),
    Case("policy", "policy", "router", "policy of filter FORWARD", _filter("router", "-P", "FORWARD", "DROP")),
    Case("no-route", "no-route", "router", "no route to 10.9.9.9 in router", target="10.9.9.9", arrives=TO_SERVER),
    Case("no-route-ipv6", "no-route", "router", "no route to fd09::9", target="fd09::9", sent=ICMP, arrives=PING6),
    Case(
        "no-route-client",
        "no-route",
        "client",
        f"no route to {SERVER} in client",
        lambda net: net.client.remove_route("default", via="10.0.1.1"),
    ),
    Case("blackhole", "blackhole", "router", "blackhole 10.0.2.2/32", _route("router", "blackhole")),
    Case("blackhole-client", "blackhole", "client", "blackhole 10.0.2.2/32", _route("client", "blackhole")),
    Case("unreachable", "unreachable", "router", "unreachable 10.0.2.2/32", _route("router", "unreachable")),
    Case("prohibit", "prohibit", "router", "prohibit 10.0.2.2/32", _route("router", "prohibit")),
    Case(
        "rp-filter",
        "rp-filter",
        "router",
        "rp_filter on eth0",
        _asymmetric,
        sent={"port": 80, "source": "172.16.0.1"},
        arrives=TO_SERVER,
    ),
    *(
        Case(
            f"rp-filter-at-the-end-{name}",
            "rp-filter",
            "server",
            "rp_filter on eth0 of server: the way back to 10.0.1.2 is by eth1",
            _other_way_back,
            sent=sent,
        )
        for name, sent in (("tcp", TCP), ("udp", UDP), ("icmp", ICMP))
    ),
    Case(
        "rp-filter-loose",
        "rp-filter",
        "server",
        "rp_filter on eth0 of server: there is no way back to 10.0.1.2",
        _no_way_back_checked,
    ),
    Case(
        "martian",
        "martian",
        "router",
        "10.0.2.1",
        lambda net: net.client.add_address("eth0", "10.0.2.1/32"),
        sent={"port": 80, "source": "10.0.2.1"},
        arrives=TO_SERVER,
    ),
    Case(
        "martian-destination",
        "martian",
        "router",
        "martian destination: 127.0.0.1",
        target="127.0.0.1",
        arrives=TO_SERVER,
    ),
    Case(
        "loopback-down",
        "interface-down",
        "client",
        "interface down: lo of client",
        _down("client", "lo"),
        target="10.0.1.2",
        sent=ICMP,
        arrives=TO_SERVER,
    ),
    Case("no-listener", "no-listener", "server", "RST from server", sent={"port": 81}, arrives=TO_SERVER),
    Case(
        "no-listener-udp",
        "no-listener",
        "server",
        "ICMP port unreachable from server",
        sent={"port": 54, "protocol": "udp"},
        arrives=(SERVER, UDP),
    ),
    Case(
        "listener-address",
        "listener-address",
        "server",
        "127.0.0.1:82",
        _elsewhere,
        sent={"port": 82},
        arrives=TO_SERVER,
    ),
    Case("neighbour", "neighbour", "router", "10.0.2.9 did not answer ARP", target="10.0.2.9", arrives=TO_SERVER),
    Case(
        "neighbour-ipv6",
        "neighbour",
        "router",
        "fd00:2::9 did not answer NDP",
        target="fd00:2::9",
        sent=ICMP,
        arrives=PING6,
    ),
    Case(
        "neighbour-client", "neighbour", "client", "10.0.1.9 did not answer ARP", target="10.0.1.9", arrives=TO_SERVER
    ),
    Case(
        "too-big", "too-big", "router", "too big for eth1 of router (MTU 1400), DF set", _mtu("router", 1400), sent=BIG
    ),
    Case(
        "too-big-ipv6", "too-big", "router", "MTU 1400", _mtu("router", 1400), SERVER6, {**BIG, "payload": b"x" * 1440}
    ),
    Case("too-big-peer", "too-big", "server", "MTU 1300", _mtu("server", 1300), sent=BIG),
    Case("ttl", "ttl", "router", "TTL reached 0 in router", _sysctl("client", "net.ipv4.ip_default_ttl", 1)),
    Case(
        "ttl-ipv6",
        "ttl",
        "router",
        "TTL reached 0",
        _sysctl("client", "net.ipv6.conf.eth0.hop_limit", 1),
        SERVER6,
        ICMP,
    ),
    Case("down-own", "interface-down", "client", "eth0 of client", _down("client", "eth0")),
    Case("down-peer", "interface-down", "router", "eth0 of router", _down("router", "eth0")),
    Case("down-middle", "interface-down", "router", "eth1 of router", _down("router", "eth1")),
    Case("down-far", "interface-down", "server", "eth0 of server", _down("server", "eth0")),
    Case(
        "ip-forward", "ip-forward", "router", "ip_forward is 0 in router", _sysctl("router", "net.ipv4.ip_forward", 0)
    ),
    Case(
        "ip-forward-ipv6",
        "ip-forward",
        "router",
        "forwarding is 0",
        _sysctl("router", "net.ipv6.conf.all.forwarding", 0),
        SERVER6,
    ),
    Case(
        "wrong-mac",
        "wrong-mac",
        "router",
        "02:00:00:00:00:99",
        lambda net: net.client.add_neighbour("eth0", "10.0.1.1", "02:00:00:00:00:99"),
    ),
    Case("reply-no-route", "no-route", "server", "no route to 10.0.1.2 in server", _no_way_back, leg="reply"),
    Case(
        "reply-no-route-udp",
        "no-route",
        "server",
        "no route to 10.0.1.2 in server",
        _no_way_back,
        sent=UDP,
        leg="reply",
    ),
    Case("reply-no-route-icmp", "no-route", "server", "no route to 10.0.1.2", _no_way_back, sent=ICMP, leg="reply"),
    Case(
        "reply-rule",
        "rule",
        "router",
        "-s 10.0.2.2/32 -j DROP",
        _filter("router", "-A", "FORWARD", "-s", SERVER, "-j", "DROP"),
        leg="reply",
    ),
    Case(
        "reply-output",
        "rule",
        "server",
        "filter OUTPUT",
        _filter("server", "-A", "OUTPUT", "-d", "10.0.1.2", "-j", "DROP"),
        leg="reply",
    ),
    Case(
        "reply-wrong-mac",
        "wrong-mac",
        "client",
        "02:00:00:00:00:99",
        lambda net: net.router.add_neighbour("eth0", "10.0.1.2", "02:00:00:00:00:99"),
        leg="reply",
    ),
    Case("reply-neighbour", "neighbour", "server", "10.0.2.77 did not answer ARP", _lost_gateway, leg="reply"),
]
