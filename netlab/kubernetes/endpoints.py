"""Make EndpointSlices from a Service and its pods. Pure.

As in the real controller (staging/src/k8s.io/endpointslice), a slice holds at most 100 endpoints, an endpoint stays in
the slice it is in, and new ones fill the slices that have room.
"""

from __future__ import annotations

import hashlib
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from netlab.kubernetes.ranges import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PER_SLICE = 100
SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
CONTROLLER = "endpointslice-controller.k8s.io"
HEADLESS = "service.kubernetes.io/headless"
ZONE = "topology.kubernetes.io/zone"

_Ports = tuple[tuple[str, str, int], ...]
Object = dict[str, Any]


def slices_of(
    service: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], old: Sequence[Object], zones: Mapping[str, str]
) -> list[Object]:
    """Return the slices of a Service; those of ``old`` that need no change are returned as they are.

    ``pods`` are those that its selector matches; ``zones`` says the zone of each node that has one.
    """
    groups: dict[tuple[str, _Ports], dict[str, Object]] = {}
    for pod in pods:
        for address in (each["ip"] for each in pod["status"].get("podIPs") or ()):
            family = FAMILIES[ip_address(address).version]
            if family in service["spec"].get("ipFamilies", ()):
                endpoint = _endpoint(service, pod, address, zones)
                groups.setdefault((family, _ports(service, pod)), {})[address] = endpoint
    if not groups:
        # The real controller keeps one empty slice for each family, as a place for what comes.
        groups = {(family, ()): {} for family in service["spec"].get("ipFamilies", ())}
    _add_hints(service, groups.values())
    return [
        piece
        for (family, ports), endpoints in groups.items()
        for piece in _fill(service, (family, ports), endpoints, old)
    ]


def _fill(
    service: Mapping[str, Any], group: tuple[str, _Ports], endpoints: Mapping[str, Object], old: Sequence[Object]
) -> list[Object]:
    family, ports = group
    own = [piece for piece in old if piece["addressType"] == family and _ports_of(piece) == ports]
    left = dict(endpoints)
    filled: list[tuple[str, list[Object]]] = []
    for piece in own:
        addresses = [endpoint["addresses"][0] for endpoint in piece["endpoints"]]
        filled.append((piece["metadata"]["name"], [left.pop(address) for address in addresses if address in left]))
    for _, kept in filled:
        while left and len(kept) < PER_SLICE:
            kept.append(left.pop(next(iter(left))))
    taken = {piece["metadata"]["name"] for piece in old}
    while left:
        name = _free_name(service, group, taken)
        taken.add(name)
        filled.append((name, [left.pop(address) for address in list(left)[:PER_SLICE]]))
    useful = [(name, kept) for name, kept in filled if kept] or filled[:1] or [(_free_name(service, group, taken), [])]
    by_name = {piece["metadata"]["name"]: piece for piece in own}
    made = [_slice(service, group, name, kept) for name, kept in useful]
    return [_unchanged(by_name.get(piece["metadata"]["name"]), piece) for piece in made]


def _unchanged(old: Object | None, new: Object) -> Object:
    same = old is not None and all(old.get(key) == new[key] for key in ("addressType", "ports", "endpoints"))
    labels = old is not None and old["metadata"].get("labels") == new["metadata"]["labels"]
    return old if old is not None and same and labels else new


def _free_name(service: Mapping[str, Any], group: tuple[str, _Ports], taken: Iterable[str]) -> str:
    """Return a name such as ``web-x7k2p``: five letters that follow from what the slice is for."""
    name = service["metadata"]["name"]
    number = 0
    while True:
        digest = hashlib.sha256(f"{name} {group} {number}".encode()).digest()
        letters = "".join("bcdfghjklmnpqrstvwxz2456789"[byte % 27] for byte in digest[:5])
        if f"{name}-{letters}" not in taken:
            return f"{name}-{letters}"
        number += 1


def _slice(service: Mapping[str, Any], group: tuple[str, _Ports], name: str, endpoints: list[Object]) -> Object:
    family, ports = group
    metadata = service["metadata"]
    labels = {**(metadata.get("labels") or {}), SERVICE_NAME: metadata["name"], MANAGED_BY: CONTROLLER}
    if service["spec"].get("clusterIP") == "None":
        labels[HEADLESS] = ""
    owner = {
        "apiVersion": "v1",
        "kind": "Service",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": metadata["namespace"], "labels": labels, "ownerReferences": [owner]},
        "addressType": family,
        "endpoints": endpoints,
        "ports": [{"name": port, "protocol": protocol, "port": number} for port, protocol, number in ports],
    }


def _ports_of(piece: Mapping[str, Any]) -> _Ports:
    return tuple((port["name"], port["protocol"], port["port"]) for port in piece["ports"])


def _ports(service: Mapping[str, Any], pod: Mapping[str, Any]) -> _Ports:
    """Return the ports as this pod has them: a target port may be the name of one of its container ports."""
    named = {
        (port.get("name"), port.get("protocol") or "TCP"): port["containerPort"]
        for container in pod["spec"]["containers"]
        for port in container.get("ports") or ()
    }
    found = []
    for port in service["spec"].get("ports") or ():
        target = port.get("targetPort", port["port"])
        number = target if isinstance(target, int) else named.get((target, port["protocol"]))
        if number is not None:
            found.append((port.get("name") or "", port["protocol"], number))
    return tuple(found)


def _endpoint(service: Mapping[str, Any], pod: Mapping[str, Any], address: str, zones: Mapping[str, str]) -> Object:
    metadata = pod["metadata"]
    serving = is_ready(pod)
    terminating = bool(metadata.get("deletionTimestamp"))
    published = bool(service["spec"].get("publishNotReadyAddresses"))
    node = pod["spec"].get("nodeName", "")
    reference = {"kind": "Pod", "namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"]}
    endpoint: Object = {
        "addresses": [address],
        "conditions": {
            "ready": published or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "nodeName": node,
        "targetRef": reference,
    }
    if node in zones:
        endpoint["zone"] = zones[node]
    return endpoint


def _add_hints(service: Mapping[str, Any], groups: Iterable[Mapping[str, Object]]) -> None:
    """Say which zone or node an endpoint is best for, where the Service asks for it (trafficDistribution)."""
    wish = service["spec"].get("trafficDistribution")
    for endpoints in groups:
        if wish in {"PreferClose", "PreferSameZone"} and all("zone" in each for each in endpoints.values()):
            for endpoint in endpoints.values():
                endpoint["hints"] = {"forZones": [{"name": endpoint["zone"]}]}
        elif wish == "PreferSameNode":
            for endpoint in endpoints.values():
                endpoint["hints"] = {"forNodes": [{"name": endpoint["nodeName"]}]}


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Tell whether a pod's condition Ready is true."""
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
