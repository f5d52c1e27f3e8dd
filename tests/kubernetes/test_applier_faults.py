"""What may happen in the middle of a sync: the program that writes the rules is killed, or the whole node goes."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from test_applier import FOUR, MODES, fresh, inventory, node, rules

from netlab.errors import CommandError, LabError
from netlab.kubernetes.proxy.applier import Applier

if TYPE_CHECKING:
    from collections.abc import Callable

    from netlab import Host, Lab

pytestmark = pytest.mark.kernel

__all__ = ["node"]  # a fixture

#: As the kernel cuts them off: the names of the programs that load rules.
TOOLS = {"iptables": "iptables-restor", "nftables": "nft"}
KILL = 'for p in /proc/[0-9]*; do read -r c <$p/comm; [ "$c" = "$0" ] && kill -9 ${p#/proc/} && exit 0; done; exit 1'
MANY = inventory(*range(400))


def outcome(action: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Start an action in a thread; return the thread, and a list that gets its result or its error."""
    found: list[object] = []

    def run() -> None:
        try:
            found.append(action())
        except LabError as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


@pytest.mark.parametrize("mode", MODES)
def test_a_sync_whose_program_is_killed_is_made_good(lab: Lab, node: Host, mode: str) -> None:
    """It is an error then, in plain words; the next sync writes everything, and nothing of the first is in its way."""
    applier = Applier(node, FOUR, mode)
    applier.sync(inventory(7, 8, 9))
    thread, found = outcome(lambda: applier.sync(MANY))
    while not node.run("sh", "-c", KILL, TOOLS[mode]).ok:
        assert thread.is_alive(), f"the sync was too quick to be killed: {found}"
    thread.join(20)
    # A partial sync that fails is followed by a full one at once; else the next one is full.
    assert isinstance(found[0], CommandError) or getattr(found[0], "kind", "") == "full"
    applier.sync(MANY)
    assert rules(node, mode) == fresh(lab, mode, MANY)


@pytest.mark.parametrize("mode", MODES)
def test_a_node_that_goes_during_a_sync_takes_nobody_with_it(lab: Lab, node: Host, mode: str) -> None:
    """Its sync ends with an error and does not hang; the proxy of another node goes on."""
    other = lab.add_host("other")
    going, staying = Applier(node, FOUR, mode), Applier(other, FOUR, mode)
    staying.sync(inventory(1))
    thread, found = outcome(lambda: going.sync(MANY))
    while not node.run("sh", "-c", KILL.replace("kill -9", "test -n"), TOOLS[mode]).ok:
        assert thread.is_alive(), f"the sync was too quick: {found}"
    began = time.monotonic()
    lab.remove_host(node)
    thread.join(20)
    assert time.monotonic() - began < 5
    assert isinstance(found[0], LabError)
    assert staying.sync(inventory(1, 2)).kind == "partial"
    assert rules(other, mode) == fresh(lab, mode, inventory(1, 2))
