"""The routed network ("flat", host-gw): a route to the pods of each other node, by that node's address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.kubernetes.networks.base import Network, Way, repair_routes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netlab.kubernetes.networks.base import Member


class Routed(Network):
    """One route for each other node. All nodes must be on one link: a gateway has to be a neighbour."""

    name = "routed"

    def reconcile(self, node: Member, others: Iterable[Member]) -> list[str]:
        """Keep the routes to the pods of the other nodes."""
        wanted = [
            Way(range_, other.addresses[range_.version], "eth0") for other in others for range_ in other.pod_ranges
        ]
        return repair_routes(node, wanted, self.pod_networks)
