"""Take the arguments of ``kubectl get`` and ``kubectl describe``, and answer from a cluster's objects."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, NoReturn

from netlab.errors import InvalidInputError, NotFoundError
from netlab.kubernetes.describing import describe_object
from netlab.kubernetes.kinds import ALL, read_kind
from netlab.kubernetes.manifests import CLUSTER_WIDE, Key
from netlab.kubernetes.printing import Style, Text, print_kind, print_raw
from netlab.kubernetes.store import key_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netlab.kubernetes.kubelet import Event
    from netlab.kubernetes.store import Object, Store


class _Parser(argparse.ArgumentParser):
    """An argument parser that raises our error."""

    def error(self, message: str) -> NoReturn:
        """Raise InvalidInputError."""
        raise InvalidInputError(f"kubectl {self.prog}: {message}")


def _parser(verb: str) -> _Parser:
    parser = _Parser(verb, add_help=False)
    parser.add_argument("what", nargs="+")
    parser.add_argument("-n", "--namespace", default="default")
    parser.add_argument("-A", "--all-namespaces", action="store_true")
    parser.add_argument("-l", "--selector", default="")
    parser.add_argument("-o", "--output", choices=("wide", "name", "yaml", "json"))
    parser.add_argument("--show-labels", action="store_true")
    return parser


def get(store: Store, arguments: Sequence[str]) -> Text:
    """Return what ``kubectl get`` would print; raises NotFoundError and InvalidInputError in its words."""
    options = _parser("get").parse_args(list(arguments))
    groups = _find(store, options)
    found = [data for _, objects in groups for data in objects]
    if options.output in {"yaml", "json"}:
        named = len(found) == 1 and ("/" in options.what[0] or len(options.what) > 1)
        return Text(print_raw(found, options.output, single=named))
    if options.output == "name":
        return Text("\n".join(str(key_of(data)) for data in found))
    if not found:
        where = "" if options.all_namespaces else f" in {options.namespace} namespace"
        return Text(f"No resources found{where}.")
    tables = []
    for kind, objects in groups:
        if objects:
            spaces = options.all_namespaces and kind not in CLUSTER_WIDE
            style = Style(options.output == "wide", spaces, options.show_labels, len(groups) > 1)
            tables.append(print_kind(kind, objects, style))
    return Text("\n\n".join(tables))


def describe(store: Store, events: Sequence[Event], arguments: Sequence[str]) -> Text:
    """Return what ``kubectl describe`` would print, as far as the fields are used here."""
    options = _parser("describe").parse_args(list(arguments))
    found = [data for _, objects in _find(store, options) for data in objects]
    return Text("\n\n\n".join(describe_object(store, data, events) for data in found))


def _find(store: Store, options: Any) -> list[tuple[str, list[Object]]]:
    """Return the objects that are asked for, by kind."""
    first, *names = options.what
    if "/" in first:
        keys = [_key(text, options.namespace) for text in options.what]
        return [(key.kind, [store.get(key)]) for key in keys]
    kinds = [kind for name in first.split(",") for kind in (ALL if name == "all" else [read_kind(name)])]
    if names:
        if len(kinds) > 1:
            raise InvalidInputError("Names go with one kind: get pods web-1 web-2.")
        space = "" if kinds[0] in CLUSTER_WIDE else options.namespace
        return [(kinds[0], [store.get(Key(kinds[0], space, name)) for name in names])]
    labels = dict(part.split("=", 1) for part in options.selector.split(",") if "=" in part)
    groups = []
    for kind in kinds:
        objects = store.all(kind, None if options.all_namespaces else options.namespace)
        own = [data for data in objects if labels.items() <= (data["metadata"].get("labels") or {}).items()]
        groups.append((kind, sorted(own, key=_order)))
    return groups


def _order(data: Object) -> tuple[str, list[tuple[int, str]]]:
    """Sort as the API server lists: by namespace, then by name; numbers in names count as such."""
    name = data["metadata"]["name"]
    return data["metadata"].get("namespace", ""), [
        (int(part), "") if part.isdigit() else (0, part) for part in name.split("-")
    ]


def _key(text: str, namespace: str) -> Key:
    kind_name, _, name = text.partition("/")
    kind = read_kind(kind_name)
    if not name:
        raise NotFoundError(f"{text!r} names no object; kind/name was expected, such as pod/web-1.")
    return Key(kind, "" if kind in CLUSTER_WIDE else namespace, name)
