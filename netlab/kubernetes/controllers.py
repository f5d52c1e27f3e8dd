"""The control loop of a cluster: what should be there, what is there, and what is done about the difference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.kubernetes.endpoints import is_ready
from netlab.kubernetes.kubelet import pod_status
from netlab.kubernetes.node_objects import node_conditions, with_taints
from netlab.kubernetes.scheduling import ENDED, choose_node, deployment_status, owner_of, plan_deployment, released
from netlab.kubernetes.store import key_of, now

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from netlab.kubernetes.kubelet import Kubelet
    from netlab.kubernetes.manifests import Key
    from netlab.kubernetes.node import Node
    from netlab.kubernetes.servicing import Servicing
    from netlab.kubernetes.store import Object, Store

#: Rounds until everything is as it should be: a Deployment's new pods, then the removal of its old ones.
_ROUNDS = 5


class Controllers:
    """Deployments, scheduler, kubelets and Services of one cluster, in one loop."""

    def __init__(self, store: Store, nodes: Mapping[str, Node], kubelet: Kubelet, servicing: Servicing) -> None:
        """Work on a cluster; use `Cluster` instead."""
        self.store, self.nodes, self.kubelet, self.servicing = store, nodes, kubelet, servicing

    def reconcile(self, progress: Callable[[str, int, int], object]) -> None:
        """Bring the cluster to what its objects say.

        New pods are up before those that they replace go, and Services know before a pod ends.
        """
        for _ in range(_ROUNDS):
            self.refresh()
            going = self._plan()
            started = self._start(progress)
            self.refresh()
            # Endpoints that end are taken out of the rules while they still answer.
            self.servicing.reconcile(self.kubelet.together)
            self._finish(going)
            if not started and not going:
                break
        self._write_deployments()
        self.servicing.reconcile(self.kubelet.together)

    # -- pods --------------------------------------------------------------------------

    def refresh(self) -> None:
        """Write the state of running pods into their objects; a pod on a node that failed is not ready."""
        for key, pod in self.kubelet.pods.items():
            old = self.store.find(key)
            if old is not None:
                status = pod_status(pod)
                started = old["status"].get("startTime") or now()
                self.store.update(key, status={**old["status"], **status, "startTime": started})

    def _plan(self) -> list[Key]:
        """Make the pods that Deployments miss; return the keys of pods that have to go."""
        for deployment in self.store.all("Deployment"):
            for pod in released(deployment, self.store.all("Pod", deployment["metadata"]["namespace"])):
                self.store.put(pod)
        pods = self.store.all("Pod")
        uids = {data["metadata"]["uid"] for data in self.store.all("Deployment")}
        going = [pod for pod in pods if pod["metadata"].get("deletionTimestamp")]
        going += [pod for pod in pods if owner_of(pod) and owner_of(pod) not in uids and pod not in going]
        going += [pod for pod in pods if owner_of(pod) in uids and pod["status"]["phase"] in ENDED]
        for deployment in self.store.all("Deployment"):
            made, extra = plan_deployment(deployment, self.store.all("Pod", deployment["metadata"]["namespace"]))
            for pod in made:
                self.store.put(pod)
            going += extra
        self._schedule()
        keys = list(dict.fromkeys(key_of(pod) for pod in going))
        return [key for key in keys if self._may_go(key)]

    def _may_go(self, key: Key) -> bool:
        """Mark a pod as ending. One that a Deployment replaces may stay until enough others are ready."""
        pod = self.store.get(key)
        if not pod["metadata"].get("deletionTimestamp"):
            self.store.update(key, metadata={**pod["metadata"], "deletionTimestamp": now()})
        return True

    def _schedule(self) -> None:
        nodes = self.store.all("Node")
        for pod in self.store.all("Pod"):
            if pod["spec"].get("nodeName") or pod["metadata"].get("deletionTimestamp"):
                continue
            key = key_of(pod)
            name = choose_node(pod, nodes, self.store.all("Pod"))
            if name is None:
                words = "no node is ready and open for it: look at get nodes"
                self._say_once(key, "FailedScheduling", words, "Warning")
                self._scheduled(pod, done=False)
                continue
            self.store.update(key, spec={**pod["spec"], "nodeName": name})
            self._scheduled(pod, done=True)
            self.kubelet.note(key, "Scheduled", f"Successfully assigned {key.full_name} to {name}")

    def _scheduled(self, pod: Object, *, done: bool) -> None:
        """Write the first condition of a pod; the others follow once it runs."""
        conditions = [{"type": "PodScheduled", "status": str(done)}]
        self.store.update(key_of(pod), status={**pod["status"], "conditions": conditions})

    def _say_once(self, key: Key, reason: str, message: str, kind: str) -> None:
        if not any(each.key == key and each.reason == reason for each in self.kubelet.events):
            self.kubelet.note(key, reason, message, kind)

    def _start(self, progress: Callable[[str, int, int], object]) -> list[Key]:
        """Start the pods that have a ready node and do not run; return which."""
        wanted = [
            pod
            for pod in self.store.all("Pod")
            if key_of(pod) not in self.kubelet.pods
            and pod["status"]["phase"] == "Pending"
            and not pod["metadata"].get("deletionTimestamp")
            and self._is_up(pod)
        ]
        keys = [key_of(pod) for pod in wanted]
        done = 0

        def count() -> None:
            nonlocal done
            done += 1
            progress("pods", done, len(keys))

        self.kubelet.start(wanted, keys, count)
        return [key for key in keys if key in self.kubelet.pods]

    def _is_up(self, pod: Object) -> bool:
        node = self.nodes.get(pod["spec"].get("nodeName") or "")
        return node is not None and node.ready

    def _finish(self, going: list[Key]) -> None:
        """Stop the pods that go, and forget them."""
        self.kubelet.stop(going)
        self.kubelet.forget(going)
        for key in going:
            self.store.remove(key)

    # -- status ------------------------------------------------------------------------

    def _write_deployments(self) -> None:
        for deployment in self.store.all("Deployment"):
            pods = self.store.all("Pod", deployment["metadata"]["namespace"])
            self.store.update(key_of(deployment), status=deployment_status(deployment, pods))

    def write_nodes(self) -> None:
        """Write into the Node objects which nodes are ready."""
        for name, node in self.nodes.items():
            data = self.store.get_node(name)
            if is_ready(data) != node.ready:
                status = {**data["status"], "conditions": node_conditions(ready=node.ready)}
                self.store.update(key_of(data), spec=with_taints(data["spec"], ready=node.ready), status=status)
                words = "NodeReady" if node.ready else "NodeNotReady"
                self.kubelet.note(key_of(data), words, f"Node {name} status is now: {words}")
