"""A Pod: a Host whose network namespace is held by a pause process and wired by CNI; its containers share it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from netlab.errors import NotFoundError
from netlab.kernel import links
from netlab.kernel.process import DEVNULL
from netlab.kubernetes.cni import Attachment
from netlab.kubernetes.container import Container
from netlab.kubernetes.node import LOOPBACK
from netlab.kubernetes.workloads import SLEEP

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from netlab.host import Host
    from netlab.kernel.process import Process, Result
    from netlab.kubernetes.cni import NetworkList
    from netlab.kubernetes.manifests import Key
    from netlab.kubernetes.node import Node

#: The longest alias that the kernel keeps with an interface (IFALIASZ).
_LONGEST_ALIAS = 255


class Pod:
    """One running pod.

    ``host`` is what it is made of, ``node`` where it runs, ``pause`` the process that holds it: when it ends, the node
    gives the pod new namespaces and a new address, or lets it fail if its restart policy is Never.
    """

    def __init__(self, key: Key, spec: Mapping[str, Any], node: Node, on_change: Callable[[], object]) -> None:
        """Use `Cluster.apply` instead."""
        self.key, self.spec, self.node = key, spec, node
        self.name, self.namespace = key.name, key.namespace
        self.containers: list[Container] = []
        self.addresses: tuple[str, ...] = ()
        self.environments: dict[str, Mapping[str, str]] = {}
        self._host: Host | None = None
        self.pause: Process | None = None
        self._network: NetworkList | None = None
        self._willing = True
        self._on_change = on_change

    # -- what a learner uses --------------------------------------------------------

    @property
    def host(self) -> Host:
        """Return the Host it is made of; raises NotFoundError before it is started."""
        if self._host is None:
            raise NotFoundError(f"Pod {self.key.full_name} has not started yet: look at its events with describe.")
        return self._host

    @property
    def ip(self) -> str:
        """Return its first address; empty before it is wired."""
        return self.addresses[0] if self.addresses else ""

    def run(self, *argv: str, **options: Any) -> Result:
        """Run a command in this pod; takes what `Host.run` takes."""
        return self.host.run(*argv, **options)

    def popen(self, *argv: str, **options: Any) -> Process:
        """Start a command in this pod; takes what `Host.popen` takes."""
        return self.host.popen(*argv, **options)

    def logs(self, container: str | None = None) -> str:
        """Return what a container has printed; the first one, if none is named."""
        chosen = [each for each in self.containers if container in {None, each.name}]
        if not chosen:
            known = ", ".join(each.name for each in self.containers) or "none yet"
            raise NotFoundError(f"Pod {self.key.full_name} has no container {container!r}. It has: {known}.")
        return chosen[0].logs()

    @property
    def ready(self) -> bool:
        """Tell whether Services may send to it; set it to False to take it out, as a failing probe would."""
        return self._willing and bool(self.containers) and all(each.ready for each in self.containers)

    @ready.setter
    def ready(self, value: bool) -> None:
        self._willing = value
        self._on_change()

    @property
    def alive(self) -> bool:
        """Tell whether its pause process runs."""
        return self.pause is not None and self.pause.poll() is None

    def __repr__(self) -> str:
        """Return its name, address and node."""
        return f"<Pod {self.key.full_name}, {self.ip or 'no address yet'}, on {self.node.name}>"

    # -- what the kubelet does ------------------------------------------------------

    @property
    def attachment(self) -> Attachment:
        """Return what its node's CNI runtime attaches."""
        ports = [
            {"hostPort": port["hostPort"], "containerPort": port["containerPort"], "protocol": _protocol(port)}
            for container in self.spec["containers"]
            for port in container.get("ports") or ()
            if port.get("hostPort")
        ]
        args = {"IgnoreUnknown": "1", "K8S_POD_NAMESPACE": self.namespace, "K8S_POD_NAME": self.name}
        # A pod that starts again is another container: a node that lost power still has files of the one before.
        container = f"{self.host.name}-{self.host.namespace.inode:x}"
        return Attachment(
            container, f"/run/netns/{self.host.name}", "eth0", args, {"portMappings": ports} if ports else {}
        )

    def start(self, host_name: str) -> None:
        """Make the namespace, start the pause process, attach it; raises CniError, and then leaves nothing."""
        lab, on_node = self.node.host.lab, bool(self.spec.get("hostNetwork"))
        self._host = lab.add_host(host_name, joins=self.node.host if on_node else None)
        try:
            self.pause = self._host.popen(*SLEEP, stdout=DEVNULL, stderr=DEVNULL)
            if on_node:
                self.addresses = tuple(str(address) for address in self.node.addresses.values())
            else:
                self._attach()
        except BaseException:
            lab.remove_host(host_name)
            self._host = self.pause = None
            raise
        self.containers = [Container(spec, self.name, self._host) for spec in self.spec["containers"]]

    def _attach(self) -> None:
        runtime, attachment = self.node.runtime, self.attachment
        runtime.add(LOOPBACK, replace(attachment, ifname="lo"))
        # A later change of the node's configuration must not change by what the pod is detached.
        network = self.node.network_list
        result = runtime.add(network, attachment)
        self._network = network
        self.addresses = tuple(str(each.address.ip) for each in result.addresses)
        namespace = self.node.host.namespace
        for interface in result.host_interfaces:
            if interface.name.startswith("veth"):
                # The plugin names it by chance; whose it is stands in its alias, for people and pictures.
                alias = self.key.full_name[:_LONGEST_ALIAS]
                index = namespace.index(interface.name)
                namespace.apply(links.set_link(self.node.name, interface.name, index, alias=alias))

    def start_containers(self, environments: Mapping[str, Mapping[str, str]]) -> None:
        """Start all containers; ``environments`` are their variables by the container's name."""
        self.environments = dict(environments)
        for container in self.containers:
            container.start(self.environments[container.name])

    def stop(self, grace: float) -> None:
        """End the containers, detach it, give up the namespace."""
        if self._host is None:
            return
        for container in self.containers:
            container.stop(grace)
        try:
            if self._network is not None:
                self.node.runtime.delete(self._network, self.attachment)
                self.node.runtime.delete(LOOPBACK, replace(self.attachment, ifname="lo"))
        finally:
            self._host.lab.remove_host(self._host)
            self._host = None

    def cut_off(self) -> None:
        """End it as a power cut does: nothing is asked, nothing is detached."""
        if self._host is not None:
            self._host.lab.remove_host(self._host)
            self._host = None


def _protocol(port: Mapping[str, Any]) -> str:
    return str(port.get("protocol") or "TCP").lower()
