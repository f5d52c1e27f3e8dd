"""What the prose of chapter 01 says about the output of its cells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chapters import Run


def claims(done: Run) -> None:
    """Check them."""
    assert "NO-CARRIER" in done.text("red-address")
    assert re.findall(r"^(\S+) dev eth0 proto kernel", done.text("routes"), flags=re.MULTILINE) == ["10.0.0.0/24"] * 2
    assert done.text("route-get").startswith("10.0.0.2 dev eth0")
    assert "Network is unreachable" in done.text("route-get")
    packets(done)
    failures(done)
    sent, received = (line.split(maxsplit=2)[2] for line in done.text("counters-cell").splitlines())
    assert sent == received
    assert "NO-CARRIER" in done.text("pull-cell")
    assert re.search(r"eth0 ← .* S$", done.text("symptom"), flags=re.MULTILINE), (
        "the SYN arrives, whichever fault it is"
    )


def packets(done: Run) -> None:
    """Check what is said about the first request."""
    assert done.text("decide").splitlines()[-1].split(maxsplit=2)[-1] == "5 packets"
    assert done.text("warm").strip() == "3"
    *headers, together = (int(line.split()[1]) for line in done.text("peel").splitlines())
    assert len(headers) == 4
    assert sum(headers) == together
    ask, answer = done.text("arp-packets").splitlines()
    assert "→ ff:ff:ff:ff:ff:ff" in ask
    assert answer.split()[2] == ask.split()[0], "to red alone"
    assert re.findall(r"lladdr \S+ (\w+)", done.text("neighbours"))[0] == "REACHABLE"
    assert len(done.text("neighbours").strip().splitlines()) == 2
    assert done.text("who-asked") == "{'10.0.0.1'}"
    assert "flags: S SA A" in done.text("handshake-cell")
    assert "bytes of data: [0, 0, 0]" in done.text("handshake-cell")
    assert done.text("handshake-cell").count("plus 1\n") == 2
    assert re.search(r"LISTEN .*:80 ", done.text("listening"))
    server, packet, *sockets = done.text("three-witnesses").splitlines()
    assert server.split()[-1] == packet.split()[-1]
    own = [line for line in sockets if f":{server.split()[-1]} " in line]
    assert [line.split()[0] for line in own] == ["TIME-WAIT"]


def failures(done: Run) -> None:
    """Check what is said about what goes wrong."""
    assert re.search(r" S\n.* RA$", done.text("refused").rstrip()), "SYN, then RST, and no more"
    assert done.text("refused").count("eth0") == 2
    assert done.text("nobody").count("who has 10.0.0.9") == 3
    assert "host-unreachable" in done.text("nobody").splitlines()[-1]
    assert "timed out" in " ".join(done.text("deaf").split())
    assert "no packet passed" in done.text("unreachable")
    assert "timed out" in done.text("lost")
    assert re.findall(r"eth0 ([←→]) .* (\w+)$", done.text("lost"), flags=re.MULTILINE)[:2] == [("→", "S")] * 2
    assert "←" not in done.text("lost"), "no answer"
