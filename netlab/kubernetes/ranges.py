"""Give out addresses and ports, the way the API server does: a low band is left to those who choose for themselves.

Source: pkg/registry/core/service/ipallocator and portallocator of Kubernetes. It draws by chance; here the first free
one is taken, so that a lab is the same each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from netlab.errors import InvalidInputError
from netlab.kubernetes.validation import NODE_PORTS

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from netlab.kernel.values import IPAddress, IPNetwork

#: The node ports of the low band: 86 of 2768.
_FIRST_NODE_PORT = NODE_PORTS[0] + 86
FAMILIES = {4: "IPv4", 6: "IPv6"}


def read_ranges(given: str | Sequence[str], what: str) -> tuple[IPNetwork, ...]:
    """Return one range, or two of different families: as "10.244.0.0/16", or "10.244.0.0/16,fd00:244::/48"."""
    texts = given.split(",") if isinstance(given, str) else list(given)
    try:
        found = tuple(ip_network(text.strip()) for text in texts)
    except ValueError as error:
        raise InvalidInputError(f"{what} must be a range such as 10.244.0.0/16: {error}.") from None
    if len(found) not in {1, 2} or len({range_.version for range_ in found}) != len(found):
        raise InvalidInputError(f"{what} must be one range, or one of each family; not {given!r}.")
    return found


@dataclass(frozen=True, slots=True)
class ServiceRanges:
    """The ranges of cluster IPs, one for each family; the first is that of Services of a single family."""

    networks: tuple[IPNetwork, ...]

    def family(self, name: str) -> IPNetwork | None:
        """Return the range of ``IPv4`` or ``IPv6``; None if the cluster does not have it."""
        return next((network for network in self.networks if FAMILIES[network.version] == name), None)

    def first_free(self, network: IPNetwork, taken: Container[str]) -> str:
        """Return an address above the band for those who choose: the low 1/16 of the range, 16 to 256 addresses."""
        offset = min(max(16, network.num_addresses // 16), 256)
        for start in (offset, 1):
            # The whole range is walked only once the upper part is full.
            for number in range(start, min(network.num_addresses, start + 70_000)):
                address = str(network[number])
                if address not in taken:
                    return address
        raise InvalidInputError(f"The range {network} has no free cluster IP any more.")


def free_node_port(taken: Container[int]) -> int:
    """Return a node port that nobody has."""
    for low, high in ((_FIRST_NODE_PORT, NODE_PORTS[1]), (NODE_PORTS[0], _FIRST_NODE_PORT - 1)):
        for port in range(low, high + 1):
            if port not in taken:
                return port
    raise InvalidInputError("There is no free node port any more.")


def subnet(network: IPNetwork, number: int) -> IPNetwork:
    """Return the part of the pods' range that node ``number`` gets: a /24 or a /64, smaller where the range is small.

    The first node has number 1, so that node-1 gets 10.244.1.0/24 of 10.244.0.0/16.
    """
    usual, longest = (24, 30) if network.version == 4 else (64, 126)  # noqa: PLR2004 - of IPv4
    prefix = min(max(usual, network.prefixlen + 4), longest)
    room = 2 ** (prefix - network.prefixlen) if prefix >= network.prefixlen else 0
    if number > room:
        raise InvalidInputError(f"The pods' range {network} is too small for {number} nodes of /{prefix} each.")
    size = network.max_prefixlen - prefix
    first = int(network.network_address) + ((number % room) << size)
    return ip_network((first, prefix))


def addresses_in(values: Iterable[str], version: int) -> list[IPAddress]:
    """Return the addresses of one family."""
    return [address for value in values if (address := ip_address(value)).version == version]
