"""Real connections through a node with our rules go where kube-proxy's own tests say that they go."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from netlab.benches.services import CLIENT, SETTINGS, addresses, services
from netlab.kubernetes.arena import EVERYWHERE, Arena
from netlab.kubernetes.connections import Attempt
from netlab.kubernetes.flow_cases import case_steps, flat_steps
from netlab.kubernetes.flows import run_flows
from netlab.kubernetes.proxy.applier import Applier

if TYPE_CHECKING:
    from pathlib import Path

    from netlab import Lab
    from netlab.kubernetes.connections import Outcome
    from netlab.kubernetes.flow_cases import Step

pytestmark = pytest.mark.kernel

#: How many flows there are without the one that needs SCTP.
FLAT = {"iptables": 250, "nftables": 206}
CASES = {"iptables": 238, "nftables": 206}
#: What an ordinary user's lab is asked: each kind of verdict, both families, a change of objects.
SAMPLE = (
    "clusterip",
    "nodeports-6",
    "loadbalancer",
    "itp-4",
    "etp-local",
    "healthcheck",
    "own-session",
    "NodePorts-ipv6",
    "TestLoadBalancer",
)


def chosen(steps: list[Step]) -> list[Step]:
    """Return all steps for root, and a sample for an ordinary user: the rules are the same, and so is the kernel."""
    return steps if os.geteuid() == 0 else [step for step in steps if any(word in step.case for word in SAMPLE)]


@pytest.mark.parametrize("mode", FLAT)
def test_every_flow_goes_where_it_was_recorded_to_go(recordings: Path, mode: str) -> None:
    """Each answers, is masqueraded, rejected, dropped or left alone, as the real kube-proxy was seen to do it."""
    suite = run_flows(mode, chosen(list(flat_steps(recordings, mode))))
    assert not suite.failing, "\n".join(suite.failing)
    assert suite.total == FLAT[mode] if os.geteuid() == 0 else suite.total > 15


@pytest.mark.parametrize("mode", CASES)
def test_every_flow_of_the_unit_tests_goes_where_it_should(recordings: Path, mode: str) -> None:
    """The same flows after every step of a case: the rules came by partial syncs there."""
    suite = run_flows(mode, chosen(list(case_steps(recordings, mode))))
    assert not suite.failing, "\n".join(suite.failing)
    assert suite.total == CASES[mode] if os.geteuid() == 0 else suite.total > 15


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"endpoints": frozenset({"10.180.0.9:80"})}, "instead of 10.180.0.9:80"),
        ({"masqueraded": True}, "the endpoint saw"),
        ({"endpoints": frozenset(), "verdict": "REJECT"}, "instead of REJECT"),
        ({"endpoints": frozenset(), "verdict": "DROP"}, "instead of DROP"),
        ({"endpoints": frozenset(), "verdict": ""}, "instead of the destination itself"),
        ({"endpoints": frozenset({"10.180.0.1:80", "10.180.0.9:80"})}, "never answered: 10.180.0.9:80"),
    ],
)
def test_a_flow_that_goes_elsewhere_is_found(recordings: Path, change: dict[str, object], words: str) -> None:
    """The engine sees another endpoint, a missing one, masquerading, and a verdict that did not come."""
    (step,) = (step for step in flat_steps(recordings, "iptables") if step.case == "overall")
    flow = next(flow for flow in step.flows if flow.name == "single endpoint")
    false = replace(flow, **change)  # type: ignore[arg-type]
    suite = run_flows("false", [replace(step, flows=(false,))])
    assert suite.passed == 0
    assert words in suite.failing[0]


def test_no_connection_is_lost_while_the_mode_changes(lab: Lab) -> None:
    """A client that goes on connecting gets an answer each time, from iptables to nftables and back."""
    wanted, stop = services(40), threading.Event()
    outcomes: list[Outcome] = []
    with Arena(lab, [], [CLIENT, *addresses(7)]) as arena:
        for address in addresses(7):
            arena.connections.listen(arena.owner(address), "TCP", 8080, EVERYWHERE[4])
        applier = Applier(arena.node, SETTINGS)
        applier.sync(wanted)

        def go_on() -> None:
            while not stop.is_set():
                outcomes.extend(arena.connections.try_all([Attempt(CLIENT, "TCP", "10.96.0.7", 80)]))

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            for mode in ("nftables", "iptables"):
                applier.mode = mode
                assert applier.sync(wanted).kind == "full"
        finally:
            stop.set()
            thread.join()
        applier.clean()
    assert len(outcomes) > 20
    assert {outcome.verdict for outcome in outcomes} == {"answer"}
    assert {outcome.peer for outcome in outcomes} <= {CLIENT, "100.64.0.1"}
