"""Choose the UDP connections that the kernel has to forget.

A UDP "connection" lives as long as packets come. If its endpoint went away, a client that keeps sending from one port
would be sent to the dead address for ever; so its entry is deleted. TCP ends by itself.

Source: CleanStaleEntries in pkg/proxy/conntrack/cleanup.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netlab.kubernetes.proxy.addresses import join

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netlab.kubernetes.proxy.model import State

UDP = 17


@dataclass(frozen=True, slots=True)
class Flow:
    """One entry of the conntrack table: where it was sent to, and who answers."""

    protocol: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    reply_source: str
    reply_source_port: int


def needs_look(old: State, new: State) -> bool:
    """Say whether a UDP Service changed its endpoints: else there is nothing to find in the table."""
    names = old.services.keys() | new.services.keys()
    return any(
        _udp_endpoints(old, name) != _udp_endpoints(new, name)
        for name in names
        if old.services.get(name) is not new.services.get(name)
    )


def stale(state: State, flows: Iterable[Flow]) -> list[Flow]:
    """Return those of ``flows`` that lead from a UDP Service to something that is not a serving endpoint of it.

    A Service without any serving endpoint keeps its entries: there is nowhere better to send the packets.
    """
    by_address: dict[str, set[str]] = {}
    by_node_port: dict[int, set[str]] = {}
    for view in state.services.values():
        for backend in view.backends:
            port = backend.port
            serving = {endpoint.text for endpoint in backend.endpoints if endpoint.serving}
            if port.protocol != "udp" or not serving:
                continue
            for address in (port.cluster_ip, *port.load_balancer_ips, *port.external_ips):
                by_address[join(address, port.port)] = serving
            if port.node_port:
                by_node_port[port.node_port] = serving
    found = []
    for flow in flows:
        answers = join(flow.reply_source, flow.reply_source_port)
        at_address = by_address.get(join(flow.destination, flow.destination_port))
        at_node_port = by_node_port.get(flow.destination_port)
        wrong = any(serving is not None and answers not in serving for serving in (at_address, at_node_port))
        if flow.protocol == UDP and wrong:
            found.append(flow)
    return found


def _udp_endpoints(state: State, name: str) -> list[tuple[object, ...]]:
    view = state.services.get(name)
    return [] if view is None else [b.endpoints for b in view.backends if b.port.protocol == "udp"]
