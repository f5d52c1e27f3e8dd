"""Networks between nodes, one class each: how the pods of one node reach those of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.errors import InvalidInputError
from netlab.kubernetes.networks.base import Member, Network, Way
from netlab.kubernetes.networks.bgp import Bgp
from netlab.kubernetes.networks.nothing import Nothing
from netlab.kubernetes.networks.routed import Routed
from netlab.kubernetes.networks.vxlan import Vxlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netlab.kernel.values import IPNetwork

__all__ = ["NETWORKS", "Member", "Network", "Way", "make_network"]

NETWORKS: dict[str, type[Network]] = {kind.name: kind for kind in (Routed, Vxlan, Bgp, Nothing)}


def make_network(name: str, pod_networks: Sequence[IPNetwork], reflector: str | None = None) -> Network:
    """Return the network of this name; raises InvalidInputError with the names that there are.

    ``reflector`` names the node that reflects, for ``bgp``.
    """
    if name not in NETWORKS:
        raise InvalidInputError(f"The network must be one of {', '.join(NETWORKS)}; {name!r} is not.")
    if reflector is not None:
        if name != Bgp.name:
            raise InvalidInputError(f"A reflector is for the network bgp; not for {name!r}.")
        return Bgp(pod_networks, reflector)
    return NETWORKS[name](pod_networks)
