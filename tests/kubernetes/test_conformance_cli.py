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

#: A few of the recordings, for the command's sake: the engine is held against all of them in test_proxy_recordings.
FEW = {
    "cases/iptables": (
        "TestNoEndpointsMetric.json",
        "TestOverallIPTablesRules.json",
        "TestSyncProxyRulesRepeated.json",
    ),
    "cases/nftables": (
        "TestNoEndpointsMetric.json",
        "TestOverallNFTablesRules.json",
        "TestSyncProxyRulesRepeated.json",
    ),
    "flows": ("overall.json",),
    "golden/iptables": ("overall.0.save", "overall.0.restores"),
    "golden/nftables": ("overall.0.nft",),
}


@pytest.fixture
def few(recordings: Path, tmp_path: Path) -> Path:
    """Return a folder with a few of the recordings, which may be changed."""
    home = tmp_path / "kube-proxy"
    for folder, names in FEW.items():
        (home / folder).mkdir(parents=True)
        for name in names:
            shutil.copyfile(recordings / "kube-proxy" / folder / name, home / folder / name)
    choices = "cases/categorize_endpoints.json"
    shutil.copyfile(recordings / "kube-proxy" / choices, home / choices)
    (tmp_path / "cni" / "debian-1.1.1").mkdir(parents=True)
    for path in (recordings / "cni" / "debian-1.1.1").iterdir():
        shutil.copyfile(path, tmp_path / "cni" / "debian-1.1.1" / path.name)
    return tmp_path


def conformance(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command without its connections."""
    command = [sys.executable, "-m", "netlab", "conformance", "--quick", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_all_texts_and_listings_agree(few: Path) -> None:
    """Status 0, with every suite in the JSON and every comparison passed."""
    result = conformance("--json", "--conformance", str(few))
    assert result.returncode == 0, result.stdout + result.stderr
    suites: list[dict[str, Any]] = json.loads(result.stdout)
    assert {suite["suite"] for suite in suites} >= {"iptables states", "endpoint choice", "nftables listed tables"}
    cni = suites.pop()
    assert all(suite["passed"] == suite["total"] > 0 for suite in suites), suites
    # Another version of the plugins is named, and not compared.
    assert (cni["passed"], cni["total"]) == (15, 15) or "plugins" in cni["not compared here"][0]


def test_a_difference_is_named_and_ends_with_status_1(few: Path) -> None:
    """Another endpoint in a recording, a rule too many, other words of a plugin are failing cases in the table."""
    check = few / "cni" / "debian-1.1.1" / "2-check.err"
    check.write_text(check.read_text() + "\nother words\n")
    saved = few / "kube-proxy" / "golden" / "iptables" / "overall.0.save"
    saved.write_text(saved.read_text().replace("-j KUBE-MARK-MASQ", "-j KUBE-OTHER", 1))
    path = few / "kube-proxy" / "cases" / "categorize_endpoints.json"
    choices = json.loads(path.read_text())
    choices[3]["cluster"] = ["10.9.9.9:80"]
    path.write_text(json.dumps(choices))
    result = conformance("--conformance", str(few))
    assert result.returncode == 1
    for failing in (choices[3]["name"].split()[0], "overall.0"):
        assert failing in result.stdout
    if "CNI transcripts (debian-1.1.1): not compared" not in result.stdout:
        assert "2-check" in result.stdout


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    """The message says what was expected to be in it."""
    result = conformance("--conformance", str(tmp_path))
    assert (result.returncode, result.stdout) == (1, "")
    assert "kube-proxy/cases" in result.stderr
