"""What the prose of chapter 08 says about the output of its cells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chapters import Run

#: Seconds: "at once", and about three of hold time.
AT_ONCE, SHORTEST, LONGEST = 0.5, 1.5, 5.0


def gone_after(text: str) -> float:
    """Return how long a route was still there."""
    (seconds,) = re.findall(r"gone from node-1 after (\S+) seconds", text)
    return float(seconds)


def claims(done: Run) -> None:
    """Check them."""
    assert "1 received" in done.text("by-hand")
    assert "0 received" in done.text("cut")
    assert "10.244.3.0/24 via 192.168.1.13 dev eth0" in done.text("cut")
    assert re.search(r"^192\.168\.1\.13 dev eth0 lladdr \S+ (REACHABLE|STALE|DELAY)", done.text("cut"), re.MULTILINE)
    assert "vanish without a word" in done.text("decide").splitlines()[-1]
    error, route = done.text("neighbour").splitlines()
    assert error == "neighbour 192.168.1.13 did not answer ARP on eth0 of node-1"
    assert route.startswith("10.244.3.0/24 via")
    assert "10.244.2.0/24 via 192.168.1.12" in done.text("write-again")
    assert "10.244.3.0/24 via 192.168.1.13" in done.text("write-stale")
    assert re.findall(r"(\S+)/24 .*proto boot", done.text("proto")) == ["10.244.2.0", "10.244.3.0"]
    assert "via" not in done.text("clean-up")
    assert re.search(r"^node_2 .* Established", done.text("bird-works"), re.MULTILINE)
    assert re.search(r"^10\.244\.2\.0/24 +unicast \[node_2 .*\*", done.text("bird-works"), re.MULTILINE)
    assert "10.244.2.0/24 via 192.168.1.12 dev eth0 proto bird" in done.text("bird-works")
    assert re.findall(r"(\S+)/24 via \S+ dev eth0 proto bird", done.text("bird-mesh")) == ["10.244.2.0", "10.244.3.0"]
    updates = re.findall(r"192\.168\.1\.13 UPDATE (\d+) bytes", done.text("messages-read"))
    assert len(updates) == 2
    assert {kind for _, kind in re.findall(r"(\S+) ([A-Z]+) ", done.text("messages-read"))} <= {"UPDATE", "KEEPALIVE"}
    assert gone_after(done.text("polite")) < AT_ONCE
    assert gone_after(done.text("killed")) < AT_ONCE
    assert "10.244.1.0/24 via 192.168.1.11 dev eth0 proto bird" in done.text("killed"), "left behind"
    (seconds,) = re.findall(r"The kernel: +(\S+) seconds", done.text("dead"))
    assert SHORTEST < float(seconds) < LONGEST
    assert "Hold timer expired" in done.text("dead-why")
    assert done.text("cluster-add").startswith("node-3 10.244.3.0/24")
    assert "10.244.3.0/24 via 192.168.1.13" in done.text("cluster-add")
    assert "10.244.3.0/24 via 192.168.1.13" in done.text("cluster-drift")
    *table, repair = done.text("cluster-gone").splitlines()
    assert not [line for line in table if "10.244.3" in line]
    assert [line for line in table if line.startswith("192.0.2.0/24 via 192.168.1.13")]
    assert repair == "ip -n node-1 route add 10.244.3.0/24 via 192.168.1.13 dev eth0"
    assert len(re.findall(r"BGP .* Established", done.text("cluster-bgp"))) == 2
    assert done.text("cluster-bgp").count("10.244.3.0/24") == 1, "there, and then not any more"
    assert re.findall(r"= (\d+)$", done.text("explain-neigh"), re.MULTILINE) == ["30000", "5", "3"]
    assert re.search(r"Hold timer: .*/3$", done.text("explain-proto"), re.MULTILINE)
