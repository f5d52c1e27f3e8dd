"""Turn Services and EndpointSlices, as users write them, into the values of `model`.

Defaults that the API server would fill in are filled in here.
Source: pkg/proxy/serviceport.go, servicechangetracker.go, endpointslicecache.go and endpointschangetracker.go;
SetDefaults_Service in pkg/apis/core/v1/defaults.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from sys import intern
from typing import TYPE_CHECKING

from netlab.kubernetes.proxy.addresses import canonical, join, parse_address, parse_network
from netlab.kubernetes.proxy.fields import HIGHEST_PORT
from netlab.kubernetes.proxy.model import Endpoint, Family, ServicePort

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netlab.kubernetes.proxy.fields import Field
    from netlab.kubernetes.proxy.model import Settings

SERVICE_NAME = "kubernetes.io/service-name"
PROXY_NAME = "service.kubernetes.io/service-proxy-name"
HEADLESS = "service.kubernetes.io/headless"

_PROTOCOLS = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}
_TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
_POLICIES = ("Cluster", "Local")
_THREE_HOURS = 10800
_A_DAY = 86400
_NO_NAMES: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Slice:
    """What the proxy uses of one EndpointSlice: ports as (name, protocol, number), endpoints without a port."""

    service: str
    name: str
    ports: tuple[tuple[str, str, int], ...]
    endpoints: tuple[Endpoint, ...]


def name_of(manifest: Field) -> str:
    """Return ``namespace/name`` of an object; the namespace is ``default`` if it is absent."""
    metadata = manifest.get("metadata")
    name = metadata.get("name").required("the object's name")
    return f"{metadata.get('namespace').text() or 'default'}/{name}"


def read_service(manifest: Field, full_name: str, settings: Settings) -> tuple[ServicePort, ...]:
    """Return the ports of a Service that the proxy serves in ``settings.family``: none for one it ignores."""
    if PROXY_NAME in (manifest.get("metadata").get("labels").value or ()):
        return ()
    spec = manifest.get("spec")
    kind = spec.get("type").one_of(_TYPES, "ClusterIP")
    cluster_ip = _cluster_ip(spec, settings.family)
    if not cluster_ip or kind == "ExternalName":
        return ()

    namespace, _, name = full_name.partition("/")
    namespace = intern(namespace)
    family = settings.family
    given_ips = _addresses(spec.get("externalIPs").texts(), family)
    balancer_ips = _balancer_ips(manifest, family)
    external = kind != "ClusterIP" or bool(spec.get("externalIPs").value)
    policy = spec.get("externalTrafficPolicy").one_of(_POLICIES, "Cluster")
    internal = spec.get("internalTrafficPolicy").one_of(_POLICIES, "Cluster")
    external_local = external and policy == "Local"
    ranges = _source_ranges(spec.get("loadBalancerSourceRanges").texts(), family)
    health = spec.get("healthCheckNodePort").number(0, 0, HIGHEST_PORT)
    affinity = _affinity(spec)

    ports: dict[tuple[str, str], ServicePort] = {}
    for port in spec.get("ports").items():
        port_name = intern(port.get("name").text())
        protocol = port.get("protocol").one_of(tuple(_PROTOCOLS), "TCP")
        node_port = port.get("nodePort").number(0, 0, HIGHEST_PORT)
        ports[port_name, protocol] = ServicePort(
            namespace=namespace,
            service=name,
            port_name=port_name,
            protocol=_PROTOCOLS[protocol],
            cluster_ip=cluster_ip,
            port=_port(port.get("port")),
            node_port=node_port,
            # With the feature gate off the addresses count for the traffic policy, and get no rules.
            external_ips=given_ips if settings.external_ips else (),
            load_balancer_ips=balancer_ips,
            source_ranges=ranges,
            affinity=affinity,
            health_check_node_port=health if kind == "LoadBalancer" and external_local else 0,
            accessible=bool(node_port or balancer_ips or given_ips),
            external_local=external_local,
            internal_local=internal == "Local",
        )
    return tuple(ports.values())


def read_slice(manifest: Field, full_name: str, settings: Settings) -> Slice | None:
    """Return what an EndpointSlice holds for ``settings.family``, or None if the proxy ignores it."""
    metadata = manifest.get("metadata")
    labels = metadata.get("labels")
    service = labels.get(SERVICE_NAME).text()
    kind = manifest.get("addressType").one_of(("IPv4", "IPv6", "FQDN"), "")
    if not service or kind != settings.family.value or HEADLESS in (labels.value or ()):
        return None
    ports = tuple(
        (intern(port.get("name").text()), _PROTOCOLS[port.get("protocol").one_of(tuple(_PROTOCOLS), "TCP")], number)
        for port in manifest.get("ports").items()
        if (number := port.get("port").number(0, 0, HIGHEST_PORT))
    )
    namespace, _, name = full_name.partition("/")
    found = (_endpoint(item, settings.node_name) for item in manifest.get("endpoints").items())
    return Slice(f"{namespace}/{service}", name, ports, tuple(endpoint for endpoint in found if endpoint))


def endpoints_of(port: ServicePort, slices: Iterable[Slice]) -> tuple[Endpoint, ...]:
    """Return the endpoints of one Service port, sorted as text, each address and port once.

    The network of pods may give an address to a new pod while the old one still terminates: the new one counts.
    """
    found: dict[str, Endpoint] = {}
    for piece in slices:
        for name, protocol, number in piece.ports:
            if name != port.port_name or protocol != port.protocol:
                continue
            for endpoint in piece.endpoints:
                text = join(endpoint.address, number)
                if text not in found or not endpoint.terminating:
                    found[text] = _with_port(endpoint, number, text)
    return tuple(found[text] for text in sorted(found))


def _with_port(endpoint: Endpoint, port: int, text: str) -> Endpoint:
    # _replace costs four times as much, and this runs for every endpoint of the cluster.
    return Endpoint(
        endpoint.address,
        port,
        text,
        endpoint.local,
        endpoint.ready,
        endpoint.serving,
        endpoint.terminating,
        endpoint.zones,
        endpoint.nodes,
    )


def _endpoint(item: Field, node_name: str) -> Endpoint | None:
    first = next(item.get("addresses").items(), None)
    if first is None:
        return None
    address = canonical(first.required("an IP address"))
    if address is None:
        raise first.refuse("an IP address")
    conditions = item.get("conditions")
    hints = item.get("hints")
    return Endpoint(
        address=address,
        port=0,
        text="",
        local=bool(node_name) and item.get("nodeName").text() == node_name,
        ready=conditions.get("ready").flag(default=True),
        serving=conditions.get("serving").flag(default=True),
        terminating=conditions.get("terminating").flag(default=False),
        zones=_names(hints.get("forZones")) if hints.value else _NO_NAMES,
        nodes=_names(hints.get("forNodes")) if hints.value else _NO_NAMES,
    )


def _names(hints: Field) -> frozenset[str]:
    # Python makes a new empty set each time, and a large cluster has two for every endpoint: share one.
    return frozenset(hint.get("name").text() for hint in hints.items()) or _NO_NAMES


def _cluster_ip(spec: Field, family: Family) -> str:
    all_ips = spec.get("clusterIPs").texts()
    first = spec.get("clusterIP")
    main = first.text() or (all_ips[0] if all_ips else "")
    if main in {"", "None"}:
        return ""
    if parse_address(main) is None:
        raise first.refuse("an IP address, None, or nothing")
    candidates = all_ips or [main]
    families = spec.get("ipFamilies").texts()
    if not families:
        parsed = (parse_address(text) for text in candidates)
        return next((str(ip) for ip in parsed if ip is not None and ip.version == family.version), "")
    for name, text in zip(families, candidates, strict=False):
        if name == family.value:
            address = parse_address(text)
            if address is None:
                raise spec.get("clusterIPs").refuse("IP addresses")
            return str(address)
    return ""


def _port(field: Field) -> int:
    if field.value is None:
        raise field.refuse(f"a number from 1 to {HIGHEST_PORT}")
    return field.number(0, 1, HIGHEST_PORT)


def _affinity(spec: Field) -> int | None:
    if spec.get("sessionAffinity").one_of(("None", "ClientIP"), "None") == "None":
        return None
    return spec.get("sessionAffinityConfig").get("clientIP").get("timeoutSeconds").number(_THREE_HOURS, 1, _A_DAY)


def _addresses(texts: Iterable[str], family: Family) -> tuple[str, ...]:
    # The API server does not check these, and the proxy leaves out those it cannot read.
    parsed = (parse_address(text) for text in texts)
    return tuple(str(address) for address in parsed if address is not None and address.version == family.version)


def _balancer_ips(manifest: Field, family: Family) -> tuple[str, ...]:
    ingress = manifest.get("status").get("loadBalancer").get("ingress")
    # With ipMode Proxy the balancer itself delivers to the node, so its address must not be short-cut here.
    texts = [item.get("ip").text() for item in ingress.items() if item.get("ipMode").text("VIP") == "VIP"]
    return _addresses(texts, family)


def _source_ranges(texts: Iterable[str], family: Family) -> tuple[str, ...]:
    parsed = (parse_network(text.strip()) for text in texts)
    ranges = [range_ for range_ in parsed if range_ is not None and range_.version == family.version]
    if any(range_.prefixlen == 0 for range_ in ranges):
        return ()  # a range of everything means no firewall
    return tuple(str(range_) for range_ in ranges)
