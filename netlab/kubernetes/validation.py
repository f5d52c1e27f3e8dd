"""Check what the schemas of Kubernetes cannot say: names, ports, addresses, and what has to fit together.

The rules are those of Kubernetes (validation.go in pkg/apis/core/validation, pkg/apis/apps/validation and
pkg/apis/discovery/validation), as far as netlab uses the fields. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from netlab.kubernetes import workloads
from netlab.kubernetes.manifests import InvalidManifestError, read_manifests
from netlab.kubernetes.schemas import check_schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from netlab.kubernetes.manifests import Manifest, Path_

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_SERVICE_TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
_POLICIES = ("Cluster", "Local")
_HANDLERS = ("httpGet", "exec", "tcpSocket")
HIGHEST_PORT = 65535
NODE_PORTS = (30000, 32767)
MOST_ENDPOINTS = 1000

Finding = tuple["Path_", str]


def read_valid(source: object) -> list[Manifest]:
    """Return the objects in ``source`` (see `read_manifests`), all of them valid.

    Raises InvalidManifestError with everything that is wrong with any of them.
    """
    manifests = read_manifests(source)
    problems = []
    for manifest in manifests:
        wrong = check_schema(manifest)
        # What does not fit the schema cannot be looked at any further.
        problems += wrong or [manifest.problem(path, words) for path, words in _findings(manifest)]
    twice = [key for key, count in Counter(manifest.key for manifest in manifests).items() if count > 1]
    for key in twice:
        last = [manifest for manifest in manifests if manifest.key == key][-1]
        problems.append(last.problem(("metadata", "name"), "this object is there twice"))
    if problems:
        raise InvalidManifestError(*problems)
    return manifests


def _findings(manifest: Manifest) -> Iterator[Finding]:
    data: Any = manifest.data
    yield from _names(manifest.kind, data)
    spec = data.get("spec") or {}
    match manifest.kind:
        case "Pod":
            yield from _pod(spec, ("spec",))
        case "Deployment":
            yield from _deployment(spec)
        case "Service":
            yield from _service(spec)
        case "EndpointSlice":
            yield from _slice(data)
        case "Node":
            yield from _ranges(spec.get("podCIDRs") or [], ("spec", "podCIDRs"))


def _names(kind: str, data: Any) -> Iterator[Finding]:
    metadata = data.get("metadata") or {}
    name = metadata.get("name")
    path: Path_ = ("metadata", "name")
    if not name:
        yield path, "the object's name is missing"
        return
    if kind in {"Service", "Namespace"}:
        if not _LABEL.fullmatch(name) or (kind == "Service" and not name[0].isalpha()):
            first = "a letter" if kind == "Service" else "a letter or digit"
            yield (
                path,
                f"at most 63 small letters, digits and hyphens were expected, beginning with {first}; not {name!r}",
            )
    elif not _SUBDOMAIN.fullmatch(name) or ".." in name:
        yield path, f"small letters, digits, hyphens and dots were expected; not {name!r}"
    namespace = metadata.get("namespace")
    if namespace and not _LABEL.fullmatch(namespace):
        yield (
            ("metadata", "namespace"),
            f"at most 63 small letters, digits and hyphens were expected; not {namespace!r}",
        )


# -- pods -------------------------------------------------------------------------


def _pod(spec: Any, path: Path_) -> Iterator[Finding]:
    containers = spec.get("containers") or []
    if not containers:
        yield (*path, "containers"), "one container or more was expected"
    if spec.get("initContainers"):
        yield (*path, "initContainers"), "there are no init containers here; let the container's command do their work"
    yield from _unique([container.get("name") for container in containers], (*path, "containers"))
    for index, container in enumerate(containers):
        yield from _container(container, (*path, "containers", index))


def _container(container: Any, path: Path_) -> Iterator[Finding]:
    if container.get("volumeMounts"):
        yield (*path, "volumeMounts"), "containers have no volumes here; a ConfigMap reaches them by env and envFrom"
    if not _LABEL.fullmatch(container.get("name") or ""):
        yield (*path, "name"), "small letters, digits and hyphens were expected"
    if wrong := workloads.refuse(container.get("image") or "", container.get("command") or ()):
        yield (*path, "image"), wrong
    for index, port in enumerate(container.get("ports") or []):
        yield from _number(port.get("containerPort"), 1, HIGHEST_PORT, (*path, "ports", index, "containerPort"))
        yield from _choice(port.get("protocol"), _PROTOCOLS, (*path, "ports", index, "protocol"))
        if port.get("hostPort"):
            yield from _number(port["hostPort"], 1, HIGHEST_PORT, (*path, "ports", index, "hostPort"))
    probe = container.get("readinessProbe")
    if probe is not None and sum(bool(probe.get(handler)) for handler in _HANDLERS) != 1:
        yield (*path, "readinessProbe"), f"exactly one of {', '.join(_HANDLERS)} was expected"


def _deployment(spec: Any) -> Iterator[Finding]:
    if (spec.get("replicas") or 0) < 0:
        yield ("spec", "replicas"), f"0 or more was expected; not {spec['replicas']}"
    wanted = (spec.get("selector") or {}).get("matchLabels") or {}
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    if not wanted:
        yield ("spec", "selector"), "matchLabels with one label or more was expected"
    elif any(labels.get(key) != value for key, value in wanted.items()):
        yield ("spec", "template", "metadata", "labels"), f"the labels of the selector were expected: {_pairs(wanted)}"
    yield from _pod(template.get("spec") or {}, ("spec", "template", "spec"))


def _pairs(labels: dict[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in labels.items())


# -- services ---------------------------------------------------------------------


def _service(spec: Any) -> Iterator[Finding]:
    yield from _choice(spec.get("type"), _SERVICE_TYPES, ("spec", "type"))
    yield from _choice(spec.get("sessionAffinity"), ("None", "ClientIP"), ("spec", "sessionAffinity"))
    for key in ("externalTrafficPolicy", "internalTrafficPolicy"):
        yield from _choice(spec.get(key), _POLICIES, ("spec", key))
    headless = spec.get("clusterIP") == "None"
    ports = spec.get("ports") or []
    if not ports and not headless and spec.get("type") != "ExternalName":
        yield ("spec", "ports"), "one port or more was expected"
    if spec.get("type") in {"NodePort", "LoadBalancer"} and headless:
        yield ("spec", "clusterIP"), f"a {spec['type']} Service cannot be headless"
    yield from _ports(ports)
    for key in ("clusterIP", "loadBalancerIP"):
        if (value := spec.get(key)) and not (key == "clusterIP" and headless):
            yield from _addresses([value], ("spec", key), single=True)
    yield from _addresses(spec.get("externalIPs") or [], ("spec", "externalIPs"))
    yield from _ranges(spec.get("loadBalancerSourceRanges") or [], ("spec", "loadBalancerSourceRanges"))


def _ports(ports: list[Any]) -> Iterator[Finding]:
    if len(ports) > 1:
        for index, port in enumerate(ports):
            if not port.get("name"):
                yield ("spec", "ports", index), "a name was expected, since there are several ports"
    yield from _unique([port.get("name") for port in ports if port.get("name")], ("spec", "ports"))
    for index, port in enumerate(ports):
        path: Path_ = ("spec", "ports", index)
        yield from _number(port.get("port"), 1, HIGHEST_PORT, (*path, "port"))
        yield from _choice(port.get("protocol"), _PROTOCOLS, (*path, "protocol"))
        if isinstance(port.get("targetPort"), int):
            yield from _number(port["targetPort"], 1, HIGHEST_PORT, (*path, "targetPort"))
        if port.get("nodePort"):
            yield from _number(port["nodePort"], *NODE_PORTS, (*path, "nodePort"))
    same = Counter((port.get("port"), port.get("protocol") or "TCP") for port in ports)
    for index, port in enumerate(ports):
        if same[port.get("port"), port.get("protocol") or "TCP"] > 1:
            yield ("spec", "ports", index, "port"), "two ports of a Service have this number and protocol"


def _slice(data: Any) -> Iterator[Finding]:
    kind = data.get("addressType")
    yield from _choice(kind, ("IPv4", "IPv6", "FQDN"), ("addressType",))
    endpoints = data.get("endpoints") or []
    if len(endpoints) > MOST_ENDPOINTS:
        yield ("endpoints",), f"at most {MOST_ENDPOINTS} endpoints were expected; not {len(endpoints)}"
    for index, endpoint in enumerate(endpoints):
        path: Path_ = ("endpoints", index, "addresses")
        addresses = endpoint.get("addresses") or []
        if not addresses:
            yield path, "one address or more was expected"
        if kind != "FQDN":
            yield from _addresses(addresses, path, version=6 if kind == "IPv6" else 4)
    for index, port in enumerate(data.get("ports") or []):
        if port.get("port") is not None:
            yield from _number(port["port"], 1, HIGHEST_PORT, ("ports", index, "port"))
        yield from _choice(port.get("protocol"), _PROTOCOLS, ("ports", index, "protocol"))


# -- values -----------------------------------------------------------------------


def _choice(value: object, choices: tuple[str, ...], path: Path_) -> Iterator[Finding]:
    if value is not None and value not in choices:
        yield path, f"one of {', '.join(choices)} was expected; not {value!r}"


def _number(value: Any, low: int, high: int, path: Path_) -> Iterator[Finding]:
    if value is None or not low <= value <= high:
        yield path, f"a number from {low} to {high} was expected; not {value}"


def _unique(names: Iterable[object], path: Path_) -> Iterator[Finding]:
    for name, count in Counter(names).items():
        if count > 1:
            yield path, f"the name {name!r} is there {count} times"


def _addresses(values: list[str], path: Path_, *, version: int = 0, single: bool = False) -> Iterator[Finding]:
    for index, value in enumerate(values):
        place = path if single else (*path, index)
        family = f"IPv{version}" if version else "IP"
        try:
            if version in {0, ip_address(value).version}:
                continue
        except ValueError:
            pass  # the finding below says what was expected
        yield place, f"an {family} address was expected; not {value!r}"


def _ranges(values: list[str], path: Path_) -> Iterator[Finding]:
    for index, value in enumerate(values):
        try:
            ip_network(value.strip(), strict=False)
        except ValueError:
            yield (*path, index), f"a range such as 192.168.0.0/24 was expected; not {value!r}"
