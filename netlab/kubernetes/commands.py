"""Run the commands of ``kubectl`` that a learner types, on a cluster of ours."""

from __future__ import annotations

import argparse
import re
import shlex
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from netlab.errors import CommandError, InvalidInputError, LabError
from netlab.kubernetes.kinds import read_kind, read_reference
from netlab.kubernetes.manifests import CLUSTER_WIDE, Key
from netlab.kubernetes.printing import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from netlab.kubernetes.cluster import Cluster
    from netlab.kubernetes.store import Object

_HEREDOC = re.compile(r"<<\s*(['\"]?)(\w+)\1\s*$")


class _Parser(argparse.ArgumentParser):
    """An argument parser that raises our error."""

    def error(self, message: str) -> NoReturn:
        """Raise InvalidInputError."""
        raise InvalidInputError(f"kubectl {self.prog}: {message}")


def _parser(verb: str, *, objects: bool = True) -> _Parser:
    parser = _Parser(verb, add_help=False)
    parser.add_argument("-n", "--namespace", default="default")
    if objects:
        parser.add_argument("what", nargs="+")
    return parser


def run(cluster: Cluster, arguments: Sequence[str], stdin: str = "") -> Text:
    """Do what one command says; return what kubectl would print. ``arguments`` follow the word kubectl.

    ``stdin`` is what ``-f -`` reads. Raises InvalidInputError, NotFoundError, and CommandError where a command that
    exec runs fails.
    """
    verb, *rest = arguments or ("",)
    action = _VERBS.get(verb)
    if action is None:
        raise InvalidInputError(f"kubectl has no command {verb!r} here. There are: {', '.join(sorted(_VERBS))}.")
    return Text(action(cluster, rest, stdin))


def run_script(cluster: Cluster, script: str, *, checked: bool = True) -> Text:
    """Run commands one after the other, as a shell would; an input may follow one, as in ``apply -f - <<END``.

    With ``checked`` it ends at the first one that fails, with its error; else that error is part of what is returned.
    """
    said = []
    for line, stdin in _commands(script):
        try:
            said.append(run(cluster, line, stdin))
        except LabError as error:
            if checked:
                raise
            said.append(Text(f"error: {error}"))
    return Text("\n".join(said))


def _commands(script: str) -> Iterator[tuple[list[str], str]]:
    lines = iter(script.splitlines())
    for line in lines:
        if not (text := line.strip()) or text.startswith("#"):
            continue
        stdin = ""
        if heredoc := _HEREDOC.search(text):
            text = text[: heredoc.start()]
            stdin = _until(lines, heredoc[2])
        words = shlex.split(text)
        yield words[1:] if words[0] == "kubectl" else words, stdin


def _until(lines: Iterator[str], end: str) -> str:
    found: list[str] = []
    for line in lines:
        if line.strip() == end:
            return "\n".join(found) + "\n"
        found.append(line)
    raise InvalidInputError(f"The line {end} that ends the input is missing.")


# -- the commands --------------------------------------------------------------------------


def _apply(cluster: Cluster, arguments: Sequence[str], stdin: str) -> str:
    parser = _parser("apply", objects=False)
    parser.add_argument("-f", "--filename", required=True)
    return str(cluster.apply(_source(parser.parse_args(list(arguments)).filename, stdin)))


def _source(filename: str, stdin: str) -> str:
    if filename == "-" and not stdin.strip():
        raise InvalidInputError("kubectl: -f - reads what follows the command, and nothing does.")
    # A text with a line end is never taken for the name of a file.
    return f"{stdin}\n" if filename == "-" else filename


def _delete(cluster: Cluster, arguments: Sequence[str], stdin: str) -> str:
    parser = _parser("delete", objects=False)
    parser.add_argument("what", nargs="*")
    parser.add_argument("-f", "--filename")
    options = parser.parse_args(list(arguments))
    if options.filename:
        return str(cluster.delete(_source(options.filename, stdin)))
    return str(cluster.delete(*_references(options.what), namespace=options.namespace))


def _references(words: Sequence[str]) -> list[str]:
    """Return kind/name for each object named, as in ``pod web-1 web-2`` or ``pod/web-1 service/web``."""
    if words and "/" in words[0]:
        return ["/".join(read_reference(word)) for word in words]
    if len(words) < 2:  # noqa: PLR2004 - a kind and a name
        raise InvalidInputError("kubectl: a kind and a name were expected, such as pod web-1 or pod/web-1.")
    return [f"{read_kind(words[0])}/{name}" for name in words[1:]]


