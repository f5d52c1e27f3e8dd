from __future__ import annotations

import ipaddress
import itertools
import time
from typing import TYPE_CHECKING

import pytest
from fingerprint import settle, unchanged, until

from netlab import InvalidInputError, KernelError, Lab, NotFoundError
from netlab.errors import errno_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from netlab import Host

pytestmark = pytest.mark.kernel

Pair = tuple["Host", "Host"]


def star(lab: Lab, count: int) -> list[Host]:
    """Return hosts h1, h2, … at 10.9.0.1, 10.9.0.2, … on one bridge of a host hub."""
    hub = lab.add_host("hub")
    hub.add_bridge("br0")
    hosts = []
    for number in range(1, count + 1):
        host = lab.add_host(f"h{number}")
        lab.connect(hub, host, None, f"10.9.0.{number}/16", names=(f"p{number}", "eth0"))
        hub.add_port("br0", f"p{number}")
        hosts.append(host)
    return hosts


def mac_of(host: Host, interface: str = "eth0") -> str:
    """Return the MAC address of an interface."""
    return host.state().interface(interface).mac


def test_a_bridge_joins_five_hosts(lab: Lab) -> None:
    """Each of five hosts on one bridge reaches each other one, and the bridge learns where they are."""
    hosts = star(lab, 5)
    for one, other in itertools.combinations(range(5), 2):
        assert hosts[one].run("ping", "-c1", "-W2", f"10.9.0.{other + 1}").ok
    hub = lab.host("hub").state()
    learnt = {(entry.interface, entry.mac) for entry in hub.fdb if not entry.permanent}
    assert {(f"p{number + 1}", mac_of(host)) for number, host in enumerate(hosts)} <= learnt
    assert {hub.interface(f"p{number}").master for number in range(1, 6)} == {"br0"}
    lab.host("hub").add_address("br0", "10.9.255.1/16")
    assert hosts[0].run("ping", "-c1", "-W2", "10.9.255.1").ok


def test_a_port_taken_off_its_bridge_is_cut_off(lab: Lab) -> None:
    """`remove_port` takes a host off the network, `add_port` brings it back."""
    one, _ = star(lab, 2)
    hub = lab.host("hub")
    hub.remove_port("p2")
    assert hub.state().interface("p2").master is None
    assert not one.run("ping", "-c1", "-W1", "10.9.0.2").ok
    hub.add_port("br0", "p2")
    assert one.run("ping", "-c1", "-W2", "10.9.0.2").ok


def test_an_fdb_entry_leads_to_a_port(lab: Lab) -> None:
    """With learning and flooding off, packets go where `add_fdb` says, and nowhere once it is removed."""
    one, other = star(lab, 2)
    hub = lab.host("hub")
    for port in ("p1", "p2"):
        hub.set_port(port, learning=False, flood=False)
    one.add_neighbour("eth0", "10.9.0.2", mac_of(other))
    other.add_neighbour("eth0", "10.9.0.1", mac_of(one))
    hub.run("bridge", "fdb", "flush", "dev", "br0", "dynamic")
    assert not one.run("ping", "-c1", "-W1", "10.9.0.2").ok
    hub.add_fdb("p1", mac_of(one))
    hub.add_fdb("p2", mac_of(other))
    assert one.run("ping", "-c1", "-W2", "10.9.0.2").ok
    entry = next(entry for entry in hub.state().fdb if entry.mac == mac_of(other) and entry.interface == "p2")
    assert (entry.master, entry.destination) == ("br0", None)
    hub.remove_fdb("p2", mac_of(other))
    assert not one.run("ping", "-c1", "-W1", "10.9.0.2").ok


def test_isolated_ports_do_not_talk(lab: Lab) -> None:
    """Ports set isolated reach the bridge, and not each other; hairpin shows in the snapshot."""
    one, _ = star(lab, 2)
    hub = lab.host("hub")
    hub.set_port("p1", isolated=True)
    hub.set_port("p2", isolated=True)
    assert not one.run("ping", "-c1", "-W1", "10.9.0.2").ok
    hub.set_port("p1", hairpin=True)
    assert hub.state().interface("p1").detail("hairpin") == "on"
    with pytest.raises(InvalidInputError, match="flood, hairpin, isolated, learning"):
        hub.set_port("p1", stp=True)


