"""Explain packets that ended below IP: on a cable, at a bridge's port, in a tunnel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.journey.values import Drop

if TYPE_CHECKING:
    from netlab.journey.drops import Ended
    from netlab.journey.evidence import Evidence
    from netlab.journey.tracks import Sighting
    from netlab.kernel.values import HostState, Interface

_ETHERNET_HEAD = 18  # with one VLAN tag: what the kernel allows on top of an MTU


def interface_fault(evidence: Evidence, ended: Ended, name: str) -> Drop | None:
    """Return the drop because an interface, or the other end of its cable, is down; None if both are up."""
    interface = evidence.interface(ended.host, name)
    if interface is None:
        return None
    if not interface.up:
        return _elsewhere(ended, ended.host, name, "interface-down", f"interface down: {name} of {ended.host}")
    far = evidence.peer(ended.host, name)
    if far is not None and not far[1].up:
        reason = f"interface down: {far[1].name} of {far[0]}, the other end of {name} of {ended.host}"
        return _elsewhere(ended, far[0], far[1].name, "interface-down", reason)
    if not interface.carrier and interface.kind != "bridge":
        return _elsewhere(
            ended, ended.host, name, "interface-down", f"interface down: {name} of {ended.host} has no carrier"
        )
    return _bridge_without_ports(evidence, ended, interface)


def _bridge_without_ports(evidence: Evidence, ended: Ended, bridge: Interface) -> Drop | None:
    """Return why a bridge has no carrier: none of its ports that forward is up."""
    if bridge.kind != "bridge" or bridge.carrier:
        return None
    ports = _ports(evidence.layout[ended.host], bridge.name)
    for port in ports:
        fault = interface_fault(evidence, ended, port.name)
        if fault is not None:
            return fault
    reason = f"no port of bridge {bridge.name} in {ended.host} is up" if ports else f"bridge {bridge.name} has no port"
    return ended.drop("no-port", bridge.name, reason)


def _elsewhere(ended: Ended, host: str, where: str, kind: str, reason: str, *evidence: str) -> Drop:
    return Drop(kind, host, where, reason, ended.leg, ended.packet, evidence, deduced=True)


def _ports(state: HostState, bridge: str) -> list[Interface]:
    return [each for each in state.interfaces if each.master == bridge]


def ended_on_the_cable(evidence: Evidence, ended: Ended, last: Sighting) -> Drop:
    """Explain a packet that left by an interface and was not seen at the other end."""
    host, name = last.host, last.interface
    interface = evidence.interface(host, name)
    if interface is not None and interface.kind == "vxlan":
        return _ended_in_a_tunnel(evidence, ended, interface)
    if interface is not None and interface.kind == "bridge":
        return _ended_in_a_bridge(evidence, ended, interface, last)
    fault = interface_fault(evidence, ended, name)
    if fault is not None:
        return fault
    far = evidence.peer(host, name)
    size = len(last.taken.data) if last.taken else 0
    if far is not None and size > far[1].mtu + _ETHERNET_HEAD:
        reason = f"too big for {far[1].name} of {far[0]} (MTU {far[1].mtu}), at the other end of {name} of {host}"
        return _elsewhere(ended, far[0], far[1].name, "too-big", reason, f"the frame has {size} bytes")
    where = f"{far[1].name} of {far[0]}" if far else "the other end, which is outside of the lab"
    return ended.drop("unexplained", name, f"the packet left {name} of {host} and did not reach {where}")


def _ended_in_a_tunnel(evidence: Evidence, ended: Ended, interface: Interface) -> Drop:
    host = ended.host
    mac = ended.header.destination_mac
    entries = [each for each in evidence.layout[host].fdb if each.interface == interface.name]
    fitting = [each for each in entries if each.mac in {mac, "00:00:00:00:00:00"} and each.destination is not None]
    if not fitting and not interface.detail("remote"):
        reason = f"{interface.name} of {host} has no FDB entry for {mac}: it does not know which tunnel end has it"
        return ended.drop("no-fdb", interface.name, reason, f"bridge fdb show dev {interface.name}")
    ends = ", ".join(sorted({str(each.destination) for each in fitting} or {str(interface.detail("remote"))}))
    for each in fitting:
        if each.destination is not None and evidence.special_route(host, each.destination) is None:
            reason = f"no route to {each.destination} in {host}, the tunnel's other end"
            return ended.drop("no-route", interface.name, reason)
    return ended.drop("unexplained", interface.name, f"the tunnel's packet to {ends} did not leave {host}")


def _ended_in_a_bridge(evidence: Evidence, ended: Ended, bridge: Interface, last: Sighting) -> Drop:
    """Explain a packet that the host itself sent into its bridge, and that left by no port."""
    ports = _ports(evidence.layout[last.host], bridge.name)
    mac = ended.header.destination_mac
    behind = next(
        (each.interface for each in evidence.layout[last.host].fdb if each.mac == mac and each.master == bridge.name),
        None,
    )
    chosen = [port for port in ports if port.name == behind] or ports
    for port in chosen:
        fault = _port_fault(evidence, ended, port)
        if fault is not None:
            return fault
    reason = f"bridge {bridge.name} of {last.host} sent the frame for {mac} to no port"
    if not ports:
        return ended.drop("no-port", bridge.name, f"bridge {bridge.name} of {last.host} has no port")
    return ended.drop("unexplained", bridge.name, reason)


def _port_fault(evidence: Evidence, ended: Ended, port: Interface) -> Drop | None:
    if not port.up:
        return interface_fault(evidence, ended, port.name)
    state = port.detail("port state")
    if state not in {None, "forwarding"}:
        reason = f"bridge port not forwarding: {port.name} of bridge {port.master} in {ended.host} is {state}"
        return ended.drop("bridge-port", port.name, reason, f"bridge -d link show dev {port.name}: state {state}")
    return interface_fault(evidence, ended, port.name)


def ended_on_a_port(evidence: Evidence, ended: Ended, last: Sighting) -> Drop:
    """Explain a packet that came in at a bridge's port, and that the bridge sent nowhere."""
    host, name = last.host, last.interface
    port = evidence.interface(host, name)
    bridge = evidence.interface(host, port.master) if port is not None else None
    if port is None or bridge is None:
        return ended.drop("unexplained", name, f"the packet came in by {name} of {host} and went no further")
    if not bridge.up:
        return _elsewhere(ended, host, bridge.name, "interface-down", f"interface down: bridge {bridge.name} of {host}")
    fault = _port_fault(evidence, ended, port)
    if fault is not None:
        return fault
    return _known_port(evidence, ended, port, bridge) or _flooded(evidence, ended, port, bridge)


