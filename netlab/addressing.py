"""What a Host can do with addresses, routes, neighbours and forwarding tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netlab.errors import InvalidInputError
from netlab.kernel import check, links

if TYPE_CHECKING:
    from netlab.kernel.namespace import Namespace
    from netlab.kernel.values import IPInterface, IPNetwork

_ROUTE_OPTIONS = {"source", "metric", "table", "kind", "mtu", "onlink"}
_LARGEST_TABLE = 2**32 - 1


class Addressing:
    """The part of a Host that adds and removes addresses, routes, neighbours and FDB entries."""

    name: str
    namespace: Namespace

    def add_address(self, interface: str, address: str | IPInterface) -> None:
        """Put an address with its prefix on an interface; IPv6 addresses may be used at once (nodad)."""
        what = check.interface_address(address)
        self.namespace.apply(links.address(self.name, self._interface(interface), what))

    def remove_address(self, interface: str, address: str | IPInterface) -> None:
        """Take an address off an interface."""
        what = check.interface_address(address)
        self.namespace.apply(links.address(self.name, self._interface(interface), what, add=False))

    def add_route(
        self, destination: str | IPNetwork, *, via: str | None = None, interface: str | None = None, **options: Any
    ) -> None:
        """Add a route to a network or to "default", by a gateway, an interface, or both (ip-route(8)).

        ``options``: ``source`` (the address to send from), ``metric``, ``table`` (a number), ``mtu``, ``onlink``, and
        ``kind``: unicast, blackhole, unreachable or prohibit.
        """
        self.namespace.apply(links.route(self.name, self._route(destination, via, interface, options)))

    def replace_route(
        self, destination: str | IPNetwork, *, via: str | None = None, interface: str | None = None, **options: Any
    ) -> None:
        """Add a route, in place of one to the same network where there is one; takes what `add_route` takes."""
        self.namespace.apply(links.route(self.name, self._route(destination, via, interface, options), "replace"))

    def remove_route(
        self, destination: str | IPNetwork, *, via: str | None = None, interface: str | None = None, **options: Any
    ) -> None:
        """Remove a route; what is not said may be anything."""
        self.namespace.apply(
            links.route(self.name, self._route(destination, via, interface, options, add=False), "del")
        )

    def _route(
        self, destination: object, via: str | None, interface: str | None, options: dict[str, Any], *, add: bool = True
    ) -> links.RouteSpec:
        if unknown := set(options) - _ROUTE_OPTIONS:
            raise InvalidInputError(
                f"A route has the options {', '.join(sorted(_ROUTE_OPTIONS))}; not {', '.join(sorted(unknown))}."
            )
        gateway = check.address(via, "A gateway") if via is not None else None
        kind = options.get("kind", "unicast")
        if kind not in links.RTN_TYPES:
            raise InvalidInputError(
                f"The kind of a route must be one of {', '.join(links.RTN_TYPES)}; {kind!r} is not."
            )
        if add and kind == "unicast" and gateway is None and interface is None:
            raise InvalidInputError(f"A route to {destination} needs a way: via= a gateway, or interface=.")
        source, metric = options.get("source"), options.get("metric")
        network = check.network(destination, gateway.version if gateway is not None else 4)
        if gateway is not None and network.version > gateway.version:
            raise InvalidInputError(f"A route to {network} needs an IPv6 gateway; {gateway} is not one.")
        return links.RouteSpec(
            destination=network,
            via=gateway,
            device=self._interface(interface) if interface is not None else None,
            source=check.address(source, "The source of a route") if source is not None else None,
            metric=check.number(metric, "A metric", 0, _LARGEST_TABLE) if metric is not None else None,
            table=check.number(options.get("table", links.RT_TABLE_MAIN), "A routing table", 1, _LARGEST_TABLE),
            kind=kind,
            mtu=check.mtu(options.get("mtu")),
            onlink=bool(options.get("onlink", False)),
        )

    def add_neighbour(self, interface: str, address: str, mac: str) -> None:
        """Write down which MAC address an IP address has, for good: ARP or NDP is not asked (ip-neighbour(8))."""
        ip, lladdr = check.address(address), check.mac_address(mac)
        self.namespace.apply(links.neighbour(self.name, self._interface(interface), ip, lladdr))

    def add_proxy_neighbour(self, interface: str, address: str) -> None:
        """Answer ARP or NDP on an interface for an address that is elsewhere."""
        self.namespace.apply(links.proxy_neighbour(self.name, self._interface(interface), check.address(address)))

    def remove_proxy_neighbour(self, interface: str, address: str) -> None:
        """Cease to answer for an address that is elsewhere."""
        request = links.proxy_neighbour(self.name, self._interface(interface), check.address(address), add=False)
        self.namespace.apply(request)

    def remove_neighbour(self, interface: str, address: str) -> None:
        """Remove an entry of the neighbour table."""
        self.namespace.apply(
            links.neighbour(self.name, self._interface(interface), check.address(address), None, add=False)
        )

    def add_fdb(self, interface: str, mac: str, destination: str | None = None) -> None:
        """Write down behind which port a MAC address is, or with ``destination`` behind which VXLAN end (bridge(8))."""
        target = check.address(destination) if destination is not None else None
        self.namespace.apply(links.fdb(self.name, self._interface(interface), check.mac_address(mac), target))

    def remove_fdb(self, interface: str, mac: str, destination: str | None = None) -> None:
        """Remove an entry of the forwarding table."""
        target = check.address(destination) if destination is not None else None
        self.namespace.apply(
            links.fdb(self.name, self._interface(interface), check.mac_address(mac), target, add=False)
        )

    def _interface(self, name: str) -> tuple[str, int]:
        return check.interface_name(name), self.namespace.index(name)
