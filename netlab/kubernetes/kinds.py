"""The names that kubectl takes for kinds: singular, plural, short, with or without the API group. Pure."""

from __future__ import annotations

import difflib

from netlab.errors import InvalidInputError

_NAMES = {
    "Namespace": ("namespace", "namespaces", "ns"),
    "Node": ("node", "nodes", "no"),
    "Pod": ("pod", "pods", "po"),
    "Deployment": ("deployment", "deployments", "deploy", "deployment.apps", "deployments.apps"),
    "Service": ("service", "services", "svc"),
    "EndpointSlice": ("endpointslice", "endpointslices", "endpointslice.discovery.k8s.io"),
    "ConfigMap": ("configmap", "configmaps", "cm"),
}
_KINDS = {name: kind for kind, names in _NAMES.items() for name in names}
#: What `get all` shows, in kubectl's order.
ALL = ("Pod", "Service", "Deployment")


def read_kind(name: str) -> str:
    """Return the kind that a name stands for; raises InvalidInputError in kubectl's words, with a hint."""
    kind = _KINDS.get(name.lower())
    if kind is None:
        near = difflib.get_close_matches(name.lower(), _KINDS, n=1)
        hint = (
            f" Did you mean {near[0]}?" if near else f" There are: {', '.join(names[1] for names in _NAMES.values())}."
        )
        raise InvalidInputError(f'There is no resource type "{name}" here.{hint}')
    return kind


def read_reference(text: str) -> tuple[str, str]:
    """Return kind and name of a reference such as ``service/web``."""
    kind, slash, name = text.partition("/")
    if not slash or not name:
        raise InvalidInputError(f"kind/name was expected, such as service/web; not {text!r}.")
    return read_kind(kind), name
