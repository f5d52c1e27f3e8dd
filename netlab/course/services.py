"""What checks of Services ask: who answers at an address, who rewrites it, and what the cluster knows of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netlab.course.values import failed
from netlab.errors import LabError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Mapping

    from netlab.course.scene import Scene
    from netlab.course.values import Verdict
    from netlab.kubernetes.store import Object

#: Seconds to wait for answers that do not come: a check shall be over within two.
_PATIENCE = 0.4
#: Seconds that pods may take to get ready.
_READY = 10.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """An address and a port, and the names of the pods that are to answer there."""

    address: str
    port: int
    pods: tuple[str, ...]

    @classmethod
    def of(cls, scene: Scene, roles: Iterable[str]) -> Wanted:
        """Return what the values ``vip`` and ``port`` say, with the pods of these roles."""
        values = scene.values
        return cls(values["vip"], int(values["port"]), tuple(values[role] for role in roles))


def spread(scene: Scene, role: str, wanted: Wanted, times: int) -> Counter[str]:
    """Return how often each server answered a role; see `Host.count_answers`."""
    return scene.host(role).count_answers(wanted.address, wanted.port, times, patience=_PATIENCE)


def failures(counts: Mapping[str, int], wanted: Wanted) -> int:
    """Return how many of the answers came from none of the pods."""
    return sum(number for name, number in counts.items() if name not in wanted.pods)


def said(counts: Mapping[str, int]) -> str:
    """Return counts in words.

    >>> said({"silence": 3, "web-1": 40})
    'web-1 answered 40, silence 3'
    """
    words = ("refused", "silence", "reset", "hung up")
    servers = [f"{name} answered {number}" for name, number in sorted(counts.items()) if name not in words]
    return ", ".join(servers + [f"{name} {counts[name]}" for name in words if name in counts])


def holder(scene: Scene, address: str) -> str | None:
    """Return the name of a host that has an address on one of its interfaces."""
    for state in scene.lab.snapshot().hosts:
        if any(str(one.address.ip) == address for one in state.addresses):
            return state.name
    return None


def rewriters(scene: Scene, wanted: Wanted) -> set[str]:
    """Return the names of the hosts in which connections to the address got another destination, a moment ago.

    Those of `spread` end by a reset, so conntrack has them as CLOSE, for ten seconds.
    """
    return {
        state.name
        for state in scene.lab.snapshot().hosts
        for one in state.connections
        if one.is_translated and one.state == "CLOSE" and str(one.original.destination) == wanted.address
    }


# -- in a cluster --------------------------------------------------------------------------------

_DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {app}, track: {track}}}}}
  template:
    metadata: {{labels: {{app: {app}, track: {track}}}}}
    spec:
      containers:
        - name: echo
          image: echo
          ports: [{{name: http, containerPort: {target}}}]
          readinessProbe:
            exec: {{command: [sh, -c, 'test ! -e "/run/drain-$(hostname)"']}}
            periodSeconds: 1
            failureThreshold: 1
"""


def deployment(name: str, replicas: int, **values: object) -> str:
    """Return a Deployment of echo servers as YAML; ``values``: app, track (its labels) and target (its port).

    A pod is not ready while there is a file /run/drain-NAME in it. The name is there since pods of a lab share /run.
    """
    return _DEPLOYMENT.format(name=name, replicas=replicas, **values)


def await_ready(scene: Scene) -> None:
    """Wait until each pod has been probed and is ready; raises LabError if that takes too long."""
    deadline = time.monotonic() + _READY
    while unready := [name for name, pod in scene.cluster.pods.items() if not pod.ready]:
        if time.monotonic() > deadline:
            raise LabError(f"These pods do not get ready: {', '.join(unready)}.")
        scene.cluster.look_around()


def endpoints(scene: Scene, service: Object) -> list[str]:
    """Return the addresses in a Service's EndpointSlices, ready or not."""
    metadata = service["metadata"]
    labels = {"kubernetes.io/service-name": metadata["name"]}
    pieces = scene.cluster.store.select("EndpointSlice", metadata["namespace"], labels)
    return [address for piece in pieces for each in piece["endpoints"] for address in each["addresses"]]


def why_lost(scene: Scene, saw: str, expected: str) -> Verdict:
    """Return the verdict where connections to a cluster IP got no answer, by what the cluster says of it."""
    services = scene.cluster.store.all("Service")
    owner = next((each for each in services if each["spec"].get("clusterIP") == scene.values["vip"]), None)
    if owner is None:
        return failed(f"{saw}. No Service has that address", expected, "`kubectl get services`.")
    found = endpoints(scene, owner)
    if not found:
        look = "its selector, beside `kubectl get pods --show-labels`."
        return failed(f"{saw}. The Service has no endpoint", expected, look)
    look = "its ports: for which one do users ask, and on which one do the containers listen?"
    return failed(f"{saw}. The Service has {len(found)} endpoints", expected, look)
