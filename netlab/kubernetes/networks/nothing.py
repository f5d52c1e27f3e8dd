"""No network between nodes: pods reach those on their own node, and the rest is for the learner to build."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.kubernetes.networks.base import Network

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netlab.kubernetes.networks.base import Member


class Nothing(Network):
    """Leaves every route as it is."""

    name = "none"

    def reconcile(self, node: Member, others: Iterable[Member]) -> list[str]:  # noqa: ARG002 - it does nothing
        """Change nothing."""
        return []
