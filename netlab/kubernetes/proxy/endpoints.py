"""Choose the endpoints that traffic may use.

Source: CategorizeEndpoints in pkg/proxy/topology.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netlab.kubernetes.proxy.model import Endpoint, ServicePort

_Endpoints = tuple["Endpoint", ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """The endpoints of one Service port, seen from one node.

    ``cluster`` serves traffic that may leave the node and ``local`` traffic that may not; ``reachable`` is both.
    ``exists`` says that some endpoint works somewhere, even if this node may not use it.
    """

    cluster: _Endpoints = ()
    local: _Endpoints = ()
    reachable: _Endpoints = ()
    exists: bool = False


def choose(port: ServicePort, endpoints: Sequence[Endpoint], node: str, zone: str) -> Choice:
    """Return which of ``endpoints`` the node called ``node`` in ``zone`` uses for ``port``.

    Ready endpoints are used. Only where there are none, those that still serve while they terminate are,
    so that a Service whose last pods go away at once keeps answering until they are gone.
    """
    if not endpoints:
        return Choice()
    ready = tuple(endpoint for endpoint in endpoints if endpoint.ready)
    leaving = tuple(e for e in endpoints if not e.ready and e.serving and e.terminating)
    cluster: _Endpoints = ()
    narrowed = False
    if port.uses_cluster:
        near = _near(ready, node, zone)
        narrowed = near is not None
        cluster = (ready if near is None else near) or leaving
    if not port.uses_local:
        return Choice(cluster, (), cluster, bool(cluster))

    local_ready = tuple(endpoint for endpoint in ready if endpoint.local)
    local = local_ready or tuple(endpoint for endpoint in leaving if endpoint.local)
    exists = bool(cluster or ready or leaving)
    if not port.uses_cluster:
        return Choice((), local, local, exists)
    if not narrowed and (local_ready or not local):
        return Choice(cluster, local, cluster, exists)
    both = {endpoint.text: endpoint for endpoint in (*cluster, *local)}
    return Choice(cluster, local, tuple(both.values()), exists)


def _near(ready: _Endpoints, node: str, zone: str) -> _Endpoints | None:
    """Return the ready endpoints that topology hints leave, or None if the hints do not count.

    They count only when every ready endpoint has one and at least one names this node (or this zone): half a set of
    hints would send everything to the few endpoints that happen to carry them.
    """
    if not ready:
        return None
    if all(endpoint.nodes for endpoint in ready):
        same_node = tuple(endpoint for endpoint in ready if node in endpoint.nodes)
        if same_node:
            return same_node
    if all(endpoint.zones for endpoint in ready):
        return tuple(endpoint for endpoint in ready if zone in endpoint.zones) or None
    return None
