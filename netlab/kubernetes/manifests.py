"""Read Kubernetes objects from YAML, JSON, files, folders, mappings and lists, and remember where each field stands.

Pure but for reading files. What is read here is checked by `schemas` and `validation` before any of it is applied.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from netlab.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SUFFIXES = (".yaml", ".yml", ".json")
Path_ = tuple[str | int, ...]

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """YAML as Kubernetes reads it: a date is a string."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a manifest; ``line`` is None where the input was not a text."""

    source: str
    line: int | None
    object: str
    path: str
    words: str

    def __str__(self) -> str:
        """Return it as one sentence that starts with the place."""
        place = self.source if self.line is None else f"{self.source}, line {self.line}"
        return ": ".join(part for part in (place, self.object, self.path, self.words) if part)


class InvalidManifestError(InvalidInputError):
    """Report all that is wrong in what was given; none of it was applied. Attribute: ``problems``."""

    def __init__(self, *problems: Problem) -> None:
        """Say each problem on a line of its own."""
        lines = [str(problem) for problem in problems]
        super().__init__("\n".join([*lines, "Nothing was applied."]))
        self.problems = problems


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What names an object: its kind, namespace (empty for objects of the whole cluster) and name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return it as kubectl does in messages: ``service/web``, ``deployment.apps/web``."""
        return f"{self.kind.lower()}{_GROUPS.get(self.kind, '')}/{self.name}"

    @property
    def full_name(self) -> str:
        """Return ``namespace/name``, or the name alone."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


_GROUPS = {"Deployment": ".apps", "EndpointSlice": ".discovery.k8s.io"}
#: The kinds that a cluster takes, with their apiVersion.
KINDS = {
    "Namespace": "v1",
    "Node": "v1",
    "Pod": "v1",
    "Deployment": "apps/v1",
    "Service": "v1",
    "EndpointSlice": "discovery.k8s.io/v1",
    "ConfigMap": "v1",
}
CLUSTER_WIDE = frozenset({"Namespace", "Node"})


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object as it was given, with the way back to its text.

    ``node`` is the YAML node it was made from; None for an object that was not a text.
    """

    data: Mapping[str, Any]
    source: str
    node: Any = field(default=None, compare=False, repr=False)

    @property
    def kind(self) -> str:
        """Return the kind; empty if it has none."""
        return str(self.data.get("kind") or "")

    @property
    def key(self) -> Key:
        """Return what names the object; the namespace is ``default`` if it is absent."""
        metadata = self.data.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        name = str(metadata.get("name") or "")
        return Key(self.kind, "" if self.kind in CLUSTER_WIDE else str(metadata.get("namespace") or "default"), name)

    def problem(self, path: Path_, words: str) -> Problem:
        """Return a problem at a field of this object, with its line."""
        label = f"{self.kind} {self.key.full_name}" if self.key.name else self.kind
        return Problem(self.source, line_of(self.node, path), label, path_text(path), words)


def path_text(path: Path_) -> str:
    """Return a path as Kubernetes writes it.

    >>> path_text(("spec", "ports", 0, "port"))
    'spec.ports[0].port'
    """
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def line_of(node: Any, path: Path_) -> int | None:
    """Return the line of a field, or of the nearest one around it that is there; the first line is 1."""
    if node is None:
        return None
    line = int(node.start_mark.line) + 1
    for step in path:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        elif isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == step), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        else:
            break
    return line


def read_manifests(source: object) -> list[Manifest]:
    """Return the objects in ``source``, in order; Lists are opened.

    ``source`` is a path (a file, or a folder of .yaml, .yml and .json files), a text of YAML or JSON documents, a
    mapping, or a list of any of them. Raises InvalidManifestError, and NotFoundError for a file that is not there.
    """
    if isinstance(source, dict):
        return list(_open(source, "object", None))
    if isinstance(source, (list, tuple)):
        found: list[Manifest] = []
        for index, item in enumerate(source, start=1):
            more = _open(item, f"object {index}", None) if isinstance(item, dict) else read_manifests(item)
            found += more
        return found
    if isinstance(source, Path) or (isinstance(source, str) and _is_path(source)):
        return _read_files(Path(source))
    if isinstance(source, str):
        return list(_read_text(source, "manifest"))
    words = f"a path, a text, a mapping or a list was expected; not {type(source).__name__}"
    raise InvalidManifestError(Problem("manifest", None, "", "", words))


def _is_path(text: str) -> bool:
    return "\n" not in text and ": " not in text and not text.lstrip().startswith(("{", "["))


def _read_files(path: Path) -> list[Manifest]:
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    elif path.exists():
        files = [path]
    else:
        near = difflib.get_close_matches(path.name, _names_beside(path), n=1)
        hint = f" Did you mean {path.parent / near[0]}?" if near else ""
        raise NotFoundError(f"There is no file {str(path)!r}.{hint}")
    return [manifest for file in files for manifest in _read_text(file.read_text(encoding="utf-8"), str(file))]


def _names_beside(path: Path) -> list[str]:
    return [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []


def _read_text(text: str, source: str) -> Iterator[Manifest]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if repeated := _repeated_key(node):
                name, place = repeated
                raise InvalidManifestError(Problem(source, place, "", name, "this key is there twice"))
            yield from _open(loader.construct_document(node), source, node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = " ".join(str(error.problem or error.context).split())
        line = mark.line + 1 if mark is not None else None
        raise InvalidManifestError(Problem(source, line, "", "", f"not YAML: {words}")) from None
    except yaml.YAMLError as error:
        raise InvalidManifestError(Problem(source, None, "", "", f"not YAML: {error}")) from None
    finally:
        loader.dispose()


def _repeated_key(node: Any) -> tuple[str, int] | None:
    """Return a key that a mapping has twice, with its line: YAML forbids it, and PyYAML takes the last one."""
    if isinstance(node, yaml.MappingNode):
        seen: set[object] = set()
        for key, value in node.value:
            if key.value in seen:
                return str(key.value), key.start_mark.line + 1
            if isinstance(key.value, str):
                seen.add(key.value)
            if found := _repeated_key(value):
                return found
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            if found := _repeated_key(item):
                return found
    return None


def _open(value: object, source: str, node: Any) -> Iterator[Manifest]:
    """Yield the object, or those of a List."""
    if value is None:
        return
    if not isinstance(value, dict):
        line = line_of(node, ())
        shown = json.dumps(value, default=str)[:60]
        words = f"a Kubernetes object with kind and apiVersion was expected; not {shown}"
        raise InvalidManifestError(Problem(source, line, "", "", words))
    items = value.get("items")
    if str(value.get("kind") or "").endswith("List") and isinstance(items, list):
        nodes = _child(node, "items")
        for index, item in enumerate(items):
            yield from _open(item, source, nodes.value[index] if nodes is not None else None)
        return
    yield Manifest(value, source, node)


def _child(node: Any, key: str) -> Any:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)
