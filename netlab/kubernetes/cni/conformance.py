"""Say which rules of the CNI specification a plugin breaks, by running it on a node of a lab made for that.

Each check is a function that raises `Broken` with what it found; its docstring is the rule. Sections are those of
SPEC.md, version 1.1.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netlab.errors import InvalidInputError, LabError
from netlab.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from netlab.host import Host
    from netlab.kernel.process import Result

SECTION_PARAMETERS = "2, parameters"
SECTION_ADD, SECTION_DEL, SECTION_CHECK = "2, ADD", "2, DEL", "2, CHECK"
SECTION_STATUS, SECTION_GC, SECTION_VERSION = "2, STATUS", "2, GC", "2, VERSION"
SECTION_ERROR, SECTION_RESULT = "5, error", "5, ADD success"


class Broken(Exception):  # noqa: N818 - it is a finding, not a failure of ours
    """Say how a rule is broken."""


class Skipped(Exception):  # noqa: N818 - as above
    """Say why a check could not be made."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check found: ``passed`` is None where it was not made.

    ``applies`` says whether the rule is for such a plugin at all.
    """

    section: str
    rule: str
    passed: bool | None
    words: str = ""
    applies: bool = True


@dataclass
class Bench:
    """A plugin on a bench: a node to run it in, a namespace to attach, and a configuration."""

    plugin: Path
    config: Mapping[str, Any]
    node: Host
    pod: Host
    versions: tuple[str, ...] = ()
    #: For a chained plugin: what the plugin before it is supposed to have made, and did make.
    previous: Mapping[str, Any] | None = None
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """Return the newest version that the plugin and this bench speak."""
        known = [version for version in ("1.1.0", "1.0.0", "0.4.0") if version in self.versions]
        return known[0] if known else "1.0.0"

    @property
    def at_least_1_1(self) -> bool:
        """Tell whether the plugin speaks version 1.1."""
        return "1.1.0" in self.versions

    def environment(self, command: str, **changes: str | None) -> dict[str, str]:
        """Return the variables of a call; None leaves one out."""
        given: dict[str, str | None] = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": "container-1",
            "CNI_NETNS": f"/run/netns/{self.pod.name}",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": f"{self.plugin.parent}:/usr/lib/cni",
            **changes,
        }
        return {name: value for name, value in given.items() if value is not None}

    def call(self, command: str, config: Any = None, **changes: str | None) -> Result:
        """Run the plugin; ``config`` is a mapping of more fields, or a text to send as it is."""
        text = config if isinstance(config, str) else json.dumps({**self._plain(command), **(config or {})})
        # The program that runs may have such variables itself.
        clean = ["env", *(part for name in _VARIABLES for part in ("-u", name))]
        words = [f"{name}={value}" for name, value in self.environment(command, **changes).items()]
        return self.node.run(*clean, *words, str(self.plugin), input=text or " ", timeout=20)

    def _plain(self, command: str) -> dict[str, Any]:
        plain = {**self.config, "cniVersion": self.version}
        if command == "ADD" and self.previous is not None:
            plain["prevResult"] = {**self.previous, "cniVersion": self.version}
        return plain

    def succeed(self, command: str, config: Any = None, **changes: str | None) -> Result:
        """Run the plugin, which has to succeed."""
        result = self.call(command, config, **changes)
        if not result.ok:
            raise Broken(f"{command} failed: {shorten(result.stdout or result.stderr)}")
        return result

    def refuse(self, command: str, config: Any = None, **changes: str | None) -> Mapping[str, Any]:
        """Run the plugin, which has to refuse; return its error."""
        result = self.call(command, config, **changes)
        if result.ok:
            if command == "ADD" and "ADD" not in self.results:
                # What it should not have made must not be in the way of the checks that follow.
                self.call("DEL", config, **changes)
            raise Broken("it was not refused: exit status 0")
        return read_object(result.stdout)

    def refuse_with(self, code: int, command: str, config: Any = None, **changes: str | None) -> Mapping[str, Any]:
        """Run the plugin, which has to refuse with this code."""
        error = self.refuse(command, config, **changes)
        if error.get("code") != code:
            raise Broken(f"code {code} was expected; it is {error.get('code')}: {shorten(str(error.get('msg')))}")
        return error

    def interface(self, name: str = "eth0") -> Any:
        """Return the interface in the namespace, or None."""
        return next((each for each in self.pod.state().interfaces if each.name == name), None)

    def ensure_previous(self) -> None:
        """Make again what the plugin before a chained one has made, where an earlier check has cost it."""
        if self.previous is not None and self.interface() is None:
            self.previous = attach(self.node, self.pod)

    def added(self) -> Any:
        """Return the result of ADD; skips where it failed."""
        if "ADD" not in self.results:
            raise Skipped("ADD did not succeed")
        return self.results["ADD"]


_VARIABLES = ("CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH", "CNI_ARGS")
Check = tuple[str, "Callable[[Bench], None]", frozenset[str]]
INTERFACE, CHAINED = "interface", "chained"
#: The reference plugins that change what another one made, with something to do for each.
_CHAINED: dict[str, dict[str, Any]] = {
    "bandwidth": {"ingressRate": 1_000_000, "ingressBurst": 1_000_000},
    "firewall": {},
    "portmap": {
        "snat": True,
        "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]},
    },
    "sbr": {},
    "tuning": {"sysctl": {"net.core.somaxconn": "500"}},
}
_OTHERS = {
    "dhcp": "gives addresses (IPAM)",
    "host-local": "gives addresses (IPAM)",
    "static": "gives addresses (IPAM)",
    "loopback": "sets up lo, which is there already",
}


def shorten(text: str) -> str:
    """Return a text as one line that is not too long."""
    line = " ".join(text.split())
    return line if len(line) <= 160 else f"{line[:157]}..."  # noqa: PLR2004 - two lines of a terminal


def read_object(text: str) -> Mapping[str, Any]:
    """Return the one JSON object that a plugin printed."""
    try:
        data = json.loads(text)
    except ValueError:
        raise Broken(f"one JSON object was expected; it printed {shorten(text) or 'nothing'}") from None
    if not isinstance(data, dict):
        raise Broken(f"a JSON object was expected; it printed {shorten(text)}")
    return data


def expect(condition: object, words: str) -> None:
    """Raise `Broken` where a condition does not hold."""
    if not condition:
        raise Broken(words)


def default_config(name: str) -> dict[str, Any]:
    """Return a configuration that most plugins can work with."""
    if name in _CHAINED:
        return {"name": "conformance", "type": name, **_CHAINED[name]}
    ipam = {
        "type": "host-local",
        "dataDir": "/run/cni/conformance",
        "ranges": [[{"subnet": "10.1.0.0/24"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    return {"name": "conformance", "type": name, "isGateway": True, "ipam": ipam}


def kind_of(name: str) -> str:
    """Return whether a plugin makes an interface or is chained behind one that does, by its name.

    Raises InvalidInputError for the reference plugins that are neither.
    """
    if name in _OTHERS:
        raise InvalidInputError(f"The plugin {name} {_OTHERS[name]}: these rules are for plugins that connect pods.")
    return CHAINED if name in _CHAINED else INTERFACE


def examine(plugin: Path, config: Mapping[str, Any] | None = None, *, kind: str | None = None) -> Iterator[Verdict]:
    """Run all checks on a plugin, and yield a verdict for each, in order.

    ``config`` is the plugin's configuration, without ``cniVersion``. ``kind`` is ``interface`` or ``chained``; without
    it the name decides. What is not for such plugins is named, and not checked.
    """
    from netlab.kubernetes.cni.rules_attach import CHECKS  # noqa: PLC0415 - the rules build on this module

    kind = kind or kind_of(plugin.name)
    with Lab("cni-conformance") as lab:
        node, pod = lab.add_host("node"), lab.add_host("pod")
        previous = attach(node, pod) if kind == CHAINED else None
        bench = Bench(plugin.resolve(), dict(config or default_config(plugin.name)), node, pod, previous=previous)
        for section, check, kinds in CHECKS:
            rule = " ".join((check.__doc__ or "").split()).rstrip(".")
            if kind not in kinds:
                words = "it makes no interface" if kind == CHAINED else "it is not chained"
                yield Verdict(section, rule, None, words, applies=False)
                continue
            yield _judge(bench, section, rule, check)


def _judge(bench: Bench, section: str, rule: str, check: Callable[[Bench], None]) -> Verdict:
    try:
        check(bench)
    except Skipped as reason:
        return Verdict(section, rule, None, str(reason))
    except Broken as finding:
        return Verdict(section, rule, passed=False, words=str(finding))
    except LabError as error:
        return Verdict(section, rule, passed=False, words=shorten(str(error)))
    return Verdict(section, rule, passed=True)


def attach(node: Host, pod: Host) -> dict[str, Any]:
    """Connect a namespace as a plugin that makes an interface would; return the result that such a one prints."""
    mine, theirs = "10.1.0.1/24", "10.1.0.2/24"
    node.lab.connect(node, pod, mine, theirs, names=("veth0", "eth0"))
    pod.add_route("default", via=mine.partition("/")[0])
    outer, inner = (host.state().interface(name).mac for host, name in ((node, "veth0"), (pod, "eth0")))
    return {
        "interfaces": [
            {"name": "veth0", "mac": outer},
            {"name": "eth0", "mac": inner, "sandbox": f"/run/netns/{pod.name}"},
        ],
        "ips": [{"address": theirs, "gateway": mine.partition("/")[0], "interface": 1}],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dns": {},
    }
