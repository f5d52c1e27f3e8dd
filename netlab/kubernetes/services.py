"""Fill in what the API server adds to a Service: defaults, cluster IPs, node ports. Pure.

Source: SetDefaults_Service in pkg/apis/core/v1/defaults.go, pkg/registry/core/service/storage/alloc.go.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from netlab.kubernetes.ranges import FAMILIES, ServiceRanges, free_node_port

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from netlab.kubernetes.validation import Finding

_AFFINITY_SECONDS = 10800


@dataclass(slots=True)
class Taken:
    """The cluster IPs and node ports that Services have, each with the Service that has it."""

    addresses: dict[str, str] = field(default_factory=dict)
    ports: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, services: Iterable[Mapping[str, Any]]) -> Taken:
        """Collect what these Services have."""
        taken = cls()
        for service in services:
            taken.note(service)
        return taken

    def note(self, service: Mapping[str, Any]) -> None:
        """Add what one Service has."""
        metadata = service["metadata"]
        name = f"{metadata.get('namespace') or 'default'}/{metadata['name']}"
        for address in service["spec"].get("clusterIPs") or ():
            if address != "None":
                self.addresses[address] = name
        for port in _node_ports(service["spec"]):
            self.ports[port] = name


def _node_ports(spec: Mapping[str, Any]) -> Iterator[int]:
    for port in spec.get("ports") or ():
        if port.get("nodePort"):
            yield port["nodePort"]
    if spec.get("healthCheckNodePort"):
        yield spec["healthCheckNodePort"]


def refuse_service(
    given: Mapping[str, Any], old: Mapping[str, Any] | None, ranges: ServiceRanges, taken: Taken
) -> Iterator[Finding]:
    """Yield what is against a Service: addresses of another range or Service, fields that cannot change."""
    spec = given.get("spec") or {}
    name = f"{given['metadata'].get('namespace') or 'default'}/{given['metadata']['name']}"
    wanted = [*(spec.get("clusterIPs") or ()), spec.get("clusterIP")]
    for address in dict.fromkeys(text for text in wanted if text and text != "None"):
        if not any(ip_address(address) in network for network in ranges.networks):
            known = " or ".join(str(network) for network in ranges.networks)
            yield ("spec", "clusterIP"), f"an address in {known} was expected; not {address}"
        elif taken.addresses.get(address, name) != name:
            yield ("spec", "clusterIP"), f"{address} belongs to Service {taken.addresses[address]} already"
    before = old["spec"].get("clusterIP") if old else None
    if before and spec.get("clusterIP") not in {None, "", before}:
        yield ("spec", "clusterIP"), f"this field cannot change; it is {before}"
    for index, port in enumerate(spec.get("ports") or ()):
        if (number := port.get("nodePort")) and taken.ports.get(number, name) != name:
            yield ("spec", "ports", index, "nodePort"), f"{number} belongs to Service {taken.ports[number]} already"
    for index, family in enumerate(spec.get("ipFamilies") or ()):
        if ranges.family(family) is None:
            yield ("spec", "ipFamilies", index), f"this cluster has no {family}"
    if spec.get("ipFamilyPolicy") == "RequireDualStack" and len(ranges.networks) == 1:
        yield ("spec", "ipFamilyPolicy"), "this cluster has one family; make it with two ranges for dual stack"


def complete_service(
    given: Mapping[str, Any], old: Mapping[str, Any] | None, ranges: ServiceRanges, taken: Taken
) -> dict[str, Any]:
    """Return the Service as the API server stores it; what it chose for the one before, ``old``, stays."""
    before: Mapping[str, Any] = old["spec"] if old else {}
    spec: dict[str, Any] = {
        "type": "ClusterIP",
        "sessionAffinity": "None",
        **{key: value for key, value in (given.get("spec") or {}).items() if value is not None},
    }
    spec["ports"] = [_port(port) for port in spec.get("ports") or ()]
    if spec["type"] == "ExternalName":
        return {**given, "spec": spec}
    spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["sessionAffinity"] == "ClientIP":
        spec.setdefault("sessionAffinityConfig", {"clientIP": {"timeoutSeconds": _AFFINITY_SECONDS}})
    _cluster_ips(spec, before, ranges, taken)
    if spec["type"] in {"NodePort", "LoadBalancer"}:
        spec.setdefault("externalTrafficPolicy", "Cluster")
        _allocate_node_ports(spec, before, taken)
    elif spec.get("externalIPs"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    done = {**given, "spec": spec, "status": (old or {}).get("status", {"loadBalancer": {}})}
    taken.note(done)
    return done


def _port(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"protocol": "TCP", "targetPort": given["port"], **{k: v for k, v in given.items() if v is not None}}


def _cluster_ips(spec: dict[str, Any], before: Mapping[str, Any], ranges: ServiceRanges, taken: Taken) -> None:
    if spec.get("clusterIP") == "None":
        families = list(spec.get("ipFamilies") or [FAMILIES[ranges.networks[0].version]])
        spec |= {
            "clusterIPs": ["None"],
            "ipFamilies": families,
            "ipFamilyPolicy": spec.get("ipFamilyPolicy", "SingleStack"),
        }
        return
    policy = spec.setdefault("ipFamilyPolicy", before.get("ipFamilyPolicy") or "SingleStack")
    given = list(dict.fromkeys(filter(None, [spec.get("clusterIP"), *(spec.get("clusterIPs") or ())])))
    given = given or list(before.get("clusterIPs") or ())
    families = list(spec.get("ipFamilies") or dict.fromkeys(FAMILIES[ip_address(text).version] for text in given))
    all_families = [FAMILIES[network.version] for network in ranges.networks]
    families = families or all_families[:1]
    if policy != "SingleStack":
        families += [family for family in all_families if family not in families]
    elif not spec.get("ipFamilies") and len(given) < 2:  # noqa: PLR2004 - two addresses are two families
        families = families[:1]
    addresses = []
    for family in families:
        network = ranges.family(family)
        assert network is not None  # noqa: S101 - refuse_service has seen to it
        own = next((text for text in given if FAMILIES[ip_address(text).version] == family), None)
        addresses.append(own or ranges.first_free(network, taken.addresses))
    spec |= {"clusterIP": addresses[0], "clusterIPs": addresses, "ipFamilies": families}


def _allocate_node_ports(spec: dict[str, Any], before: Mapping[str, Any], taken: Taken) -> None:
    if spec["type"] == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False:
        return
    old = {
        (port.get("name"), port["protocol"], port["port"]): port.get("nodePort") for port in before.get("ports") or ()
    }
    busy = dict(taken.ports)
    for port in spec["ports"]:
        own = port.get("nodePort") or old.get((port.get("name"), port["protocol"], port["port"]))
        port["nodePort"] = own or free_node_port(busy)
        busy[port["nodePort"]] = ""
    if (
        spec["type"] == "LoadBalancer"
        and spec["externalTrafficPolicy"] == "Local"
        and not spec.get("healthCheckNodePort")
    ):
        spec["healthCheckNodePort"] = before.get("healthCheckNodePort") or free_node_port(busy)
