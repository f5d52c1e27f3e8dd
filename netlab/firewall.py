"""Load iptables rule sets of several tables as a whole: iptables-restore itself commits table by table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from netlab.errors import CommandError, InvalidInputError

if TYPE_CHECKING:
    from netlab.host import Host
    from netlab.kernel.process import Result

#: By family: the name in front of -save and -restore, and the family of the nftables tables behind it.
_TOOLS = {"ipv4": ("iptables", "ip"), "ipv6": ("ip6tables", "ip6")}
_TABLE = re.compile(r"^\*(\w+)", re.MULTILINE)


def restore(host: Host, text: str, family: str, *, flush: bool) -> Result:
    """Load a rule set in a host; a table that is refused takes those before it back (iptables-restore(8))."""
    if family not in _TOOLS:
        raise InvalidInputError(f'The family must be "ipv4" or "ipv6"; {family!r} is not.')
    tool, nft_family = _TOOLS[family]
    options = ["--counters", "-w"] if flush else ["--noflush", "-w"]
    # Finds wrong words in any table, but not what only the kernel refuses, such as a jump to a chain that is not there.
    host.run(f"{tool}-restore", "--test", *options, input=text + "\n", check=True)
    tables = set(_TABLE.findall(text))
    before = host.run(f"{tool}-save", "-c", check=True).stdout if len(tables) > 1 else ""
    try:
        return host.run(f"{tool}-restore", *options, input=text + "\n", check=True)
    except CommandError:
        if len(tables) > 1:
            for table in tables - set(_TABLE.findall(before)):
                host.run("nft", "delete", "table", nft_family, table)
            host.run(f"{tool}-restore", "--counters", "-w", input=before, check=True)
        raise
