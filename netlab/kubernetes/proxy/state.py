"""Build a `State` from objects, and a new one from an old one and what changed.

The second does work for the Services that changed and none for the others: their `ServiceView` stays the same object,
which is how the text writers know what they need not look at.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from netlab.kubernetes.proxy.model import Backend, ServiceView, State
from netlab.kubernetes.proxy.objects import Slice, endpoints_of, name_of, read_service, read_slice

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from netlab.kubernetes.proxy.fields import Field
    from netlab.kubernetes.proxy.model import ServicePort, Settings


KINDS = ("Service", "EndpointSlice")


@dataclass(frozen=True, slots=True)
class Inventory:
    """The Services and EndpointSlices that are known, and the `State` that follows from them.

    ``ports`` maps ``namespace/service`` to its ports, ``slices`` the same name to its slices by their own name,
    and ``owners`` a slice (``namespace/slice``) to the Service it belongs to. ``unheard`` names the kinds whose objects
    were not all told yet: rules from a part of them would break Services that work.
    """

    state: State
    ports: Mapping[str, tuple[ServicePort, ...]] = field(default_factory=dict)
    slices: Mapping[str, Mapping[str, Slice]] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)
    unheard: frozenset[str] = frozenset()

    @classmethod
    def empty(cls, settings: Settings) -> Inventory:
        """Return an inventory that knows of no objects, because there are none."""
        return cls(State(settings, {}))

    @classmethod
    def unknown(cls, settings: Settings) -> Inventory:
        """Return an inventory that has not heard of any objects yet; see `hear`."""
        return cls(State(settings, {}), unheard=frozenset(KINDS))

    def hear(self, *kinds: str) -> Inventory:
        """Return it with the word that all objects of these kinds were told (OnServiceSynced in kube-proxy)."""
        return replace(self, unheard=self.unheard - set(kinds))

    def update(self, changed: Iterable[Field] = (), removed: Iterable[tuple[str, str]] = ()) -> Inventory:
        """Return the inventory after objects were created or changed, and others removed.

        ``removed`` names objects as (kind, ``namespace/name``). Kinds that the proxy does not use are left out.
        Raises `ManifestError` for a field that cannot be right; this inventory stays as it was.
        """
        draft = _Draft(self)
        for kind, name in removed:
            draft.remove(kind, name)
        for manifest in changed:
            draft.put(manifest)
        return draft.finish()


class _Draft:
    """The inventory that is being made: copies of the outer tables, and the names of Services to look at again."""

    def __init__(self, old: Inventory) -> None:
        self.old = old
        self.settings = old.state.settings
        self.ports = dict(old.ports)
        self.slices = dict(old.slices)
        self.owners = dict(old.owners)
        self.touched: set[str] = set()

    def put(self, manifest: Field) -> None:
        kind = manifest.get("kind").text()
        if kind == "Service":
            name = name_of(manifest)
            self.ports[name] = read_service(manifest, name, self.settings)
            self.touched.add(name)
        elif kind == "EndpointSlice":
            name = name_of(manifest)
            self._drop_slice(name)
            piece = read_slice(manifest, name, self.settings)
            if piece is not None:
                self.slices[piece.service] = {**self.slices.get(piece.service, {}), piece.name: piece}
                self.owners[name] = piece.service
                self.touched.add(piece.service)

    def remove(self, kind: str, name: str) -> None:
        if kind == "Service":
            self.ports.pop(name, None)
            self.touched.add(name)
        elif kind == "EndpointSlice":
            self._drop_slice(name)

    def finish(self) -> Inventory:
        services = dict(self.old.state.services)
        for name in self.touched:
            view = self._view(name)
            if view is None:
                services.pop(name, None)
            elif name not in services or services[name].backends != view.backends:
                services[name] = view
        return Inventory(State(self.settings, services), self.ports, self.slices, self.owners, self.old.unheard)

    def _view(self, name: str) -> ServiceView | None:
        ports = self.ports.get(name, ())
        if not ports:
            return None
        by_name = self.slices.get(name, {})
        slices = [by_name[key] for key in sorted(by_name)]
        return ServiceView(name, tuple(Backend(port, endpoints_of(port, slices)) for port in ports))

    def _drop_slice(self, name: str) -> None:
        owner = self.owners.pop(name, None)
        if owner is None:
            return
        own_name = name.partition("/")[2]
        self.slices[owner] = {key: piece for key, piece in self.slices[owner].items() if key != own_name}
        self.touched.add(owner)
