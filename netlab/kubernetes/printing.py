"""Print objects as ``kubectl get`` does: the same columns, in the same order, with the same ages. Pure.

Source: pkg/printers/internalversion/printers.go of Kubernetes, and HumanDuration in apimachinery's util/duration.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from netlab.errors import InvalidInputError
from netlab.kubernetes.endpoints import is_ready
from netlab.kubernetes.load_balancers import addresses_of
from netlab.kubernetes.store import key_of, seconds_since

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from netlab.kubernetes.store import Object

Row = list[str]
NONE = "<none>"
#: Shown of an EndpointSlice before "+ N more...".
_MOST_SHOWN = 3
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


class Text(str):
    """A text that shows itself as it is: in a notebook its lines stay lines."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return the text itself."""
        return str(self)


def age(seconds: float) -> str:
    """Return a duration as kubectl prints it.

    >>> [age(seconds) for seconds in (5, 119, 125, 3600, 90000)]
    ['5s', '119s', '2m5s', '60m', '25h']
    """
    total = max(int(seconds), 0)
    minutes, hours, days = total // _MINUTE, total // _HOUR, total // _DAY
    steps: list[tuple[bool, str]] = [
        (total < 2 * _MINUTE, f"{total}s"),
        (minutes < 10, _two(minutes, "m", total % _MINUTE, "s")),  # noqa: PLR2004 - kubectl's steps
        (hours < 3, f"{minutes}m"),  # noqa: PLR2004
        (hours < 8, _two(hours, "h", minutes % 60, "m")),  # noqa: PLR2004
        (hours < 48, f"{hours}h"),  # noqa: PLR2004
        (days < 8, _two(days, "d", hours % 24, "h")),  # noqa: PLR2004
    ]
    return next((text for fits, text in steps if fits), f"{days}d")


def _two(large: int, one: str, small: int, other: str) -> str:
    return f"{large}{one}{small}{other}" if small else f"{large}{one}"


def age_of(data: Mapping[str, Any]) -> str:
    """Return an object's age."""
    return age(seconds_since(data["metadata"]["creationTimestamp"]))


