"""What the prose of chapters says about the output of their cells, by the chapter's name: each is checked in a run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chapters import Run


def check(stem: str, done: Run) -> None:
    """Check a chapter that ran untouched; a chapter of which nothing is written here has no claims."""
    if stem in CLAIMS:
        CLAIMS[stem](done)


def router(done: Run) -> None:
    """Chapter 02."""
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


def netfilter(done: Run) -> None:
    """Chapter 03."""
    assert "timed out" in done.text("no-rule")
    assert "10.0.2.2" in done.text("no-rule").splitlines()[-1]
    assert "→" not in done.text("no-rule"), "no answer leaves"
    assert "192.0.2.1, that of node towards client" in done.text("decide")
    assert re.search(
        r"src=10\.0\.2\.2 dst=192\.0\.2\.10 .* src=192\.0\.2\.10 dst=192\.0\.2\.1 ", done.text("conntrack")
    )
    assert len(done.text("dnat").strip().splitlines()) == 1, "nobody listens"
    assert done.text("dnat-works") == "('web', 80, '192.0.2.10')"
    through, to_node = (re.findall(r"\[(\d+):", done.text(cell)) for cell in ("count-through", "count-to"))
    assert through == ["2", "0", "2", "0", "2"]
    assert to_node == ["1", "1", "0", "1", "1"]
    assert done.text("hooks-decide").endswith("PREROUTING, FORWARD, POSTROUTING")
    steps = done.text("journey")
    assert steps.index("DNAT") < steps.index("route lookup  ", steps.index("DNAT")) < steps.index("un-NAT  source")
    assert int(done.text("nat-once").split()[0]) > 6
    assert re.search(r"^ +1 +\d+ DNAT", done.text("nat-once"), flags=re.MULTILINE)
    assert '"server": "web"' in done.text("wrong-place-try")
    assert re.findall(r"\[(\d+):\d+\] -A", done.text("wrong-place-try")) == ["0", "0"]
    assert "rule 1 of filter FORWARD in node dropped the packet" in done.text("right-place-try")
    assert "timed out" in done.text("order-append")
    assert re.search(r"^ +0 +0 ACCEPT", done.text("order-append"), flags=re.MULTILINE)
    assert '"server": "web"' in done.text("order-insert")
    assert re.search(r"^ +[1-9]\d* +\d+ ACCEPT", done.text("order-insert"), flags=re.MULTILINE)
    dropped, *_, passed = done.text("policy-answer").splitlines()
    assert "policy of filter FORWARD in node is DROP" in dropped
    assert passed == "None"
    assert "Couldn't connect" in done.text("output-try")
    assert '"server": "web"' in done.text("output-try")
    assert re.findall(r"\[(\d+):", done.text("explain-both")) == ["1", "1"]


CLAIMS = {"02-linux-as-a-router": router, "03-netfilter": netfilter}
