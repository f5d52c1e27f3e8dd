from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from ipaddress import IPv4Address, ip_address, ip_interface, ip_network
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from netlab.kernel import values
from netlab.kernel.values import (
    Address,
    Connection,
    Counters,
    FdbEntry,
    FirewallRule,
    Flow,
    HostState,
    Interface,
    Neighbour,
    NextHop,
    Peer,
    Route,
    Snapshot,
    Socket,
)


def complete(kind: Any, **given: Any) -> st.SearchStrategy[Any]:
    """Return a strategy that also fills the fields that have defaults."""
    return st.builds(kind, **({field.name: ... for field in fields(kind)} | given))


for kind in vars(values).values():
    if is_dataclass(kind):
        st.register_type_strategy(kind, complete(kind))  # type: ignore[arg-type] # a class, not an instance
# Few names, so that two snapshots often have a host in common.
states = complete(values.HostState, name=st.sampled_from(["red", "blue"]))
hosts = st.lists(states, max_size=2, unique_by=lambda host: host.name).map(tuple)
snapshots = complete(Snapshot, time=st.floats(0, 4e9), hosts=hosts)
# No database: the checkout may not be ours to write in.
generous = settings(
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    max_examples=40,
    deadline=None,
)

LO = Interface(1, "lo", "loopback", up=False, carrier=True, state="DOWN", mtu=65536)
ETH0 = Interface(
    2,
    "eth0",
    "veth",
    up=True,
    carrier=True,
    state="UP",
    mtu=1500,
    mac="0a:00:00:00:00:01",
    peer=Peer("blue", "eth0", 3),
)
DEFAULT = Route(ip_network("0.0.0.0/0"), (NextHop(ip_address("10.0.0.1"), "eth0"),))
RED = HostState(
    "red",
    5,
    interfaces=(LO, ETH0),
    addresses=(Address("eth0", ip_interface("10.0.0.2/24")),),
    routes=(DEFAULT, Route(ip_network("10.0.0.0/24"), (NextHop(None, "eth0"),), protocol="kernel", scope="link")),
    neighbours=(Neighbour("eth0", ip_address("10.0.0.1"), "0a:00:00:00:00:02", "REACHABLE"),),
    fdb=(FdbEntry("eth0", "0a:00:00:00:00:09", master="br0"),),
    sockets=(Socket("tcp", "LISTEN", ip_address("::"), 80, process="nginx", pid=7),),
    rules=(
        FirewallRule("iptables", "ip", "filter", "INPUT", 0, "", policy="ACCEPT", packets=3),
        FirewallRule("iptables", "ip", "filter", "INPUT", 1, "-i lo -j ACCEPT", packets=1),
        FirewallRule("iptables", "ip", "filter", "INPUT", 2, "-p udp -j DROP", packets=0),
    ),
    connections=(
        Connection(
            "tcp",
            Flow(IPv4Address("10.0.0.2"), IPv4Address("10.0.0.1"), 4000, 80),
            Flow(IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"), 80, 4000),
            "ESTABLISHED",
            timeout=100,
        ),
    ),
    sysctls=(("net.ipv4.ip_forward", "0"),),
)


def lab(*hosts: HostState) -> Snapshot:
    """Return a snapshot of these hosts."""
    return Snapshot("two-hosts", 1.0, hosts)


def lines(old: HostState, new: HostState) -> list[str]:
    """Return the difference of two states of a host, as its lines."""
    return str(lab(new) - lab(old)).splitlines()


def eth0(**changes: Any) -> HostState:
    """Return the host with another eth0."""
    return replace(RED, interfaces=(LO, replace(ETH0, **changes)))


@generous
@given(snapshots)
def test_nothing_differs_from_itself(snapshot: Snapshot) -> None:
    """Old minus old is empty and false, whatever is in it, and says nothing."""
    assert not snapshot - snapshot
    assert str(snapshot - snapshot) == ""


@generous
@given(snapshots, snapshots)
def test_the_way_back_is_the_reverse(old: Snapshot, new: Snapshot) -> None:
    """What appears one way vanishes the other way, and nothing else changes as often."""
    there, back = new - old, old - new
    swap = {"added": "removed", "removed": "added", "changed": "changed"}
    hosts = {host.name for host in old.hosts} & {host.name for host in new.hosts}
    assert sorted((swap[c.kind], c.host, c.what) for c in there) == sorted((c.kind, c.host, c.what) for c in back)
    assert all(change.host in hosts or change.what == "host" for change in there)


@generous
@given(snapshots, snapshots)
def test_applied_to_the_old_names_it_gives_the_new_ones(old: Snapshot, new: Snapshot) -> None:
    """The hosts that appeared and vanished are exactly those that make the old set of names the new one."""
    names = {host.name for host in old.hosts}
    for change in new - old:
        if change.what == "host" and change.kind == "added":
            names.add(change.name)
        if change.what == "host" and change.kind == "removed":
            names.remove(change.name)
    assert names == {host.name for host in new.hosts}


@generous
@given(snapshots)
def test_any_snapshot_can_be_printed(snapshot: Snapshot) -> None:
    """Text comes for whatever the types allow, and names every host."""
    text = str(snapshot)
    assert all(host.name in text for host in snapshot.hosts)


def test_counters_and_timeouts_are_no_changes() -> None:
    """Traffic alone changes nothing that counts."""
    busy = replace(
        RED,
        interfaces=(LO, replace(ETH0, counters=Counters(9, 900))),
        rules=tuple(replace(rule, packets=99, bytes=9900, handle=4) for rule in RED.rules),
        connections=tuple(replace(connection, timeout=5) for connection in RED.connections),
    )
    assert busy != RED
    assert not lab(busy) - lab(RED)


def test_the_kernels_own_local_routes_are_no_changes() -> None:
    """Each address brings local and broadcast routes; the address already says it."""
    route = Route(ip_network("10.0.0.2/32"), (NextHop(None, "eth0"),), "local", "local", "kernel")
    assert not lab(replace(RED, routes=(*RED.routes, route))) - lab(RED)
    assert len(lab(replace(RED, routes=(*RED.routes, replace(route, protocol="static")))) - lab(RED)) == 1


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (eth0(up=False, carrier=False, state="DOWN"), "red: eth0 went down"),
        (eth0(carrier=False, state="LOWERLAYERDOWN"), "red: eth0 lost its carrier"),
        (eth0(mtu=1400), "red: MTU of eth0 changed from 1500 to 1400"),
        (
            eth0(master="br0", mtu=1400),
            "red: MTU of eth0 changed from 1500 to 1400; master of eth0 changed from nothing to br0",
        ),
        (eth0(details=(("id", "42"),)), "red: id of eth0 changed from nothing to 42"),
        (replace(RED, addresses=()), "red: the address 10.0.0.2/24 vanished from eth0"),
        (replace(RED, routes=RED.routes[1:]), "red: route default via 10.0.0.1 dev eth0 vanished"),
        (
            replace(RED, routes=(replace(DEFAULT, hops=(NextHop(ip_address("10.0.0.9"), "eth0"),)), RED.routes[1])),
            "red: route default via 10.0.0.1 dev eth0 became default via 10.0.0.9 dev eth0",
        ),
        (
            replace(RED, neighbours=(replace(RED.neighbours[0], state="STALE"),)),
            "red: state of neighbour 10.0.0.1 on eth0 changed from REACHABLE to STALE",
        ),
        (replace(RED, fdb=()), "red: FDB entry 0a:00:00:00:00:09 vanished from eth0"),
        (replace(RED, sockets=()), "red: socket tcp [::]:80 (LISTEN) vanished"),
        (
            replace(RED, rules=(replace(RED.rules[0], policy="DROP"), *RED.rules[1:])),
            "red: policy of the chain iptables filter INPUT changed from ACCEPT to DROP",
        ),
        (
            replace(RED, connections=(replace(RED.connections[0], state="TIME_WAIT"),)),
            "red: state of connection tcp 10.0.0.2:4000 to 10.0.0.1:80 changed from ESTABLISHED to TIME_WAIT",
        ),
        (
            replace(RED, sysctls=(("net.ipv4.ip_forward", "1"),)),
            "red: value of sysctl net.ipv4.ip_forward changed from 0 to 1",
        ),
        (replace(RED, inode=6), "red: the host was made anew"),
    ],
)
def test_each_change_is_one_line_in_words(new: HostState, expected: str) -> None:
    """Each kind of change says what changed, where, from what, to what."""
    assert lines(RED, new) == [expected]


