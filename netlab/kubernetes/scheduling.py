"""Decide which pods there should be and where: Deployments, and a scheduler that chooses the same each time. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from netlab.kubernetes.defaults import complete_pod
from netlab.kubernetes.endpoints import is_ready

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from netlab.kubernetes.store import Object

TEMPLATE_HASH = "pod-template-hash"
ENDED = ("Failed", "Succeeded")


def template_hash(template: Mapping[str, Any]) -> str:
    """Return ten letters that differ where the pods of a Deployment would."""
    text = json.dumps(template, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def owner_of(pod: Mapping[str, Any]) -> str:
    """Return the uid of the object that a pod belongs to; empty if it stands alone."""
    owners = pod["metadata"].get("ownerReferences") or ()
    return str(owners[0]["uid"]) if owners else ""


def plan_deployment(deployment: Object, pods: Iterable[Object]) -> tuple[list[Object], list[Object]]:
    """Return the pods of a Deployment that are to be made, and those that are to be deleted.

    ``pods`` are all of its namespace. Names are counted, so that a lab is the same each time: web-1, web-2, web-3.
    """
    metadata, spec = deployment["metadata"], deployment["spec"]
    pods = list(pods)
    mine = [pod for pod in pods if owner_of(pod) == metadata["uid"] and not pod["metadata"].get("deletionTimestamp")]
    digest = template_hash(spec["template"])
    good = [pod for pod in mine if pod["metadata"]["labels"].get(TEMPLATE_HASH) == digest and _lives(pod)]
    old = [pod for pod in mine if pod not in good]
    # Those that are not ready go first, then the newest: as a ReplicaSet does that gets smaller.
    good.sort(key=lambda pod: (not is_ready(pod), _number(pod)))
    keep, extra = good[: spec["replicas"]], good[spec["replicas"] :]
    taken = {pod["metadata"]["name"] for pod in pods}
    made: list[Object] = []
    number = 1
    while len(keep) + len(made) < spec["replicas"]:
        name = f"{metadata['name']}-{number}"
        number += 1
        if name not in taken:
            made.append(_pod(deployment, name, digest))
    return made, [*extra, *old]


def released(deployment: Object, pods: Iterable[Object]) -> list[Object]:
    """Return the Deployment's pods that its selector does not match any more, as standing alone.

    So a ReplicaSet lets a pod go whose label was changed, and makes another one in its place.
    """
    wanted = (deployment["spec"]["selector"].get("matchLabels") or {}).items()
    return [
        {**pod, "metadata": {name: value for name, value in pod["metadata"].items() if name != "ownerReferences"}}
        for pod in pods
        if owner_of(pod) == deployment["metadata"]["uid"]
        and not wanted <= (pod["metadata"].get("labels") or {}).items()
    ]


def _lives(pod: Mapping[str, Any]) -> bool:
    return pod.get("status", {}).get("phase") not in ENDED


def _number(pod: Mapping[str, Any]) -> int:
    tail = str(pod["metadata"]["name"]).rpartition("-")[2]
    return int(tail) if tail.isdecimal() else 0


def _pod(deployment: Object, name: str, digest: str) -> Object:
    metadata, template = deployment["metadata"], deployment["spec"]["template"]
    labels = {**(template.get("metadata", {}).get("labels") or {}), TEMPLATE_HASH: digest}
    annotations = template.get("metadata", {}).get("annotations") or {}
    owner = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": labels,
            **({"annotations": dict(annotations)} if annotations else {}),
            "ownerReferences": [owner],
        },
        "spec": complete_pod(template["spec"]),
        "status": {"phase": "Pending"},
    }


def deployment_status(deployment: Object, pods: Iterable[Object]) -> Object:
    """Return the status of a Deployment, from its pods."""
    digest = template_hash(deployment["spec"]["template"])
    mine = [
        pod
        for pod in pods
        if owner_of(pod) == deployment["metadata"]["uid"] and not pod["metadata"].get("deletionTimestamp")
    ]
    ready = sum(is_ready(pod) for pod in mine)
    fresh = sum(pod["metadata"]["labels"].get(TEMPLATE_HASH) == digest for pod in mine)
    counts = {"replicas": len(mine), "updatedReplicas": fresh, "readyReplicas": ready, "availableReplicas": ready}
    wanted = deployment["spec"]["replicas"]
    # A quarter of the pods may be missing, by the default of maxUnavailable.
    enough = ready >= wanted - wanted // 4
    done = fresh == len(mine) == wanted and ready >= wanted
    conditions = [
        _condition("Available", "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable", holds=enough),
        _condition("Progressing", "NewReplicaSetAvailable" if done else "ReplicaSetUpdated", holds=True),
    ]
    return {**counts, "unavailableReplicas": max(len(mine) - ready, 0), "conditions": conditions}


def _condition(kind: str, reason: str, *, holds: bool) -> Object:
    return {"type": kind, "status": str(holds), "reason": reason}


def choose_node(pod: Object, nodes: Sequence[Object], pods: Iterable[Object]) -> str | None:
    """Return the node for a pod: the one with the fewest pods of the same owner, then the fewest pods, then the first.

    None where no node is ready, open for new pods, and has the labels that the pod asks for.
    """
    labels = pod["spec"].get("nodeSelector") or {}
    possible = [str(node["metadata"]["name"]) for node in nodes if _takes(node, labels)]
    if not possible:
        return None
    kin, load = dict.fromkeys(possible, 0), dict.fromkeys(possible, 0)
    owner = owner_of(pod)
    for other in pods:
        name = other["spec"].get("nodeName")
        if name in load:
            load[name] += 1
            kin[name] += bool(owner) and owner_of(other) == owner
    return min(possible, key=lambda name: (kin[name], load[name], possible.index(name)))


def _takes(node: Object, labels: Mapping[str, str]) -> bool:
    own = node["metadata"].get("labels") or {}
    open_for_pods = is_ready(node) and not node["spec"].get("unschedulable")
    return open_for_pods and all(own.get(key) == value for key, value in labels.items())
