"""What the prose of chapter 10 says about the output of its cells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chapters import Run


def counted(text: str) -> dict[str, int]:
    """Return what a Counter in a text counts."""
    return {name: int(number) for name, number in re.findall(r"'([\w -]+)': (\d+)", text)}


def claims(done: Run) -> None:
    """Check them."""
    assert "Couldn't connect to server" in done.text("nobody")
    assert done.text("one-rule-works") == "('web-1', '10.244.1.11', 8080)"
    assert done.text("who-holds").startswith("[]\n")
    assert len(done.text("who-holds").strip().splitlines()) == 2, "nobody listens"
    assert "From 192.0.2.1 icmp_seq=1 Destination Net Unreachable" in done.text("ping-it")
    assert done.text("decide-ping").endswith("nothing: no echo reply comes")
    naive, fair = counted(done.text("naive-count")), counted(done.text("fair-count"))
    assert set(naive) == set(fair) == {"web-1", "web-2", "web-3"}
    assert 340 < naive["web-3"] < 460
    assert 140 < naive["web-2"] < 260
    assert done.text("decide-share").endswith("web-3")
    assert all(240 < number < 360 for number in fair.values())
    for line in done.text("chains-work").splitlines():
        assert set(counted(line)) == {"web-1", "web-2", "web-3"}
    first = done.text("call").splitlines()[0]
    assert len(set(re.findall(r"web-\d", first))) == 1
    assert re.search(r"ESTABLISHED src=10\.244\.2\.9 dst=10\.96\.0\.10 .* src=10\.244\.1\.1\d ", done.text("call"))
    new, old = done.text("leave").splitlines()[-2:]
    gone = old.split()[-1]
    assert gone in first
    assert set(counted(new)) == {"web-1", "web-2", "web-3"} - {gone}
    assert set(counted(done.text("same-bridge"))) == set(counted(done.text("bridge-nf-on"))) == set(counted(new))
    one_bridge(done)
    one_pod(done)
    in_a_cluster(done)


def one_bridge(done: Run) -> None:
    """Check what is said of the answer that passes the rules by."""
    assert counted(done.text("bridge-nf-off")) == {"silence": 1}
    flags = re.findall(r"([←→]) .*? ([A-Z]+)$", done.text("bridge-nf-off"), flags=re.MULTILINE)
    assert flags[:3] == [("→", "S"), ("←", "SA"), ("→", "R")]
    assert re.search(r"← .*TCP 10\.244\.1\.1\d:", done.text("bridge-nf-off")), "from the pod's own address"


def one_pod(done: Run) -> None:
    """Check what is said of a pod that calls itself."""
    assert "←" not in done.text("hairpin-only")
    assert counted(done.text("hairpin-on")) == {"silence": 1}
    source, target = re.findall(r"← .*TCP ([\d.]+):\d+ > ([\d.]+):", done.text("hairpin-on"))[0]
    assert source == target
    assert "Invalid argument" in done.text("martian")
    assert "martian source" in done.text("martian")
    assert done.text("masquerade-rules").strip().endswith("'10.244.1.1'")


def in_a_cluster(done: Run) -> None:
    """Check what is said of kube-proxy's rules."""
    assert "10.96.0.10" in done.text("endpoints")
    assert set(counted(done.text("endpoints"))) == {"web-1", "web-2", "web-3"}
    rules = done.text("proxy-rules")
    assert re.findall(r"--probability (\S+)", rules) == ["0.33333333349", "0.50000000000"]
    assert rules.count("-j DNAT") == 3
    hooks = re.findall(r"-A (PREROUTING|OUTPUT) -j KUBE-SERVICES", rules)
    assert hooks == ["PREROUTING", "OUTPUT"]
    assert re.search(r"^-A KUBE-SVC-\w+ ! -s 10\.244\.0\.0/16 .* -j KUBE-MARK-MASQ", rules, flags=re.MULTILINE)
    by_hand, proxy = (re.findall(r"'([\w-]+)'", line)[:4] for line in done.text("journeys").splitlines())
    assert by_hand[:3] == ["PREROUTING", "SERVICES", "SVC-WEB"]
    assert [re.sub(r"-[A-Z0-9]{16}$", "", chain) for chain in proxy] == [
        "PREROUTING",
        "KUBE-SERVICES",
        "KUBE-SVC",
        "KUBE-SEP",
    ]
    before, after = done.text("ready-count").splitlines()
    assert before == "[3, 3]"
    assert after.startswith("[2, 2]")
    assert set(counted(after)) == {"web-1", "web-3"}
    assert "Couldn't connect" in done.text("nobody-ready")
    assert "has no endpoints" in done.text("nobody-ready")
    assert "REJECT" in done.text("nobody-ready")
    assert set(counted(done.text("explain-first-hop"))) == {"web-1", "web-2", "web-3"}
    assert done.text("explain-first-hop").splitlines()[-1] == "0 packets with 10.96.0.10"
    maps = done.text("explain-nftables")
    assert set(counted(maps.splitlines()[0])) == {"web-1", "web-2", "web-3"}
    assert "From 10.244.1.1 icmp_seq=1 Destination Port Unreachable" in maps
    assert "10.96.0.10 . tcp . 80 : goto service-" in maps
