"""What the prose of chapter 06 says about the output of its cells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chapters import Run


def claims(done: Run) -> None:
    """Check them."""
    assert "10.244.1.0/24 dev veth0" in done.text("ranges")
    assert " via " not in done.text("ranges")
    assert "From 10.244.1.1 icmp_seq=1 Destination Net Unreachable" in done.text("no-route")
    assert "10.244.2.2 via 192.168.1.12 dev eth0" in done.text("route-there")
    request, answer, complaint = done.text("one-way").strip().splitlines()
    assert ["← " in request, "→ " in answer, "← " in complaint] == [True] * 3
    assert "10.244.2.1 > 10.244.2.2 dest-unreach network-unreachable" in complaint
    assert done.text("one-way-drop").strip() == "no route to 10.244.1.2 in node-2"
    assert "the source is 10.244.1.2, that of pod-1; the TTL is 62" in done.text("decide")
    there, back = done.text("journey").splitlines()[:2]
    assert there == "pod-1 → node-1 → switch → node-2 → pod-2"
    assert back.split(" → ") == there.split(" → ")[::-1]
    request_only = done.text("journey").split("Reply:")[0]
    assert request_only.count("route lookup") == 4
    macs = dict(line.split() for line in done.text("macs").splitlines() if line.startswith("node-"))
    on_wire = re.match(r"(\S+) → (\S+) \| 10\.244\.1\.2 → 10\.244\.2\.2", done.text("on-the-switch"))
    assert on_wire
    assert on_wire.groups() == (macs["node-1"], macs["node-2"])
    learned = set(re.findall(r"^(\S+) dev node-\d master", done.text("macs"), flags=re.MULTILINE))
    assert {macs["node-1"], macs["node-2"]} <= learned <= set(macs.values())
    assert "Nexthop has invalid gateway" in done.text("not-a-neighbour")
    before, after = done.text("overlap").strip().splitlines()
    assert " via " not in before
    assert " via 192.168.1.13 " in after
    assert "timed out" in done.text("archive")
    assert "no route to 10.244.1.2 in archive" in done.text("archive")
    assert re.findall(r"sees +(\S+)", done.text("masquerade")) == ["192.168.1.11", "192.168.1.11"]
    assert re.findall(r"sees +(\S+)", done.text("masquerade-right")) == ["192.168.1.11", "10.244.1.2"]
    assert "node-2 10.244.2.0/24 192.168.1.12" in done.text("cluster-none")
    assert re.search(r"no route to 10\.244\.2\.\d+ in router", done.text("cluster-drop"))
    assert done.text("cluster-by-hand").count(" | 10.244.") == 4
    assert done.text("cluster-by-hand").count(" | default via ") == 2
    assert done.text("cluster-by-hand").count(" | local ") == 2
    assert "12/12" in done.text("cluster-routed")
    assert "10.244.1.0/24 dev cni0" in done.text("cluster-routed")
    assert "10.244.2.0/24 via 192.168.1.12 dev eth0" in done.text("cluster-routed")
    assert "The kernel:   2 routes" in done.text("decide-count")
    assert re.findall(r"via \S+ (\w+)", done.text("explain-compute")) == ["True", "True"]