def _known_port(evidence: Evidence, ended: Ended, port: Interface, bridge: Interface) -> Drop | None:
    """Return why the port that the bridge's table names did not get the frame; None if it names none."""
    host, mac = ended.host, ended.header.destination_mac
    entry = next((each for each in evidence.layout[host].fdb if each.mac == mac and each.master == bridge.name), None)
    if entry is None:
        return None
    if entry.interface == port.name:
        reason = f"bridge {bridge.name} of {host} has {mac} behind {port.name}, where the frame came from (hairpin off)"
        return None if entry.permanent else ended.drop("bridge-port", port.name, reason, "bridge fdb show")
    out = evidence.interface(host, entry.interface)
    fault = _port_fault(evidence, ended, out) if out is not None else None
    if fault is not None:
        return fault
    if all(evidence.port_flag(host, name, "isolated") for name in (port.name, entry.interface)):
        reason = (
            f"bridge port not forwarding: {port.name} and {entry.interface} of bridge {bridge.name} in {host} "
            "are isolated from each other"
        )
        return ended.drop("bridge-port", entry.interface, reason, "bridge -d link: isolated on")
    return None


def _flooded(evidence: Evidence, ended: Ended, port: Interface, bridge: Interface) -> Drop:
    """No entry says where the MAC address is: the frame went to every port that may get it."""
    host, mac = ended.host, ended.header.destination_mac
    others = [each for each in _ports(evidence.layout[host], bridge.name) if each.name != port.name]
    if not others:
        reason = f"bridge {bridge.name} of {host} has no other port than {port.name}, and {mac} is not its own"
        return ended.drop("no-port", bridge.name, reason, "bridge link show")
    for other in others:
        fault = _port_fault(evidence, ended, other)
        if fault is not None:
            return fault
    isolated = evidence.port_flag(host, port.name, "isolated")
    if isolated and all(evidence.port_flag(host, each.name, "isolated") for each in others):
        reason = f"bridge port not forwarding: the ports of bridge {bridge.name} in {host} are isolated from each other"
        return ended.drop("bridge-port", port.name, reason, "bridge -d link: isolated on")
    silent = [each.name for each in others if not evidence.port_flag(host, each.name, "flood")]
    if len(silent) == len(others):
        reason = (
            f"bridge {bridge.name} of {host} has no FDB entry for {mac}, and flooding is off at {', '.join(silent)}"
        )
        return ended.drop("no-fdb", bridge.name, reason, "bridge -d link: flood off")
    reason = f"bridge {bridge.name} of {host} sent the frame for {mac} to no port"
    return ended.drop("unexplained", bridge.name, reason)