def test_a_port_that_is_refused_stays_at_its_bridge(lab: Lab) -> None:
    """A port that another master refuses is still a port of its old bridge, although the kernel lets go of it first."""
    one, _ = star(lab, 2)
    hub = lab.host("hub")
    lab.connect(hub, one, names=("x0", "x0"))
    with unchanged(lab), pytest.raises(KernelError, match=r"ip -n hub link set p1 master x0: .* \(EOPNOTSUPP\)"):
        hub.add_port("x0", "p1")
    with unchanged(lab), pytest.raises(KernelError, match=r"ip -n hub link set br0 master br0: .*\(ELOOP\)"):
        hub.add_port("br0", "br0")
    assert one.run("ping", "-c1", "-W2", "10.9.0.2").ok


def routed(lab: Lab) -> tuple[Host, Host, Host]:
    """Return left, router and right; the router joins 10.1.0.0/24 and 10.2.0.0/24, fd01::/64 and fd02::/64."""
    left, router, right = (lab.add_host(name) for name in ("left", "router", "right"))
    lab.connect(left, router, ["10.1.0.2/24", "fd01::2/64"], ["10.1.0.1/24", "fd01::1/64"])
    lab.connect(right, router, ["10.2.0.2/24", "fd02::2/64"], ["10.2.0.1/24", "fd02::1/64"])
    return left, router, right


def test_a_router_forwards_when_it_is_told_to(lab: Lab) -> None:
    """With routes on both sides packets pass once forwarding is on, by IPv4 and IPv6, and not before."""
    left, router, right = routed(lab)
    left.add_route("10.2.0.0/24", via="10.1.0.1")
    right.add_route("default", via="10.2.0.1", interface="eth0")
    left.add_route("fd02::/64", via="fd01::1")
    right.add_route("default", via="fd02::1")
    assert not left.run("ping", "-c1", "-W1", "10.2.0.2").ok
    router.sysctl["net.ipv4.ip_forward"] = 1
    router.sysctl["net/ipv6/conf/all/forwarding"] = True
    assert left.run("ping", "-c1", "-W2", "10.2.0.2").ok
    assert left.run("ping", "-c1", "-W2", "fd02::2").ok
    left.remove_route("10.2.0.0/24")
    left.remove_route("fd02::/64", via="fd01::1")
    assert not left.run("ping", "-c1", "-W1", "10.2.0.2").ok


def test_routes_read_as_they_were_written(pair: Pair) -> None:
    """Source, metric, table, MTU, onlink and the kinds of a route come back from the kernel as they were asked for."""
    red, _ = pair
    red.add_address("eth0", "10.0.0.11/24")
    red.add_route("10.7.0.0/16", via="10.0.0.2", source="10.0.0.11", metric=7, mtu=1300)
    red.add_route("10.8.0.0/16", interface="eth0", table=100)
    red.add_route("10.9.0.0/16", via="192.0.2.1", interface="eth0", onlink=True, table=1000)
    red.add_route("10.10.0.0/16", kind="blackhole")
    red.add_route("fd10::/64", kind="unreachable", metric=5)
    red.add_route("10.11.0.0/16", via="fd00::2", interface="eth0")
    state = red.state()
    routes = {str(route.destination): route for route in state.routes}
    seventh = routes["10.7.0.0/16"]
    assert (str(seventh.via), seventh.interface, str(seventh.source)) == ("10.0.0.2", "eth0", "10.0.0.11")
    assert (seventh.metric, seventh.mtu, seventh.table, seventh.protocol) == (7, 1300, "main", "static")
    assert (routes["10.8.0.0/16"].table, routes["10.8.0.0/16"].scope) == ("100", "link")
    assert routes["10.9.0.0/16"].table == "1000"
    assert (routes["10.10.0.0/16"].type, routes["fd10::/64"].type) == ("blackhole", "unreachable")
    assert str(routes["10.11.0.0/16"].via) == "fd00::2"
    assert str(seventh) == "10.7.0.0/16 via 10.0.0.2 dev eth0 src 10.0.0.11 metric 7"
    assert red.state().routes_of("100") == (routes["10.8.0.0/16"],)
    red.remove_route("10.8.0.0/16", table=100)
    red.remove_route("10.10.0.0/16", kind="blackhole")
    assert not {"10.8.0.0/16", "10.10.0.0/16"} & {str(route.destination) for route in red.state().routes}


