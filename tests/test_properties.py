from __future__ import annotations

import contextlib
import ipaddress
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings, strategies as st

from netlab import InvalidInputError, Lab, LabError
from netlab.kernel import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from netlab import Host

pytestmark = pytest.mark.kernel

#: The lab is made once: each example sees by a snapshot that it was left as it was, or puts it back itself.
few = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

_HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")
_odd = st.sampled_from(
    ["", " ", "a b", "ä", "名", "x" * 64, "a\0", "a\n", "\ud800", "-", ".", "..", "a/b", "../x", "%d", "💥"]
)
_text = st.one_of(st.text(max_size=70), _odd, st.text(st.characters(codec="ascii"), max_size=20))
_not_text = st.one_of(
    st.none(), st.integers(), st.booleans(), st.binary(max_size=8), st.lists(st.text(max_size=3), max_size=2)
)
_numbers = st.one_of(st.integers(), st.floats(), st.none(), st.booleans(), st.text(max_size=5))


@pytest.fixture(scope="module")
def red() -> Iterator[Host]:
    """Return a host with a cable, a bridge and an address."""
    with Lab("properties") as lab:
        host, blue = lab.add_host("red"), lab.add_host("blue")
        lab.connect(host, blue, ["10.0.0.1/24", "fd00::1/64"], ["10.0.0.2/24", "fd00::2/64"])
        host.add_bridge("br0")
        assert host.run("ping", "-c1", "-W2", "fd00::2").ok
        yield host


@contextlib.contextmanager
def refused(host: Host) -> Iterator[None]:
    """See that a block raises a LabError with words, and leaves what can be asked for as it was."""
    before = asked_for(host.lab)
    with pytest.raises(LabError) as caught:
        yield
    assert str(caught.value)
    assert asked_for(host.lab) == before


def asked_for(lab: Lab) -> dict[str, Any]:
    """Return of a lab what only changes when it is asked to."""
    return {
        host.name: (
            [(link.name, link.up, link.mtu, link.mac, link.master, link.kind, link.qdisc) for link in host.interfaces],
            [address for address in host.addresses if not address.is_link_local],
            [route for route in host.routes if not route.destination.is_link_local],
            [neighbour for neighbour in host.neighbours if neighbour.state == "PERMANENT" or neighbour.proxy],
            [entry for entry in host.fdb if entry.permanent],
            [(rule.table, rule.text) for rule in host.rules],
            host.sysctls,
        )
        for host in lab.snapshot().hosts
    }


@few
@given(st.one_of(_text, _not_text))
@example("red")
def test_wrong_host_names(red: Host, name: Any) -> None:
    """A name that cannot be a hostname, or is taken, is a LabError and adds no host."""
    good = (
        isinstance(name, str)
        and name.isascii()
        and _HOST_NAME.fullmatch(name)
        and ".." not in name
        and name not in red.lab.hosts
    )
    assume(not good)
    with refused(red):
        red.lab.add_host(name)


@few
@given(st.from_regex(_HOST_NAME, fullmatch=True))
@example("x" * 63)
@example("1")
def test_right_host_names(red: Host, name: str) -> None:
    """Any name that can be a hostname works as one."""
    assume(".." not in name and name not in red.lab.hosts)
    host = red.lab.add_host(name)
    try:
        assert host.run("uname", "-n").stdout.strip() == name
        assert name in red.lab.snapshot()
    finally:
        red.lab.remove_host(name)


@few
@given(st.one_of(_text, _not_text), st.sampled_from(["bridge", "rename", "connect", "vxlan", "macvlan"]))
@example("all", "bridge")
@example("default", "rename")
@example("lo", "connect")
@example("x" * 16, "vxlan")
@example("eth%d", "macvlan")
def test_wrong_interface_names(red: Host, name: Any, way: str) -> None:
    """A name that the kernel would not take, change or that is taken is a LabError, however an interface is made."""
    with contextlib.suppress(InvalidInputError):
        assume(check.interface_name(name) in {"lo", "eth0", "br0"})
    calls: dict[str, Callable[[], object]] = {
        "bridge": lambda: red.add_bridge(name),
        "rename": lambda: red.set_link("br0" if name != "br0" else "eth0", new_name=name),
        "connect": lambda: red.lab.connect(red, "blue", names=(name, "x0")),
        "vxlan": lambda: red.add_vxlan(name, 1),
        "macvlan": lambda: red.add_macvlan(name, "eth0"),
    }
    with refused(red):
        calls[way]()


