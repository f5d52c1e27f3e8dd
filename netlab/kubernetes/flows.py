"""Send what the recordings describe through a real node: which endpoint answers, and whom it sees.

A recorded flow says who connects where, and what becomes of it: one of some endpoints answers, masqueraded or not;
the packet is rejected or dropped; or no rule is for it, and it goes on as it is. Here each is a real connection from
one namespace through another to a third, with the rules that the `Applier` wrote.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING

from netlab.kubernetes.arena import EVERYWHERE, GATEWAY, NODE, SINK, Arena
from netlab.kubernetes.conformance import NODE_ADDRESSES, Suite
from netlab.kubernetes.connections import Attempt, Outcome
from netlab.kubernetes.proxy.addresses import join
from netlab.kubernetes.proxy.applier import Applier
from netlab.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from netlab.kubernetes.flow_cases import Flow, Step
    from netlab.kubernetes.proxy.model import State

#: How long, in seconds, nothing may come back for a packet to count as dropped.
SILENCE = 0.4
#: Connections for each endpoint in the first round, and how many rounds there may be until each has answered.
_PER_ENDPOINT, _ROUNDS = 4, 12
_VERDICTS = {"REJECT": "refused", "DROP": "silence"}


def run_flows(name: str, steps: Iterable[Step], told: Callable[[str], object] = str) -> Suite:
    """Try every flow of some steps in one lab; ``told`` hears which case is next.

    Flows of a protocol that this kernel does not have are named in the suite's ``unrecorded``.
    """
    suite = Suite(name)
    found = list(steps)
    addresses = {address for step in found for address in _addresses(step)}
    stray = {flow.destination for step in found for flow in step.flows}
    with Lab("flows") as lab, Arena(lab, NODE_ADDRESSES, addresses, stray) as arena:
        applier: Applier | None = None
        for index, step in enumerate(found):
            told(step.case)
            if step.number == 0 or applier is None:
                applier = Applier(arena.node, step.settings, step.mode)
            applier.sync(step.inventory)
            guarded = _guarded([other for other in found if other.case == step.case])
            for port in guarded if step.number == 0 else ():
                arena.node.iptables("-A", "INPUT", "-p", "tcp", "--dport", str(port), "-j", "DROP")
            last = index + 1 == len(found) or found[index + 1].number == 0
            for flow, wrong in _try_step(arena, step, guarded, suite):
                suite.note(f"{step.case}.{step.number} {flow.name}" + (f": {wrong}" if wrong else ""), agrees=not wrong)
            if last:
                arena.reset()
                applier.clean()
    return suite


def _addresses(step: Step) -> Iterator[str]:
    for flow in step.flows:
        yield flow.source
        if not flow.verdict and not flow.endpoints:
            yield from (flow.destination,) if flow.destination.startswith("10.") else ()
    for view in step.inventory.state.services.values():
        for backend in view.backends:
            yield from (endpoint.address for endpoint in backend.endpoints)


def _guarded(steps: Sequence[Step]) -> set[int]:
    """Return the ports that the node's own firewall shuts: those where a case says that the proxy opens them."""
    return {flow.port for step in steps for flow in step.flows if flow.verdict == "ACCEPT"}


def _try_step(arena: Arena, step: Step, guarded: set[int], suite: Suite) -> Iterator[tuple[Flow, str]]:
    flows = []
    for flow in step.flows:
        if flow.protocol == "SCTP" and not _has_sctp():
            suite.unrecorded.append(f"{step.case}.{step.number} {flow.name}: this kernel has no SCTP")
        else:
            flows.append(flow)
    _listen(arena, step, flows, guarded)
    from_node = [flow for flow in flows if flow.source == flow.destination and flow.source not in arena.node_addresses]
    for group in [[flow for flow in flows if flow not in from_node], from_node]:
        for flow in group if group is from_node else ():
            # A load balancer's address that the node has too: packets to it start out with it as their source.
            arena.node.add_address("lo", f"{flow.source}/{ip_address(flow.source).max_prefixlen}")
        yield from zip(group, _judge_all(arena, step.inventory.state, group, guarded), strict=True)
        for flow in group if group is from_node else ():
            arena.node.remove_address("lo", f"{flow.source}/{ip_address(flow.source).max_prefixlen}")


