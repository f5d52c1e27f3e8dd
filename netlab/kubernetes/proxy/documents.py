"""Split a text into Kubernetes objects: YAML documents, JSON documents, or Lists of objects."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from netlab.kubernetes.proxy.fields import Field, ManifestError

_TEXT = re.compile(r"\S")

try:
    _Base: Any = yaml.CSafeLoader
except AttributeError:  # a PyYAML that was built without libyaml: the same, slower
    _Base = yaml.SafeLoader


class _Loader(_Base):  # type: ignore[misc]
    """YAML as Kubernetes reads it: a date is a string."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}


def read_documents(text: str) -> list[Field]:
    """Return the objects in ``text``, in order; Lists are opened, and documents without content are left out.

    Each is named after its kind and name, or its place, for the errors that may follow.
    Raises `ManifestError` if the text is neither YAML nor JSON, or holds something that is not an object.
    """
    found: list[Field] = []
    for index, value in enumerate(_load(text), start=1):
        if value is not None:
            _open(value, f"document {index}", found)
    return found


def as_document(manifest: dict[str, Any]) -> Field:
    """Return an object that was read elsewhere, named after its kind and name for the errors that may follow."""
    return Field(manifest, _label(manifest, ""))


def _open(value: object, place: str, found: list[Field]) -> None:
    if isinstance(value, list):
        for index, item in enumerate(value):
            _open(item, f"{place}[{index}]", found)
        return
    if not isinstance(value, dict):
        raise ManifestError(place, "", "a Kubernetes object", value)
    kind = Field(value, place).get("kind").required("the object's kind")
    items = value.get("items")
    if kind.endswith("List") and (items is None or isinstance(items, list)):
        for index, item in enumerate(items or ()):
            # The items of a ServiceList need not repeat their kind.
            named = {"kind": kind.removesuffix("List"), **item} if kind != "List" and isinstance(item, dict) else item
            _open(named, f"{place} items[{index}]", found)
        return
    found.append(Field(value, _label(value, place)))


def _label(value: dict[str, Any], place: str) -> str:
    kind = value.get("kind", "object")
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(name, str):
        title = f"{kind}"
    else:
        namespace = metadata.get("namespace") or ("default" if kind in {"Service", "EndpointSlice"} else "")
        title = f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
    return f"{place} ({title})" if place else title


def _load(text: str) -> list[object]:
    if text.lstrip()[:1] in {"{", "["}:
        values = _load_json(text)
        if values is not None:
            return values
    try:
        return list(yaml.load_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}" if mark is not None else ""
        raise ManifestError("the input", place, "YAML or JSON documents", error.problem or error.context) from error
    except yaml.YAMLError as error:
        raise ManifestError("the input", "", "YAML or JSON documents", " ".join(str(error).split())) from error


def _load_json(text: str) -> list[object] | None:
    """Return JSON documents that follow one another, or None if it is not JSON (YAML may start with a brace too)."""
    decoder = json.JSONDecoder()
    values: list[object] = []
    position = 0
    while space := _TEXT.search(text, position):
        try:
            value, position = decoder.raw_decode(text, space.start())
        except ValueError:
            return None
        values.append(value)
    return values
