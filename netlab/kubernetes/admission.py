"""Decide whether objects fit the cluster, all of them or none, and complete them as the API server would. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netlab.kubernetes.defaults import complete_deployment, complete_pod
from netlab.kubernetes.manifests import InvalidManifestError, Key
from netlab.kubernetes.services import Taken, complete_service, refuse_service
from netlab.kubernetes.store import Object, key_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from netlab.kubernetes.manifests import Manifest
    from netlab.kubernetes.ranges import ServiceRanges
    from netlab.kubernetes.store import Store
    from netlab.kubernetes.validation import Finding

#: What a pod's spec may still change (ValidatePodUpdate in pkg/apis/core/validation).
_SET_BY_SERVER = ("uid", "creationTimestamp", "resourceVersion", "generation", "managedFields", "selfLink")


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one object: ``created``, ``configured``, ``unchanged`` or ``deleted``."""

    key: Key
    verb: str
    data: Object

    def __str__(self) -> str:
        """Return it as kubectl prints it."""
        if self.verb == "deleted":
            kind = str(self.key).partition("/")[0]
            where = f" from {self.key.namespace} namespace" if self.key.namespace else ""
            return f'{kind} "{self.key.name}" deleted{where}'
        return f"{self.key} {self.verb}"


class Changes(tuple[Change, ...]):
    """What an apply or a delete did, in order; shows itself as kubectl would."""

    __slots__ = ()

    def __str__(self) -> str:
        """Return one line for each object."""
        return "\n".join(str(change) for change in self)

    __repr__ = __str__


def admit(manifests: Iterable[Manifest], store: Store, ranges: ServiceRanges) -> Changes:
    """Return what applying the objects would do; raises InvalidManifestError with all that is against it."""
    manifests = list(manifests)
    namespaces = {each["metadata"]["name"] for each in store.all("Namespace")}
    namespaces |= {manifest.key.name for manifest in manifests if manifest.kind == "Namespace"}
    taken = Taken.of(store.all("Service"))
    for manifest in manifests:
        # What is chosen here must not be given to another of the same manifest.
        if manifest.kind == "Service":
            _reserve(manifest.data, taken)
    problems, changes = [], []
    for manifest in manifests:
        old = store.find(manifest.key)
        found = list(_refuse(manifest, old, namespaces))
        if manifest.kind == "Service":
            found += refuse_service(manifest.data, old, ranges, taken)
        problems += [manifest.problem(path, words) for path, words in found]
        if not found and not problems:
            data = _complete(dict(manifest.data), old, ranges, taken)
            changes.append(Change(manifest.key, _verb(old, data), data))
    if problems:
        raise InvalidManifestError(*problems)
    return Changes(changes)


def _reserve(data: Any, taken: Taken) -> None:
    spec = data.get("spec") or {}
    name = f"{data['metadata'].get('namespace') or 'default'}/{data['metadata']['name']}"
    for address in filter(None, (spec.get("clusterIP"), *(spec.get("clusterIPs") or ()))):
        if address != "None":
            taken.addresses.setdefault(address, name)
    for port in spec.get("ports") or ():
        if port.get("nodePort"):
            taken.ports.setdefault(port["nodePort"], name)


def _refuse(manifest: Manifest, old: Object | None, namespaces: set[str]) -> Iterator[Finding]:
    key = manifest.key
    if key.namespace and key.namespace not in namespaces:
        known = ", ".join(sorted(namespaces))
        yield ("metadata", "namespace"), f"namespace {key.namespace!r} is not there; there are: {known}"
    if key.kind == "Node" and old is None:
        yield ("metadata", "name"), f"there is no node {key.name!r}; cluster.add_node() makes one"
    if key.kind == "Pod" and old is not None and _pod_core(old) != _pod_core(manifest.data):
        yield ("spec",), "the containers of a pod cannot change; delete it first, or use a Deployment"
    if key.kind == "Deployment" and old is not None and old["spec"]["selector"] != manifest.data["spec"]["selector"]:
        yield ("spec", "selector"), "this field cannot change"


def _pod_core(data: Any) -> Any:
    spec = complete_pod(data["spec"])
    return spec.get("containers"), spec.get("nodeSelector"), spec.get("hostNetwork")


def _complete(data: Object, old: Object | None, ranges: ServiceRanges, taken: Taken) -> Object:
    metadata = {key: value for key, value in data["metadata"].items() if key not in _SET_BY_SERVER}
    data = {**data, "metadata": metadata}
    match data["kind"]:
        case "Service":
            data = complete_service(data, old, ranges, taken)
        case "Node" if old is not None:
            labels = {**old["metadata"].get("labels", {}), **(metadata.get("labels") or {})}
            spec = {**old["spec"], **(data.get("spec") or {})}
            data = {**old, "metadata": {**old["metadata"], **metadata, "labels": labels}, "spec": spec}
        case "Namespace":
            labels = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": metadata["name"]}
            data = {**data, "metadata": {**metadata, "labels": labels}, "status": {"phase": "Active"}}
        case "Deployment":
            data = {**data, "spec": complete_deployment(data["spec"]), "status": (old or {}).get("status", {})}
        case "Pod" if old is not None:
            spec = {**complete_pod(data["spec"]), "nodeName": old["spec"].get("nodeName")}
            data = {**data, "spec": spec, "status": old["status"]}
        case "Pod":
            data = {**data, "spec": complete_pod(data["spec"]), "status": {"phase": "Pending"}}
    return data


def _verb(old: Object | None, new: Object) -> str:
    if old is None:
        return "created"
    return "unchanged" if _content(old) == _content(new) else "configured"


def _content(data: Object) -> Any:
    metadata = {k: v for k, v in data["metadata"].items() if k not in {*_SET_BY_SERVER, "namespace"} and v}
    rest = {k: v for k, v in data.items() if k not in {"metadata", "status", "apiVersion", "kind"}}
    return metadata, rest, key_of(data)
