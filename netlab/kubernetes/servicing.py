"""Keep what Services need in step with the objects: EndpointSlices, load balancers, and the rules on every node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netlab.kubernetes.dataplane import NodeProxy
from netlab.kubernetes.endpoints import CONTROLLER, MANAGED_BY, SERVICE_NAME, ZONE, slices_of
from netlab.kubernetes.load_balancers import LoadBalancers
from netlab.kubernetes.proxy import Family, Field
from netlab.kubernetes.proxy.metrics import Metrics
from netlab.kubernetes.store import key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from netlab.host import Host
    from netlab.kubernetes.node import Node
    from netlab.kubernetes.store import Object, Store

#: The mode of a proxy that is switched off.
OFF = "none"
_FAMILIES = {4: Family.IPV4, 6: Family.IPV6}


class Servicing:
    """The controllers of Services of one cluster."""

    def __init__(self, store: Store, nodes: Mapping[str, Node], config: dict[str, Any], router: Host) -> None:
        """Serve a cluster; ``config`` is its KubeProxyConfiguration."""
        self.store, self.nodes, self.config = store, nodes, config
        self.load_balancers = LoadBalancers(store, router)

    def reconcile(self, together: Callable[[Callable[[Any], object], Iterable[Any]], list[Any]]) -> None:
        """Bring all of it up to date; ``together`` does something for many side by side."""
        self.load_balancers.assign()
        # Which endpoints a Service has follows from Services, pods and the zones of nodes.
        if self.store.take_changes("Pod", "Node") or {key for key in self.store.changes if key.kind == "Service"}:
            self.write_slices()
        changed = self.store.take_changes("Service", "EndpointSlice")
        fields = [Field(data, str(key)) for key in sorted(changed) if (data := self.store.find(key)) is not None]
        removed = [(key.kind, key.full_name) for key in changed if self.store.find(key) is None]
        proxies = [proxy for node in self.nodes.values() if node.ready for proxy in node.proxies]
        for proxy in (proxy for node in self.nodes.values() for proxy in node.proxies):
            proxy.update(fields, removed)
        together(NodeProxy.sync, proxies)
        self.load_balancers.announce(self.nodes.values())

    def write_slices(self) -> None:
        """Write the EndpointSlices of all Services with a selector; remove those whose Service is gone."""
        zones = {
            node["metadata"]["name"]: zone
            for node in self.store.all("Node")
            if (zone := (node["metadata"].get("labels") or {}).get(ZONE))
        }
        old: dict[tuple[str, str], list[Object]] = {}
        for piece in self.store.all("EndpointSlice"):
            labels = piece["metadata"].get("labels") or {}
            if labels.get(MANAGED_BY) == CONTROLLER:
                old.setdefault((piece["metadata"]["namespace"], labels[SERVICE_NAME]), []).append(piece)
        for service in self.store.all("Service"):
            metadata, selector = service["metadata"], service["spec"].get("selector")
            if selector and service["spec"].get("type") != "ExternalName":
                name = (metadata["namespace"], metadata["name"])
                self._write(service, selector, old.pop(name, []), zones)
        for stale in (piece for pieces in old.values() for piece in pieces):
            self.store.remove(key_of(stale))

    def _write(self, service: Object, selector: Mapping[str, str], old: list[Object], zones: Mapping[str, str]) -> None:
        found = self.store.select("Pod", service["metadata"]["namespace"], selector)
        pods = [pod for pod in found if pod["status"].get("podIPs") and pod["status"]["phase"] == "Running"]
        new = slices_of(service, pods, old, zones)
        for piece in new:
            if not any(piece is before for before in old):
                self.store.put(piece)
        names = {piece["metadata"]["name"] for piece in new}
        for piece in old:
            if piece["metadata"]["name"] not in names:
                self.store.remove(key_of(piece))

    # -- the proxies ---------------------------------------------------------------------

    def equip(self, node: Node) -> None:
        """Give a node its proxies, with all the objects there are; the first one answers for both at their ports.

        With the mode ``none`` it gets none: then Services are the learner's work.
        """
        if self.config["mode"] == OFF:
            return
        data = self.store.get_node(node.name)
        objects = [*self.store.all("Service"), *self.store.all("EndpointSlice")]
        metrics = Metrics()
        for version in node.addresses:
            config = {**self.config, "hostnameOverride": node.name, "family": _FAMILIES[version]}
            proxy = NodeProxy(node.host, config, data, None if node.proxies else metrics)
            proxy.begin(Field(each, str(key_of(each))) for each in objects)
            node.proxies.append(proxy)

    def switch(self, config: dict[str, Any]) -> None:
        """Change the proxies' configuration on the live cluster: the new rules come, then the old ones go.

        With the mode ``none`` they only go.
        """
        before, self.config = self.config, config
        same = {**before, "mode": ""} == {**config, "mode": ""} and OFF not in {before["mode"], config["mode"]}
        for node in self.nodes.values():
            if same:
                for proxy in node.proxies:
                    proxy.applier.mode = config["mode"]
            else:
                for proxy in node.proxies:
                    proxy.clean()
                node.proxies.clear()
                self.equip(node)
            for proxy in node.proxies if node.ready else ():
                proxy.sync()

    def mend(self) -> None:
        """Mend rules that somebody has broken, and delete what had to wait for it; a look costs next to nothing."""
        for node in self.nodes.values():
            for proxy in node.proxies if node.ready else ():
                proxy.sync()
