"""What the prose of chapter 00 says about the output of its cells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from chapters import CHAPTERS

if TYPE_CHECKING:
    from chapters import Run


def claims(done: Run) -> None:
    """Check them."""
    rows = done.text("map").splitlines()
    assert [row[2:4] for row in rows] == [path.stem[:2] for path in CHAPTERS]
    assert all("not yet" in row for row in rows), "nothing is done at the beginning"
    assert "state DOWN" in done.text("first-look")
    assert "inet" not in done.text("first-look"), "no address"
    chains, heading = done.text("nothing-else").splitlines()[:3], done.text("nothing-else").splitlines()[3:]
    assert chains == [f"-P {chain} ACCEPT" for chain in ("INPUT", "FORWARD", "OUTPUT")]
    assert len(heading) == 1, "no socket"
    assert done.text("decide").splitlines()[-1].endswith("One interface, lo. It is down and has no address.")
    assert re.search(r"welcome .* red", done.text("ps"))
    outside, inside = done.text("two-namespaces").split()
    assert outside != inside
    assert len(set(done.text("same-kernel-cells").split())) == 1
    assert done.text("own-things").startswith("red\n")
    assert re.search(r"^ +1 ", done.text("own-things"), flags=re.MULTILINE), "process numbers of its own"
    assert re.fullmatch(r"0\s+0\s+\d+\s+1\s*", done.text("uid-map"))
    assert done.text("no-way-out-cell").count("Network is unreachable") == 2
    assert "Network is unreachable" in done.text("loopback-is-down")
    assert "127.0.0.1/8" in done.text("addresses-by-themselves")
    assert "exercises 1 of 1" in done.text("map-again").splitlines()[0]
    assert "0 received" in done.text("break")
    assert "DOWN" in done.text("after-reset")
    assert "-P OUTPUT ACCEPT" in done.text("after-reset")
    first, link = done.text("start-over").splitlines()[:2]
    before, after = re.findall(r"It was (\w+) and is now (\w+)", first)[0]
    assert before != after, "another name after a pass"
    assert "DOWN" in link
    alive, ended = done.text("short-life").splitlines()
    assert "running" in alive
    assert "running" not in ended
