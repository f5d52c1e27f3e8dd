"""What the prose of chapter 02 says about the output of its cells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chapters import Run


def claims(done: Run) -> None:
    """Check them."""
    assert "Network is unreachable" in done.text("no-route")
    assert re.findall(r"eth\d [←→]", done.text("arrives")) == ["eth0 ←"]
    assert re.search(r"IpInAddrErrors +[1-9]", done.text("forward-off"))
    assert re.findall(r"eth\d [←→]", done.text("forward-on")) == ["eth0 ←", "eth1 →"]
    assert "Network is unreachable" in done.text("no-way-back-cell")
    assert "1 received" in done.text("it-works")
    before, after = (line.split(" | ") for line in done.text("two-sides").splitlines())
    assert before[1] != after[1], "new MAC addresses"
    assert before[2] == after[2] == "10.0.1.1 → 10.0.2.2"
    assert (before[3], after[3]) == ("TTL 64", "TTL 63")
    assert "an answer came back to red" in done.text("journey")
    assert "From 10.0.1.254 icmp_seq=1 Time to live exceeded" in done.text("ttl-one")
    assert re.findall(r"^ \d+  (\S+)", done.text("traceroute-cell"), flags=re.MULTILINE) == ["10.0.1.254", "10.0.2.2"]
    assert "the route with the longest prefix" in done.text("decide")
    vias = re.findall(r"via (\S+)", done.text("longest-others"))
    assert vias == ["10.0.1.254", "10.0.4.254", "10.0.4.251", "10.0.4.252"]
    assert re.findall(r"via (\S+)", done.text("metric-matters")) == ["10.0.4.254", "10.0.1.254"]
    assert re.findall(r"eth\d [←→]", done.text("asymmetric-works")) == ["eth0 →", "eth1 ←"]
    assert re.findall(r"(\d) received", done.text("rp-strict")) == ["0", "1"]
    assert re.findall(r"ReversePathFilter +(\d+)", done.text("rp-strict")) == ["1", "1"]
    assert "mtu = 1300" in done.text("mtu-big")
    assert "mtu 1300" in done.text("mtu-big").splitlines()[-1]
    assert "message too long, mtu=1300" in done.text("mtu-learned")
    assert re.findall(r"(\d) received", done.text("mtu-learned")) == ["0", "1"]
    assert "ip_forward is 0 in router" in done.text("explain-forward")
    assert done.text("explain-forward").splitlines()[-1] == "None"
