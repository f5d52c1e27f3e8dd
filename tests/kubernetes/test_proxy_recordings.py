"""The Service proxy writes what the real kube-proxy 1.36.2 was seen to write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netlab.errors import NotFoundError
from netlab.kubernetes import conformance
from netlab.kubernetes.conformance_cli import synced
from netlab.kubernetes.proxy import Family, Inventory, Settings, iptables
from netlab.kubernetes.rulesets import read_tables

if TYPE_CHECKING:
    from pathlib import Path

    from rule_kernel import Kernel

    from netlab import Lab

# How many comparisons each suite has to make at least: an engine that compares nothing would pass too.
TEXTS = {
    "iptables states": 112,
    "iptables exact texts": 11,
    "iptables partial syncs": 8,
    "nftables states": 106,
    "nftables exact texts": 15,
    "nftables partial syncs": 43,
    "endpoint choice": 32,
    "iptables restore inputs": 61,
}
SAVED = {"iptables saved rulesets": 61, "nftables listed tables": 61}


def _check(suites: list[conformance.Suite], sizes: dict[str, int]) -> None:
    table = "\n".join(map(str, suites))
    print(table)  # noqa: T201 (pytest shows it when the test fails)
    assert {suite.name: suite.total for suite in suites} == sizes
    assert not [suite for suite in suites if suite.failing], table


@pytest.mark.kernel
def test_every_recorded_text_and_state(recordings: Path, lab: Lab) -> None:
    """Full syncs, partial syncs, deletions and the choice of endpoints agree with the recordings."""
    host = lab.add_host("node")
    _check(conformance.run(recordings, lambda inventory, mode: synced(host, inventory, mode)), TEXTS)


@pytest.mark.kernel
@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_nothing_is_written_before_all_objects_were_told(lab: Lab, mode: str) -> None:
    """As kube-proxy waits for its first lists of Services and EndpointSlices: half of them would break what works."""
    host = lab.add_host("node")
    inventory = Inventory.unknown(Settings(Family.IPV4, "node", "192.168.0.2"))
    for kinds in ((), ("Service",), ("EndpointSlice",)):
        assert synced(host, inventory.hear(*kinds), mode) == ""
    assert synced(host, inventory.hear("Service").hear("EndpointSlice"), mode) != ""


@pytest.mark.kernel
def test_every_recorded_listing(recordings: Path, kernel: Kernel) -> None:
    """The kernel lists the same rules after our text as it listed after kube-proxy's."""
    _check(conformance.run_saved(recordings, kernel.saved, kernel.listed), SAVED)


@pytest.mark.kernel
def test_the_smallest_syncs_reach_every_recorded_listing(recordings: Path, kernel: Kernel) -> None:
    """The kernel lists the recorded rules too when the smallest texts lead there step by step."""
    old: iptables.Ruleset | None = None
    compared = 0
    for step in conformance.golden_steps(recordings / "kube-proxy"):
        if step.mode != "iptables":
            continue
        family = step.state.settings.family
        new = iptables.build(step.state)
        if step.number == 0 or old is None:
            kernel.clear()
            kernel.restore(family, iptables.first(new))
        else:
            kernel.restore(family, iptables.smallest(old, new))
            assert read_tables(kernel.save(family)).own == read_tables(step.golden).own, step.name
            compared += 1
        old = new
    assert compared >= 20


def test_a_folder_without_recordings_is_named(tmp_path: Path) -> None:
    """Asking for a folder that holds no recordings says which one, and what should be in it."""
    with pytest.raises(NotFoundError, match="kube-proxy/cases"):
        conformance.run(tmp_path, lambda *_: "")
