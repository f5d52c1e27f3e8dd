"""The routed network ("flat", host-gw): a route to the pods of each other node, by that node's address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.kubernetes.networks.base import Network, Way, repair_routes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netlab.kubernetes.networks.base import Member


class Routed(Network):
    """One route for each other node. A gateway has to be a neighbour: to another rack it is the router."""

    name = "routed"

    def reconcile(self, node: Member, others: Iterable[Member]) -> list[str]:
        """Keep the routes to the pods of the other nodes."""
        wanted = [
            Way(range_, node.next_hop(other, range_.version), node.interface_to(other))
            for other in others
            for range_ in other.pod_ranges
        ]
        return repair_routes(node, wanted, self.pod_networks)

    def join(self, router: Member, nodes: Iterable[Member]) -> list[str]:
        """Keep the router's routes to the pods of all nodes."""
        return self.reconcile(router, nodes)
