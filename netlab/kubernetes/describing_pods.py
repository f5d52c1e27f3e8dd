"""Describe pods as ``kubectl describe`` does, and the pods that a Deployment makes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netlab.kubernetes.printing import NONE, age, date
from netlab.kubernetes.quantities import Quantity
from netlab.kubernetes.store import seconds_since

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from netlab.kubernetes.store import Object
    from netlab.kubernetes.tabs import Page

_LONGEST_ANNOTATION = 140
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_COUNTED = ("cpu", "memory")


def head(data: Object, page: Page, *, named: bool = False) -> None:
    """Write name, namespace, labels and annotations; the first two not where they are ``named`` already."""
    metadata = data["metadata"]
    if not named:
        page.line(0, "Name:", metadata["name"])
        if metadata.get("namespace"):
            page.line(0, "Namespace:", metadata["namespace"])
    page.lines(0, "Labels:", labels_of(metadata.get("labels")))
    page.lines(0, "Annotations:", annotations_of(metadata.get("annotations")))


def labels_of(labels: Mapping[str, str] | None) -> list[str]:
    """Return labels, one a line."""
    return [f"{key}={value}" for key, value in sorted((labels or {}).items())]


def annotations_of(annotations: Mapping[str, str] | None) -> list[str]:
    """Return annotations, one a line; a long one, or one of several lines, below its key."""
    found: list[str] = []
    for key, value in sorted((annotations or {}).items()):
        text = value.removesuffix("\n")
        if key == _LAST_APPLIED:
            continue
        if "\n" in text or len(key) + len(text) + 2 > _LONGEST_ANNOTATION:
            short = (part if len(part) <= _LONGEST_ANNOTATION - 2 else f"{part[: _LONGEST_ANNOTATION - 5]}..."
                     for part in text.split("\n"))  # fmt: skip
            found += [f"{key}:", *(f"  {part}" for part in short)]
        else:
            found.append(f"{key}: {text}")
    return found


def describe_pod(pod: Object, page: Page) -> None:
    """Write a pod's fields."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod["status"]
    page.line(0, "Name:", metadata["name"])
    page.line(0, "Namespace:", metadata["namespace"])
    if spec.get("priority") is not None:
        page.line(0, "Priority:", spec["priority"])
    if spec.get("serviceAccountName"):
        page.line(0, "Service Account:", spec["serviceAccountName"])
    node = spec.get("nodeName")
    page.line(0, "Node:", f"{node}/{status.get('hostIP', '')}" if node else NONE)
    if status.get("startTime"):
        page.line(0, "Start Time:", date(status["startTime"]))
    head(pod, page, named=True)
    ending = metadata.get("deletionTimestamp")
    if ending and status["phase"] not in {"Failed", "Succeeded"}:
        page.line(0, "Status:", f"Terminating (lasts {age(seconds_since(ending))})")
        page.line(0, "Termination Grace Period:", f"{spec.get('terminationGracePeriodSeconds', 30)}s")
    else:
        page.line(0, "Status:", status["phase"])
    page.line(0, "IP:", status.get("podIP", ""))
    addresses = [each["ip"] for each in status.get("podIPs") or () if each["ip"]]
    page.line(0, "IPs:", *(() if addresses else (NONE,)))
    for address in addresses:
        page.line(1, "IP:", address)
    owner = next((each for each in metadata.get("ownerReferences") or () if each.get("controller")), None)
    if owner:
        page.line(0, "Controlled By:", f"{owner['kind']}/{owner['name']}")
    _containers(spec["containers"], page, status.get("containerStatuses") or (), fields=_fields(pod))
    if conditions := status.get("conditions"):
        page.line(0, "Conditions:")
        page.line(1, "Type", "Status")
        for each in conditions:
            page.line(1, f"{each['type']} ", f"{each['status']} ")
    _volumes(spec.get("volumes") or (), page, 0)
    page.line(0, "QoS Class:", qos_class(spec))
    page.lines(0, "Node-Selectors:", labels_of(spec.get("nodeSelector")))
    page.lines(0, "Tolerations:", _tolerations(spec))


