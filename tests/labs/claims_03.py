"""What the prose of chapter 03 says about the output of its cells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chapters import Run


def claims(done: Run) -> None:
    """Check them."""
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
