"""Describe nodes as ``kubectl describe`` does: with the pods on them, and what these ask for. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netlab.kubernetes.describing_pods import annotations_of, labels_of
from netlab.kubernetes.printing import age_of, date, roles_of
from netlab.kubernetes.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from netlab.kubernetes.store import Object, Store
    from netlab.kubernetes.tabs import Page

#: The title of a field, and its name in status.nodeInfo.
_SYSTEM = (
    ("Machine ID", "machineID"),
    ("System UUID", "systemUUID"),
    ("Boot ID", "bootID"),
    ("Kernel Version", "kernelVersion"),
    ("OS Image", "osImage"),
    ("Operating System", "operatingSystem"),
    ("Architecture", "architecture"),
    ("Container Runtime Version", "containerRuntimeVersion"),
    ("Kubelet Version", "kubeletVersion"),
)
_RESOURCES = ("cpu", "memory", "ephemeral-storage")


def describe_node(store: Store, node: Object, page: Page) -> None:
    """Write a node's fields."""
    metadata, spec, status = node["metadata"], node["spec"], node["status"]
    page.line(0, "Name:", metadata["name"])
    page.line(0, "Roles:", roles_of(node))
    page.lines(0, "Labels:", labels_of(metadata.get("labels")))
    page.lines(0, "Annotations:", annotations_of(metadata.get("annotations")))
    page.line(0, "CreationTimestamp:", date(metadata["creationTimestamp"]))
    page.lines(0, "Taints:", _taints(spec))
    page.line(0, "Unschedulable:", str(bool(spec.get("unschedulable"))).lower())
    page.line(0, "Conditions:")
    page.line(1, "Type", "Status", "LastHeartbeatTime", "LastTransitionTime", "Reason", "Message")
    page.line(1, "----", "------", "-----------------", "------------------", "------", "-------")
    for each in status["conditions"]:
        times = [f"{date(each[key])} " for key in ("lastHeartbeatTime", "lastTransitionTime")]
        page.line(1, f"{each['type']} ", f"{each['status']} ", *times, f"{each['reason']} ", each["message"])
    page.line(0, "Addresses:")
    for each in status["addresses"]:
        page.line(1, f"{each['type']}:", each["address"])
    for key in ("capacity", "allocatable"):
        page.line(0, f"{key.title()}:")
        for name, amount in sorted(status[key].items()):
            page.line(1, f"{name}:", amount)
    page.line(0, "System Info:")
    for title, key in _SYSTEM:
        page.line(1, f"{title}:", status["nodeInfo"].get(key, ""))
    page.line(0, "PodCIDR:", spec["podCIDR"])
    page.line(0, "PodCIDRs:", ",".join(spec["podCIDRs"]))
    _pods(store, node, page)


def _taints(spec: Mapping[str, Any]) -> list[str]:
    taints = sorted(spec.get("taints") or (), key=lambda taint: f"{taint['effect']},{taint['key']}")
    return [f"{each['key']}{'=' + each['value'] if each.get('value') else ''}:{each['effect']}" for each in taints]


def _pods(store: Store, node: Object, page: Page) -> None:
    ended = {"Succeeded", "Failed"}
    pods = [
        pod
        for pod in store.all("Pod")
        if pod["spec"].get("nodeName") == node["metadata"]["name"] and pod["status"]["phase"] not in ended
    ]
    pods.sort(key=lambda pod: (pod["metadata"]["namespace"], pod["metadata"]["name"]))
    room = {name: Quantity.read(amount) for name, amount in node["status"]["allocatable"].items()}
    page.line(0, "Non-terminated Pods:", f"({len(pods)} in total)")
    page.line(1, "Namespace", "Name", "", "CPU Requests", "CPU Limits", "Memory Requests", "Memory Limits", "Age")
    page.line(1, "---------", "----", "", "------------", "----------", "---------------", "-------------", "---")
    for pod in pods:
        asked, most = total([pod], "requests"), total([pod], "limits")
        cells = [_cell(amounts, name, room) for name in _RESOURCES[:2] for amounts in (asked, most)]
        page.line(1, pod["metadata"]["namespace"], pod["metadata"]["name"], "", *cells, age_of(pod))
    page.line(0, "Allocated resources:")
    page.line(1, "(Total limits may be over 100 percent, i.e., overcommitted.)")
    page.line(1, "Resource", "Requests", "Limits")
    page.line(1, "--------", "--------", "------")
    asked, most = total(pods, "requests"), total(pods, "limits")
    for name in _RESOURCES:
        page.line(1, name, _cell(asked, name, room), _cell(most, name, room))


def total(pods: Iterable[Mapping[str, Any]], key: str) -> dict[str, Quantity]:
    """Return what the containers of pods ask for (``requests``), or may have at most (``limits``), by resource."""
    found: dict[str, Quantity] = {}
    for container in (each for pod in pods for each in pod["spec"]["containers"]):
        resources = container.get("resources") or {}
        for name, amount in (resources.get(key) or {}).items():
            found[name] = found.get(name, Quantity()) + Quantity.read(amount)
    return found


def _cell(amounts: Mapping[str, Quantity], name: str, room: Mapping[str, Quantity]) -> str:
    amount = amounts.get(name, Quantity())
    return f"{amount} ({amount.share(room.get(name, Quantity()))}%)"
