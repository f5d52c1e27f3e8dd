"""Describe one object as ``kubectl describe`` does: its fields by name, then its events. Pure.

Source: staging/src/k8s.io/kubectl/pkg/describe/describe.go of Kubernetes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netlab.kubernetes.endpoints import SERVICE_NAME
from netlab.kubernetes.load_balancers import addresses_of
from netlab.kubernetes.printing import NONE, age, pairs, pod_state, table
from netlab.kubernetes.store import key_of, seconds_since

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from netlab.kubernetes.kubelet import Event
    from netlab.kubernetes.store import Object, Store

Lines = list[tuple[str, str]]


def describe_object(store: Store, data: Object, events: Sequence[Event]) -> str:
    """Return the description of an object."""
    metadata = data["metadata"]
    lines: Lines = [("Name", metadata["name"])]
    if metadata.get("namespace"):
        lines.append(("Namespace", metadata["namespace"]))
    lines += [("Labels", _column(metadata.get("labels"))), ("Annotations", _column(metadata.get("annotations")))]
    more = {"Pod": _pod, "Service": _service, "Node": _node, "Deployment": _deployment, "EndpointSlice": _slice}
    kind = data["kind"]
    lines += more[kind](store, data) if kind in more else _plain(data)
    own = [event for event in events if event.key == key_of(data)]
    return _aligned(lines if own else [*lines, ("Events", NONE)]) + _events(own)


def _aligned(lines: Lines) -> str:
    width = max(len(name) for name, _ in lines) + 3
    return "\n".join(f"{name + ':':{width}}{value}".rstrip().replace("\n", "\n" + " " * width) for name, value in lines)


def _column(labels: dict[str, str] | None) -> str:
    return "\n".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def _plain(data: Object) -> Lines:
    return [("Data", "\n".join(f"{key}: {value}" for key, value in (data.get("data") or {}).items()) or NONE)]


def _pod(store: Store, pod: Object) -> Lines:
    spec, status = pod["spec"], pod["status"]
    node = store.find(key_of({"kind": "Node", "metadata": {"name": spec.get("nodeName") or ""}}))
    place = f"{spec['nodeName']}/{status.get('hostIP') or _address(node)}" if spec.get("nodeName") else NONE
    owners = [f"{each['kind']}/{each['name']}" for each in pod["metadata"].get("ownerReferences") or ()]
    states = {each["name"]: each for each in status.get("containerStatuses") or ()}
    conditions = [f"{each['type']} {each['status']}" for each in status.get("conditions") or ()]
    return [
        ("Node", place),
        ("Start Time", status.get("startTime") or NONE),
        ("Status", pod_state(pod)),
        ("IP", status.get("podIP") or NONE),
        ("IPs", "\n".join(each["ip"] for each in status.get("podIPs") or ()) or NONE),
        ("Controlled By", ", ".join(owners) or NONE),
        ("Containers", "\n".join(_container(each, states.get(each["name"], {})) for each in spec["containers"])),
        ("Conditions", "\n".join(conditions) or NONE),
    ]


def _address(node: Object | None) -> str:
    return str(node["status"]["addresses"][0]["address"]) if node else NONE


def _container(spec: dict[str, Any], state: dict[str, Any]) -> str:
    ports = ", ".join(f"{each['containerPort']}/{each.get('protocol') or 'TCP'}" for each in spec.get("ports") or ())
    words = next(iter(state.get("state", {"waiting": {}})))
    ready, restarts = state.get("ready", False), state.get("restartCount", 0)
    text = f"{spec['name']}: image {spec['image']}, ports {ports or NONE}, {words}, ready {ready}, restarts {restarts}"
    message = (state.get("state", {}).get("terminated") or {}).get("message")
    return f"{text}\n  {message}" if message else text


def _service(store: Store, service: Object) -> Lines:
    spec = service["spec"]
    labels = {SERVICE_NAME: service["metadata"]["name"]}
    pieces = list(store.select("EndpointSlice", service["metadata"]["namespace"], labels))
    lines: Lines = [
        ("Selector", pairs(spec.get("selector"))),
        ("Type", spec["type"]),
        ("IP Family Policy", spec.get("ipFamilyPolicy", NONE)),
        ("IP Families", ",".join(spec.get("ipFamilies") or ()) or NONE),
        ("IP", spec.get("clusterIP") or NONE),
        ("IPs", ",".join(spec.get("clusterIPs") or ()) or NONE),
    ]
    if spec.get("externalIPs"):
        lines.append(("External IPs", ",".join(spec["externalIPs"])))
    if ingress := addresses_of(service):
        lines.append(("LoadBalancer Ingress", ", ".join(f"{ip} (VIP)" for ip in ingress)))
    for port in spec.get("ports") or ():
        name = port.get("name") or "<unset>"
        lines += [
            ("Port", f"{name}  {port['port']}/{port['protocol']}"),
            ("TargetPort", f"{port['targetPort']}/{port['protocol']}"),
        ]
        if port.get("nodePort"):
            lines.append(("NodePort", f"{name}  {port['nodePort']}/{port['protocol']}"))
        lines.append(("Endpoints", _ready_endpoints(pieces, port.get("name") or "")))
    lines.append(("Session Affinity", spec["sessionAffinity"]))
    for key, words in (("externalTrafficPolicy", "External"), ("internalTrafficPolicy", "Internal")):
        if spec.get(key):
            lines.append((f"{words} Traffic Policy", spec[key]))
    if spec.get("healthCheckNodePort"):
        lines.append(("HealthCheck NodePort", str(spec["healthCheckNodePort"])))
    return lines


def _ready_endpoints(pieces: Iterable[Object], port: str) -> str:
    found = [
        f"[{address}]:{each['port']}" if ":" in address else f"{address}:{each['port']}"
        for piece in pieces
        for each in piece.get("ports") or ()
        if (each.get("name") or "") == port
        for endpoint in piece.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready", True)
        for address in endpoint["addresses"]
    ]
    shown = ",".join(found[:3])
    return (shown + (f" + {len(found) - 3} more..." if len(found) > 3 else "")) or NONE  # noqa: PLR2004 - as kubectl


def _node(store: Store, node: Object) -> Lines:
    name, status = node["metadata"]["name"], node["status"]
    pods = [pod for pod in store.all("Pod") if pod["spec"].get("nodeName") == name]
    rows = [[pod["metadata"]["namespace"], pod["metadata"]["name"], pod["status"].get("podIP", "")] for pod in pods]
    conditions = [
        f"{each['type']} {each['status']} {each['reason']}: {each['message']}" for each in status["conditions"]
    ]
    return [
        ("Unschedulable", str(bool(node["spec"].get("unschedulable"))).lower()),
        ("Conditions", "\n".join(conditions)),
        ("Addresses", "\n".join(f"{each['type']}: {each['address']}" for each in status["addresses"])),
        ("PodCIDR", node["spec"]["podCIDR"]),
        ("PodCIDRs", ",".join(node["spec"]["podCIDRs"])),
        ("Pods", table([["Namespace", "Name", "IP"], *rows]) if rows else NONE),
    ]


def _deployment(store: Store, deployment: Object) -> Lines:
    del store
    spec, status = deployment["spec"], deployment.get("status") or {}
    numbers = (spec["replicas"], status.get("updatedReplicas", 0), status.get("replicas", 0))
    available = status.get("availableReplicas", 0)
    counts = "{} desired | {} updated | {} total".format(*numbers)
    counts += f" | {available} available | {numbers[2] - available} unavailable"
    containers = spec["template"]["spec"]["containers"]
    return [
        ("Selector", pairs(spec["selector"]["matchLabels"])),
        ("Replicas", counts),
        ("Containers", "\n".join(f"{each['name']}: image {each['image']}" for each in containers)),
    ]


def _slice(store: Store, piece: Object) -> Lines:
    del store
    ports = [f"{each.get('name') or '<unset>'} {each.get('port')}/{each['protocol']}" for each in piece["ports"]]
    endpoints = []
    for endpoint in piece["endpoints"]:
        conditions = endpoint.get("conditions") or {}
        words = [f"{key} {str(value).lower()}" for key, value in conditions.items()]
        target = (endpoint.get("targetRef") or {}).get("name", NONE)
        endpoints.append(
            f"{','.join(endpoint['addresses'])} ({', '.join(words)}), {target} on {endpoint.get('nodeName')}"
        )
    return [
        ("AddressType", piece["addressType"]),
        ("Ports", "\n".join(ports) or NONE),
        ("Endpoints", "\n".join(endpoints) or NONE),
    ]


def _events(own: Sequence[Event]) -> str:
    if not own:
        return ""
    rows = [["Type", "Reason", "Age", "Message"]]
    rows += [[event.type, event.reason, age(seconds_since(event.time)), event.message] for event in own]
    return "\nEvents:\n" + "\n".join(f"  {line}" for line in table(rows).splitlines())
