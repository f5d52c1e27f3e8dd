"""What the prose of chapter 11 says about the output of its cells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from claims_10 import counted

if TYPE_CHECKING:
    from chapters import Run

CLIENT = "203.0.113.10"


def claims(done: Run) -> None:
    """Check them."""
    by_hand(done)
    policies(done)
    balancer(done)
    draining(done)
    jumps = re.findall(r"KUBE-[\w-]+", done.text("explain-both"))
    assert len(jumps) == 2
    assert len(set(jumps)) == 1
    assert jumps[0].startswith("KUBE-EXT-")


def by_hand(done: Run) -> None:
    """Check what is said of the rules that the reader writes."""
    assert done.text("port-try").startswith("silence")
    flags = re.findall(r"([←→]) .*TCP ([\d.]+):.* ([A-Z]+)$", done.text("port-try"), flags=re.MULTILINE)
    assert flags[:3] == [("→", CLIENT, "S"), ("←", "10.244.2.5", "SA"), ("→", CLIENT, "R")]
    assert done.text("ext-try") == "('web', '192.168.11.11')"
    there, back = (line.split(" → ") for line in done.text("ext-journey").splitlines())
    assert there == ["client", "router", "node-1", "router", "node-2", "web"]
    assert back == there[::-1]
    first, second = done.text("local").splitlines()
    assert "silence" in first
    assert second.endswith(f"open {CLIENT}")
    half = counted(done.text("balance"))
    assert set(half) == {"silence", "web"}
    assert all(10 < number < 50 for number in half.values())
    assert counted(done.text("balance-healthy")) == {"web": 60}
    assert done.text("balance-healthy").endswith(f"'{CLIENT}'")


def policies(done: Run) -> None:
    """Check what is said of the two policies."""
    assert re.findall(r"^web-\d .* (node-\d)", done.text("cluster"), flags=re.MULTILINE) == ["node-1", "node-2"]
    for line in done.text("node-port-try").splitlines():
        assert set(counted(line.partition("Counter")[2])) == {"web-1", "web-2"}
    assert "192.168.1.13" in done.text("seen-cluster")
    rules = done.text("rules-cluster")
    external = re.findall(r"^-A KUBE-EXT-\w+ -j (KUBE-[A-Z]+)", rules, flags=re.MULTILINE)
    assert external == ["KUBE-MARK", "KUBE-SVC"]
    assert re.search(r"-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS", rules)
    assert re.search(r"--dport 30080 -j KUBE-EXT-", rules)
    first, second, third, seen = done.text("local-policy-try").splitlines()
    assert [set(counted(line.partition("Counter")[2])) for line in (first, second, third)] == [
        {"web-1"},
        {"web-2"},
        {"silence"},
    ]
    assert CLIENT in seen
    assert done.text("decide-address").endswith("a node's under Cluster, the client's under Local")
    assert done.text("decide-none").endswith("no answer at all")
    local = re.findall(r"^-A KUBE-EXT-\w+ (.*)-j (KUBE-[A-Z]+)", done.text("rules-local"), flags=re.MULTILINE)
    assert [target for _, target in local] == ["KUBE-SVC", "KUBE-MARK", "KUBE-SVC", "KUBE-SVL"]
    assert local[0][0].strip() == "-s 10.244.0.0/16"
    assert local[3][0] == ""
    assert "no local endpoints" in done.text("rules-none")
    assert "DROP" in done.text("rules-none")


def balancer(done: Run) -> None:
    """Check what is said of the load balancer, of callers inside, and of affinity."""
    text = done.text("balancer-try")
    assert re.findall(r"nexthop via (\S+)", text) == ["192.168.1.11", "192.168.1.12"]
    assert set(counted(text.partition("Counter")[2])) == {"web-1", "web-2"}
    assert text.rstrip().endswith(f"'{CLIENT}'")
    assert re.findall(r'"localEndpoints": (\d)', done.text("health")) == ["1", "1", "0"]
    caller, node = done.text("internal-try").splitlines()
    assert counted(caller) == {"web-1": 60}
    assert counted(node) == {"silence": 5}
    sticky = done.text("affinity-try")
    assert list(counted(sticky.splitlines()[0]).values()) == [60]
    assert sticky.count("--rcheck --seconds 10800") == sticky.count("recent --set") == 2
    assert re.search(r"xt_recent/KUBE-SEP-\w+:src=10\.244\.1\.\d", sticky)


def draining(done: Run) -> None:
    """Check what is said of pods that leave."""
    _, new, old, entry, *_ = done.text("leave").splitlines()
    pod, state = old.split()[-2:]
    assert state == "open"
    assert pod not in new
    assert re.search(r"ESTABLISHED src=203\.0\.113\.10 dst=192\.168\.1\.12 .* src=10\.244\.2\.\d+ ", entry)
    assert "silence" not in new
    assert "(None, 'hung up')" in done.text("ended") or "(None, 'reset')" in done.text("ended")
    serving, ended = done.text("terminating-slice").splitlines()
    assert set(counted(serving)) < {"web-1", "web-2", "web-3"}
    assert set(counted(ended)) <= {"refused", "silence"}
