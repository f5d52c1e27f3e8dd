"""The Service proxy of one node: the objects it was told of, and the rules that an `Applier` keeps in the kernel."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from netlab.kubernetes.proxy import Field, Inventory, read_mode, read_settings
from netlab.kubernetes.proxy.applier import Applier
from netlab.kubernetes.proxy.state import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netlab.host import Host
    from netlab.kubernetes.proxy import Family
    from netlab.kubernetes.proxy.applier import Sync
    from netlab.kubernetes.proxy.metrics import Metrics

_log = logging.getLogger(__name__)


class NodeProxy:
    """The proxy of one node for one family. ``last`` is what its last sync did, ``metrics`` counts them all."""

    def __init__(self, host: Host, config: dict[str, Any], node: dict[str, Any], metrics: Metrics | None) -> None:
        """Prepare it for the family of ``config["family"]``; nothing is written before the first `sync`.

        ``config`` is a KubeProxyConfiguration, ``node`` the Node object. With ``metrics`` the node answers for itself
        at kube-proxy's own ports.
        """
        family: Family = config["family"]
        settings = read_settings(Field(config, "KubeProxyConfiguration"), Field(node, "Node"), family)
        self.family = family
        self.inventory = Inventory.unknown(settings)
        mode = read_mode(Field(config, "KubeProxyConfiguration"))
        self.applier = Applier(host, settings, mode, metrics=metrics, serve=metrics is not None)
        self.last: Sync | None = None

    def update(self, changed: Iterable[Field], removed: Iterable[tuple[str, str]]) -> None:
        """Take note of objects that were made, changed or removed."""
        self.inventory = self.inventory.update(changed, removed)

    def begin(self, objects: Iterable[Field]) -> None:
        """Take note of all objects that there are; before this a sync writes nothing."""
        self.inventory = self.inventory.update(objects).hear(*KINDS)

    def sync(self) -> None:
        """Make the kernel's rules those of the objects; costs next to nothing where they are.

        Rules that somebody else has broken are mended. Raises CommandError where the node refuses them.
        """
        done = self.applier.sync(self.inventory)
        if done.kind != "nothing":
            self.last = done
        for warning in done.warnings:
            _log.warning("node %s: %s", self.applier.host.name, warning)

    def clean(self) -> None:
        """Take all of the proxy's rules away, as a proxy that is switched off does."""
        self.applier.clean()
