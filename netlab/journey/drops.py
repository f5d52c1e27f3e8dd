"""Say where and why a packet ended, by the kernel's reports, or by deduction where it is silent."""

from __future__ import annotations

import dataclasses
import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netlab.journey.entry import refused_on_entry
from netlab.journey.evidence import RouteQuestion
from netlab.journey.links import ended_on_a_port, ended_on_the_cable, interface_fault
from netlab.journey.neighbours import is_a_drop, neighbour_fault
from netlab.journey.values import Drop, Step
from netlab.kernel.chains import target_of

if TYPE_CHECKING:
    from netlab.journey.evidence import Evidence
    from netlab.journey.tracks import Asked
    from netlab.journey.walk import Visit
    from netlab.kernel.headers import Header
    from netlab.kernel.lookups import RouteAnswer
    from netlab.kernel.values import Route

#: Every kind of drop that has a name, for checks.
KINDS = (
    "rule",
    "reject",
    "policy",
    "no-route",
    "blackhole",
    "unreachable",
    "prohibit",
    "rp-filter",
    "martian",
    "no-listener",
    "listener-address",
    "neighbour",
    "too-big",
    "ttl",
    "interface-down",
    "ip-forward",
    "bridge-port",
    "no-port",
    "no-fdb",
    "wrong-mac",
    "no-tunnel",
    "conntrack-full",
    "backlog",
    "legacy",
    "unexplained",
)


@dataclass(frozen=True, slots=True)
class Ended:
    """A packet that was not seen to arrive: its name, its stay in the last host, and what had been asked meanwhile."""

    leg: str
    packet: str
    host: str
    visit: Visit | None
    header: Header
    questions: tuple[Asked, ...] = ()

    def drop(self, kind: str, where: str, reason: str, *evidence: str, deduced: bool = True) -> Drop:
        """Return a drop of this packet in its last host."""
        return Drop(kind, self.host, where, reason, self.leg, self.packet, evidence, deduced)


def find_drop(evidence: Evidence, ended: Ended) -> Drop:
    """Return why a packet ended where it was last seen."""
    visit = ended.visit
    if visit is not None:
        last = next((step for step in reversed(visit.steps) if step.kind in {"rule", "policy"}), None)
        if last is not None and last is visit.steps[-1 if visit.steps[-1].kind != "route" else -2]:
            found = by_rule(ended, last)
            if found is not None:
                return found
        captured = visit.captured
        if captured and captured[-1].direction == "out":
            return ended_on_the_cable(evidence, ended, captured[-1])
        if captured and visit.entry(evidence) is None:
            return ended_on_a_port(evidence, ended, captured[-1])
    return _ended_in_the_stack(evidence, ended)


def by_rule(ended: Ended, step: Step) -> Drop | None:
    """Return the drop by a rule or a policy that the kernel reported, or None if it let the packet go on."""
    where = f"{step.table} {step.chain}"
    if step.kind == "policy":
        if not step.verdict.endswith("DROP"):
            return None
        reason = f"the policy of {where} in {step.host} is DROP, and no rule accepted the packet"
        found = ended.drop("policy", where, reason, "reported by the kernel", deduced=False)
        return dataclasses.replace(found, counter=step.counter)
    target = target_of(step.rule)
    if "DROP" not in step.verdict and target not in {"DROP", "REJECT"}:
        return None
    name = f"rule {step.position}" if step.position else f"the rule with handle {step.handle}"
    kind, did = ("reject", "refused") if target == "REJECT" else ("rule", "dropped")
    reason = f"{name} of {where} in {step.host} {did} the packet: {step.rule or step.verdict}"
    found = ended.drop(kind, where, reason, f"handle {step.handle}, reported by the kernel", deduced=False)
    return dataclasses.replace(found, rule=step.rule, counter=step.counter)


# -- inside a host -------------------------------------------------------------------------------


def _ended_in_the_stack(evidence: Evidence, ended: Ended) -> Drop:
    """Explain a packet that came up to a host's stack, or began there, and did not leave it."""
    visit, host = ended.visit, ended.host
    entry = visit.entry(evidence) if visit is not None else None
    iif = evidence.index(host, entry.interface) if entry is not None else 0
    header = _routed_header(ended)
    mark = next((step.after.mark for step in reversed(visit.steps) if step.after), 0) if visit else 0
    answer = evidence.route(host, RouteQuestion(header, iif, mark))
    if entry is not None:
        found = refused_on_entry(evidence, ended, entry.interface, answer)
        if found is not None:
            return found
    found = by_route(evidence, ended, header, answer)
    if found is not None:
        return found
    route = answer.route
    if entry is None and route is not None and route.type == "local":
        fault = interface_fault(evidence, ended, "lo")  # a host talks to itself by its loopback
        if fault is not None:
            return fault
    if route is None or route.type == "local":
        return _at_the_socket(evidence, ended, header)
    if entry is not None:
        found = _forwarding(evidence, ended, header)
        if found is not None:
            return found
    return _leaving(evidence, ended, header, route)


def not_taken_in(evidence: Evidence, ended: Ended) -> Drop | None:
    """Return why a host refused a packet that reached one of its interfaces; None if nothing speaks against it."""
    entry = ended.visit.entry(evidence) if ended.visit is not None else None
    if entry is None:
        return None
    question = RouteQuestion(_routed_header(ended), evidence.index(ended.host, entry.interface))
    return refused_on_entry(evidence, ended, entry.interface, evidence.route(ended.host, question))


def _routed_header(ended: Ended) -> Header:
    """Return the header by which the route was chosen: where DNAT came last, with what its rule says."""
    visit = ended.visit
    return (visit.header if visit is not None else None) or ended.header


