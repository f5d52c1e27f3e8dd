"""Hold the objects of a cluster, as its API server does."""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from typing import TYPE_CHECKING, Any

from netlab.errors import NotFoundError
from netlab.kubernetes.manifests import CLUSTER_WIDE, KINDS, Key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Object = dict[str, Any]


def now() -> str:
    """Return the time as Kubernetes writes it: UTC, by the second."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_since(timestamp: str) -> float:
    """Return how long ago a timestamp of Kubernetes is."""
    then = dt.datetime.fromisoformat(timestamp)
    return (dt.datetime.now(dt.UTC) - then).total_seconds()


class Store:
    """The objects by their key, each a mapping that is replaced and never changed.

    ``changes`` collects the keys that were put or removed since somebody took them.
    """

    def __init__(self) -> None:
        """Begin without objects."""
        self._objects: dict[Key, Object] = {}
        self._versions = itertools.count(1)
        self.changes: set[Key] = set()

    def __contains__(self, key: Key) -> bool:
        """Tell whether there is such an object."""
        return key in self._objects

    def find(self, key: Key) -> Object | None:
        """Return an object, or None."""
        return self._objects.get(key)

    def get(self, key: Key) -> Object:
        """Return an object; raises NotFoundError as kubectl words it."""
        try:
            return self._objects[key]
        except KeyError:
            kind, dot, group = str(key).partition("/")[0].partition(".")
            plural = f"{kind}s{dot}{group}"
            known = ", ".join(
                each.name for each in self._objects if (each.kind, each.namespace) == (key.kind, key.namespace)
            )
            where = f" in namespace {key.namespace!r}" if key.namespace else ""
            raise NotFoundError(f'{plural} "{key.name}" not found{where}. There are: {known or "none"}.') from None

    def get_node(self, name: str) -> Object:
        """Return a Node; raises NotFoundError."""
        return self.get(Key("Node", "", name))

    def all(self, kind: str, namespace: str | None = None) -> list[Object]:
        """Return the objects of a kind, in one namespace or in all, in the order in which they were made."""
        return [
            data
            for key, data in self._objects.items()
            if key.kind == kind and (namespace is None or key.namespace in {namespace, ""})
        ]

    def select(self, kind: str, namespace: str, labels: Mapping[str, str]) -> Iterator[Object]:
        """Yield the objects of a namespace that have all these labels."""
        for data in self.all(kind, namespace):
            own = data["metadata"].get("labels") or {}
            if all(own.get(name) == value for name, value in labels.items()):
                yield data

    def put(self, data: Object) -> Object:
        """Create or replace an object; what the server writes into metadata is kept from the one before."""
        key = key_of(data)
        old = self._objects.get(key)
        metadata = {**data.get("metadata", {})}
        if key.namespace:
            metadata["namespace"] = key.namespace
        before = old["metadata"] if old else {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
        for name in ("uid", "creationTimestamp"):
            metadata[name] = before[name]
        metadata["resourceVersion"] = str(next(self._versions))
        stored = {"apiVersion": KINDS[key.kind], "kind": key.kind, **data, "metadata": metadata}
        self._objects[key] = stored
        self.changes.add(key)
        return stored

    def update(self, key: Key, **fields: Any) -> Object | None:
        """Replace top-level fields of an object, if it is there and they differ."""
        old = self._objects.get(key)
        if old is None or all(old.get(name) == value for name, value in fields.items()):
            return old
        return self.put({**old, **fields})

    def remove(self, key: Key) -> None:
        """Remove an object, if it is there."""
        if self._objects.pop(key, None) is not None:
            self.changes.add(key)

    def take_changes(self, *kinds: str) -> set[Key]:
        """Return the keys of these kinds that changed since the last time, and forget them."""
        found = {key for key in self.changes if key.kind in kinds}
        self.changes -= found
        return found


def key_of(data: Mapping[str, Any]) -> Key:
    """Return what names an object."""
    metadata = data["metadata"]
    namespace = "" if data["kind"] in CLUSTER_WIDE else metadata.get("namespace") or "default"
    return Key(data["kind"], namespace, metadata["name"])
