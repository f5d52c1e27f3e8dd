"""Print objects as ``kubectl get`` does: the same columns, in the same order, with the same ages. Pure.

Source: pkg/printers/internalversion/printers.go of Kubernetes, and HumanDuration in apimachinery's util/duration.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from netlab.errors import InvalidInputError
from netlab.kubernetes.endpoints import is_ready
from netlab.kubernetes.store import key_of, seconds_since

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from netlab.kubernetes.store import Object

Row = list[str]
NONE = "<none>"
#: Shown of an EndpointSlice before "+ N more...".
_MOST_SHOWN = 3
#: Of a load balancer's addresses, in a table that is not wide.
_BALANCER_WIDTH = 16
_ROLE = "node-role.kubernetes.io/"
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


def date(timestamp: str) -> str:
    """Return a timestamp as kubectl describe prints it, in the time of this machine."""
    return dt.datetime.fromisoformat(timestamp).astimezone().strftime("%a, %d %b %Y %H:%M:%S %z")


def more_of(texts: Sequence[str], most: int) -> str:
    """Return the first of some texts, and how many more there are."""
    rest = f" + {len(texts) - most} more..." if len(texts) > most else ""
    return ",".join(texts[:most]) + rest


def table(rows: Sequence[Row]) -> str:
    """Return rows in columns, three spaces apart, as kubectl's tabwriter lays them out."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


# -- one printer for each kind: the heads, then one row an object ----------------------


def _pod(pod: Object, *, wide: bool) -> Row:
    status, spec = pod["status"], pod["spec"]
    states = status.get("containerStatuses") or ()
    ready = sum(bool(each["ready"]) and "running" in each["state"] for each in states)
    state, started = pod_state(pod), _restarts(states)
    row = [pod["metadata"]["name"], f"{ready}/{len(spec['containers'])}", state, started, age_of(pod)]
    return [*row, status.get("podIP") or NONE, spec.get("nodeName") or NONE, NONE, NONE] if wide else row


def _restarts(states: Iterable[Object]) -> str:
    states = list(states)
    count = sum(each["restartCount"] for each in states)
    ends = [(each.get("lastState") or {}).get("terminated", {}).get("finishedAt", "") for each in states]
    return f"{count} ({age(seconds_since(max(ends)))} ago)" if count and any(ends) else str(count)


def pod_state(pod: Object) -> str:
    """Return what stands in the column STATUS of a pod."""
    status, spec = pod["status"], pod["spec"]
    phase = str(status["phase"])
    reason, problem, runs = phase, "", False
    for each in reversed(status.get("containerStatuses") or ()):
        state = each["state"]
        if reason_ := (state.get("waiting") or {}).get("reason"):
            reason = reason_
        elif "terminated" in state:
            code = state["terminated"]["exitCode"]
            reason = state["terminated"].get("reason") or f"ExitCode:{code}"
            problem = reason if code else problem
        else:
            runs = runs or (bool(each["ready"]) and "running" in state)
    if reason == "Completed":
        reason = "Running" if runs and is_ready(pod) else problem or ("NotReady" if runs else reason)
    if pod["metadata"].get("deletionTimestamp") and phase not in {"Failed", "Succeeded"}:
        return "Terminating"
    if reason == "Pending" and spec.get("nodeName"):
        return "ContainerCreating"  # the kubelet says so before there is anything to say of containers
    return reason


def _service(service: Object, *, wide: bool) -> Row:
    spec = service["spec"]
    ports = [
        f"{port['port']}" + (f":{port['nodePort']}" if port.get("nodePort") else "") + f"/{port['protocol']}"
        for port in spec.get("ports") or ()
    ]
    inside = next(iter(spec.get("clusterIPs") or ()), NONE)
    row = [service["metadata"]["name"], spec["type"], inside, _outside(service, wide=wide)]
    row += [",".join(ports) or NONE, age_of(service)]
    return [*row, pairs(spec.get("selector"))] if wide else row


def _outside(service: Object, *, wide: bool) -> str:
    spec = service["spec"]
    given = list(spec.get("externalIPs") or ())
    if spec["type"] == "ExternalName":
        return str(spec.get("externalName") or "")
    if spec["type"] != "LoadBalancer":
        return ",".join(given) or NONE
    ingress = (service.get("status") or {}).get("loadBalancer", {}).get("ingress") or ()
    text = ",".join(sorted({each.get("ip") or each.get("hostname") or "" for each in ingress} - {""}))
    if not wide and len(text) > _BALANCER_WIDTH:
        text = f"{text[: _BALANCER_WIDTH - 3]}..."
    return ",".join([*([text] if text else []), *given]) or "<pending>"


def roles_of(node: Object) -> str:
    """Return what a node's labels say that it is for."""
    labels = node["metadata"].get("labels") or {}
    roles = {key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE) and key != _ROLE}
    roles |= {labels["kubernetes.io/role"]} if labels.get("kubernetes.io/role") else set()
    return ",".join(sorted(roles)) or NONE


def _node(node: Object, *, wide: bool) -> Row:
    status = "Ready" if is_ready(node) else "NotReady"
    status += ",SchedulingDisabled" if node["spec"].get("unschedulable") else ""
    info = node["status"]["nodeInfo"]
    row = [node["metadata"]["name"], status, roles_of(node), age_of(node), info["kubeletVersion"]]
    if not wide:
        return row
    addresses = {each["type"]: each["address"] for each in reversed(node["status"]["addresses"])}
    kernel = f"{info['kernelVersion']} ({info['architecture']})"
    where = [addresses.get(kind, NONE) for kind in ("InternalIP", "ExternalIP")]
    return [*row, *where, info["osImage"], kernel, info["containerRuntimeVersion"]]


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
    ports = [str(port.get("port") or port.get("name") or "*") for port in piece.get("ports") or ()]
    cells = [more_of(texts, _MOST_SHOWN) or "<unset>" for texts in (ports, addresses)]
    return [piece["metadata"]["name"], piece["addressType"], *cells, age_of(piece)]


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
    everything = {"apiVersion": "v1", "items": list(objects), "kind": "List", "metadata": {"resourceVersion": ""}}
    document: Any = objects[0] if single else everything
    if output == "json":
        return json.dumps(document, indent=4, sort_keys=True, ensure_ascii=False)
    if output == "yaml":
        text = yaml.dump(document, Dumper=_Dumper, sort_keys=True, width=1 << 20, allow_unicode=True)
        return str(text).rstrip("\n")
    raise InvalidInputError(f"The output must be one of {', '.join(OUTPUTS)}; {output!r} is not.")


class _Dumper(yaml.SafeDumper):
    """YAML as kubectl writes it: double quotes, and no references, for a mapping may stand in two objects."""

    def choose_scalar_style(self) -> str:
        """Quote as Go's YAML does; a text of several lines stays one."""
        style = str(super().choose_scalar_style())
        block = self.analysis is not None and self.analysis.multiline and self.analysis.allow_block
        return ("|" if block else '"') if style == "'" else style

    def ignore_aliases(self, data: Any) -> bool:
        """Write everything out."""
        del data
        return True