def describe_template(template: Mapping[str, Any], page: Page) -> None:
    """Write what the pods of a Deployment are made from."""
    metadata, spec = template.get("metadata") or {}, template["spec"]
    page.line(0, "Pod Template:")
    page.lines(1, "Labels:", labels_of(metadata.get("labels")))
    if metadata.get("annotations"):
        page.lines(1, "Annotations:", annotations_of(metadata["annotations"]))
    if spec.get("serviceAccountName"):
        page.line(1, "Service Account:", spec["serviceAccountName"])
    _containers(spec["containers"], page, nested=True)
    _volumes(spec.get("volumes") or (), page, 1)
    page.lines(1, "Node-Selectors:", labels_of(spec.get("nodeSelector")))
    page.lines(1, "Tolerations:", _tolerations(spec))


def _containers(
    containers: Iterable[Mapping[str, Any]],
    page: Page,
    states: Iterable[Mapping[str, Any]] = (),
    *,
    nested: bool = False,
    fields: Callable[[str], str] = lambda _: "",
) -> None:
    page.line(1 if nested else 0, "Containers:")
    by_name = {each["name"]: each for each in states}
    for each in containers:
        page.line(1, f"{' ' if nested else ''}{each['name']}:")
        state = by_name.get(each["name"])
        _program(each, state, page)
        if state:
            _state("State", state.get("state") or {}, page)
            if last := state.get("lastState"):
                _state("Last State", last, page)
            page.line(2, "Ready:", str(bool(state.get("ready"))))
            page.line(2, "Restart Count:", state.get("restartCount", 0))
        _resources(each.get("resources") or {}, page)
        for key in ("livenessProbe", "readinessProbe", "startupProbe"):
            if probe := each.get(key):
                page.line(2, f"{key.removesuffix('Probe').title()}:", probe_text(probe))
        _environment(each, page, fields)
        mounts = sorted(each.get("volumeMounts") or (), key=lambda mount: str(mount["mountPath"]))
        page.line(2, "Mounts:", *(() if mounts else (NONE,)))
        for mount in mounts:
            flags = ["ro" if mount.get("readOnly") else "rw"]
            flags += [f'path="{mount["subPath"]}"'] if mount.get("subPath") else []
            page.line(3, f"{mount['mountPath']} from {mount['name']} ({','.join(flags)})")


def _program(spec: Mapping[str, Any], state: Mapping[str, Any] | None, page: Page) -> None:
    if state:
        page.line(2, "Container ID:", state.get("containerID", ""))
    page.line(2, "Image:", spec.get("image", ""))
    if state:
        page.line(2, "Image ID:", state.get("imageID", ""))
    for title, key in (("Port", "containerPort"), ("Host Port", "hostPort")):
        texts = [
            f"{port.get(key) or 0}/{port.get('protocol') or 'TCP'}" + (f" ({port['name']})" if port.get("name") else "")
            for port in spec.get("ports") or ()
        ]
        page.line(2, f"{title}s:" if len(texts) > 1 else f"{title}:", ", ".join(texts) or NONE)
    for title, key in (("Command", "command"), ("Args", "args")):
        if words := spec.get(key):
            page.line(2, f"{title}:")
            for line in (line for word in words for line in word.split("\n")):
                page.line(3, line)


def _state(title: str, state: Mapping[str, Any], page: Page) -> None:
    kind = next(iter(state), "waiting")
    fields = state.get(kind) or {}
    page.line(2, f"{title}:", kind.title())
    if fields.get("reason"):
        page.line(3, "Reason:", fields["reason"])
    if kind == "terminated":
        if fields.get("message"):
            page.line(3, "Message:", " ".join(fields["message"].split("\n")))
        page.line(3, "Exit Code:", fields.get("exitCode", 0))
    for title_, key in (("Started", "startedAt"), ("Finished", "finishedAt")):
        if fields.get(key):
            page.line(3, f"{title_}:", date(fields[key]))


def _resources(resources: Mapping[str, Any], page: Page) -> None:
    for key in ("limits", "requests"):
        if amounts := resources.get(key):
            page.line(2, f"{key.title()}:")
            for name, amount in sorted(amounts.items()):
                page.line(3, f"{name}:", Quantity.read(amount))


