"""Once an hour the proxy writes everything again, as kube-proxy does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from test_applier import FOUR, MODES, fresh, inventory, node, objects, rules

from netlab.kubernetes.proxy import Inventory, applier, iptables, nftables
from netlab.kubernetes.proxy.applier import Applier
from netlab.kubernetes.proxy.backends import SWEEP_AFTER

if TYPE_CHECKING:
    from netlab import Host, Lab

pytestmark = pytest.mark.kernel

__all__ = ["node"]  # a fixture

#: Commands that take a rule out of the chain of a Service: "{}" is its name.
HARM = {
    "iptables": "iptables -t nat -D {} 2",
    "nftables": "nft flush chain ip kube-proxy {}",
}


def own_chain(wanted: Inventory, mode: str) -> str:
    """Return the name of a chain of one Service."""
    built = iptables.build(wanted.state) if mode == "iptables" else nftables.build(wanted.state)
    chains = built.fragments["default/s1"].chains
    return next(chain for chain in chains if chain.startswith(("KUBE-SVC-", "service-")))


@pytest.mark.parametrize("mode", MODES)
def test_the_chain_of_one_service_is_mended_within_the_hour(
    lab: Lab, node: Host, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody looks at each of them: what a learner did to it stays until all is written again, or it changes."""
    wanted = inventory(1, 2)
    proxy = Applier(node, FOUR, mode)
    proxy.sync(wanted)
    good = fresh(lab, mode, wanted)
    node.run(*HARM[mode].format(own_chain(wanted, mode)).split(), check=True)
    assert proxy.sync(wanted).kind == "nothing"
    assert rules(node, mode) != good
    monkeypatch.setattr(applier, "FULL_SYNC_PERIOD", 0.0)
    done = proxy.sync(wanted)
    assert (done.kind, done.why) == ("full", "an hour has passed since the last full sync")
    assert rules(node, mode) == good


@pytest.mark.parametrize("mode", MODES)
def test_a_full_sync_takes_a_change_with_it(lab: Lab, node: Host, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Service that came and one that went; also where the table is not as we made it."""
    proxy = Applier(node, FOUR, mode)
    proxy.sync(inventory(1, 2))
    monkeypatch.setattr(applier, "FULL_SYNC_PERIOD", 0.0)
    if mode == "nftables":
        node.run("nft", "delete", "map", "ip", "kube-proxy", "firewall-ips")
        node.run("nft", "flush", "chain", "ip", "kube-proxy", "firewall-check", check=True)
        node.run("nft", "delete", "map", "ip", "kube-proxy", "firewall-ips", check=True)
    proxy.sync(inventory(2, 3))
    monkeypatch.undo()
    time.sleep(SWEEP_AFTER)  # emptied chains of nftables go a second later
    proxy.sync(inventory(2, 3))
    assert rules(node, mode) == fresh(lab, mode, inventory(2, 3))


def test_a_full_sync_forgets_no_affinity(node: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sets of clients are kept, and what they hold."""
    wanted = Inventory.empty(FOUR).update(objects(1, sessionAffinity="ClientIP"))
    proxy = Applier(node, FOUR, "nftables")
    proxy.sync(wanted)
    name = next(w for w in node.run("nft", "list", "sets").stdout.split() if w.startswith("affinity-"))
    node.run("nft", "add", "element", "ip", "kube-proxy", name, "{", "10.0.0.7", "}", check=True)
    monkeypatch.setattr(applier, "FULL_SYNC_PERIOD", 0.0)
    assert proxy.sync(wanted).kind == "full"
    assert "10.0.0.7" in node.run("nft", "list", "set", "ip", "kube-proxy", name).stdout
