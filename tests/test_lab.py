from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fingerprint import unchanged

from netlab import ClosedError, InvalidInputError, KernelError, Lab, NotFoundError, SandboxError
from netlab.lab import living_labs

if TYPE_CHECKING:
    from netlab import Host

pytestmark = pytest.mark.kernel


def test_a_cable_carries_packets(lab: Lab) -> None:
    """Two hosts with a cable between them reach each other, by IPv4 and IPv6."""
    red, blue = lab.add_host("red"), lab.add_host("blue")
    lab.connect(red, blue, ["10.0.0.1/24", "fd00::1/64"], ["10.0.0.2/24", "fd00::2/64"])
    assert red.run("ping", "-c1", "-W2", "10.0.0.2").ok
    assert blue.run("ping", "-c1", "-W2", "fd00::1").ok


def test_ends_take_the_first_free_names(lab: Lab) -> None:
    """Without names the ends of cables are called eth0, eth1, … in each host."""
    red, blue = lab.add_host("red"), lab.add_host("blue")
    for _ in range(2):
        lab.connect(red, blue)
    lab.connect("blue", "blue")
    state = lab.snapshot()
    assert [interface.name for interface in state["red"].interfaces] == ["lo", "eth0", "eth1"]
    assert sorted(interface.name for interface in state["blue"].interfaces) == ["eth0", "eth1", "eth2", "eth3", "lo"]


def test_a_cable_has_the_names_addresses_and_mtu_asked_for(lab: Lab) -> None:
    """Names, the MTU of both ends and an address at one of them only are what was asked for."""
    hub, one = lab.add_host("hub"), lab.add_host("h1")
    lab.connect(hub, one, None, "10.9.0.2/16", names=("p1", "eth0"), mtu=1400)
    state = lab.snapshot()
    assert (state["hub"].interface("p1").mtu, state["h1"].interface("eth0").mtu) == (1400, 1400)
    assert not [address for address in state["hub"].addresses_of("p1") if not address.is_link_local]
    assert ipaddress.ip_interface("10.9.0.2/16") in [each.address for each in state["h1"].addresses]
    peer = state["h1"].interface("eth0").peer
    assert peer is not None
    assert (peer.host, peer.interface) == ("hub", "p1")
    assert lab.snapshot()["hub"].interface("p1").state_words == "UP"


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("10.0.0.1/24", "10.0.0.2/24", "10.0.0.3/24"), None),
        (("10.0.0.1", None), None),
        ((), ("only-one",)),
        ((), ("eth0", "a name")),
    ],
)
def test_a_cable_that_cannot_be_is_refused(
    pair: tuple[Host, Host], arguments: tuple[str | None, ...], names: tuple[str, str] | None
) -> None:
    """Too many addresses, one without its prefix, or a name that cannot be: refused before anything is changed."""
    red, blue = pair
    with unchanged(red.lab), pytest.raises(InvalidInputError):
        red.lab.connect(red, blue, *arguments, names=names)


@pytest.mark.parametrize("names", [("eth0", "x0"), ("x0", "eth0")])
def test_a_cable_that_the_kernel_refuses_leaves_nothing(pair: tuple[Host, Host], names: tuple[str, str]) -> None:
    """A name that is taken at either end takes the whole cable back."""
    red, blue = pair
    with (
        unchanged(red.lab),
        pytest.raises(KernelError, match=r"ip -n red link add \S+ type veth peer name \S+ netns blue: .*\(EEXIST\)"),
    ):
        red.lab.connect(red, blue, names=names)


def test_an_address_twice_takes_the_cable_back(pair: tuple[Host, Host]) -> None:
    """A cable whose second address is refused vanishes with the first one."""
    red, blue = pair
    with (
        unchanged(red.lab),
        pytest.raises(KernelError, match=r"ip -n blue addr add 10\.5\.0\.2/24 dev x1: .*\(EEXIST\)\. x1 has this"),
    ):
        red.lab.connect(red, blue, "10.5.0.1/24", ["10.5.0.2/24", "10.5.0.2/24"], names=("x1", "x1"))


def test_hosts_are_found_by_name(lab: Lab) -> None:
    """`host` and `hosts` give the hosts in the order in which they were added; a missing one is named with the rest."""
    red, blue = lab.add_host("red"), lab.add_host("blue")
    assert lab.host("red") is red
    assert lab.hosts == {"red": red, "blue": blue}
    with pytest.raises(NotFoundError, match=r"Lab 'test' has no host 'green'\. It has: red, blue\."):
        lab.host("green")


