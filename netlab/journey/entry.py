"""Explain packets that a host refused as they came in: by their MAC or source address, or for want of room."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from netlab.kernel.packet_socket import PACKET_OTHERHOST

if TYPE_CHECKING:
    from netlab.journey.drops import Ended
    from netlab.journey.evidence import Evidence
    from netlab.journey.values import Drop
    from netlab.kernel.headers import Outer
    from netlab.kernel.lookups import RouteAnswer
    from netlab.kernel.values import IPAddress


def refused_on_entry(evidence: Evidence, ended: Ended, interface: str, answer: RouteAnswer) -> Drop | None:
    """Return why a host did not take in a packet that came in by an interface; None if nothing speaks against it."""
    host = ended.host
    grown = evidence.increases(host)
    visit = ended.visit
    last = visit.captured[-1] if visit is not None and visit.captured else None
    if last is not None and last.taken is not None and last.taken.kind == PACKET_OTHERHOST:
        mac = last.decoded.header.destination_mac if last.decoded else ""
        own = evidence.interface(host, interface)
        reason = f"the frame was for MAC {mac}, but {interface} of {host} has {own.mac if own else 'another'}"
        return ended.drop("wrong-mac", interface, reason, "the kernel marked it as for another host", deduced=False)
    outer = last.decoded.outer if last is not None and last.decoded is not None else None
    if outer is not None and evidence.owns(host, outer.header.destination):
        unknown = _unknown_tunnel(evidence, ended, outer)
        if unknown is not None:
            return unknown
    if grown.get("Conntrack_drop") or _conntrack_is_full(evidence, host):
        count, most = (evidence.counts(host).get(f"Conntrack_{key}", 0) for key in ("count", "max"))
        reason = f"conntrack table full in {host}: {count} of {most} entries"
        return ended.drop(
            "conntrack-full", interface, reason, f"conntrack drop counter +{grown.get('Conntrack_drop', 0)}"
        )
    target = ended.header.destination if visit is None or visit.header is None else visit.header.destination
    if target.is_loopback and answer.error:
        reason = f"martian destination: {target} came in by {interface} of {host}, and is for a host's own lo only"
        return ended.drop("martian", interface, reason, f"{answer.command}: {answer.reason}")
    return refused_source(evidence, ended, interface, answer)


def _unknown_tunnel(evidence: Evidence, ended: Ended, outer: Outer) -> Drop | None:
    """Return the drop because no VXLAN interface of a host takes this network and port; None if one does."""
    ends = [each for each in evidence.layout[ended.host].interfaces if each.kind == "vxlan"]
    port = outer.header.destination_port
    if any((each.detail("id"), each.detail("dstport")) == (str(outer.vni), str(port)) for each in ends):
        return None
    known = ", ".join(f"{each.name}: VNI {each.detail('id')}, port {each.detail('dstport')}" for each in ends)
    reason = f"{ended.host} has no VXLAN interface with VNI {outer.vni} and port {port} (it has {known or 'none'})"
    return ended.drop("no-tunnel", f"port {port}", reason, "ip -d link show type vxlan")


def refused_source(evidence: Evidence, ended: Ended, interface: str, answer: RouteAnswer) -> Drop | None:
    """Return the drop because the packet may not come from its source by this interface (ip-sysctl.rst, rp_filter)."""
    host, source = ended.host, ended.header.source
    counted = evidence.increases(host).get("TcpExtIPReversePathFilter", 0)
    said = f"{answer.command}: {answer.reason}"
    # Linux 6.13 and later answer EINVAL for every source that is refused, older ones EXDEV for rp_filter.
    refused = answer.error in {errno.EXDEV, errno.EINVAL}
    if source.version == 4 and (counted or (refused and _fails_reverse_path(evidence, host, interface, source))):
        back = evidence.special_route(host, source)
        way = f"the way back to {source} is by {back.interface}" if back else f"there is no way back to {source}"
        facts = [f"IPReversePathFilter +{counted}"] if counted else []
        facts += [said] if refused else []
        return ended.drop(
            "rp-filter", interface, f"rp_filter on {interface} of {host}: {way}", *facts, deduced=not counted
        )
    if evidence.owns(host, source) or source.is_loopback or source.is_multicast:
        what = f"{host} itself has it" if evidence.owns(host, source) else "no host may send from it"
        reason = f"martian source: {source} came in by {interface} of {host}, but {what}"
        return ended.drop("martian", interface, reason, said)
    return None


def _conntrack_is_full(evidence: Evidence, host: str) -> bool:
    counts = evidence.counts(host)
    most = counts.get("Conntrack_max", 0)
    # The limit is the machine's, the count each namespace's own.
    return bool(most) and counts.get("Conntrack_count", 0) >= most


def _fails_reverse_path(evidence: Evidence, host: str, interface: str, source: IPAddress) -> bool:
    """Tell whether rp_filter refuses a source: in mode 1 the way back must be by the same interface, in 2 by any."""
    values = (evidence.setting(host, f"net/ipv4/conf/{name}/rp_filter") for name in ("all", interface))
    mode = max(int(value or 0) for value in values)
    back = evidence.special_route(host, source)
    return bool(mode) and (back is None or (mode == 1 and back.interface != interface))
