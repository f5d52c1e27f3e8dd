"""A capture on "any" sees every interface of a host, and only that host."""

from __future__ import annotations

import pytest

from netlab import Lab

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("expression", [None, "icmp"])
def test_any_sees_the_loopback_and_the_cable(expression: str | None) -> None:
    """Packets of `lo` and of `eth0` are in one capture, each with its interface."""
    with Lab("any") as lab:
        red, blue = lab.add_host("red"), lab.add_host("blue")
        lab.connect(red, blue, "10.0.0.1/24", "10.0.0.2/24")
        red.set_link("lo", up=True)
        with red.capture(filter=expression) as seen:
            for address in ("127.0.0.1", "10.0.0.2"):
                red.run("ping", "-c1", "-W1", address, check=True)
        echoes = {packet.interface for packet in seen if "ICMP" in packet}
        assert echoes == {"lo", "eth0"}
        assert {packet.host for packet in seen} == {"red"}
