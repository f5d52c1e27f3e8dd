"""Check names, addresses and numbers before anything is asked of the kernel. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

from netlab.errors import InvalidInputError

if TYPE_CHECKING:
    from netlab.kernel.values import IPAddress, IPInterface, IPNetwork

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")
_INTERFACE = re.compile(r"[!-~]{1,15}")
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*(bit|kbit|mbit|gbit)", re.IGNORECASE)
_SYSCTL = re.compile(r"[A-Za-z0-9_.:/@-]+")
_UNITS = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
LARGEST_MTU, LARGEST_PORT, LARGEST_VNI = 65535, 65535, 2**24 - 1


def _wrong(what: str, expected: str, given: object) -> InvalidInputError:
    return InvalidInputError(f"{what} must be {expected}; {given!r} is not.")


def host_name(name: object) -> str:
    """Return a host's name if it can be a hostname (RFC 1123): letters, digits, hyphens, dots, at most 63."""
    if isinstance(name, str) and name.isascii() and _HOST.fullmatch(name) and ".." not in name:
        return name
    raise _wrong(
        "The name of a host", "1 to 63 letters, digits, hyphens or dots, with a letter or digit at both ends", name
    )


def interface_name(name: object) -> str:
    """Return an interface's name if the kernel takes it (dev_valid_name): at most 15 visible characters."""
    if (
        isinstance(name, str)
        and _INTERFACE.fullmatch(name)
        and name not in {".", "..", "all", "default"}
        and not set(name) & set("/:%\"'")
    ):
        return name
    raise _wrong("The name of an interface", "1 to 15 visible ASCII characters without / : % or quotes", name)


def interface_address(address: object) -> IPInterface:
    """Return an address with its prefix, such as 10.0.0.1/24 or fd00::1/64."""
    found = _interface_address(address)
    if found is not None and (found.ip.is_unspecified or found.ip.is_multicast):
        raise _wrong("The address of an interface", "one that a single host can have", str(address))
    if found is not None:
        return found
    expected = "an address with its prefix length, such as 10.0.0.1/24 or fd00::1/64"
    raise _wrong("The address of an interface", expected, address)


def _interface_address(address: object) -> IPInterface | None:
    if isinstance(address, (ipaddress.IPv4Interface, ipaddress.IPv6Interface)):
        return address
    try:
        if (
            isinstance(address, str)
            and address.count("/") == 1
            and "%" not in address
            and address.partition("/")[2].isdecimal()
        ):
            return ipaddress.ip_interface(address)
    except ValueError:
        pass  # the caller says what was expected
    return None


def address(value: object, what: str = "The address") -> IPAddress:
    """Return an address without a prefix."""
    if isinstance(value, (ipaddress.IPv4Address, ipaddress.IPv6Address)) and not hasattr(value, "network"):
        return value
    try:
        if isinstance(value, str) and "%" not in value:
            return ipaddress.ip_address(value)
    except ValueError:
        pass  # the message below says what was expected
    raise _wrong(what, "an IP address without a prefix, such as 10.0.0.1 or fd00::1", value)


def network(value: Any, version: int = 4) -> IPNetwork:
    """Return a destination: a network such as 10.1.0.0/16, one address, or "default" (of the version given)."""
    if isinstance(value, (ipaddress.IPv4Network, ipaddress.IPv6Network)):
        return value
    if value == "default":
        return ipaddress.ip_network("0.0.0.0/0" if version == 4 else "::/0")
    try:
        if isinstance(value, str) and "%" not in value:
            return ipaddress.ip_network(value)
    except ValueError as error:
        if "host bits" in str(error):
            right = ipaddress.ip_network(value, strict=False)
            text = f"The destination {value!r} names an address inside a network; the network itself is {str(right)!r}."
            raise InvalidInputError(text) from None
    raise _wrong("The destination of a route", 'a network such as 10.1.0.0/16 or fd00:1::/64, or "default"', value)


def number(value: object, what: str, low: int, high: int) -> int:
    """Return a whole number between two limits, both included."""
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    raise _wrong(what, f"a whole number from {low} to {high}", value)


def mtu(value: object) -> int | None:
    """Return an MTU in bytes, or None: at least 68, what IPv4 needs (RFC 791)."""
    return None if value is None else number(value, "An MTU", 68, LARGEST_MTU)


def port(value: object) -> int:
    """Return a TCP or UDP port."""
    return number(value, "A port", 1, LARGEST_PORT)


def mac_address(value: object) -> str:
    """Return a MAC address in lower case."""
    if isinstance(value, str) and _MAC.fullmatch(value):
        return value.lower()
    raise _wrong("A MAC address", "six pairs of hexadecimal digits, such as 02:00:00:00:00:01", value)


def rate(value: object) -> int:
    """Return a rate in bits a second, from a text such as "10mbit" (tc(8))."""
    if isinstance(value, str) and (match := _RATE.fullmatch(value.strip())):
        bits = int(float(match[1]) * _UNITS[match[2].lower()])
        if 8 <= bits <= 2**32 * 8 - 8:
            return bits
    raise _wrong("A rate", 'a number with bit, kbit, mbit or gbit, from 8bit to 34gbit, such as "10mbit"', value)


def sysctl_path(key: object) -> str:
    """Return the path below /proc/sys of a kernel setting of the network, from net.ipv4.ip_forward or with slashes.

    As in sysctl(8), the first separator decides which of the two it is: in ``net.ipv4.conf.eth0/1.rp_filter`` the
    slash stands for a dot in an interface's name.
    """
    if isinstance(key, str) and _SYSCTL.fullmatch(key) and ".." not in key.replace("/", "."):
        first = next((letter for letter in key if letter in "./"), ".")
        path = key if first == "/" else key.translate(str.maketrans("./", "/."))
        if path.startswith("net/") and ".." not in path.split("/"):
            return path
    raise _wrong("A kernel setting", 'one of the network, such as "net.ipv4.ip_forward"', key)


def word(value: object, what: str) -> str:
    """Return a text without line breaks and zero bytes."""
    if isinstance(value, str) and value and not set(value) & set("\0\n\r"):
        return value
    raise _wrong(what, "a text without line breaks", value)
