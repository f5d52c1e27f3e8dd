"""Give LoadBalancer Services an address from a pool, and make the outside reach it.

The router of the underlay is the load balancer: it spreads connections over the nodes that may take them, as a cloud's
does. For externalTrafficPolicy Local those are the nodes with a ready endpoint, which is what their health checks say.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from netlab.kubernetes.store import key_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from netlab.host import Host
    from netlab.kernel.values import IPAddress
    from netlab.kubernetes.node import Node
    from netlab.kubernetes.store import Object, Store

#: TEST-NET-2 of RFC 5737, and a part of the range for examples of RFC 3849.
POOLS = {"IPv4": ip_network("198.51.100.0/24"), "IPv6": ip_network("2001:db8:51::/112")}


class LoadBalancers:
    """The controller of Services of type LoadBalancer."""

    def __init__(self, store: Store, router: Host) -> None:
        """Serve one cluster; ``router`` is where the traffic from outside comes by."""
        self._store, self._router = store, router
        self._ways: dict[IPAddress, tuple[IPAddress, ...]] = {}

    def assign(self) -> None:
        """Write an address into the status of each LoadBalancer Service that has none, and take it from the others."""
        services = self._store.all("Service")
        taken = {ip for service in services for ip in addresses_of(service)}
        for service in services:
            wanted = service["spec"].get("type") == "LoadBalancer"
            have = addresses_of(service)
            if not wanted and have:
                self._store.update(key_of(service), status={"loadBalancer": {}})
            elif wanted and not have:
                ips = [self._choose(service["spec"], family, taken) for family in service["spec"]["ipFamilies"]]
                taken.update(ips)
                ingress = [{"ip": ip, "ipMode": "VIP"} for ip in ips]
                self._store.update(key_of(service), status={"loadBalancer": {"ingress": ingress}})

    @staticmethod
    def _choose(spec: Mapping[str, Any], family: str, taken: set[str]) -> str:
        pool = POOLS[family]
        asked = spec.get("loadBalancerIP")
        if asked and ip_address(asked).version == pool.version:
            return str(asked)
        # An exhausted pool would be 254 Services of this type.
        return next(str(address) for address in pool.hosts() if str(address) not in taken)

    def announce(self, nodes: Iterable[Node]) -> None:
        """Lead each address to the nodes that may take its traffic, by routes on the router."""
        ready = [node for node in nodes if node.ready]
        wanted = {}
        for service in self._store.all("Service"):
            takers = self._takers(service, ready)
            for ip in map(ip_address, addresses_of(service)):
                ways = tuple(node.addresses[ip.version] for node in takers)
                if ways:
                    wanted[ip] = ways
        for ip in self._ways.keys() - wanted.keys():
            self._ip(ip, "route", "del", str(ip))
        for ip, ways in wanted.items():
            if self._ways.get(ip) != ways:
                hops = [word for way in ways for word in ("nexthop", "via", str(way))]
                self._ip(ip, "route", "replace", str(ip), *hops)
        self._ways = wanted

    def _takers(self, service: Object, ready: Sequence[Node]) -> Sequence[Node]:
        if service["spec"].get("externalTrafficPolicy") != "Local":
            return ready
        name = service["metadata"]["name"]
        labels = {"kubernetes.io/service-name": name}
        local = {
            endpoint.get("nodeName")
            for piece in self._store.select("EndpointSlice", service["metadata"]["namespace"], labels)
            for endpoint in piece["endpoints"]
            if endpoint.get("conditions", {}).get("ready", True)
        }
        return [node for node in ready if node.name in local]

    def _ip(self, ip: IPAddress, *words: str) -> None:
        self._router.run("ip", f"-{ip.version}", *words, check=True)


def addresses_of(service: Mapping[str, Any]) -> list[str]:
    """Return the addresses in a Service's status."""
    ingress = (service.get("status") or {}).get("loadBalancer", {}).get("ingress") or ()
    return [each["ip"] for each in ingress if each.get("ip")]
