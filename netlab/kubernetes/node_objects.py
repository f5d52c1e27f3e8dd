"""Write the Node objects of a cluster: what a kubelet says of its machine, and what becomes of it when it falls silent.

Source: pkg/kubelet/nodestatus/setters.go and pkg/controller/nodelifecycle of Kubernetes.
"""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netlab.kubernetes.endpoints import ZONE
from netlab.kubernetes.schemas import KUBERNETES
from netlab.kubernetes.store import now

if TYPE_CHECKING:
    from netlab.kubernetes.node import Node

Object = dict[str, Any]

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_UNREACHABLE = "node.kubernetes.io/unreachable"


def node_object(node: Node, racks: int = 1) -> Object:
    """Return the object of a node that is ready; CPU, memory and kernel are those of this machine.

    Where there are several racks, each is a zone.
    """
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    labels = {"kubernetes.io/arch": architecture, "kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux"}
    labels |= {ZONE: f"rack-{node.rack}"} if racks > 1 else {}
    addresses = [{"type": "InternalIP", "address": str(address)} for address in node.addresses.values()]
    room = {"cpu": str(os.cpu_count() or 1), "memory": f"{_memory()}Ki"}
    ranges = [str(range_) for range_ in node.pod_ranges]
    return {
        "kind": "Node",
        "metadata": {"name": node.name, "labels": labels},
        "spec": {"podCIDR": ranges[0], "podCIDRs": ranges},
        "status": {
            "addresses": [*addresses, {"type": "Hostname", "address": node.name}],
            "allocatable": room,
            "capacity": room,
            "conditions": node_conditions(ready=True),
            "nodeInfo": {
                "architecture": architecture,
                "containerRuntimeVersion": f"netlab://{_own_version()}",
                "kernelVersion": os.uname().release,
                "kubeletVersion": f"v{KUBERNETES}.2",
                "operatingSystem": "linux",
                "osImage": platform.freedesktop_os_release().get("PRETTY_NAME", "Linux"),
            },
        },
    }


def _memory() -> int:
    """Return this machine's memory in KiB."""
    lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemTotal:"))


def _own_version() -> str:
    try:
        return version("kube-netlab")
    except PackageNotFoundError:
        return "unknown"


def node_conditions(*, ready: bool) -> list[Object]:
    """Return the condition Ready of a Node: as the kubelet writes it, or as it is written for one that is silent."""
    words = ("True", "KubeletReady", "kubelet is posting ready status")
    if not ready:
        words = ("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")
    status, reason, message = words
    times = dict.fromkeys(("lastHeartbeatTime", "lastTransitionTime"), now())
    return [{"type": "Ready", "status": status, "reason": reason, "message": message, **times}]


def with_taints(spec: Object, *, ready: bool) -> Object:
    """Return a Node's spec with the taints of one that cannot be reached, or without them."""
    others = [taint for taint in spec.get("taints") or () if taint["key"] != _UNREACHABLE]
    own = [] if ready else [{"key": _UNREACHABLE, "effect": effect} for effect in ("NoSchedule", "NoExecute")]
    rest = {key: value for key, value in spec.items() if key != "taints"}
    return {**rest, "taints": [*others, *own]} if others or own else rest
