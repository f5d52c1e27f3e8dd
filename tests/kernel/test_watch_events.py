"""The kernel's own events wake the watcher: it need not wait for its next look around."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

import pytest

from netlab import Lab
from netlab.watch import _drain, _event_sockets

if TYPE_CHECKING:
    from collections.abc import Callable

    from netlab import Host

pytestmark = pytest.mark.kernel

CHANGES: dict[str, Callable[[Host], object]] = {
    "link": lambda red: red.set_link("eth0", up=False),
    "address": lambda red: red.add_address("eth0", "10.0.5.1/24"),
    "route": lambda red: red.add_route("10.9.0.0/16", via="10.0.0.2"),
    "neighbour": lambda red: red.run("ip", "neigh", "add", "10.0.0.9", "lladdr", "02:00:00:00:00:09", "dev", "eth0"),
    "setting": lambda red: red.run("sysctl", "-w", "net.ipv4.ip_forward=1"),
    "rule": lambda red: red.nft("add table ip one"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_an_event_of_its_host(name: str) -> None:
    """Each kind of change arrives at once, with the mark of the host in which it happened."""
    with Lab("events") as lab:
        lab.add_host("blue")
        red = lab.add_host("red")
        lab.connect("blue", red, "10.0.0.2/24", "10.0.0.1/24")
        sockets = _event_sockets(lab)
        try:
            CHANGES[name](red)
            marks: set[int] = set()
            while red.namespace.nsid not in marks:
                ready, _, _ = select.select(sockets, [], [], 5)
                assert ready, "no event came"
                for sock in ready:
                    _drain(sock, marks)
        finally:
            for sock in sockets:
                sock.close()
