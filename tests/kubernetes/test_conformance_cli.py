"""``netlab conformance`` tells what agrees with the recordings, and ends with status 1 if anything does not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kernel


def conformance(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command without its connections."""
    command = [sys.executable, "-m", "netlab", "conformance", "--quick", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_all_texts_and_listings_agree(recordings: Path) -> None:
    """Status 0, with every suite in the JSON and every comparison passed."""
    result = conformance("--json", "--conformance", str(recordings))
    assert result.returncode == 0, result.stdout + result.stderr
    suites: list[dict[str, Any]] = json.loads(result.stdout)
    assert {suite["suite"] for suite in suites} >= {"iptables states", "endpoint choice", "nftables listed tables"}
    cni = suites.pop()
    assert all(suite["passed"] == suite["total"] > 0 for suite in suites)
    # Another version of the plugins is named, and not compared.
    assert (cni["passed"], cni["total"]) == (15, 15) or "plugins" in cni["nothing to compare"][0]


def test_a_difference_is_named_and_ends_with_status_1(recordings: Path, tmp_path: Path) -> None:
    """Another endpoint in a recording, and other words of a plugin, are failing cases in the table."""
    home = tmp_path / "kube-proxy"
    (home / "cases").mkdir(parents=True)
    shutil.copytree(recordings / "cni", tmp_path / "cni")
    check = tmp_path / "cni" / "debian-1.1.1" / "2-check.err"
    check.write_text(check.read_text() + "\nother words\n")
    for name in ("flows", "golden", "cases/iptables", "cases/nftables"):
        (home / name).symlink_to(recordings / "kube-proxy" / name)
    choices = json.loads((recordings / "kube-proxy" / "cases" / "categorize_endpoints.json").read_text())
    choices[3]["cluster"] = ["10.9.9.9:80"]
    (home / "cases" / "categorize_endpoints.json").write_text(json.dumps(choices))
    result = conformance("--conformance", str(tmp_path))
    assert result.returncode == 1
    assert choices[3]["name"].split()[0] in result.stdout
    if "nothing was compared" not in result.stdout:
        assert "2-check" in result.stdout


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    """The message says what was expected to be in it."""
    result = conformance("--conformance", str(tmp_path))
    assert (result.returncode, result.stdout) == (1, "")
    assert "kube-proxy/cases" in result.stderr
