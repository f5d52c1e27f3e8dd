"""A Cluster: nodes, pods and Services out of Hosts, from real Kubernetes objects."""

from __future__ import annotations

import shlex
import threading
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from netlab.errors import InvalidInputError, NotFoundError
from netlab.kernel import check
from netlab.kubernetes import commands
from netlab.kubernetes.admission import Change, Changes, admit
from netlab.kubernetes.controllers import Controllers
from netlab.kubernetes.kinds import read_reference
from netlab.kubernetes.kubectl import describe, get
from netlab.kubernetes.kubelet import Kubelet
from netlab.kubernetes.loops import look_after, raise_file_limit
from netlab.kubernetes.machines import Machines, Settings, check_proxy
from netlab.kubernetes.manifests import KINDS, Key
from netlab.kubernetes.networks.controller import NetworkController
from netlab.kubernetes.servicing import Servicing
from netlab.kubernetes.store import Store, key_of, now
from netlab.kubernetes.validation import read_valid
from netlab.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from netlab.host import Host
    from netlab.kubernetes.manifests import Manifest
    from netlab.kubernetes.node import Node
    from netlab.kubernetes.pod import Pod
    from netlab.kubernetes.printing import Text

_living: weakref.WeakSet[Cluster] = weakref.WeakSet()


def living_clusters() -> list[Cluster]:
    """Return the open clusters of this program, newest first."""
    return sorted((cluster for cluster in _living if not cluster.lab.closed), key=lambda each: -each.lab.number)


