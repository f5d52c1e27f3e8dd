"""The demo in a terminal."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from netlab.kernel.packets import read_pcapng

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kernel


def test_the_demo_tells_of_an_answer_and_of_a_drop(tmp_path: Path) -> None:
    """One packet goes there and back over two kinds of NAT, the next one is dropped by the new rule."""
    path = tmp_path / "demo.pcapng"
    command = [sys.executable, "-m", "netlab", "demo", "journey", "--fast", "--pcap", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    first, second = result.stdout.split("Now router gets one rule more")
    assert "MASQUERADE  source 192.168.1.2:" in first
    assert re.search(r"DNAT {2}destination 10\.96\.0\.10:80 ⇒ 10\.0\.2\.2:8080", first)
    assert "✓ an answer came back to client" in first
    assert "Reply" not in second
    assert "was dropped in router: rule 1 of filter FORWARD" in " ".join(second.split())
    assert {packet.host for packet in read_pcapng(path)} == {"client", "gateway", "router", "server"}
