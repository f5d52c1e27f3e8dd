"""What plugins answer: results and errors (CNI specification, section 5)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import TYPE_CHECKING, Any

from netlab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Error codes that the specification gives a meaning; plugins use 100 and above for their own.
CODES = {
    1: "incompatible CNI version",
    2: "unsupported field in the network configuration",
    3: "container unknown or does not exist",
    4: "invalid environment variable",
    5: "input or output failure",
    6: "failed to decode content",
    7: "invalid network configuration",
    11: "try again later",
    50: "the plugin is not available",
    51: "the plugin is not available, and existing containers may have limited connectivity",
}
#: For a plugin that failed without the JSON that the specification asks for; libcni uses it too.
UNSPECIFIED = 999


class CniError(LabError):
    """Report what a plugin refused, or what it got wrong.

    Attributes: ``code`` (see `CODES`), ``msg``, ``details``, ``plugin`` (its type), ``command`` (ADD, DEL, …).
    """

    def __init__(self, code: int, msg: str, details: str = "", *, plugin: str = "", command: str = "") -> None:
        """Keep the parts beside the message."""
        who = " ".join(part for part in (f"CNI plugin {plugin!r}" if plugin else "CNI", command) if part)
        meaning = f" ({CODES[code]})" if code in CODES and CODES[code] != msg else ""
        super().__init__(f"{who}: {msg}; code {code}{meaning}" + (f"; {details}" if details else ""))
        self.code, self.msg, self.details = code, msg, details
        self.plugin, self.command = plugin, command


@dataclass(frozen=True, slots=True)
class ResultInterface:
    """An interface that an attachment made; ``sandbox`` is the path of its namespace, empty for the node's own."""

    name: str
    mac: str = ""
    sandbox: str = ""


@dataclass(frozen=True, slots=True)
class ResultAddress:
    """An address that was given; ``interface`` is an index into the result's interfaces."""

    address: IPv4Interface | IPv6Interface
    gateway: str = ""
    interface: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The result of ADD; ``data`` is the JSON object as the plugin printed it."""

    data: Mapping[str, Any]
    interfaces: tuple[ResultInterface, ...] = ()
    addresses: tuple[ResultAddress, ...] = ()
    routes: tuple[tuple[str, str], ...] = field(default=())

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Result:
        """Read the JSON object of a result; raises CniError (code 6) for one that cannot be right."""
        try:
            interfaces = tuple(
                ResultInterface(item["name"], item.get("mac", ""), item.get("sandbox", ""))
                for item in data.get("interfaces") or ()
            )
            addresses = tuple(
                ResultAddress(ip_interface(item["address"]), item.get("gateway", ""), item.get("interface"))
                for item in data.get("ips") or ()
            )
            routes = tuple((item["dst"], item.get("gw", "")) for item in data.get("routes") or ())
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            text = f"the result does not have the form of the specification: {error!r}"
            raise CniError(6, text, json.dumps(data)[:200]) from None
        return cls(data, interfaces, addresses, routes)

    @property
    def host_interfaces(self) -> tuple[ResultInterface, ...]:
        """Return the interfaces on the node's side."""
        return tuple(interface for interface in self.interfaces if not interface.sandbox)


def read_error(stdout: str, stderr: str) -> CniError:
    """Return the error that a plugin printed; one of our own where it printed none (code 999)."""
    try:
        data = json.loads(stdout)
        return CniError(int(data["code"]), str(data["msg"]), str(data.get("details", "")))
    except (ValueError, KeyError, TypeError):
        words = " ".join((stderr or stdout).split())[:300]
        return CniError(UNSPECIFIED, "the plugin failed without an error in JSON", words)