def test_a_route_can_be_replaced(pair: Pair) -> None:
    """`replace_route` changes the way of a route, or adds it where there is none."""
    red, _ = pair
    red.replace_route("10.7.0.0/16", via="10.0.0.2")
    red.replace_route("10.7.0.0/16", via="10.0.0.3")
    assert [str(route.via) for route in red.state().routes if str(route.destination) == "10.7.0.0/16"] == ["10.0.0.3"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda red: red.add_route("10.1.0.0/16", via="192.168.1.1"),
            r"^ip -n red route add 10\.1\.0\.0/16 via 192\.168\.1\.1: Nexthop .+ \(ENETUNREACH\)\. The gateway must",
        ),
        (
            lambda red: red.add_route("10.0.0.0/24", interface="eth0"),
            r"^ip -n red route add 10\.0\.0\.0/24 dev eth0: File exists \(EEXIST\)\. There is such a route already",
        ),
        (
            lambda red: red.remove_route("10.5.0.0/24"),
            r"^ip -n red route del 10\.5\.0\.0/24: .+ \(ESRCH\)\. There is no such route",
        ),
        (
            lambda red: red.add_address("eth0", "10.0.0.1/24"),
            r"^ip -n red addr add 10\.0\.0\.1/24 dev eth0: .+ \(EEXIST\)\. eth0 has this address already",
        ),
        (
            lambda red: red.remove_address("eth0", "10.0.0.9/24"),
            r"^ip -n red addr del 10\.0\.0\.9/24 dev eth0: .+ \(EADDRNOTAVAIL\)\. eth0 does not have this address",
        ),
        (lambda red: red.add_address("eth0", "fd00::1/64"), r"addr add fd00::1/64 dev eth0 nodad: .+ \(EEXIST\)"),
        (
            lambda red: red.add_bridge("eth0"),
            r"^ip -n red link add eth0 type bridge: File exists \(EEXIST\)\. The name is taken",
        ),
        (lambda red: red.set_link("eth0", mtu=65535, mac="01:00:00:00:00:01"), r"address 01:\S+: .+ \(EADDRNOTAVAIL\)"),
        (lambda red: red.set_link("eth0", up=False, new_name="lo"), r"^ip -n red link set eth0 name lo: .+ \(EEXIST\)"),
        (lambda red: red.set_link("eth0", mtu=1000, mac="ff:ff:ff:ff:ff:ff"), r"\(EADDRNOTAVAIL\)"),
        (lambda red: red.delete_link("lo"), r"^ip -n red link del lo: .+ \(EOPNOTSUPP\)"),
        (lambda red: red.add_vxlan("vx0", 7, remote="239.1.1.1"), r"type vxlan id 7 .*: .+ \(EINVAL\)"),
        (
            lambda red: red.add_macvlan("mv0", "lo"),
            r"^ip -n red link add mv0 link lo type macvlan mode bridge: .+ \(EINVAL\)",
        ),
        (
            lambda red: red.remove_neighbour("eth0", "10.0.0.77"),
            r"^ip -n red neigh del 10\.0\.0\.77 dev eth0: .+ \(ENOENT\)",
        ),
        (lambda red: red.remove_fdb("eth0", "02:00:00:00:00:01"), r"^bridge -n red fdb del 02:00:00:00:00:01 dev eth0"),
        (lambda red: red.unshape("eth0"), r"^tc -n red qdisc del dev eth0 root: .+"),
        (lambda red: red.add_port("eth0", "lo"), r"^ip -n red link set lo master eth0: .+ \(EOPNOTSUPP\)"),
        (lambda red: red.set_port("eth0", hairpin=True), r"^bridge -n red link set dev eth0 hairpin on: .+ \(E"),
    ],
)
def test_what_the_kernel_refuses_says_why_and_changes_nothing(
    pair: Pair, call: Callable[[Host], object], message: str
) -> None:
    """A refusal shows the command a person would type, the kernel's words, the errno and advice; nothing is changed."""
    red, _ = pair
    with unchanged(red.lab), pytest.raises(KernelError, match=message) as caught:
        call(red)
    error = caught.value
    assert isinstance(error, OSError)
    assert error.errno
    assert error.reason
    assert str(error).startswith(f"{error.command}: {error.reason} ({errno_name(error.errno)}).")


