"""Read network configurations, and derive what each plugin is given (CNI specification, sections 1 and 3). Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netlab.kubernetes.cni.results import CniError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: The versions this runtime speaks, oldest first.
VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_LONGEST_INTERFACE = 15


@dataclass(frozen=True, slots=True)
class PluginConfig:
    """One plugin of a list: its type, the capabilities it declares, and its configuration as it was written."""

    type: str
    capabilities: tuple[str, ...]
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NetworkList:
    """A network configuration list: what a file such as /etc/cni/net.d/10-lab.conflist holds."""

    name: str
    version: str
    plugins: tuple[PluginConfig, ...]
    disable_check: bool = False
    disable_gc: bool = False

    def at_least(self, version: str) -> bool:
        """Tell whether the list's version is this one or newer."""
        return _order(self.version) >= _order(version)


@dataclass(frozen=True, slots=True)
class Attachment:
    """What is attached to a network: a container's namespace, by an interface.

    ``args`` become CNI_ARGS; ``capabilities`` hold what each capability would be given, such as
    ``{"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}``.
    """

    container_id: str
    netns: str
    ifname: str = "eth0"
    args: Mapping[str, str] = field(default_factory=dict)
    capabilities: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what the specification forbids (section 2): CniError with code 4."""
        if not _NAME.fullmatch(self.container_id):
            text = "a container ID begins with a letter or digit, and then may have _ . - too"
            raise CniError(4, "invalid characters in the container ID", f"{text}; not {self.container_id!r}")
        if not self.ifname or len(self.ifname) > _LONGEST_INTERFACE or self.ifname in {".", ".."}:
            text = f"1 to {_LONGEST_INTERFACE} characters were expected"
            raise CniError(4, "invalid interface name", f"{text}; not {self.ifname!r}")
        if re.search(r"[/:\s]", self.ifname):
            raise CniError(4, "invalid interface name", f"no / : or space is allowed; not {self.ifname!r}")


def read_network(source: Mapping[str, Any] | str | Path) -> NetworkList:
    """Read a list from a file (.conflist, or .conf with one plugin), from JSON, or from a mapping.

    Raises CniError: code 1 for a version that this runtime does not speak, 6 for what is not JSON, 7 for a field.
    """
    if isinstance(source, Path):
        source = source.read_text(encoding="utf-8")
    if isinstance(source, str):
        try:
            source = json.loads(source)
        except ValueError as error:
            raise CniError(6, "the network configuration is not JSON", str(error)) from None
    if not isinstance(source, dict):
        raise CniError(7, "a network configuration is a JSON object", json.dumps(source, default=str)[:80])
    name = source.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        text = "it begins with a letter or digit, and then may have _ . - too"
        raise CniError(7, "the name of the network is missing or wrong", f"{text}; not {name!r}")
    if "plugins" not in source and "type" in source:
        # The older form: one plugin, whose configuration has the name and the version too.
        source = {**{key: source.get(key) for key in ("name", "cniVersion")}, "plugins": [source]}
    plugins = source.get("plugins")
    if not isinstance(plugins, list) or not plugins:
        raise CniError(7, "plugins: a list with one plugin or more was expected", json.dumps(plugins)[:80])
    return NetworkList(
        name,
        _version(source),
        tuple(_plugin(index, plugin) for index, plugin in enumerate(plugins)),
        _flag(source, "disableCheck"),
        _flag(source, "disableGC"),
    )


def _plugin(index: int, data: Any) -> PluginConfig:
    kind = data.get("type") if isinstance(data, dict) else None
    if not isinstance(kind, str) or not kind or "/" in kind:
        raise CniError(7, f"plugins[{index}].type: the name of a plugin's file was expected", f"not {kind!r}")
    declared = data.get("capabilities") or {}
    if not isinstance(declared, dict) or not all(isinstance(value, bool) for value in declared.values()):
        raise CniError(7, f"plugins[{index}].capabilities: true or false for each was expected", json.dumps(declared))
    return PluginConfig(kind, tuple(name for name, value in declared.items() if value), data)


def _version(source: Mapping[str, Any]) -> str:
    """Choose the newest version that the list names and this runtime speaks (section 1, cniVersions)."""
    named = [source.get("cniVersion"), *(source.get("cniVersions") or ())]
    known = [version for version in VERSIONS if version in named]
    if not known:
        raise CniError(1, "incompatible CNI versions", f"the list has {named}; this runtime has {list(VERSIONS)}")
    return known[-1]


def _flag(source: Mapping[str, Any], key: str) -> bool:
    value = source.get(key, False)
    # Lists that were written for libcni may have the words as a string.
    if value in {True, "true"}:
        return True
    if value in {False, "false"}:
        return False
    raise CniError(7, f"{key}: true or false was expected", f"not {value!r}")


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def derive(
    network: NetworkList,
    plugin: PluginConfig,
    attachment: Attachment | None,
    previous: Mapping[str, Any] | None = None,
    valid: Sequence[Attachment] | None = None,
) -> dict[str, Any]:
    """Return the configuration that a plugin is given (section 3, deriving execution configuration).

    ``capabilities`` goes, and ``runtimeConfig`` comes with those that it declares and the attachment has;
    ``prevResult`` comes where there is one; GC gets the attachments that are still ``valid``.
    """
    given = {key: value for key, value in plugin.data.items() if key not in {"capabilities", "cniVersions"}}
    given |= {"name": network.name, "cniVersion": network.version}
    if attachment is not None:
        found = {name: attachment.capabilities[name] for name in plugin.capabilities if name in attachment.capabilities}
        if found:
            given["runtimeConfig"] = found
    if previous is not None:
        given["prevResult"] = previous
    if valid is not None:
        # Plugins made for a draft of version 1.1 look for the second name.
        pairs = [{"containerID": each.container_id, "ifname": each.ifname} for each in valid]
        given |= {"cni.dev/valid-attachments": pairs, "cni.dev/attachments": pairs}
    return given