@few
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=15))
@example("-")
@example("--help")
@example("a.b")
@example("x" * 15)
@example("..x")
def test_right_interface_names(red: Host, name: str) -> None:
    """What passes the check of names is what the kernel shows, and what does not is left out of it."""
    try:
        check.interface_name(name)
    except InvalidInputError:
        return
    assume(name not in {"lo", "eth0", "br0"})
    red.add_bridge(name)
    try:
        assert red.state().interface(name).kind == "bridge"
    finally:
        red.delete_link(name)


_prefixes4 = st.tuples(st.ip_addresses(v=4), st.integers(0, 32))
_prefixes6 = st.tuples(st.ip_addresses(v=6), st.integers(0, 128))


@few
@given(
    st.one_of(
        _text,
        _not_text,
        st.ip_addresses().map(str),
        st.tuples(st.ip_addresses(), st.integers(129, 999)).map(lambda p: f"{p[0]}/{p[1]}"),
    )
)
@example("10.0.0.1/24")
@example("0.0.0.0/0")
@example("224.0.0.1/24")
@example("ff02::1/64")
@example("::/64")
@example("10.0.0.1/255.255.255.0")
@example("fe80::1%eth0/64")
@example("10.0.0.1/-1")
@example("010.0.0.1/24")
def test_wrong_addresses(red: Host, address: Any) -> None:
    """An address without prefix, with a wrong one, of no host, or that is there already is a LabError."""
    with refused(red):
        red.add_address("eth0", address)


@few
@given(st.one_of(_prefixes4, _prefixes6))
def test_right_addresses(red: Host, pair: tuple[Any, int]) -> None:
    """An address that is taken shows as it was asked for; one that the kernel refuses changes nothing."""
    address = ipaddress.ip_interface(f"{pair[0]}/{pair[1]}")
    before = asked_for(red.lab)
    try:
        red.add_address("br0", address)
    except LabError:
        assert asked_for(red.lab) == before
        return
    try:
        assert address in [each.address for each in red.state().addresses_of("br0")]
    finally:
        red.remove_address("br0", address)
    assert asked_for(red.lab) == before


@few
@given(_numbers)
@example(67)
@example(65536)
@example(2**32)
@example(-1)
@example(1500.0)
def test_wrong_mtus(red: Host, mtu: Any) -> None:
    """An MTU that is no whole number, too small or too large is a LabError, for old and new cables."""
    assume(mtu is not None and not (type(mtu) is int and 68 <= mtu <= 65535))
    with refused(red):
        red.set_link("eth0", mtu=mtu)
    with refused(red):
        red.lab.connect(red, "blue", mtu=mtu)


@few
@given(st.integers(1280, 65535))
@example(65535)
def test_right_mtus(red: Host, mtu: int) -> None:
    """An MTU that is taken is what both ends show."""
    red.lab.connect(red, "blue", names=("x0", "x0"), mtu=mtu)
    try:
        states = red.lab.snapshot()
        assert states["red"].interface("x0").mtu == states["blue"].interface("x0").mtu == mtu
    finally:
        red.delete_link("x0")


@few
@given(st.one_of(_text, _not_text, st.integers().map(str), st.integers(0, 10**12).map(lambda n: f"{n}mbit")))
@example("0mbit")
@example("-1mbit")
@example("nanmbit")
@example("1e3mbit")
@example("35gbit")
@example("7bit")
@example("8bit")
@example("10 mbps")
@example("\u0661mbit")
def test_rates_are_right_or_refused(red: Host, rate: Any) -> None:
    """A rate is one that tbf can keep and the kernel then shows, or a LabError that changes nothing."""
    before = asked_for(red.lab)
    try:
        red.shape("eth0", rate)
    except LabError:
        assert asked_for(red.lab) == before
        return
    assert red.state().interface("eth0").qdisc == "tbf"
    red.unshape("eth0")


@few
@given(st.integers(1000, 34 * 10**9))
def test_right_rates(red: Host, bits: int) -> None:
    """A rate is in effect to within its rounding to whole bytes a second."""
    red.shape("eth0", f"{bits}bit", burst=5000, limit=100_000)
    try:
        shown = red.run("tc", "-d", "-raw", "qdisc", "show", "dev", "eth0").stdout
        found = re.search(r"rate (\d+)(K|M|G)?bit", shown)
        assert found is not None
        assert float(found[1]) * {None: 1, "K": 1e3, "M": 1e6, "G": 1e9}[found[2]] == pytest.approx(bits, rel=0.05)
    finally:
        red.unshape("eth0")


@few
@given(st.one_of(_numbers, st.integers(65536, 10**9)))
@example(0)
@example(65536)
@example(80.0)
@example("80")
def test_wrong_ports(red: Host, port: Any) -> None:
    """A port that is no whole number from 1 to 65535 is a LabError, and no server is started."""
    assume(not (type(port) is int and 1 <= port <= 65535))
    with refused(red):
        red.serve(port)
    assert red.state().sockets == ()
    with refused(red):
        red.add_vxlan("vx0", 1, port=port)