def probe_text(probe: Mapping[str, Any]) -> str:
    """Return a probe as one line; what is absent has the API server's default."""
    numbers = (
        f"delay={probe.get('initialDelaySeconds') or 0}s timeout={probe.get('timeoutSeconds') or 1}s "
        f"period={probe.get('periodSeconds') or 10}s successThreshold={probe.get('successThreshold') or 1} "
        f"failureThreshold={probe.get('failureThreshold') or 3}"
    )
    if command := (probe.get("exec") or {}).get("command"):
        return f"exec [{' '.join(command)}] {numbers}"
    if http := probe.get("httpGet"):
        scheme = (http.get("scheme") or "HTTP").lower()
        path = http.get("path") or "/"
        return f"http-get {scheme}://{http.get('host') or ''}:{http['port']}{path} {numbers}"
    if socket := probe.get("tcpSocket"):
        return f"tcp-socket {socket.get('host') or ''}:{socket['port']} {numbers}"
    return f"unknown {numbers}"


def _environment(spec: Mapping[str, Any], page: Page, fields: Callable[[str], str]) -> None:
    if sources := spec.get("envFrom"):
        page.line(2, "Environment Variables from:")
        for source in sources:
            reference = source.get("configMapRef") or {}
            words = "ConfigMap" + (f" with prefix '{source['prefix']}'" if source.get("prefix") else "")
            page.line(3, reference.get("name", ""), words, f"Optional: {str(bool(reference.get('optional'))).lower()}")
    variables = spec.get("env") or ()
    page.line(2, "Environment:", *(() if variables else (NONE,)))
    for each in variables:
        source = each.get("valueFrom") or {}
        if field := source.get("fieldRef"):
            path = field["fieldPath"]
            page.line(3, f"{each['name']}:", f"{fields(path)} ({field.get('apiVersion') or 'v1'}:{path})")
        elif key := source.get("configMapKeyRef"):
            words = f"<set to the key '{key['key']}' of config map '{key.get('name', '')}'>"
            page.line(3, f"{each['name']}:", words, f"Optional: {str(bool(key.get('optional'))).lower()}")
        else:
            first, *more = str(each.get("value") or "").split("\n")
            page.line(3, f"{each['name']}:", first)
            for line in more:
                page.line(3, "", line)


def _fields(pod: Object) -> Callable[[str], str]:
    """Return what looks up a field of a pod by its path, for those that a variable may name."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod["status"]
    known = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata.get("uid"),
        "spec.nodeName": spec.get("nodeName"),
        "spec.serviceAccountName": spec.get("serviceAccountName"),
        "status.hostIP": status.get("hostIP"),
        "status.podIP": status.get("podIP"),
    }
    return lambda path: str(known.get(path) or "")


def _volumes(volumes: Iterable[Mapping[str, Any]], page: Page, level: int) -> None:
    volumes = list(volumes)
    page.line(level, "Volumes:", *(() if volumes else (NONE,)))
    for volume in volumes:
        page.line(1, f"{' ' * level}{volume['name']}:")
        source = next((key for key in volume if key != "name"), "")
        page.line(2, "Type:", f"{source[:1].upper()}{source[1:]}" or "<unknown>")
        if name := (volume.get(source) or {}).get("name") if source else None:
            page.line(2, "Name:", name)


def qos_class(spec: Mapping[str, Any]) -> str:
    """Return the class that the kubelet would give a pod by its requests and limits."""
    given = [each.get("resources") or {} for each in spec["containers"]]
    amounts = [
        {key: {name: Quantity.read(value).amount for name, value in (each.get(key) or {}).items() if name in _COUNTED}
         for key in ("requests", "limits")}
        for each in given
    ]  # fmt: skip
    if not any(amount for each in amounts for part in each.values() for amount in part.values()):
        return "BestEffort"
    full = all(
        set(each["limits"]) == set(_COUNTED) and {**each["limits"], **each["requests"]} == each["limits"]
        for each in amounts
    )
    return "Guaranteed" if full else "Burstable"


def _tolerations(spec: Mapping[str, Any]) -> list[str]:
    found = []
    for each in sorted(spec.get("tolerations") or (), key=lambda one: str(one.get("key") or "")):
        text = each.get("key") or ""
        text += f"={each['value']}" if each.get("value") else ""
        text += f":{each['effect']}" if each.get("effect") else ""
        if each.get("operator") == "Exists" and not each.get("value"):
            text += " op=Exists" if text else "op=Exists"
        seconds = each.get("tolerationSeconds")
        found.append(text + (f" for {seconds}s" if seconds is not None else ""))
    return found
