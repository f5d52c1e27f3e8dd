"""Check manifests against the JSON schemas of Kubernetes itself.

The schemas come with the package kubernetes-validate, which is made anew for each release of Kubernetes; they are the
strict ones, in which an unknown field is an error, as for ``kubectl apply --validate=strict``.
"""

from __future__ import annotations

import difflib
import functools
import importlib.resources
import json
from typing import TYPE_CHECKING, Any, cast

from jsonschema.validators import Draft202012Validator
from referencing import Registry, Resource

from netlab.kubernetes.manifests import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema.exceptions import ValidationError

    from netlab.kubernetes.manifests import Manifest, Path_, Problem

#: The release whose kube-proxy the Service proxy follows.
KUBERNETES = "1.36"
_FOLDER = f"kubernetes-json-schema/v{KUBERNETES}.0-local-strict"
_WORDS = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object with fields",
    "array": "a list",
    "null": "nothing",
}


def check_schema(manifest: Manifest) -> list[Problem]:
    """Return what the schema says against an object; an empty list if nothing."""
    wrong = _check_kind(manifest)
    if wrong:
        return wrong
    found = _validator(manifest.kind).iter_errors(dict(manifest.data))
    errors = sorted(found, key=lambda error: [str(step) for step in error.absolute_path])
    return [manifest.problem(path, words) for error in errors for path, words in _say(error)]


def _check_kind(manifest: Manifest) -> list[Problem]:
    kind = manifest.data.get("kind")
    if not isinstance(kind, str) or not kind:
        return [manifest.problem(("kind",), "the object's kind was expected, such as Pod or Service")]
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]}?" if near else ""
        return [manifest.problem(("kind",), f"one of {', '.join(KINDS)} was expected; not {kind!r}.{hint}")]
    version = manifest.data.get("apiVersion")
    if version != KINDS[kind]:
        given = "nothing" if version is None else repr(version)
        return [manifest.problem(("apiVersion",), f"{KINDS[kind]!r} was expected for a {kind}; not {given}")]
    return []


@functools.cache
def _registry() -> Registry[Any]:
    definitions = Resource.from_contents(_load("_definitions.json"))
    return definitions @ Registry()


@functools.cache
def _validator(kind: str) -> Draft202012Validator:
    group, _, version = KINDS[kind].rpartition("/")
    prefix = f"{group.partition('.')[0]}-" if group else ""
    return Draft202012Validator(_load(f"{kind.lower()}-{prefix}{version}.json"), registry=_registry())


def _load(name: str) -> Any:
    file = importlib.resources.files("kubernetes_validate").joinpath(_FOLDER, name)
    return json.loads(file.read_text(encoding="utf-8"))


def _say(error: ValidationError) -> Iterator[tuple[Path_, str]]:
    """Yield the path and the words of an error of the schema; unknown fields one by one."""
    path: Path_ = tuple(error.absolute_path)
    instance, wanted, schema = (cast("Any", part) for part in (error.instance, error.validator_value, error.schema))
    given = _shown(instance)
    match error.validator:
        case "additionalProperties":
            known = list(schema.get("properties", ()))
            for name in sorted(set(instance) - set(known)):
                yield (*path, name), f"unknown field.{_hint(str(name), known)}"
        case "required":
            missing = [name for name in wanted if name not in instance]
            # jsonschema reports each missing field by itself; all of them belong to one object.
            name = next((each for each in missing if repr(each) in error.message), missing[0])
            yield path, f"the field {name!r} is missing"
        case "type":
            yield path, f"{_kinds([schema])} was expected; not {given}"
        case "enum":
            yield path, f"one of {', '.join(map(str, wanted))} was expected; not {given}"
        case "oneOf" | "anyOf":
            yield path, f"{_kinds(wanted) or 'another value'} was expected; not {given}"
        case _:
            yield path, error.message


def _kinds(schemas: list[Any]) -> str:
    """Return the types that schemas allow, in words; null is allowed nearly everywhere, and says nothing."""
    types = [schema.get("type", []) for schema in schemas]
    names = [name for each in types for name in (each if isinstance(each, list) else [each])]
    return " or ".join(dict.fromkeys(_WORDS[name] for name in names if name != "null"))


def _hint(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f" Did you mean {near[0]}?"
    return f" The fields here are {', '.join(known)}." if 0 < len(known) <= 8 else ""  # noqa: PLR2004 - one line


def _shown(value: object) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - one line of a terminal