def test_a_refused_change_of_an_mtu_keeps_ipv6(pair: Pair) -> None:
    """A refusal of a second part does not cost the IPv6 addresses that an MTU below 1280 would take."""
    red, _ = pair
    settle(red.lab)
    with unchanged(red.lab), pytest.raises(KernelError):
        red.set_link("eth0", mtu=1000, new_name="lo")
    assert ipaddress.ip_interface("fd00::1/64") in [address.address for address in red.state().addresses]


@pytest.mark.parametrize(
    "call",
    [
        lambda red: red.set_link("eth9", up=True),
        lambda red: red.delete_link("eth9"),
        lambda red: red.add_address("eth9", "10.0.0.1/24"),
        lambda red: red.add_route("10.0.0.0/8", interface="eth9"),
        lambda red: red.add_port("br0", "eth0"),
        lambda red: red.add_port("eth0", "eth9"),
        lambda red: red.add_macvlan("mv0", "eth9"),
        lambda red: red.add_vxlan("vx0", 1, device="eth9"),
        lambda red: red.shape("eth9", "1mbit"),
        lambda red: red.capture("eth9"),
        lambda red: red.add_neighbour("eth9", "10.0.0.1", "02:00:00:00:00:01"),
        lambda red: red.state().interface("eth9"),
    ],
)
def test_an_interface_that_is_not_there_is_named(pair: Pair, call: Callable[[Host], object]) -> None:
    """A missing interface is reported with those that there are."""
    red, _ = pair
    with (
        unchanged(red.lab),
        pytest.raises(NotFoundError, match=r"Host 'red' has no interface '\w+'\. It has: lo, eth0\."),
    ):
        call(red)


def test_a_link_changes_as_a_whole(pair: Pair) -> None:
    """State, MTU, MAC address and name change in one call, and the far end loses its carrier."""
    red, blue = pair
    red.set_link("eth0", up=False, mtu=1450, mac="02:00:00:00:00:01", new_name="uplink")
    link = red.state().interface("uplink")
    assert (link.up, link.mtu, link.mac, link.state_words) == (False, 1450, "02:00:00:00:00:01", "DOWN")
    assert until(lambda: not blue.state().interface("eth0").carrier)
    assert blue.state().interface("eth0").state_words == "NO CARRIER"
    with pytest.raises(InvalidInputError, match="Say what to change"):
        red.set_link("uplink")


def test_addresses_come_and_go(pair: Pair) -> None:
    """Addresses of both families are added, usable at once, and removed; loopback carries some too."""
    red, blue = pair
    red.set_link("lo", up=True)
    red.add_address("lo", "10.100.0.1/32")
    red.add_address("lo", "fd99::1/128")
    blue.add_route("10.100.0.1/32", via="10.0.0.1")
    blue.add_route("fd99::1", via="fd00::1")
    assert blue.run("ping", "-c1", "-W2", "10.100.0.1").ok
    assert blue.run("ping", "-c1", "-W2", "fd99::1").ok
    state = red.state()
    (address,) = (each for each in state.addresses_of("lo") if str(each.address) == "10.100.0.1/32")
    assert (address.scope, address.flags) == ("global", ("permanent",))
    red.remove_address("lo", "10.100.0.1/32")
    red.remove_address("lo", ipaddress.ip_interface("fd99::1/128"))
    assert {str(each.address) for each in red.state().addresses_of("lo")} == {"127.0.0.1/8", "::1/128"}


