"""Describe one object as ``kubectl describe`` does: its fields by name, then its events. Pure.

Pods and nodes have modules of their own. Source: staging/src/k8s.io/kubectl/pkg/describe/describe.go of Kubernetes.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from netlab.kubernetes.describing_nodes import describe_node
from netlab.kubernetes.describing_pods import describe_pod, describe_template, head
from netlab.kubernetes.endpoints import SERVICE_NAME
from netlab.kubernetes.printing import NONE, age, date, more_of, pairs
from netlab.kubernetes.store import key_of, seconds_since
from netlab.kubernetes.tabs import Page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netlab.kubernetes.kubelet import Event
    from netlab.kubernetes.store import Object, Store

_UNSET = "<unset>"
_MOST_SHOWN = 3
#: Kinds that kubectl describes without their events.
_WITHOUT_EVENTS = {"Namespace"}


def describe_object(store: Store, data: Object, events: Sequence[Event]) -> str:
    """Return the description of an object."""
    page = Page()
    match data["kind"]:
        case "Pod":
            describe_pod(data, page)
        case "Node":
            describe_node(store, data, page)
        case "Service":
            _service(store, data, page)
        case "EndpointSlice":
            _slice(data, page)
        case "Deployment":
            _deployment(data, page)
        case "ConfigMap":
            _config_map(data, page)
        case _:
            _namespace(data, page)
    if data["kind"] not in _WITHOUT_EVENTS:
        _events([event for event in events if event.key == key_of(data)], page)
    return str(page).rstrip("\n")


def _service(store: Store, service: Object, page: Page) -> None:
    spec = service["spec"]
    head(service, page)
    page.line(0, "Selector:", pairs(spec.get("selector")))
    page.line(0, "Type:", spec["type"])
    for title, text in _where(service):
        page.line(0, f"{title}:", text)
    found = store.select("EndpointSlice", service["metadata"]["namespace"], {SERVICE_NAME: service["metadata"]["name"]})
    pieces = sorted(found, key=lambda piece: str(piece["metadata"]["name"]))
    for port in spec.get("ports") or ():
        name, protocol = port.get("name") or _UNSET, port["protocol"]
        page.line(0, "Port:", name, f"{port['port']}/{protocol}")
        page.line(0, "TargetPort:", f"{port['targetPort']}/{protocol}")
        if port.get("appProtocol"):
            page.line(0, "AppProtocol:", port["appProtocol"])
        if port.get("nodePort"):
            page.line(0, "NodePort:", name, f"{port['nodePort']}/{protocol}")
        page.line(0, "Endpoints:", _ready_endpoints(pieces, port.get("name") or ""))
    page.line(0, "Session Affinity:", spec["sessionAffinity"])
    for key, title in (
        ("externalTrafficPolicy", "External Traffic Policy"),
        ("internalTrafficPolicy", "Internal Traffic Policy"),
        ("healthCheckNodePort", "HealthCheck NodePort"),
        ("loadBalancerSourceRanges", "LoadBalancer Source Ranges"),
        ("trafficDistribution", "Traffic Distribution"),
    ):
        if value := spec.get(key):
            page.line(0, f"{title}:", ",".join(value) if isinstance(value, list) else value)


def _where(service: Object) -> list[tuple[str, str]]:
    """Return where a Service is reached."""
    spec = service["spec"]
    ingress = (service.get("status") or {}).get("loadBalancer", {}).get("ingress") or ()
    balancers = [
        f"{each['ip']} ({each['ipMode']})" if each.get("ipMode") else each.get("ip") or each.get("hostname", "")
        for each in ingress
    ]
    policy = [("IP Family Policy", spec["ipFamilyPolicy"])] if spec.get("ipFamilyPolicy") else []
    always = [
        ("IP Families", ",".join(spec.get("ipFamilies") or ()) or NONE),
        ("IP", spec.get("clusterIP") or ""),
        ("IPs", ",".join(spec.get("clusterIPs") or ()) or NONE),
    ]
    perhaps = [
        ("External IPs", ",".join(spec.get("externalIPs") or ())),
        ("Desired LoadBalancer IP", spec.get("loadBalancerIP") or ""),
        ("External Name", spec.get("externalName") or ""),
        ("LoadBalancer Ingress", ", ".join(balancers)),
    ]
    return [*policy, *always, *((title, text) for title, text in perhaps if text)]


def _ready_endpoints(pieces: Sequence[Object], port: str) -> str:
    found = [
        f"[{address}]:{each.get('port')}" if ":" in address else f"{address}:{each.get('port')}"
        for piece in pieces
        for each in piece.get("ports") or ()
        if (each.get("name") or "") == port
        for endpoint in piece.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready", True) is not False
        for address in endpoint["addresses"][:1]
    ]
    return more_of(found, _MOST_SHOWN) if pieces else NONE


def _slice(piece: Object, page: Page) -> None:
    head(piece, page)
    page.line(0, "AddressType:", piece["addressType"])
    ports = piece.get("ports") or ()
    page.line(0, "Ports:" if ports else f"Ports: {_UNSET}")
    if ports:
        page.line(1, "Name", "Port", "Protocol")
        page.line(1, "----", "----", "--------")
    for port in ports:
        page.line(1, port.get("name") or _UNSET, port.get("port") or _UNSET, port.get("protocol") or "TCP")
    endpoints = piece.get("endpoints") or ()
    page.line(0, "Endpoints:" if endpoints else f"Endpoints: {NONE}")
    for endpoint in endpoints:
        _endpoint(endpoint, page)


def _endpoint(endpoint: Object, page: Page) -> None:
    ready = (endpoint.get("conditions") or {}).get("ready")
    page.line(1, "- Addresses:", ", ".join(endpoint["addresses"]) or NONE)
    page.line(2, "Conditions:")
    page.line(3, "Ready:", _UNSET if ready is None else str(ready).lower())
    page.line(2, "Hostname:", endpoint.get("hostname") or _UNSET)
    if target := endpoint.get("targetRef"):
        page.line(2, "TargetRef:", f"{target['kind']}/{target['name']}")
    page.line(2, "NodeName:", endpoint.get("nodeName") or _UNSET)
    page.line(2, "Zone:", endpoint.get("zone") or _UNSET)


def _deployment(deployment: Object, page: Page) -> None:
    spec, status = deployment["spec"], deployment.get("status") or {}
    metadata = deployment["metadata"]
    page.line(0, "Name:", metadata["name"])
    page.line(0, "Namespace:", metadata["namespace"])
    page.line(0, "CreationTimestamp:", date(metadata["creationTimestamp"]))
    head(deployment, page, named=True)
    page.line(0, "Selector:", pairs(spec["selector"].get("matchLabels")))
    counts = [
        f"{spec['replicas']} desired",
        *(
            f"{status.get(f'{key}Replicas' if key else 'replicas', 0)} {word}"
            for key, word in (("updated", "updated"), ("", "total"), ("available", "available"))
        ),
        f"{status.get('unavailableReplicas', 0)} unavailable",
    ]
    page.line(0, "Replicas:", " | ".join(counts))
    strategy: dict[str, Any] = spec.get("strategy") or {}
    page.line(0, "StrategyType:", strategy.get("type", ""))
    page.line(0, "MinReadySeconds:", spec.get("minReadySeconds") or 0)
    if rolling := strategy.get("rollingUpdate"):
        words = f"{rolling['maxUnavailable']} max unavailable, {rolling['maxSurge']} max surge"
        page.line(0, "RollingUpdateStrategy:", words)
    describe_template(spec["template"], page)
    if conditions := status.get("conditions"):
        page.line(0, "Conditions:")
        page.line(1, "Type", "Status", "Reason")
        page.line(1, "----", "------", "------")
        for each in conditions:
            page.line(1, f"{each['type']} ", each["status"], each["reason"])


def _namespace(space: Object, page: Page) -> None:
    head(space, page)
    page.line(0, "Status:", (space.get("status") or {}).get("phase", ""))
    for text in ("No resource quota.", "No LimitRange resource."):
        page.line(0)
        page.line(0, text)


def _config_map(config: Object, page: Page) -> None:
    head(config, page)
    page.line(0)
    page.line(0, "Data")
    page.line(0, "====")
    for key, value in sorted((config.get("data") or {}).items()):
        for text in (f"{key}:", "----", *str(value).split("\n"), ""):
            page.line(0, text)
    page.line(0)
    page.line(0, "BinaryData")
    page.line(0, "====")
    for key, value in sorted((config.get("binaryData") or {}).items()):
        page.line(0, f"{key}: {len(value)} bytes")
    page.line(0)


def _events(own: Sequence[Event], page: Page) -> None:
    if not own:
        page.line(0, "Events:", NONE)
        return
    page.end_columns()
    page.line(0, "Events:")
    page.line(1, "Type", "Reason", "Age", "From", "Message")
    page.line(1, "----", "------", "----", "----", "-------")
    for _, group in groupby(own, lambda event: (event.type, event.reason, event.message)):
        same = list(group)
        first, last = same[0], same[-1]
        ages = [age(seconds_since(event.time)) for event in (first, last)]
        text = ages[0] if len(same) == 1 else f"{ages[1]} (x{len(same)} over {ages[0]})"
        page.line(1, first.type, first.reason, text, first.source, " ".join(first.message.split("\n")))
