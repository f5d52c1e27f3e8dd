"""Name the chains of a Service port and of its endpoints.

Source: ``portProtoHash`` in pkg/proxy/iptables/proxier.go, ``hashAndTruncate`` in pkg/proxy/nftables/proxier.go.
"""

from __future__ import annotations

from base64 import b32encode
from hashlib import sha256

# 256 is the longest name in nftables; 16 of it are kept for the longest prefix.
_LONGEST_BASE = 240


def iptables_hash(*parts: str) -> str:
    """Return the 16 characters that end an iptables chain name.

    Sixteen, because a chain name has at most 28 characters.

    >>> iptables_hash("ns1/svc1:p80", "tcp")
    'XPGD46QRK7WJZT7O'
    >>> iptables_hash("ns1/svc1:p80", "tcp", "10.180.0.1:80")
    'SXIVWICOYRO3J4NJ'
    """
    # 16 characters of base32 are 80 bits, hence ten bytes.
    return b32encode(sha256("".join(parts).encode()).digest()[:10]).decode()


def nftables_base(name: str) -> str:
    """Return the part of an nftables chain name that follows the prefix.

    >>> nftables_base("ns1/svc1/tcp/p80")
    'ULMVA6XW-ns1/svc1/tcp/p80'
    """
    base = f"{b32encode(sha256(name.encode()).digest()[:5]).decode()}-{name}"
    return base if len(base) <= _LONGEST_BASE else f"{base[: _LONGEST_BASE - 3]}..."


def nftables_endpoint_base(service: str, address: str, port: int) -> str:
    """Return the same for an endpoint; ``service`` is ``namespace/name/protocol/port``.

    A chain name cannot hold colons, so those of an IPv6 address become dots.
    """
    return nftables_base(f"{service}__{address.replace(':', '.')}/{port}")