def test_neighbours_can_be_written_down(pair: Pair) -> None:
    """A written neighbour is used instead of ARP and shown as PERMANENT; a proxy answers for an address elsewhere."""
    red, blue = pair
    red.add_neighbour("eth0", "10.0.0.2", "02:00:00:00:00:99")
    red.add_neighbour("eth0", "fd00::2", mac_of(blue))
    assert not red.run("ping", "-c1", "-W1", "10.0.0.2").ok
    found = {str(each.address): (each.mac, each.state) for each in red.state().neighbours}
    assert found["10.0.0.2"] == ("02:00:00:00:00:99", "PERMANENT")
    assert found["fd00::2"] == (mac_of(blue), "PERMANENT")
    red.remove_neighbour("eth0", "10.0.0.2")
    assert red.run("ping", "-c1", "-W2", "10.0.0.2").ok
    blue.set_link("lo", up=True)
    blue.add_address("lo", "10.0.0.50/32")
    blue.sysctl["net.ipv4.conf.all.arp_ignore"] = 1
    assert not red.run("ping", "-c1", "-W1", "10.0.0.50").ok
    blue.sysctl["net.ipv4.ip_forward"] = 1
    blue.add_proxy_neighbour("eth0", "10.0.0.50")
    assert [str(each.address) for each in blue.state().neighbours if each.proxy] == ["10.0.0.50"]
    blue.remove_proxy_neighbour("eth0", "10.0.0.50")
    assert not [each for each in blue.state().neighbours if each.proxy]


def test_vxlan_carries_a_network_over_another(pair: Pair) -> None:
    """Two VXLAN ends with a written FDB carry packets over the cable, with an MTU that leaves room for the header."""
    red, blue = pair
    for host, own, other in ((red, "10.0.0.1", "10.0.0.2"), (blue, "10.0.0.2", "10.0.0.1")):
        host.add_vxlan("vx0", 42, local=own, device="eth0", learning=False)
        host.add_address("vx0", f"10.42.0.{own[-1]}/24")
        host.add_fdb("vx0", "00:00:00:00:00:00", other)
    with red.capture("eth0", filter="udp port 4789") as seen:
        # 1450 bytes of packet, don't fragment: 20 of IP, 8 of ICMP, 1422 of data.
        assert red.run("ping", "-c1", "-W2", "-M", "do", "-s", "1422", "10.42.0.2").ok
    assert not red.run("ping", "-c1", "-W1", "-M", "do", "-s", "1423", "10.42.0.2").ok
    assert len(seen) >= 2
    assert all("VXLAN" in packet for packet in seen)
    assert max(len(packet.data) for packet in seen) == 1514
    link = red.state().interface("vx0")
    assert (link.kind, link.mtu, link.detail("id"), link.detail("local")) == ("vxlan", 1450, "42", "10.0.0.1")
    assert (link.detail("dstport"), link.detail("dev"), link.detail("learning")) == ("4789", "eth0", "off")
    everyone = next(entry for entry in red.state().fdb if entry.interface == "vx0")
    assert (everyone.mac, str(everyone.destination)) == ("00:00:00:00:00:00", "10.0.0.2")
    red.remove_fdb("vx0", "00:00:00:00:00:00", "10.0.0.2")
    assert not red.run("ping", "-c1", "-W1", "10.42.0.2").ok


def test_vxlan_over_ipv6_with_a_fixed_far_end(pair: Pair) -> None:
    """A VXLAN over IPv6 with `remote` needs no FDB entry, and its header takes 70 bytes."""
    red, blue = pair
    red.add_vxlan("vx0", 7, local="fd00::1", remote="fd00::2", device="eth0", port=8472)
    blue.add_vxlan("vx0", 7, local="fd00::2", remote="fd00::1", device="eth0", port=8472)
    red.add_address("vx0", "fd42::1/64")
    blue.add_address("vx0", "fd42::2/64")
    assert red.run("ping", "-c1", "-W2", "fd42::2").ok
    link = red.state().interface("vx0")
    assert (link.mtu, link.detail("remote"), link.detail("dstport")) == (1430, "fd00::2", "8472")


def test_a_second_vxlan_of_a_number_is_refused(lab: Lab) -> None:
    """The kernel takes each VXLAN number once a port, 0 included; the refusal does not blame the name alone."""
    red = lab.add_host("red")
    red.add_vxlan("vx0", 0)
    assert red.state().interface("vx0").detail("id") == "0"
    with (
        unchanged(lab),
        pytest.raises(KernelError, match=r"id 0 .*\(EEXIST\)\. The name is taken, or this host has a VXLAN"),
    ):
        red.add_vxlan("vx1", 0)
    red.add_vxlan("vx1", 0, port=8472)