def test_a_name_is_given_once(lab: Lab) -> None:
    """A second host of the same name is refused, and the first stays."""
    red = lab.add_host("red")
    with pytest.raises(InvalidInputError, match="has a host 'red' already"):
        lab.add_host("red")
    assert red.run("true").ok


def test_a_removed_host_is_gone(pair: tuple[Host, Host]) -> None:
    """Removing a host ends its processes, takes the far ends of its cables, and frees its name, all at once."""
    red, blue = pair
    lab = red.lab
    process = blue.popen("sleep", "1000")
    daemon = blue.run("sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 </dev/null & echo $!", timeout=5).stdout.strip()
    lab.remove_host("blue")
    assert process.wait(5) == -9
    assert "blue" not in lab.snapshot()
    assert [interface.name for interface in red.state().interfaces] == ["lo"]
    assert daemon not in red.run("ps", "-e", "-o", "pid=").stdout.split()
    assert red.run("ip", "netns", "list").stdout.split()[0] == "red"
    lab.connect(red, lab.add_host("blue"), "10.0.0.1/24", "10.0.0.2/24")
    assert red.run("ping", "-c1", "-W2", "10.0.0.2").ok


def test_a_removed_host_answers_no_more(pair: tuple[Host, Host]) -> None:
    """What is asked of a host after its removal is a LabError that says so, even if another has its name now."""
    red, blue = pair
    red.lab.remove_host(blue)
    with pytest.raises(NotFoundError, match="removed"):
        blue.run("true")
    with pytest.raises(ClosedError, match="removed"):
        blue.add_bridge("br0")
    with pytest.raises(NotFoundError):
        red.lab.connect(red, blue)
    red.lab.add_host("blue")
    with pytest.raises(InvalidInputError, match="was removed"):
        red.lab.connect(red, blue)


def test_a_host_of_another_lab_is_refused(lab: Lab) -> None:
    """A cable between two labs cannot be laid."""
    red = lab.add_host("red")
    with Lab("other") as other:
        other.add_host("red")
        with pytest.raises(InvalidInputError, match="another lab"):
            other.connect(red, "red")


def test_hosts_can_share_a_network_namespace(pair: tuple[Host, Host]) -> None:
    """A host that joins another has its interfaces and its localhost, but its own hostname and /etc."""
    red, blue = pair
    red.set_link("lo", up=True)
    sidecar = red.lab.add_host("sidecar", joins=red)
    server = sidecar.serve(80)
    assert sidecar.run("hostname").stdout == "sidecar\n"
    assert blue.run("curl", "-s", "10.0.0.1").stdout.startswith('{"server": "sidecar"')
    assert red.run("curl", "-s", "127.0.0.1").ok
    states = red.lab.snapshot()
    assert states["sidecar"].inode == states["red"].inode
    assert [link.name for link in states["sidecar"].interfaces] == [link.name for link in states["red"].interfaces]
    peer = states["blue"].interface("eth0").peer
    assert peer is not None
    assert peer.host == "red"
    red.lab.remove_host("sidecar")
    assert server.process.wait(5) == -9
    assert red.run("ping", "-c1", "-W2", "10.0.0.2").ok


def test_the_joined_host_may_go_first(pair: tuple[Host, Host]) -> None:
    """A network namespace lives on while any host has it."""
    red, blue = pair
    red.lab.add_host("sidecar", joins="red")
    red.lab.remove_host(red)
    assert blue.run("ping", "-c1", "-W2", "10.0.0.1").ok
    assert "sidecar" in red.lab.snapshot()


def test_names_of_hosts_are_known_to_ip_netns(pair: tuple[Host, Host]) -> None:
    """In a lab `ip netns list` and `ip -n` know the hosts, and commands of one host see those that came later."""
    red, _ = pair
    assert red.run("true").ok  # its mount namespace exists from here on
    red.lab.add_host("green")
    listed = {line.split()[0] for line in red.run("ip", "netns", "list").stdout.splitlines()}
    assert listed == {"red", "blue", "green"}
    assert "10.0.0.2/24" in red.run("ip", "-n", "blue", "addr").stdout
    assert red.run("ip", "netns", "exec", "blue", "true").ok


def test_a_new_host_is_bare(lab: Lab) -> None:
    """A new host has a loopback that is down and nothing else, and forwards nothing, whatever the machine does."""
    state = lab.add_host("red").state()
    assert [(interface.name, interface.up) for interface in state.interfaces] == [("lo", False)]
    assert (state.addresses, state.routes, state.rules, state.sockets, state.connections) == ((), (), (), (), ())
    assert state.sysctl("net.ipv4.ip_forward") == "0"
    assert state.sysctl("net.ipv6.conf.all.forwarding") == "0"