def table(rows: Sequence[Row]) -> str:
    """Return rows in columns, three spaces apart, as kubectl's tabwriter lays them out."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


# -- one printer for each kind: the heads, then one row an object ----------------------


def _pod(pod: Object, *, wide: bool) -> Row:
    status, spec = pod["status"], pod["spec"]
    states = status.get("containerStatuses") or ()
    total = len(spec["containers"])
    row = [
        pod["metadata"]["name"],
        f"{sum(each['ready'] for each in states)}/{total}",
        pod_state(pod),
        str(sum(each["restartCount"] for each in states)),
        age_of(pod),
    ]
    return [*row, status.get("podIP") or NONE, spec.get("nodeName") or NONE, NONE, NONE] if wide else row


def pod_state(pod: Object) -> str:
    """Return what stands in the column STATUS of a pod."""
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    status = pod["status"]
    for each in status.get("containerStatuses") or ():
        if "terminated" in each["state"]:
            always = (pod["spec"].get("restartPolicy") or "Always") == "Always"
            reason = str(each["state"]["terminated"]["reason"])
            return "CrashLoopBackOff" if always and each["restartCount"] else reason
    if status["phase"] == "Pending" and pod["spec"].get("nodeName"):
        return "ContainerCreating"
    phase = str(status["phase"])
    return {"Failed": "Error", "Succeeded": "Completed"}.get(phase, phase)


def _service(service: Object, *, wide: bool) -> Row:
    spec = service["spec"]
    kind = spec["type"]
    external = [*addresses_of(service), *(spec.get("externalIPs") or ())]
    shown = ",".join(external) or ("<pending>" if kind == "LoadBalancer" else NONE)
    ports = [
        f"{port['port']}" + (f":{port['nodePort']}" if port.get("nodePort") else "") + f"/{port['protocol']}"
        for port in spec.get("ports") or ()
    ]
    row = [service["metadata"]["name"], kind, spec.get("clusterIP") or NONE]
    row += [spec["externalName"] if kind == "ExternalName" else shown, ",".join(ports) or NONE, age_of(service)]
    return [*row, pairs(spec.get("selector"))] if wide else row


def _node(node: Object, *, wide: bool) -> Row:
    status = "Ready" if is_ready(node) else "NotReady"
    status += ",SchedulingDisabled" if node["spec"].get("unschedulable") else ""
    row = [node["metadata"]["name"], status, NONE, age_of(node), node["status"]["nodeInfo"]["kubeletVersion"]]
    if not wide:
        return row
    internal = [each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP"]
    return [*row, internal[0], NONE, "netlab", node["status"]["nodeInfo"].get("kernelVersion", NONE), "netlab"]


def _deployment(deployment: Object, *, wide: bool) -> Row:
    status, spec = deployment.get("status") or {}, deployment["spec"]
    row = [
        deployment["metadata"]["name"],
        f"{status.get('readyReplicas', 0)}/{spec['replicas']}",
        str(status.get("updatedReplicas", 0)),
        str(status.get("availableReplicas", 0)),
        age_of(deployment),
    ]
    containers = spec["template"]["spec"]["containers"]
    names, images = (",".join(each[key] for each in containers) for key in ("name", "image"))
    return [*row, names, images, pairs(spec["selector"]["matchLabels"])] if wide else row


def _slice(piece: Object, *, wide: bool) -> Row:
    del wide
    addresses = [address for endpoint in piece.get("endpoints") or () for address in endpoint["addresses"]]
    shown = ",".join(addresses[:_MOST_SHOWN])
    shown += f" + {len(addresses) - _MOST_SHOWN} more..." if len(addresses) > _MOST_SHOWN else ""
    ports = ",".join(str(port.get("port", "*")) for port in piece.get("ports") or ())
    return [piece["metadata"]["name"], piece["addressType"], ports or "<unset>", shown or "<unset>", age_of(piece)]


def _namespace(space: Object, *, wide: bool) -> Row:
    del wide
    return [space["metadata"]["name"], space["status"]["phase"], age_of(space)]


def _config_map(config: Object, *, wide: bool) -> Row:
    del wide
    count = len(config.get("data") or {}) + len(config.get("binaryData") or {})
    return [config["metadata"]["name"], str(count), age_of(config)]


_Printer = tuple[str, str, "Callable[..., Row]"]
_PRINTERS: dict[str, _Printer] = {
    "Pod": ("NAME READY STATUS RESTARTS AGE", "IP,NODE,NOMINATED NODE,READINESS GATES", _pod),
    "Service": ("NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE", "SELECTOR", _service),
    "Node": (
        "NAME STATUS ROLES AGE VERSION",
        "INTERNAL-IP,EXTERNAL-IP,OS-IMAGE,KERNEL-VERSION,CONTAINER-RUNTIME",
        _node,
    ),
    "Deployment": ("NAME READY UP-TO-DATE AVAILABLE AGE", "CONTAINERS,IMAGES,SELECTOR", _deployment),
    "EndpointSlice": ("NAME ADDRESSTYPE PORTS ENDPOINTS AGE", "", _slice),
    "Namespace": ("NAME STATUS AGE", "", _namespace),
    "ConfigMap": ("NAME DATA AGE", "", _config_map),
}
OUTPUTS = ("wide", "name", "yaml", "json")


def pairs(labels: Mapping[str, str] | None) -> str:
    """Return labels as kubectl prints them."""
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


@dataclass(frozen=True, slots=True)
class Style:
    """What a table shows besides the usual columns; ``kinds`` puts the kind before each name."""

    wide: bool = False
    namespaces: bool = False
    labels: bool = False
    kinds: bool = False


def print_kind(kind: str, objects: Iterable[Object], style: Style) -> str:
    """Return the table of objects of one kind."""
    heads, more, row = _PRINTERS[kind]
    wide = style.wide and bool(more)
    rows = [[*heads.split(), *(more.split(",") if wide else ()), *(["LABELS"] if style.labels else ())]]
    for data in objects:
        cells = row(data, wide=wide)
        cells[0] = str(key_of(data)) if style.kinds else cells[0]
        rows.append([*cells, pairs(data["metadata"].get("labels"))] if style.labels else cells)
    if style.namespaces:
        names = ["NAMESPACE", *(data["metadata"].get("namespace", "") for data in objects)]
        rows = [[name, *cells] for name, cells in zip(names, rows, strict=True)]
    return table(rows)


def print_raw(objects: Sequence[Object], output: str, *, single: bool) -> str:
    """Return objects as YAML or JSON: one alone, or a List."""
    document: Any = objects[0] if single else {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    if output == "json":
        return json.dumps(document, indent=4)
    if output == "yaml":
        return str(yaml.dump(document, Dumper=_Dumper, sort_keys=True)).rstrip("\n")
    raise InvalidInputError(f"The output must be one of {', '.join(OUTPUTS)}; {output!r} is not.")


class _Dumper(yaml.SafeDumper):
    """YAML without references: the same mapping may stand in two objects."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write everything out."""
        del data
        return True