def by_route(evidence: Evidence, ended: Ended, header: Header, answer: RouteAnswer) -> Drop | None:
    """Return the drop because of the routing table, or None if it has a way."""
    host = ended.host
    special = evidence.special_route(host, header.destination)
    kind = answer.route.type if answer.route else (special.type if special else "")
    said = f"{answer.command}: {answer.reason}" if answer.error else f"{answer.command}: {answer.route}"
    if kind in {"blackhole", "unreachable", "prohibit"}:
        reason = f"{kind} route for {header.destination} in {host}: {special or answer.route}"
        return ended.drop(kind, "routes", reason, said)
    forwarding = ended.visit is not None and ended.visit.entry(evidence) is not None
    if forwarding and special is not None and _forwarding(evidence, ended, header) is not None:
        return _forwarding(evidence, ended, header)
    if answer.error == errno.ENETUNREACH or (answer.error and special is None):
        down = _down_on_the_way(evidence, ended, header)
        if down is not None:
            return down
        return ended.drop("no-route", "routes", f"no route to {header.destination} in {host}", said)
    if answer.error == errno.EINVAL:
        reason = f"the routing of {host} refuses {header.source} → {header.destination} (martian)"
        return ended.drop("martian", "routes", reason, said)
    return None


def _down_on_the_way(evidence: Evidence, ended: Ended, header: Header) -> Drop | None:
    """Return the down interface that took its route along, where there is one."""
    for each in evidence.layout[ended.host].addresses:
        interface = evidence.interface(ended.host, each.interface)
        if interface is not None and not interface.up and header.destination in each.address.network:
            fault = interface_fault(evidence, ended, each.interface)
            if fault is not None:
                return fault
    downs = [each for each in evidence.layout[ended.host].interfaces if not each.up and each.kind != "loopback"]
    if downs and evidence.special_route(ended.host, header.destination) is None and len(downs) == 1:
        others = [each for each in evidence.layout[ended.host].interfaces if each.up and each.kind != "loopback"]
        return None if others else interface_fault(evidence, ended, downs[0].name)
    return None


def _forwarding(evidence: Evidence, ended: Ended, header: Header) -> Drop | None:
    """Return the drop because a host does not forward, or because the packet had no hop left."""
    host = ended.host
    if evidence.owns(host, header.destination):
        return None
    version = header.destination.version
    key = "net/ipv4/ip_forward" if version == 4 else "net/ipv6/conf/all/forwarding"
    value = evidence.setting(host, key)
    if value == "0":
        name = key.replace("/", ".")
        short = "ip_forward" if version == 4 else "IPv6 forwarding"
        reason = f"{short} is 0 in {host}: it does not pass on what is for {header.destination}"
        return ended.drop("ip-forward", name, reason, f"{name} = 0")
    if 0 < header.ttl <= 1:
        return ended.drop("ttl", "forwarding", f"TTL reached 0 in {host}", f"TTL {header.ttl} on arrival")
    return None


def _at_the_socket(evidence: Evidence, ended: Ended, header: Header) -> Drop:
    host, port = ended.host, header.destination_port
    taking, other = evidence.listeners(host, header)
    grown = evidence.increases(host)
    if port is not None and not taking:
        return no_listener(evidence, ended, header, "no answer, and no socket that would take it")
    overflows = grown.get("TcpExtListenOverflows", 0) or grown.get("TcpExtListenDrops", 0)
    if taking and overflows:
        reason = f"the queue of the listener on port {port} in {host} is full"
        return ended.drop("backlog", f"port {port}", reason, f"ListenDrops +{overflows}")
    words = [f"{name} +{number}" for name, number in sorted(grown.items()) if is_a_drop(name)]
    reason = f"{host} took the packet in, and nothing came of it"
    del other
    return ended.drop("unexplained", host, reason, *words)


def no_listener(evidence: Evidence, ended: Ended, header: Header, seen: str, *, deduced: bool = True) -> Drop:
    """Return the drop because nothing listens on the port, or only on another address."""
    host, port = ended.host, header.destination_port
    taking, other = evidence.listeners(host, header)
    where = f"port {port}"
    if other and not taking:
        listening = ", ".join(sorted(f"{each.local}:{each.local_port}" for each in other))
        reason = f"listener bound to another address: {listening} in {host}, not {header.to_text}: {seen}"
        return ended.drop("listener-address", where, reason, seen, f"ss: {listening}", deduced=deduced)
    reason = f"no listener on {header.protocol} {where} in {host}: {seen}"
    return ended.drop("no-listener", where, reason, seen, deduced=deduced)


def _leaving(evidence: Evidence, ended: Ended, header: Header, route: Route) -> Drop:
    """Explain a packet that has a route and was not seen to leave: interface, size, neighbour."""
    host, name = ended.host, route.interface
    if name is not None:
        fault = interface_fault(evidence, ended, name)
        if fault is not None:
            return fault
    interface = evidence.interface(host, name)
    limit = min(filter(None, (route.mtu, interface.mtu if interface else None)), default=0)
    if limit and header.length > limit:
        return too_big(ended, name or "", limit, f"the packet has {header.length} bytes")
    return neighbour_fault(evidence, ended, name, route.via or header.destination)


def too_big(ended: Ended, interface: str, mtu: int, seen: str, *, deduced: bool = True) -> Drop:
    """Return the drop because of an MTU."""
    may_not = "DF set" if ended.header.source.version == 4 else "IPv6 routers never fragment"
    reason = f"too big for {interface} of {ended.host} (MTU {mtu}), {may_not}"
    return ended.drop("too-big", interface, reason, seen, deduced=deduced)