def test_a_rename_is_one_change() -> None:
    """Addresses, routes and neighbours go along with a renamed interface and do not change."""
    renamed = replace(
        RED,
        interfaces=(LO, replace(ETH0, name="wan")),
        addresses=(replace(RED.addresses[0], interface="wan"),),
        neighbours=(replace(RED.neighbours[0], interface="wan"),),
        fdb=(replace(RED.fdb[0], interface="wan"),),
        routes=tuple(
            replace(route, hops=tuple(replace(hop, interface="wan") for hop in route.hops)) for route in RED.routes
        ),
    )
    (change,) = lab(renamed) - lab(RED)
    assert str(change) == "red: eth0 was renamed to wan"
    assert (change.kind, change.what, change.name, change.interface) == ("changed", "interface", "wan", "wan")
    assert change.fields == (("name", "eth0", "wan"),)


def test_an_interface_made_again_is_a_new_one() -> None:
    """The same name with another index: one vanished, one appeared."""
    kinds = [change.kind for change in lab(eth0(index=9)) - lab(RED) if change.what == "interface"]
    assert kinds == ["removed", "added"]


def test_a_rule_put_first_does_not_change_those_behind_it() -> None:
    """The numbers of the others move, which is no change of theirs."""
    first = FirewallRule("iptables", "ip", "filter", "INPUT", 1, "-s 10.0.0.9 -j DROP")
    moved = (RED.rules[0], first, replace(RED.rules[1], number=2), replace(RED.rules[2], number=3))
    assert lines(RED, replace(RED, rules=moved)) == [
        "red: rule 1 of iptables filter INPUT appeared: -s 10.0.0.9 -j DROP",
    ]