@few
@given(st.one_of(_text, _not_text))
@example("net.ipv4.ip_forward/../../kernel/panic")
@example("net/ipv4/../../../etc/passwd")
@example("net.ipv4")
@example("net.")
@example("net.ipv4.ip_forward ")
@example("kernel.panic")
@example("net." + "x" * 5000)
def test_wrong_settings(red: Host, key: Any) -> None:
    """A name that is no setting of the network is a LabError, read or written."""
    with refused(red):
        red.sysctl[key]
    with refused(red):
        red.sysctl[key] = 1


@few
@given(
    st.one_of(_text, _not_text, st.ip_addresses().map(lambda a: f"{a}/{a.max_prefixlen + 1}")),
    st.one_of(st.none(), _text),
)
@example("10.0.0.1/24", "10.0.0.2")
@example("10.5.0.0/16", "10.0.0.2/24")
@example("10.5.0.0/16", "fd00::2x")
@example("fd05::/64", "10.0.0.2")
@example("default", None)
@example("10.5.0.0/16", "10.99.0.1")
def test_wrong_routes(red: Host, destination: Any, via: Any) -> None:
    """A route to no network, by no gateway, or by one that is not reached is a LabError."""
    with refused(red):
        red.add_route(destination, via=via)


@few
@given(
    st.one_of(_prefixes4, _prefixes6),
    st.integers(1, 2**32 - 1),
    st.sampled_from([None, 1, 99, 252, 1000, 2**32 - 1]),
    st.sampled_from(["unicast", "blackhole", "unreachable", "prohibit"]),
)
def test_right_routes(red: Host, pair: tuple[Any, int], metric: int, table: int | None, kind: str) -> None:
    """A route that is taken reads as it was asked for, and can be removed by the same words."""
    network = ipaddress.ip_network(f"{pair[0]}/{pair[1]}", strict=False)
    options: dict[str, Any] = {"metric": metric, "kind": kind} | ({"table": table} if table else {})
    if kind == "unicast":
        options["via"] = "10.0.0.2" if network.version == 4 else "fd00::2"
    before = asked_for(red.lab)
    try:
        red.add_route(network, **options)
    except LabError:
        assert asked_for(red.lab) == before  # such as a multicast network, which has no gateway
        return
    found = [
        (route.type, route.table, str(route.via) if kind == "unicast" else None)
        for route in red.state().routes
        if (route.destination, route.metric) == (network, metric)
    ]
    red.remove_route(network, **options)
    assert (kind, str(table or "main"), options.get("via")) in found
    assert asked_for(red.lab) == before


@few
@given(st.one_of(_text, _not_text, st.from_regex(r"[0-9a-f]{2}(:[0-9a-f]{2}){4,6}", fullmatch=True)))
@example("ff:ff:ff:ff:ff:ff")
@example("00:00:00:00:00:00")
@example("01:00:5e:00:00:01")
def test_macs_are_right_or_refused(red: Host, mac: Any) -> None:
    """A MAC address is one that a card can have, and then shown, or a LabError that changes nothing."""
    before = asked_for(red.lab)
    old = red.state().interface("br0").mac
    try:
        red.set_link("br0", mac=mac)
    except LabError:
        assert asked_for(red.lab) == before
        return
    assert red.state().interface("br0").mac == mac.lower()
    red.set_link("br0", mac=old)


@few
@given(st.one_of(st.integers(), _numbers), st.one_of(st.none(), _text))
@example(2**24, None)
@example(0, "10.0.0.1/24")
@example(5, "239.1.1.1")
def test_vxlans_are_right_or_refused(red: Host, vni: Any, remote: Any) -> None:
    """A VXLAN has the number it was asked for, or it is a LabError and there is none."""
    before = asked_for(red.lab)
    try:
        red.add_vxlan("vx0", vni, remote=remote)
    except LabError:
        assert asked_for(red.lab) == before
        return
    assert red.state().interface("vx0").detail("id") == str(vni)
    red.delete_link("vx0")


@few
@given(st.lists(st.text(max_size=40), min_size=1, max_size=4))
def test_any_words_reach_a_command(red: Host, words: list[str]) -> None:
    """Arguments of any text arrive byte by byte, or are refused as no words of a command."""
    try:
        result = red.run("printf", "%s\\0", *words)
    except LabError:
        assert any("\0" in word or not is_unicode(word) for word in words)
    else:
        assert result.stdout.split("\0")[:-1] == words


def is_unicode(word: str) -> bool:
    """Tell whether a text can be encoded."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True
