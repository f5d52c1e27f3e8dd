"""Run pods on their nodes: start and stop them side by side, probe them, notice what ends."""

from __future__ import annotations

import hashlib
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netlab.errors import ClosedError, LabError
from netlab.kubernetes.pod import Pod
from netlab.kubernetes.probes import Prober
from netlab.kubernetes.store import now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from netlab.kubernetes.manifests import Key
    from netlab.kubernetes.node import Node
    from netlab.kubernetes.store import Object, Store
    from netlab.lab import Lab

_log = logging.getLogger(__name__)
#: Pods that are started at once: most of the time each waits for a plugin or a program.
SIDE_BY_SIDE = 8
#: Seconds until a pod that could not be wired is tried again.
RETRY = 2.0
_GRACE = 2.0
_LONGEST_NAME = 63
_SOURCES = {
    "Scheduled": "default-scheduler",
    "FailedScheduling": "default-scheduler",
    "NodeNotReady": "node-controller",
}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to an object, as kubectl describe lists it."""

    time: str
    key: Key
    type: str
    reason: str
    message: str

    @property
    def source(self) -> str:
        """Return who noticed it."""
        return _SOURCES.get(self.reason, "kubelet")


@dataclass(slots=True)
class _Failure:
    """A pod that could not be started, and when to try again."""

    again: float
    message: str


@dataclass
class Kubelet:
    """The kubelets of all nodes in one: it holds the running pods by their key.

    ``changed`` is called when a pod's readiness was changed by hand.
    """

    lab: Lab
    store: Store
    nodes: Mapping[str, Node]
    changed: Callable[[], object]
    pods: dict[Key, Pod] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin without pods."""
        self._workers = ThreadPoolExecutor(SIDE_BY_SIDE, "kubelet")
        self._failures: dict[Key, _Failure] = {}
        self._prober = Prober()
        self.lab.on_close(lambda: self._workers.shutdown(wait=False))

    def together(self, action: Callable[[Any], object], items: Iterable[Any]) -> list[Any]:
        """Do something for many, side by side; raises the first error after all are done."""
        try:
            futures = [self._workers.submit(action, item) for item in items]
        except RuntimeError:
            raise ClosedError("This cluster is closed. Make a new one with Cluster(...).") from None
        for future in futures:
            future.exception()
        return [future.result() for future in futures]

    def note(self, key: Key, reason: str, message: str, kind: str = "Normal") -> None:
        """Keep an event."""
        self.events.append(Event(now(), key, kind, reason, message))

    # -- starting -------------------------------------------------------------------

    def start(self, objects: Iterable[Object], keys: Iterable[Key], on_each: Callable[[], object]) -> None:
        """Start the pods that have a node and do not run yet; ``on_each`` is called after each."""
        chosen = [
            (key, data)
            for key, data in zip(keys, objects, strict=True)
            if key not in self.pods and (key not in self._failures or self._failures[key].again <= time.monotonic())
        ]

        def start(item: tuple[Key, Object]) -> None:
            self._start(*item)
            on_each()

        self.together(start, chosen)

    def _start(self, key: Key, data: Object) -> None:
        pod = Pod(key, data["spec"], self.nodes[data["spec"]["nodeName"]], self.changed)
        try:
            pod.start(self._host_name(key))
        except LabError as error:
            self._failures[key] = _Failure(time.monotonic() + RETRY, str(error))
            self.note(key, "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}", "Warning")
            _log.warning("pod %s could not be started: %s", key.full_name, error)
            return
        self._failures.pop(key, None)
        pod.start_containers({each.name: self._environment(data, each.spec, pod) for each in pod.containers})
        for container in pod.containers:
            if container.running:
                self._note_start(key, container.name)
            else:
                self._note_container(key, container.name, "Failed", container.problem or container.logs().strip())
        self.pods[key] = pod

    def _note_start(self, key: Key, container: str) -> None:
        self._note_container(key, container, "Created", "Container created")
        self._note_container(key, container, "Started", "Container started")

    def _note_container(self, key: Key, container: str, reason: str, message: str) -> None:
        kind = "Warning" if reason == "Failed" else "Normal"
        self.note(key, reason, f"spec.containers{{{container}}}: {message}", kind)

    def _host_name(self, key: Key) -> str:
        """Return the name of a pod's Host: the pod's own where it is free, else with the namespace before it."""
        plain = key.name if key.namespace == "default" else f"{key.namespace}.{key.name}"
        if len(plain) > _LONGEST_NAME:
            plain = f"{plain[:52].rstrip('.-')}-{hashlib.sha256(plain.encode()).hexdigest()[:10]}"
        return plain if plain not in self.lab.hosts else f"{key.namespace}.{plain}"[:_LONGEST_NAME]

    def _environment(self, data: Object, container: Mapping[str, Any], pod: Pod) -> dict[str, str]:
        found: dict[str, str] = {}
        for source in container.get("envFrom") or ():
            found |= self._config_map(pod.namespace, (source.get("configMapRef") or {}).get("name", ""))
        for item in container.get("env") or ():
            found[item["name"]] = str(item.get("value") or "") or self._value_from(
                item.get("valueFrom") or {}, data, pod
            )
        return found

    def _config_map(self, namespace: str, name: str) -> dict[str, str]:
        maps = (each for each in self.store.all("ConfigMap", namespace) if each["metadata"]["name"] == name)
        return dict(next(maps, {}).get("data") or {})

    def _value_from(self, source: Mapping[str, Any], data: Object, pod: Pod) -> str:
        if reference := source.get("configMapKeyRef"):
            return self._config_map(pod.namespace, reference["name"]).get(reference["key"], "")
        fields = {
            "metadata.name": pod.name,
            "metadata.namespace": pod.namespace,
            "metadata.uid": data["metadata"]["uid"],
            "spec.nodeName": pod.node.name,
            "status.hostIP": str(pod.node.address),
            "status.podIP": pod.ip,
        }
        return str(fields.get((source.get("fieldRef") or {}).get("fieldPath", ""), ""))

    # -- stopping ------------------------------------------------------------------------

    def stop(self, keys: Iterable[Key]) -> None:
        """Stop pods, side by side."""
        found = [pod for key in keys if (pod := self.pods.pop(key, None)) is not None]

        def stop(pod: Pod) -> None:
            grace = pod.spec.get("terminationGracePeriodSeconds")
            try:
                pod.stop(_GRACE if grace is None else min(float(grace), _GRACE))
            except LabError as error:
                # Its namespace is gone all the same; what a plugin left behind is for its GC.
                self.note(pod.key, "FailedKillPod", str(error), "Warning")
                _log.warning("pod %s was not detached: %s", pod.key.full_name, error)

        self.together(stop, found)

    def cut_off(self, node: str) -> list[Key]:
        """End the pods of a node as a power cut does; return which they were."""
        found = [pod for pod in self.pods.values() if pod.node.name == node]
        for pod in found:
            pod.cut_off()
            del self.pods[pod.key]
        return [pod.key for pod in found]

    def forget(self, keys: Iterable[Key]) -> None:
        """Forget the failures of pods that are not wanted any more."""
        for key in keys:
            self._failures.pop(key, None)

    # -- looking after them ------------------------------------------------------------------

    def look_after(self) -> set[Key]:
        """Notice ended processes, restart containers, run due probes; return the pods whose state is different."""
        different: set[Key] = set()
        for key, pod in list(self.pods.items()):
            if not pod.alive and pod_status(pod)["phase"] == "Running":
                self._make_anew(key, pod)
                different.add(key)
                continue
            if pod.alive:
                for container in pod.containers:
                    container.poll()
                    if container.restart_if_due(_policy(pod), pod.environments.get(container.name, {})):
                        self._note_start(key, container.name)
                self._prober.probe(pod)
            for container in () if pod.alive else pod.containers:
                container.end()
            shown = (self.store.find(key) or {}).get("status", {})
            if any(shown.get(name) != value for name, value in pod_status(pod).items()):
                different.add(key)
        due = [key for key, failure in self._failures.items() if failure.again <= time.monotonic()]
        return different | set(due)

    def _make_anew(self, key: Key, pod: Pod) -> None:
        """Give a pod whose pause process ended new namespaces and a new address, as a kubelet does."""
        self.note(key, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
        restarts = {container.name: container.restarts + 1 for container in pod.containers}
        self.stop([key])
        data = self.store.get(key)
        self._start(key, data)
        if key not in self.pods:
            self.store.update(key, status={**data["status"], "phase": "Pending"})
            return
        for container in self.pods[key].containers:
            container.restarts = restarts[container.name]

    def problem(self, key: Key) -> str:
        """Return why a pod could not be started; empty if it could."""
        failure = self._failures.get(key)
        return failure.message if failure else ""


def _policy(pod: Pod) -> str:
    return str(pod.spec.get("restartPolicy") or "Always")


def pod_status(pod: Pod) -> dict[str, Any]:
    """Return a running pod's status as Kubernetes has it."""
    states = [container.status(_policy(pod)) for container in pod.containers]
    ended = all("terminated" in each["state"] for each in states) and bool(states)
    policy = _policy(pod)
    phase = "Running"
    if not pod.alive and policy == "Never":
        phase = "Failed"
    elif ended and policy != "Always":
        failed = any(each["state"]["terminated"]["exitCode"] for each in states)
        phase = "Failed" if failed and policy == "Never" else "Succeeded" if not failed else "Running"
    ready = pod.alive and pod.ready
    conditions = {
        "PodReadyToStartContainers": pod.alive,
        "Initialized": True,
        "Ready": ready,
        "ContainersReady": all(each["ready"] for each in states),
        "PodScheduled": True,
    }
    return {
        "phase": phase,
        "hostIP": str(pod.node.address),
        "podIP": pod.ip,
        "podIPs": [{"ip": address} for address in pod.addresses],
        "conditions": [{"type": name, "status": str(value)} for name, value in conditions.items()],
        "containerStatuses": states,
    }
