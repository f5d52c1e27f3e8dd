"""Read addresses the way the Service proxy reads them.

Kubernetes keeps accepting what older releases accepted: leading zeros in IPv4 (``010.0.0.1`` is 10.0.0.1) and IPv4
addresses dressed as IPv6 (``::ffff:10.0.0.1``). Python refuses the first and keeps the second as IPv6.
Source: ``k8s.io/utils/net`` ParseIPSloppy and ParseCIDRSloppy; ``net.IP.String``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_MAPPED_BITS = 96
_QUAD = 4
_NUMBER = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_PLAIN = re.compile(rf"{_NUMBER}(?:\.{_NUMBER}){{3}}")
_BYTE = 255


def parse_address(text: str) -> Address | None:
    """Return the address that ``text`` names, or None if it names none."""
    if ":" not in text:
        return _parse_quad(text)
    if "%" in text:
        return None  # a zone belongs to one machine; Go refuses it too
    head, colon, tail = text.rpartition(":")
    if "." in tail:
        quad = _parse_quad(tail)
        if quad is None:
            return None
        text = f"{head}{colon}{int(quad) >> 16:x}:{int(quad) & 0xFFFF:x}"
    try:
        address = IPv6Address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address


def canonical(text: str) -> str | None:
    """Return the one spelling of the address that ``text`` names, or None if it names none."""
    if _PLAIN.fullmatch(text):
        return text  # as nearly all are: making an address of it and text again costs ten times the look
    address = parse_address(text)
    return None if address is None else str(address)


def parse_network(text: str) -> Network | None:
    """Return the network of ``text`` with its host bits cleared, or None if it is none."""
    base, slash, length = text.partition("/")
    if not slash or not (length.isascii() and length.isdigit()):
        return None
    address = parse_address(base)
    if address is None:
        return None
    bits = int(length)
    if isinstance(address, IPv4Address) and ":" in base:
        # An IPv4 address written as IPv6 counts its prefix from the start of the IPv6 form.
        bits -= _MAPPED_BITS
    if not 0 <= bits <= address.max_prefixlen:
        return None
    return ip_network((address, bits), strict=False)


@lru_cache(maxsize=4096)
def network(text: str) -> Network:
    """Return the network of a text that was written by this module, from a cache."""
    return ip_network(text)


def join(address: str, port: int) -> str:
    """Return ``address:port``, with brackets round an IPv6 address."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _parse_quad(text: str) -> IPv4Address | None:
    parts = text.split(".")
    if len(parts) != _QUAD or not all(part.isascii() and part.isdigit() for part in parts):
        return None
    numbers = [int(part) for part in parts]
    return IPv4Address(bytes(numbers)) if max(numbers) <= _BYTE else None
