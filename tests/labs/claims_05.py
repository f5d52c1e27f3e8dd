"""What the prose of chapter 05 says about the output of its cells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chapters import Run

SEEN = re.compile(r"(?:node|worker|red) +(\S+) ([←→])(.*)")


def claims(done: Run) -> None:
    """Check them."""
    of_the_bridge(done)
    of_the_routes(done)
    of_the_plugins(done)


def of_the_bridge(done: Run) -> None:
    """Check what is learned, flooded, and sent back."""
    ports = done.text("ports")
    assert ports.count("state forwarding") == 3
    macs = re.findall(r"^eth0@\S+ +UP +(\S+)", ports, flags=re.MULTILINE)
    first = done.text("fdb-first").splitlines()
    assert len(macs) == 3
    assert all(line.endswith("permanent") for line in first)
    assert not [mac for mac in macs if mac in done.text("fdb-first")]
    groups = [line for line in first if line.startswith(("33:33", "01:00:5e"))]
    assert len(first) - len(groups) >= 3
    assert "addresses of the node's own, and of no pod" in done.text("decide")
    question = [(place, way) for place, way, rest in SEEN.findall(done.text("first-frame")) if "who has" in rest]
    assert sorted(question) == [("cni0", "←"), ("veth-blue", "→"), ("veth-green", "→"), ("veth-red", "←")]
    answer = [(place, way) for place, way, rest in SEEN.findall(done.text("first-frame")) if "is at" in rest]
    assert answer == [("veth-blue", "←"), ("veth-red", "→")]
    learned = re.findall(r"^(\S+) dev (\S+)", done.text("fdb-second"), flags=re.MULTILINE)
    assert learned == [(macs[0], "veth-red"), (macs[1], "veth-blue")]
    flood = SEEN.findall(done.text("flood"))
    assert [place for place, way, rest in flood if way == "→" and "request" in rest] == ["veth-green", "veth-blue"]
    assert [place for place, way, rest in flood if way == "→" and "reply" in rest] == ["veth-red"]
    assert done.text("ageing").strip() == "ageing_time 30000"
    assert re.findall(r"blue +eth0 in +TTL (\d+)", done.text("bridge-journey-cell")) == ["64"]
    assert re.findall(r"cni0 in +up to the host +TTL (\d+)", done.text("gateway-try")) == ["64"]
    assert re.findall(r"outside +eth0 in +TTL (\d+)", done.text("gateway-try")) == ["63"]
    assert [way for _, way, _ in SEEN.findall(done.text("hairpin"))] == ["→", "→", "←"]


def of_the_routes(done: Run) -> None:
    """Check who answers ARP, and what a router changes."""
    unanswered = SEEN.findall(done.text("routed-no-answer"))
    assert {(place, way) for place, way, _ in unanswered} == {("veth-east", "←")}
    assert all("who has 169.254.1.1" in rest for *_, rest in unanswered)
    assert "ttl=63" in done.text("proxy-arp-try")
    (gateway,) = re.findall(r"169\.254\.1\.1 dev eth0 lladdr (\S+)", done.text("proxy-arp-try"))
    assert re.search(rf"^veth-east@\S+ +UP +{gateway}", done.text("proxy-arp-try"), flags=re.MULTILINE)
    assert re.findall(r"(\d) received", done.text("proxy-arp-route")) == ["0", "1"]
    assert re.findall(r"west +eth0 in +TTL (\d+)", done.text("routed-journey")) == ["63"]


def of_the_plugins(done: Run) -> None:
    """Check what ADD and DEL do, and that a cluster does the same."""
    assert '"address": "10.244.1.20/24"' in done.text("add")
    changes = done.text("add-difference")
    (veth,) = re.findall(r"node: (veth[0-9a-f]{8}) appeared", changes)
    assert veth in done.text("add")
    assert "fourth: the address 10.244.1.20/24 appeared on eth0" in changes
    assert "fourth: route default via 10.244.1.1 dev eth0 appeared" in changes
    assert "red reaches it: True" in changes
    assert "eth0" not in done.text("del")
    routed = done.text("add-ptp-difference")
    (veth,) = re.findall(r"worker: (veth[0-9a-f]{8}) appeared", routed)
    assert f"worker: the address 10.244.2.1/32 appeared on {veth}" in routed
    assert f"worker: route 10.244.2.20/32 dev {veth} appeared" in routed
    assert "south: the address 10.244.2.20/24 appeared on eth0" in routed
    assert "south: route 10.244.2.0/24 via 10.244.2.1 dev eth0" in routed
    assert "east reaches it: True" in routed
    assert "['bridge', 'portmap']" in done.text("cluster")
    assert done.text("cluster-bridge").count("master cni0") == 2
    assert len(re.findall(r"^10\.244\.1\.", done.text("cluster-bridge"), flags=re.MULTILINE)) == 1
    assert "ttl=64" in done.text("cluster-ping")
    assert len(re.findall(r"^10\.244\.1\.\d+ dev veth", done.text("cluster-ptp-cell"), flags=re.MULTILINE)) == 2
    assert "ttl=63" in done.text("cluster-ptp-cell")