class Cluster:
    """A Kubernetes cluster in a lab of its own. Also a context manager.

    >>> with Cluster(nodes=2) as cluster:
    ...     print(cluster.apply("labs/manifests/web.yaml"))
    ...     cluster.pod("web-1").run("curl", "-s", "http://10.96.0.10").ok
    deployment.apps/web created
    service/web created
    True
    """

    def __init__(self, nodes: int = 3, **options: Any) -> None:
        """Make ``nodes`` nodes; they are named node-1, node-2 and so on.

        ``options``: ``network`` between the nodes (routed, vxlan, bgp, none), ``proxy`` (iptables, nftables, none),
        ``pod_cidr`` and ``service_cidr`` (one range each, or two for dual stack), ``proxy_config`` (more fields of
        KubeProxyConfiguration), ``reflector`` (a node, for bgp), ``racks`` (networks of nodes that a router joins),
        ``name`` of the lab, ``privileged`` (see `Lab`), and ``progress``, which is called with what is being done, how
        much of it is done, and how much there is.
        """
        self._progress: Callable[[str, int, int], object] = options.pop("progress", None) or (lambda *_: None)
        lab = Lab(options.pop("name", "cluster"), privileged=options.pop("privileged", False))
        try:
            self._build(lab, check.number(nodes, "The number of nodes", 0, 200), options)
        except BaseException:
            lab.close()
            raise
        _living.add(self)

    def _build(self, lab: Lab, nodes: int, options: dict[str, Any]) -> None:
        self.lab = lab
        self.lock = threading.RLock()
        self.store = Store()
        for name in ("default", "kube-system"):
            self._put_namespace(name)
        self.settings = Settings.read(options)
        self._machines = Machines(lab, self.store, self.settings)
        self.nodes: dict[str, Node] = self._machines.nodes
        self._kubelet = Kubelet(lab, self.store, self.nodes, self._settle)
        self._servicing = Servicing(self.store, self.nodes, self.settings.proxy_config, self._machines.underlay.router)
        self._controllers = Controllers(self.store, self.nodes, self._kubelet, self._servicing)
        raise_file_limit()
        for number in range(nodes):
            self._add_node(f"node-{number + 1}")
            self._progress("nodes", number + 1, nodes)
        self._settle()
        self._machines.await_connection()
        look_after(self)
        self.network_controller = NetworkController(self)

    def _put_namespace(self, name: str) -> None:
        labels = {"kubernetes.io/metadata.name": name}
        self.store.put(
            {"kind": "Namespace", "metadata": {"name": name, "labels": labels}, "status": {"phase": "Active"}}
        )

    # -- objects -----------------------------------------------------------------------

    def apply(self, source: object) -> Changes:
        """Create or change objects, all of them or none; return what became of each.

        ``source`` is a path, a text of YAML or JSON, a mapping, or a list of these. New pods run when it returns.
        Raises InvalidManifestError with file, line and field of everything that is wrong.
        """
        manifests: list[Manifest] = read_valid(source)
        with self.lock:
            changes = admit(manifests, self.store, self.settings.service_ranges)
            for change in changes:
                if change.verb != "unchanged":
                    self.store.put(change.data)
            if any(change.verb != "unchanged" for change in changes):
                self._settle()
        return changes

    def delete(self, *what: object, namespace: str = "default") -> Changes:
        """Delete objects: each by its name, as in ``"service/web"``, or all those of a manifest, as `apply` takes it.

        Pods end before it returns. Raises NotFoundError, before anything is deleted.
        """
        with self.lock:
            keys = [key for each in what for key in self._keys(each, namespace)]
            for key in keys:
                self.store.get(key)
            removed = [Change(key, "deleted", self.store.get(key)) for key in keys]
            for key in keys:
                self._delete(key)
            self._settle()
        return Changes(removed)

    def get(self, *arguments: str) -> Text:
        """Return what ``kubectl get`` prints, as in ``get("pods", "-o", "wide")``.

        Takes kinds (also "pods,services" and "all"), names, kind/name, -n, -A, -l, -o wide, name, yaml or json.
        """
        with self.lock:
            self._controllers.refresh()
            return get(self.store, arguments)

    def describe(self, *arguments: str) -> Text:
        """Return what ``kubectl describe`` prints, as in ``describe("service/web")``: fields, then events."""
        with self.lock:
            self._controllers.refresh()
            return describe(self.store, self._kubelet.events, arguments)

    def kubectl(self, line: str, stdin: str = "") -> Text:
        """Run one command as it is typed after ``kubectl``; ``stdin`` is what ``-f -`` reads.

        Takes get, describe, apply, delete, label, scale, patch, logs and exec, with their usual options.
        """
        return commands.run(self, shlex.split(line), stdin)

    def _keys(self, what: object, namespace: str) -> list[Key]:
        if isinstance(what, str) and "\n" not in what and "/" in what and "." not in what.partition("/")[0]:
            kind, name = read_reference(what)
            if kind in KINDS:
                return [Key(kind, "" if kind in {"Node", "Namespace"} else namespace, name)]
        return [manifest.key for manifest in read_valid(what)]

    def _delete(self, key: Key) -> None:
        if key.kind == "Node":
            raise InvalidInputError(f"A node is taken away with cluster.remove_node({key.name!r}).")
        if key.kind == "Namespace":
            for data in [each for kind in KINDS for each in self.store.all(kind, key.name)]:
                if key_of(data).namespace == key.name:
                    self._delete(key_of(data))
        if key.kind == "Pod":
            metadata = self.store.get(key)["metadata"]
            self.store.update(key, metadata={**metadata, "deletionTimestamp": now()})
        else:
            self.store.remove(key)

    def _settle(self) -> None:
        """Bring everything to what the objects say."""
        with self.lock:
            self._controllers.reconcile(self._progress)

    def look_around(self) -> None:
        """Notice what ended, restart and probe containers, and act on it; a thread does so all the time."""
        with self.lock:
            if self._kubelet.look_after():
                self._settle()
            self._servicing.mend()

    def watched_hosts(self) -> dict[str, Host]:
        """Return the hosts whose state the network keeps, by name."""
        return self._machines.watched

    def reconcile_network(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Bring the network of some nodes to what it should be; return what was changed, as commands by node."""
        with self.lock:
            return self._machines.connect(names)

    # -- what runs ---------------------------------------------------------------------

    @property
    def pods(self) -> dict[str, Pod]:
        """The running pods by their name; those of other namespaces as ``namespace/name``."""
        running = self._kubelet.pods
        keys = [key for data in self.store.all("Pod") if (key := key_of(data)) in running]
        return {key.name if key.namespace == "default" else key.full_name: running[key] for key in keys}

    def pod(self, name: str, namespace: str = "default") -> Pod:
        """Return a running pod; ``namespace/name`` may be given too. Raises NotFoundError."""
        if "/" in name:
            namespace, _, name = name.partition("/")
        key = Key("Pod", namespace, name)
        found = self._kubelet.pods.get(key)
        if found is None:
            self.store.get(key)
            problem = self._kubelet.problem(key)
            raise NotFoundError(f"Pod {key.full_name} does not run. {problem}".strip())
        return found

    def node(self, name: str) -> Node:
        """Return a node; raises NotFoundError."""
        try:
            return self.nodes[name]
        except KeyError:
            raise NotFoundError(f"There is no node {name!r}. There are: {', '.join(self.nodes) or 'none'}.") from None

    @property
    def outside(self) -> Host:
        """The client beyond the router: it is in no pod network and knows no cluster IP."""
        return self._machines.underlay.outside

    @property
    def router(self) -> Host:
        """The router between the nodes and the outside; it is the load balancer too."""
        return self._machines.underlay.router

    def switch_proxy(self, mode: str, **config: Any) -> None:
        """Switch the Service proxy of the live cluster to another mode, or give it other fields of its configuration.

        New rules come before the old ones go, so that Services answer all the while. With ``none`` it is switched off,
        and takes all its rules away.
        """
        check_proxy(mode)
        with self.lock:
            changed = {**self.settings.proxy_config, **config, "mode": mode}
            self.settings = replace(self.settings, proxy=mode, proxy_config=changed)
            self._servicing.switch(changed)

    # -- nodes ---------------------------------------------------------------------------

    def add_node(self, name: str | None = None, rack: int | None = None) -> Node:
        """Add a node; without a name it gets the next number, and without a rack it comes into the emptiest one."""
        with self.lock:
            if name is None:
                name = next(each for number in range(1, 999) if (each := f"node-{number}") not in self.nodes)
            node = self._add_node(name, rack)
            self._settle()
            self._machines.await_connection()
        return node

    def _add_node(self, name: str, rack: int | None = None) -> Node:
        node = self._machines.add(name, rack)
        self._servicing.equip(node)
        self._machines.connect()
        return node

    def remove_node(self, name: str) -> None:
        """Take a node away for good: its pods end, and those of Deployments come up elsewhere."""
        with self.lock:
            node = self.node(name)
            data = self.store.get_node(name)
            self.store.update(key_of(data), spec={**data["spec"], "unschedulable": True})
            self._end_pods(name)
            self._settle()
            self._machines.remove(node)
            self._settle()

    def _end_pods(self, node: str) -> None:
        for pod in self.store.all("Pod"):
            if pod["spec"].get("nodeName") == node:
                self.store.update(key_of(pod), metadata={**pod["metadata"], "deletionTimestamp": now()})

    def fail_node(self, name: str) -> None:
        """Cut a node's power: its pods and processes die, its cable goes dead, and nobody was asked.

        The cluster notices at once: Services forget its endpoints, Deployments replace its pods, networks its routes.
        """
        with self.lock:
            node = self.node(name)
            self._kubelet.cut_off(name)
            self._machines.fail(node)
            self._end_pods(name)
            self._controllers.write_nodes()
            self._settle()

    def return_node(self, name: str) -> None:
        """Bring a failed node back, empty."""
        with self.lock:
            self._machines.recover(self.node(name))
            self._controllers.write_nodes()
            self._settle()
            self._machines.await_connection()

    # -- the end -------------------------------------------------------------------------

    def diagram(self, **options: Any) -> Any:
        """Return a live picture of the cluster; see `Lab.diagram`."""
        return self.lab.diagram(**options)

    def close(self) -> None:
        """End all of it; may be called twice."""
        with self.lock:
            self.lab.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End all of it."""
        self.close()

    def __repr__(self) -> str:
        """Return nodes and pods in numbers."""
        return f"<Cluster {self.lab.name}, {len(self.nodes)} nodes, {len(self._kubelet.pods)} pods>"
