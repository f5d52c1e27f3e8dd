"""What the prose of chapter 07 says about the output of its cells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chapters import Run


def claims(done: Run) -> None:
    """Check them."""
    assert "Nexthop has invalid gateway" in done.text("not-flat")
    assert done.text("not-flat").strip().endswith("no route to 10.244.2.2 in underlay")
    assert " mtu 1450 " in done.text("vxlan-one")
    assert "dstport 8472 nolearning" in done.text("vxlan-one")
    assert "neighbour 10.244.2.0 did not answer ARP on flannel.1 of node-1" in done.text("entry-route")
    assert "flannel.1 of node-1 has no FDB entry for 02:00:00:00:00:02" in done.text("entry-neighbour-cell")
    assert "no route to 10.244.1.2 in underlay" in done.text("entry-fdb-cell")
    assert "1 received" in done.text("works")
    assert "192.168.1.11 → 192.168.2.11 | protocol number 17" in done.text("underlay-sees")
    assert "node-1 talks UDP with node-2; who looks inside can read the path" in done.text("decide")
    assert "'vni': 1" in done.text("peel")
    names = [("Ethernet", 14), ("IP", 20), ("UDP", 8), ("VXLAN", 8), ("Ethernet", 14), ("IP", 20)]
    assert str(names) in done.text("peel")
    assert "The kernel:   50 bytes" in done.text("decide-bytes")
    route, neighbour, entry = done.text("tables").strip().splitlines()
    assert route.startswith("10.244.2.0/24 via 10.244.2.0 onlink")
    assert neighbour.startswith("10.244.2.0 lladdr 02:00:00:00:00:02 PERMANENT")
    assert entry.startswith("02:00:00:00:00:02 dst 192.168.2.11")
    assert done.text("journey").startswith("pod-1 → node-1 → underlay → node-2 → pod-2")
    assert [done.text("journey").count(sign) for sign in ("⊞", "⊟")] == [2, 2]
    hops = re.findall(r"^ \d+  (\S+)", done.text("traceroute"), flags=re.MULTILINE)
    assert hops == ["10.244.1.1", "10.244.2.0", "10.244.2.2"]
    inside, outside = map(int, re.findall(r"(\d+) (?:conn|source)", done.text("source-ports")))
    assert inside == 8
    assert outside > 1
    assert re.findall(r"(\d) received", done.text("mtu-edge")) == ["1", "0"]
    assert "From 10.244.1.1 icmp_seq=1 Frag needed and DF set (mtu = 1450)" in done.text("mtu-edge")
    assert "mtu 1450" in done.text("mtu-edge").splitlines()[-1]
    assert re.findall(r"(\d) received", done.text("narrow-ping")) == ["1", "0"]
    assert not re.search("Frag needed|too long|errors", done.text("narrow-ping")), "nobody says a word"
    assert done.text("narrow-curl").startswith("True ('000', 'curl: (28) Operation timed out")
    assert done.text("narrow-mended").startswith("('200', '')")
    assert re.search(r"mtu ?= ?1350", done.text("narrow-mended"))
    assert "Invalid argument" in done.text("too-high")
    assert " mtu 1500 " in done.text("unbound-cell")
    first, second, whole = done.text("fragments-cell").strip().splitlines()
    assert first.startswith("1500 bytes, offset 0 MF")
    assert second.startswith("70 bytes, offset 1480")
    assert whole == "1 echo request arrived, of 1500 bytes"
    tables = done.text("cluster-tables")
    for number in (2, 3):
        assert f"10.244.{number}.0/24 via 10.244.{number}.0 dev vxlan.1" in tables
        assert f"10.244.{number}.0 lladdr 02:00:00:00:00:0{number} PERMANENT" in tables
        assert f"02:00:00:00:00:0{number} dst 192.168.1.1{number}" in tables
    assert re.findall(r"mtu (\d+)", tables) == ["1450"]
    assert "vxlan id 1" in tables
    assert done.text("cluster-mtu").count("1450") == 2
    assert "node-2 has no VXLAN interface with VNI 1 and port 8472" in done.text("explain-vni")