def test_the_order_of_rules_counts() -> None:
    """Two rules that change places are a change: the first match decides."""
    swapped = (RED.rules[0], RED.rules[2], RED.rules[1])
    assert sorted(change.kind for change in lab(replace(RED, rules=swapped)) - lab(RED)) == ["added", "removed"]


def test_a_new_host_is_one_change() -> None:
    """Its contents are new with it, and are not listed one by one."""
    assert str(lab(RED, replace(RED, name="blue")) - lab(RED)) == "blue: the host appeared"
    assert str(lab() - lab(RED)) == "red: the host vanished"


def test_a_snapshot_reads_like_iproute2() -> None:
    """The text has every part of a host, in the words of the tools."""
    text = str(lab(RED)).splitlines()
    assert text[0] == "lab two-hosts, 1 host, 1970-01-01 00:00:01 UTC"
    assert "  2: eth0  UP  veth  mtu 1500  0a:00:00:00:00:01  peer blue:eth0" in text
    assert "       inet 10.0.0.2/24 scope global" in text
    assert "    default via 10.0.0.1 dev eth0" in text
    assert "    10.0.0.1 dev eth0 0a:00:00:00:00:02 REACHABLE" in text
    assert "    0a:00:00:00:00:09 dev eth0 master br0" in text
    assert "    tcp [::]:80 nginx (pid 7)" in text
    assert "  iptables filter INPUT:" in text
    assert "    policy ACCEPT [3 packets, 0 bytes]" in text
    assert "    tcp 10.0.0.2:4000 to 10.0.0.1:80, reply 10.0.0.1:80 to 10.0.0.2:4000 ESTABLISHED" in text
    assert "    net.ipv4.ip_forward = 0" in text


def test_what_is_switched_off_is_not_printed() -> None:
    """Details are shown as `ip -d` shows them; zero and off go without saying."""
    line = str(lab(eth0(details=(("hairpin", "off"), ("port state", "forwarding"), ("rp_filter", "0")), master="br0")))
    assert (
        "  2: eth0  UP  veth  mtu 1500  0a:00:00:00:00:01  master br0  peer blue:eth0  port state forwarding\n" in line
    )
