"""Measure how soon a cluster is ready, and that its cost grows in line with the number of pods."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from netlab.benches.measure import Figure, at_most, ratio
from netlab.kubernetes.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: Nodes, and pods on each of them.
SIZES = ((3, 10), (5, 20), (10, 30))
SERVICES = 20
_DEPLOYMENTS = 10
#: Seconds that the smallest one may take, and how much more a pod may cost in the largest.
_SOON, _IN_LINE = 3.0, 1.5


def manifests(pods: int) -> list[dict[str, Any]]:
    """Return ten Deployments with that many pods in all, and twenty Services in front of them."""
    made: list[dict[str, Any]] = []
    for number in range(_DEPLOYMENTS):
        labels = {"app": f"app-{number}"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "echo", "image": "echo"}]}}
        replicas = pods // _DEPLOYMENTS + (number < pods % _DEPLOYMENTS)
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
        made.append(
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": f"app-{number}"}, "spec": spec}
        )
    for number in range(SERVICES):
        service = {"selector": {"app": f"app-{number % _DEPLOYMENTS}"}, "ports": [{"port": 80, "targetPort": 8080}]}
        made.append({"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"svc-{number}"}, "spec": service})
    return made


def measure(
    sizes: Sequence[tuple[int, int]], rounds: int, progress: Callable[[str, int, int], object]
) -> Iterator[Figure]:
    """Yield the seconds until all pods are ready and Services lead to them, and what that is for each pod.

    ``progress`` is told what is being made, how much of it is done, and how much there is.
    """
    costs: list[Figure] = []
    for nodes, each in sizes:
        times = [_ready(nodes, nodes * each, progress) for _ in range(rounds)]
        what = f"{nodes} nodes, {nodes * each} pods, {SERVICES} Services: ready"
        first = not costs
        yield at_most(what, "s", times, _SOON) if first else Figure(what, "s", tuple(times))
        costs.append(Figure(f"{what}, for each pod", "ms", tuple(1e3 * seconds / (nodes * each) for seconds in times)))
        yield costs[-1]
    if len(costs) > 1:
        (_, few), (nodes, many) = sizes[0], sizes[-1]
        words = f"a pod among {nodes * many} / a pod among {sizes[0][0] * few}"
        yield ratio(words, costs[-1], costs[0], ("≤", _IN_LINE))


def _ready(nodes: int, pods: int, progress: Callable[[str, int, int], object]) -> float:
    began = time.perf_counter()
    with Cluster(nodes=nodes, name="bench", progress=progress) as cluster:
        cluster.apply(manifests(pods))
        seconds = time.perf_counter() - began
        ready = sum(pod.ready for pod in cluster.pods.values())
    if ready != pods:
        raise RuntimeError(f"{ready} of {pods} pods are ready")
    return seconds