def _listen(arena: Arena, step: Step, flows: Sequence[Flow], guarded: set[int]) -> None:
    for flow in flows:
        if flow.port in guarded:
            # The proxy itself may answer here, at some addresses.
            with suppress(OSError):
                arena.connections.listen(NODE, flow.protocol, flow.port, flow.destination)
            continue
        everywhere = EVERYWHERE[ip_address(flow.destination).version]
        for host in {NODE, SINK, arena.owner(flow.destination)}:
            exact = flow.protocol == "UDP" and host == arena.owner(flow.destination)
            arena.connections.listen(host, flow.protocol, flow.port, flow.destination if exact else everywhere)
    protocols = {flow.protocol for flow in flows}
    for view in step.inventory.state.services.values():
        for backend in view.backends:
            protocol = backend.port.protocol.upper()
            for endpoint in backend.endpoints if protocol in protocols else ():
                everywhere = EVERYWHERE[ip_address(endpoint.address).version]
                arena.connections.listen(arena.owner(endpoint.address), protocol, endpoint.port, everywhere)


def _has_sctp() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError:
        return False
    return True


def _judge_all(arena: Arena, state: State, flows: Sequence[Flow], guarded: set[int]) -> list[str]:
    """Return for each flow what was wrong with it; nothing if it went as recorded."""
    wrong = [""] * len(flows)
    seen: list[set[str]] = [set() for _ in flows]
    sticky = [_affinity(state, flow) for flow in flows]
    left = list(range(len(flows)))
    for _ in range(_ROUNDS):
        attempts, owners = [], []
        for place in left:
            flow = flows[place]
            times = _PER_ENDPOINT * len(flow.endpoints) if len(flow.endpoints) > 1 else 1
            silent = flow.verdict == "DROP" or (flow.port in guarded and flow.verdict == "")
            patience = SILENCE if silent and not flow.endpoints else 5.0
            request = b"GET / HTTP/1.0\r\n\r\n" if flow.verdict == "ACCEPT" else b""
            attempts += [Attempt(flow.source, flow.protocol, flow.destination, flow.port, patience, request)] * times
            owners += [place] * times
        for place, outcome in zip(owners, arena.connections.try_all(attempts), strict=True):
            wrong[place] = wrong[place] or _judge(arena, flows[place], outcome, guarded)
            seen[place].add(join(arena.address_of(outcome.host), outcome.local[1]))
        left = [
            place for place in left if not wrong[place] and not sticky[place] and flows[place].endpoints - seen[place]
        ]
        if not left:
            break
    for place in left:
        wrong[place] = f"never answered: {', '.join(sorted(flows[place].endpoints - seen[place]))}"
    for place, flow in enumerate(flows):
        if sticky[place] and not wrong[place] and flow.endpoints and len(seen[place]) != 1:
            wrong[place] = f"one client went to {', '.join(sorted(seen[place]))}, in spite of its affinity"
    return wrong


def _judge(arena: Arena, flow: Flow, outcome: Outcome, guarded: set[int]) -> str:
    """Return what is wrong with an outcome; nothing if it is as recorded."""
    if flow.endpoints:
        reached = join(arena.address_of(outcome.host), outcome.local[1])
        if outcome.verdict != "answer" or reached not in flow.endpoints:
            return f"{_words(arena, outcome)} instead of {', '.join(sorted(flow.endpoints))}"
        expected = GATEWAY[ip_address(flow.destination).version] if flow.masqueraded else flow.source
        return "" if outcome.peer == expected else f"the endpoint saw {outcome.peer} instead of {expected}"
    verdict = _VERDICTS.get(flow.verdict)
    if flow.verdict == "" and flow.port in guarded:
        verdict = "silence"
    if verdict:
        return "" if outcome.verdict == verdict else f"{_words(arena, outcome)} instead of {flow.verdict or 'silence'}"
    if flow.verdict == "ACCEPT" and outcome.verdict == "answer":
        return ""  # by the proxy itself, or by our own listener, past the firewall
    # No rule is for it: it arrives where it was sent, as it was sent.
    untouched = Outcome("answer", arena.owner(flow.destination), (flow.destination, flow.port), flow.source)
    return "" if outcome == untouched else f"{_words(arena, outcome)} instead of the destination itself"


def _affinity(state: State, flow: Flow) -> bool:
    ports = [backend.port for view in state.services.values() for backend in view.backends]
    return any(
        port.affinity is not None
        and (
            (
                flow.destination in (port.cluster_ip, *port.external_ips, *port.load_balancer_ips)
                and port.port == flow.port
            )
            or port.node_port == flow.port
        )
        for port in ports
    )


def _words(arena: Arena, outcome: Outcome) -> str:
    if outcome.verdict != "answer":
        return outcome.verdict
    who = arena.address_of(outcome.host) if outcome.host not in {NODE, SINK} else outcome.host
    return f"an answer of {who} at {join(*outcome.local)} to {outcome.peer}"