def test_a_closed_lab_says_so(pair: tuple[Host, Host]) -> None:
    """After close, which may come twice, everything raises ClosedError and the lab shows itself as closed."""
    red, blue = pair
    lab = red.lab
    lab.close()
    lab.close()
    assert lab.closed
    assert "closed" in repr(lab)
    for call in (
        lambda: lab.add_host("green"),
        lambda: lab.remove_host("red"),
        lambda: lab.connect(red, blue),
        lab.snapshot,
        red.state,
        lambda: red.run("true"),
        lambda: red.serve(80),
        lambda: red.add_bridge("br0"),
        lambda: red.set_link("eth0", up=False),
        lambda: red.sysctl["net.ipv4.ip_forward"],
        lambda: red.hostname,
        lambda: red.capture("eth0"),
    ):
        with pytest.raises(ClosedError, match=r"closed"):
            call()


def test_a_closed_lab_lists_no_more() -> None:
    """`living_labs` knows the open labs, newest first; closing calls who asked to be told."""
    told: list[str] = []
    with Lab("one") as one, Lab("two") as two:
        assert living_labs()[:2] == [two, one]
        two.on_close(lambda: told.append("two"))
        two.close()
        assert two not in living_labs()
        assert told == ["two"]


def test_labs_side_by_side_do_not_meet() -> None:
    """Two labs with the same name and the same addresses in one program are two networks."""
    with Lab("same") as first, Lab("same") as second:
        for lab in (first, second):
            red, blue = lab.add_host("red"), lab.add_host("blue")
            lab.connect(red, blue, "10.0.0.1/24", "10.0.0.2/24")
        second.host("blue").set_link("eth0", up=False)
        assert first.host("red").run("ping", "-c1", "-W2", "10.0.0.2").ok
        assert not second.host("red").run("ping", "-c1", "-W1", "10.0.0.2").ok


@pytest.mark.parametrize("name", ["", "-x", "a b", "ä", "x" * 64, None, "a/b", "a\n"])
def test_a_lab_needs_a_name_that_can_be_a_hostname(name: str) -> None:
    """A lab's name is checked before anything is started."""
    with pytest.raises(InvalidInputError, match="The name of a host must be"):
        Lab(name)


def test_an_ordinary_lab_holds_no_power_over_the_machine(lab: Lab) -> None:
    """Even started by root, a lab has a user namespace of its own and cannot change the machine's settings."""
    red = lab.add_host("red")
    assert "4294967295" not in red.run("cat", "/proc/self/uid_map").stdout
    with pytest.raises(InvalidInputError, match="one of the network"):
        red.sysctl["kernel.hostname"] = "x"
    same = Path("/proc/sys/kernel/panic").read_text(encoding="ascii")
    written = red.run("sh", "-c", "cat /proc/sys/kernel/panic > /proc/sys/kernel/panic")
    assert not written.ok, f"the lab could write {same!r} to the machine's setting"


def test_settings_of_a_host_can_be_written_by_its_commands(lab: Lab) -> None:
    """A command in a host changes the settings of that host, and of no other."""
    red, blue = lab.add_host("red"), lab.add_host("blue")
    assert red.run("sysctl", "-w", "net.ipv4.ip_forward=1").ok
    assert (red.sysctl["net.ipv4.ip_forward"], blue.sysctl["net.ipv4.ip_forward"]) == ("1", "0")


def test_a_privileged_lab_needs_root() -> None:
    """`privileged=True` leaves out the user namespace for root, and is refused with advice to everybody else."""
    if os.geteuid() != 0:
        with pytest.raises(SandboxError, match=r"needs root\. Leave privileged=True out"):
            Lab("p", privileged=True)
        return
    with Lab("p", privileged=True) as lab:
        red, blue = lab.add_host("red"), lab.add_host("blue")
        lab.connect(red, blue, "10.0.0.1/24", "10.0.0.2/24")
        assert red.run("ping", "-c1", "-W2", "10.0.0.2").ok
        assert "4294967295" in red.run("cat", "/proc/self/uid_map").stdout
        assert red.run("ip", "netns", "list").ok
        red.iptables("-A", "INPUT", "-j", "ACCEPT")
        assert lab.snapshot()["red"].rules


def test_labs_show_what_they_are(lab: Lab) -> None:
    """A lab and a host say their names in a notebook."""
    assert repr(lab) == "<Lab test, hosts: none>"
    red = lab.add_host("red")
    assert repr(lab) == "<Lab test, hosts: red>"
    assert repr(red) == "<Host red in lab test>"