def test_a_macvlan_is_a_neighbour_of_its_parents_network(pair: Pair) -> None:
    """A macvlan has a MAC address of its own on its parent's cable, here or in another host."""
    red, blue = pair
    guest = red.lab.add_host("guest")
    red.add_macvlan("eth0", "eth0", host=guest)
    guest.add_address("eth0", "10.0.0.3/24")
    assert guest.run("ping", "-c1", "-W2", "10.0.0.2").ok
    state = red.lab.snapshot()
    link = state["guest"].interface("eth0")
    assert (link.kind, link.up, link.detail("mode")) == ("macvlan", True, "bridge")
    assert link.mac != state["red"].interface("eth0").mac
    assert link.peer is not None
    assert (link.peer.host, link.peer.interface) == ("red", "eth0")
    red.add_macvlan("mv0", "eth0", mode="private")
    assert red.state().interface("mv0").detail("mode") == "private"
    with unchanged(red.lab), pytest.raises(KernelError, match=r"\(EEXIST\)"):
        red.add_macvlan("lo", "eth0", host=guest)
    with pytest.raises(InvalidInputError, match="bridge, private, vepa, passthru"):
        red.add_macvlan("mv1", "eth0", mode="l2")
    assert blue.run("ping", "-c1", "-W2", "10.0.0.3").ok


def test_a_missing_kind_is_said_to_be_missing(lab: Lab) -> None:
    """Where the kernel has dummy interfaces one works; where not, the refusal says so."""
    red = lab.add_host("red")
    message = r"ip -n red link add dummy0 type dummy: .*no such kind of interface"
    if red.run("ip", "link", "add", "probe", "type", "dummy").ok:
        red.add_dummy("dummy0")
        assert red.state().interface("dummy0").kind == "dummy"
    else:
        with unchanged(lab), pytest.raises(KernelError, match=message):
            red.add_dummy("dummy0")


def test_shaping_slows_down(pair: Pair) -> None:
    """40 KB take a third of a second behind 1 Mbit/s, and less on a cable that is free."""
    red, blue = pair
    payload = "x" * 40_000

    def seconds() -> float:
        server = blue.serve(80)
        began = time.monotonic()
        assert red.run("curl", "-s", "--data-binary", "@-", "http://10.0.0.2/", input=payload, timeout=10).ok
        took = time.monotonic() - began
        server.close()
        return took

    free = seconds()
    red.shape("eth0", "1mbit", burst=1600)
    assert red.state().interface("eth0").qdisc == "tbf"
    slow = seconds()
    # 40,000 bytes are 0.32 s at 1 Mbit/s, before any header.
    assert slow > 0.31
    assert slow > free
    red.shape("eth0", "100mbit")
    red.unshape("eth0")
    assert red.state().interface("eth0").qdisc != "tbf"


def test_counters_count(pair: Pair) -> None:
    """The counters of an interface grow by the packets that passed it."""
    red, _ = pair
    before = red.state().interface("eth0").counters
    assert red.run("ping", "-c3", "-i0.01", "-W2", "10.0.0.2").ok
    after = red.state().interface("eth0").counters
    assert after.tx_packets - before.tx_packets >= 3
    assert after.rx_bytes - before.rx_bytes >= 3 * 98


def test_settings_are_read_and_written(pair: Pair) -> None:
    """Settings of the network are read and written as sysctl(8) names them; others and wrong values are refused."""
    red, _ = pair
    red.sysctl["net.ipv4.ip_default_ttl"] = 7
    assert red.sysctl["net.ipv4.ip_default_ttl"] == "7"
    assert red.run("cat", "/proc/sys/net/ipv4/ip_default_ttl").stdout == "7\n"
    red.add_bridge("br.1")
    red.sysctl["net.ipv4.conf.br/1.rp_filter"] = 2
    assert red.sysctl["net/ipv4/conf/br.1/rp_filter"] == "2"
    with pytest.raises(NotFoundError, match=r"no kernel setting net\.ipv4\.no_such"):
        red.sysctl["net.ipv4.no_such"] = 1
    with unchanged(red.lab), pytest.raises(KernelError, match=r"^sysctl -w net\.ipv4\.ip_forward=many: .* \(EINVAL\)"):
        red.sysctl["net.ipv4.ip_forward"] = "many"
    for key in ("kernel.panic", "net.ipv4..x", "net/../kernel/panic", "", "net.ipv4.ip_forward\n", None):
        with pytest.raises(InvalidInputError, match="one of the network"):
            red.sysctl[key] = 1  # type: ignore[index]
