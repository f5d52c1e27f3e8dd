from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import view_samples as samples

from netlab.view.changes import marks, news

if TYPE_CHECKING:
    from collections.abc import Callable

    from netlab.kernel.values import HostState, Snapshot


def change(snapshot: Snapshot, name: str, edit: Callable[[HostState], HostState]) -> Snapshot:
    """Return a snapshot in which one host is another."""
    return replace(snapshot, hosts=tuple(edit(h) if h.name == name else h for h in snapshot.hosts))


def signs(old: Snapshot, new: Snapshot) -> dict[str, tuple[str, str]]:
    """Return the marks by identity."""
    return {mark.id: (mark.kind, mark.text) for mark in marks(new - old, old, new)}


def test_a_link_that_went_down_is_marked_at_both_ends() -> None:
    """Each end says in its own words what it lost, and the routes that went are named."""
    old, new = samples.two_hosts(), samples.two_hosts(up=(True, False))
    found = signs(old, new)
    assert found["if:blue/eth0"] == ("changed", "was up, now down")
    assert found["if:red/eth0"] == ("changed", "lost its carrier")
    assert found["rt:red/main"][1].startswith("\N{MINUS SIGN} 10.0.0.0/24")
    assert any("eth0 went down" in line for line in news(new - old))


def test_hosts_come_and_go_as_one_mark() -> None:
    """A host that appears or vanishes gets one sign, not one for each thing in it."""
    two, three = samples.isolated(2), samples.isolated(3)
    assert signs(two, three) == {"host:h3": ("added", "added")}
    assert signs(three, two) == {"host:h3": ("removed", "removed")}


def test_an_interface_that_is_a_bridge_is_marked_as_the_bar_it_is() -> None:
    """A bridge has another identity in the picture than a chip."""
    old = samples.Builder("lab").host("hub").build()
    new = samples.Builder("lab").host("hub").interface("hub", "br0", kind="bridge").build()
    assert signs(old, new) == {"br:hub/br0": ("added", "added")}
    assert signs(new, old) == {"br:hub/br0": ("removed", "removed")}


def test_the_gate_names_its_old_value() -> None:
    """A changed setting says what it was."""
    found = signs(samples.router(forward=0), samples.router(forward=1))
    assert found == {"sysctl:router/net.ipv4.ip_forward": ("changed", "was 0, now 1")}


def test_what_happens_all_the_time_is_no_news() -> None:
    """Counters, ageing neighbours and learned addresses are shown, but not marked."""
    old = samples.star(3)

    def busy(host: HostState) -> HostState:
        links = tuple(replace(i, counters=replace(i.counters, rx_packets=99)) for i in host.interfaces)
        return replace(host, interfaces=links, fdb=())

    new = change(old, "hub", busy)
    assert new != old
    assert signs(old, new) == {}
    assert news(new - old) == ()
    two = samples.two_hosts()
    stale = change(two, "red", lambda h: replace(h, neighbours=tuple(replace(n, state="STALE") for n in h.neighbours)))
    assert signs(two, stale) == {}


def test_a_neighbour_that_failed_is_news() -> None:
    """A neighbour that no longer answers is a fault, and is said."""
    old = samples.two_hosts()
    new = change(old, "red", lambda h: replace(h, neighbours=tuple(replace(n, state="FAILED") for n in h.neighbours)))
    assert "nb:red/main" in signs(old, new)
    assert any("FAILED" in line for line in news(new - old))


def test_addresses_are_marked_at_their_interface() -> None:
    """An address that came shows at the chip that holds it."""
    old = samples.Builder("lab").host("h").interface("h", "eth0")
    new = samples.Builder("lab").host("h").interface("h", "eth0", "10.0.0.1/24")
    assert signs(old.build(), new.build())["if:h/eth0"] == ("changed", "+ 10.0.0.1/24")


def test_many_changes_are_told_in_few_lines() -> None:
    """News are a few sentences at most; the rest is counted."""
    lines = news(samples.isolated(30) - samples.isolated(2))
    assert len(lines) == 5
    assert lines[-1] == "and 24 more changes"


def test_a_listener_is_marked_by_its_port() -> None:
    """The sign has room for a number; the sentence below the picture says the rest."""
    builder = samples.Builder("lab", {host.name: host for host in samples.two_hosts().hosts})
    new = builder.listen("red", "nginx", 8080).listen("red", "dns", 53, "udp").build()
    old = replace(new, hosts=samples.two_hosts().hosts)
    assert signs(old, new)["host:red"] == ("changed", "+ :8080, + :53/udp")
    assert any("0.0.0.0:8080 (LISTEN) appeared" in line for line in news(new - old))