def _label(cluster: Cluster, arguments: Sequence[str], _: str) -> str:
    parser = _parser("label")
    parser.add_argument("--overwrite", action="store_true")
    options = parser.parse_args(list(arguments))
    changes = [word for word in options.what if "=" in word or word.endswith("-")]
    said = []
    for reference in _references([word for word in options.what if word not in changes]):
        key = _key(reference, options.namespace)
        labels = cluster.store.get(key)["metadata"].get("labels") or {}
        wanted: dict[str, str | None] = {}
        for name, equals, value in (word.partition("=") for word in changes):
            if equals and labels.get(name, value) != value and not options.overwrite:
                raise InvalidInputError(f"{name!r} already has a value ({labels[name]}), and --overwrite is false")
            wanted[name if equals else name.removesuffix("-")] = value if equals else None
        _change(cluster, key, {"metadata": {"labels": wanted}})
        said.append(f"{key} {'labeled' if any('=' in word for word in changes) else 'unlabeled'}")
    return "\n".join(said)


def _scale(cluster: Cluster, arguments: Sequence[str], _: str) -> str:
    parser = _parser("scale")
    parser.add_argument("--replicas", type=int, required=True)
    options = parser.parse_args(list(arguments))
    keys = [_key(reference, options.namespace) for reference in _references(options.what)]
    for key in keys:
        _change(cluster, key, {"spec": {"replicas": options.replicas}})
    return "\n".join(f"{key} scaled" for key in keys)


def _patch(cluster: Cluster, arguments: Sequence[str], _: str) -> str:
    parser = _parser("patch")
    parser.add_argument("-p", "--patch", required=True)
    parser.add_argument("--type", choices=("strategic", "merge"), default="strategic")
    options = parser.parse_args(list(arguments))
    patch = yaml.safe_load(options.patch)
    if not isinstance(patch, dict):
        raise InvalidInputError(f"kubectl patch: a mapping was expected, as JSON or YAML; not {options.patch!r}.")
    if options.type == "strategic" and _has_list(patch):
        raise InvalidInputError("kubectl patch: say --type merge where a list is patched; the whole list is replaced.")
    keys = [_key(reference, options.namespace) for reference in _references(options.what)]
    for key in keys:
        _change(cluster, key, patch)
    return "\n".join(f"{key} patched" for key in keys)


def _logs(cluster: Cluster, arguments: Sequence[str], _: str) -> str:
    parser = _parser("logs", objects=False)
    parser.add_argument("pod")
    parser.add_argument("-c", "--container")
    options = parser.parse_args(list(arguments))
    return cluster.pod(options.pod.removeprefix("pod/"), options.namespace).logs(options.container).rstrip("\n")


def _exec(cluster: Cluster, arguments: Sequence[str], stdin: str) -> str:
    before, dashes, command = list(arguments), "--" in arguments, []
    if dashes:
        before, command = before[: before.index("--")], before[before.index("--") + 1 :]
    parser = _parser("exec", objects=False)
    parser.add_argument("pod")
    parser.add_argument("-i", "--stdin", action="store_true")
    options = parser.parse_args(before)
    if not command:
        raise InvalidInputError("kubectl exec: the command follows two dashes, as in exec web-1 -- ip address.")
    pod = cluster.pod(options.pod.removeprefix("pod/"), options.namespace)
    result = pod.run(*command, input=stdin)
    if not result.ok:
        words = f"{result.stdout}{result.stderr}".strip()
        end = f"command terminated with exit code {result.returncode}"
        raise CommandError(f"{words}\n{end}".strip(), returncode=result.returncode)
    return f"{result.stdout}{result.stderr}".rstrip("\n")


# -- objects ---------------------------------------------------------------------------------


def _key(reference: str, namespace: str) -> Key:
    kind, name = read_reference(reference)
    return Key(kind, "" if kind in CLUSTER_WIDE else namespace, name)


def _change(cluster: Cluster, key: Key, patch: Mapping[str, Any]) -> None:
    with cluster.lock:
        data = merge(cluster.store.get(key), patch)
        cluster.apply({name: value for name, value in data.items() if name != "status"})


def merge(old: Object, patch: Mapping[str, Any]) -> Object:
    """Return an object with a JSON merge patch put in (RFC 7396); None takes a field away. Pure.

    >>> merge({"a": {"b": 1, "c": 2}}, {"a": {"b": None, "d": 3}})
    {'a': {'c': 2, 'd': 3}}
    """
    new = {name: value for name, value in old.items() if name not in patch}
    for name, value in patch.items():
        before = old.get(name)
        if isinstance(value, dict):
            new[name] = merge(before if isinstance(before, dict) else {}, value)
        elif value is not None:
            new[name] = value
    return new


def _has_list(value: Any) -> bool:
    return isinstance(value, list) or (isinstance(value, dict) and any(map(_has_list, value.values())))


_VERBS: dict[str, Callable[[Cluster, Sequence[str], str], str]] = {
    "apply": _apply,
    "delete": _delete,
    "describe": lambda cluster, arguments, _: cluster.describe(*arguments),
    "exec": _exec,
    "get": lambda cluster, arguments, _: cluster.get(*arguments),
    "label": _label,
    "logs": _logs,
    "patch": _patch,
    "scale": _scale,
}
