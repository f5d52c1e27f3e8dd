"""A network namespace in which the tests of the proxy load rules and list them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from netlab.kubernetes.proxy.model import Family

if TYPE_CHECKING:
    import subprocess

# Runs inside the namespace: one command for each line it reads. Starting a namespace for each command would cost more
# than the commands.
WORKER = """
import json, subprocess, sys
for line in sys.stdin:
    command, text = json.loads(line)
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    print(json.dumps([done.returncode, done.stdout, done.stderr]), flush=True)
"""


class Kernel:
    """A network namespace of the test's own, in which rules are loaded and listed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Talk to the worker that runs in the namespace."""
        self._process = process

    def run(self, *command: str, text: str = "") -> tuple[int, str, str]:
        """Run a command in the namespace; return its code, output and errors."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([command, text]) + "\n")
        self._process.stdin.flush()
        code, out, err = json.loads(self._process.stdout.readline())
        return code, out, err

    def must(self, *command: str, text: str = "") -> str:
        """Run a command that has to succeed; return its output."""
        code, out, err = self.run(*command, text=text)
        assert code == 0, f"{' '.join(command)}: {err}\n{text}"
        return out

    def clear(self) -> None:
        """Take away every rule, those of iptables too: they are nftables underneath."""
        self.must("nft", "flush", "ruleset")

    def restore(self, family: Family, text: str) -> None:
        """Load iptables rules beside those that are there."""
        self.must(f"{_tool(family)}-restore", "--noflush", text=text)

    def save(self, family: Family) -> str:
        """Return all iptables rules."""
        return self.must(f"{_tool(family)}-save")

    def nft(self, script: str) -> None:
        """Load an nftables script."""
        self.must("nft", "-f", "-", text=script)

    def table(self, family: Family) -> str:
        """Return the table of the proxy, without counters."""
        return self.must("nft", "-s", "list", "table", "ip" if family is Family.IPV4 else "ip6", "kube-proxy")

    def saved(self, family: Family, text: str) -> str:
        """Return all iptables rules after ``text`` was loaded into an empty namespace."""
        self.clear()
        self.restore(family, text)
        return self.save(family)

    def listed(self, family: Family, script: str) -> str:
        """Return the proxy's table after ``script`` was loaded into an empty namespace."""
        self.clear()
        self.nft(script)
        return self.table(family)


def _tool(family: Family) -> str:
    return "iptables" if family is Family.IPV4 else "ip6tables"
