"""Take the arguments of ``kubectl get`` and ``kubectl describe``, and answer from a cluster's objects."""

from __future__ import annotations

import argparse
from itertools import groupby
from typing import TYPE_CHECKING, Any, NoReturn

from netlab.errors import InvalidInputError, NotFoundError
from netlab.kubernetes.describing import describe_object
from netlab.kubernetes.kinds import ALL, read_kind
from netlab.kubernetes.manifests import CLUSTER_WIDE, Key
from netlab.kubernetes.printing import Style, Text, print_kind, print_raw
from netlab.kubernetes.selectors import read_selector
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
        everywhere = options.all_namespaces or all(kind in CLUSTER_WIDE for kind, _ in groups)
        return Text(f"No resources found{'' if everywhere else f' in {options.namespace} namespace.'}")
    several = len({kind for kind, _ in groups}) > 1
    tables = []
    for kind, objects in groups:
        if objects:
            spaces = options.all_namespaces and kind not in CLUSTER_WIDE
            style = Style(options.output == "wide", spaces, options.show_labels, several)
            tables.append(print_kind(kind, objects, style))
    return Text("\n\n".join(tables))


def describe(store: Store, events: Sequence[Event], arguments: Sequence[str]) -> Text:
    """Return what ``kubectl describe`` would print; a name may be the beginning of several names."""
    options = _parser("describe").parse_args(list(arguments))
    try:
        groups = _find(store, options)
    except NotFoundError:
        groups = _beginning(store, options)
        if not groups:
            raise
    found = [data for _, objects in groups for data in objects]
    if not found:
        return Text(f"No resources found in {options.namespace} namespace.")
    return Text("\n\n\n".join(describe_object(store, data, events) for data in found))


def _find(store: Store, options: Any) -> list[tuple[str, list[Object]]]:
    """Return the objects that are asked for, by kind."""
    first, *names = options.what
    if "/" in first:
        keys = [_key(text, options.namespace) for text in options.what]
        return [(kind, [store.get(key) for key in group]) for kind, group in groupby(keys, lambda key: key.kind)]
    kinds = [kind for name in first.split(",") for kind in (ALL if name == "all" else [read_kind(name)])]
    if names:
        if len(kinds) > 1:
            raise InvalidInputError("Names go with one kind: get pods web-1 web-2.")
        space = "" if kinds[0] in CLUSTER_WIDE else options.namespace
        return [(kinds[0], [store.get(Key(kinds[0], space, name)) for name in names])]
    wanted = read_selector(options.selector)
    groups = []
    for kind in kinds:
        objects = store.all(kind, None if options.all_namespaces else options.namespace)
        own = [data for data in objects if all(each.matches(data["metadata"].get("labels") or {}) for each in wanted)]
        # As the API server lists them.
        own.sort(key=lambda data: (data["metadata"].get("namespace", ""), data["metadata"]["name"]))
        groups.append((kind, own))
    return groups


def _beginning(store: Store, options: Any) -> list[tuple[str, list[Object]]]:
    """Return the objects whose names begin as is asked; nothing where it is not one kind and one name."""
    first, *names = options.what
    if "/" in first or len(names) != 1:
        return []
    kind = read_kind(first)
    space = "" if kind in CLUSTER_WIDE else options.namespace
    own = [data for data in store.all(kind, space) if data["metadata"]["name"].startswith(names[0])]
    return [(kind, sorted(own, key=lambda data: str(data["metadata"]["name"])))] if own else []


def _key(text: str, namespace: str) -> Key:
    kind_name, _, name = text.partition("/")
    kind = read_kind(kind_name)
    if not name:
        raise NotFoundError(f"{text!r} names no object; kind/name was expected, such as pod/web-1.")
    return Key(kind, "" if kind in CLUSTER_WIDE else namespace, name)
