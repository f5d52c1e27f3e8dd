"""What a person does without netlab to see the same: `ip -j` and graphviz for the picture, captures for the journey."""

from __future__ import annotations

import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from netlab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netlab.host import Host
    from netlab.kernel.process import Process
    from netlab.lab import Lab

#: Lists every namespace with `ip -j`, writes DOT, and has `dot` draw it.
_PICTURE = """
import json, subprocess, sys

def ip(name, *words):
    return json.loads(subprocess.run(["ip", "-n", name, "-j", *words], capture_output=True, check=True).stdout or "[]")

lines = ["graph {", "node [shape=box]"]
for name in sys.argv[1:]:
    links = ip(name, "addr")
    words = [f"{link['ifname']} {link['operstate']} {a['local']}" for link in links for a in link["addr_info"]]
    lines.append(f'"{name}" [label="{name}\\\\n' + "\\\\n".join(words) + '"]')
    others = {each["nsid"]: each.get("name", "?") for each in ip(name, "netns", "list-id")}
    for link in links:
        if link.get("link_netnsid") in others and name < others[link["link_netnsid"]]:
            lines.append(f'"{name}" -- "{others[link["link_netnsid"]]}"')
svg = subprocess.run(["dot", "-Tsvg"], input="\\n".join([*lines, "}"]), capture_output=True, text=True, check=True)
assert "<svg" in svg.stdout
"""


def picture(lab: Lab) -> float:
    """Return how many seconds a script with `ip -j addr` for each namespace, and `dot`, takes to draw a lab."""
    first = next(iter(lab.hosts.values()))
    began = time.perf_counter()
    first.run(sys.executable, "-I", "-S", "-c", _PICTURE, *lab.hosts, check=True, timeout=60)
    return time.perf_counter() - began


def missing() -> str:
    """Return what `journey` needs and this machine lacks, or nothing."""
    return ", ".join(tool for tool in ("dumpcap", "tshark", "curl", "nft") if shutil.which(tool) is None)


def journey(client: Host, address: str, routers: Sequence[Host]) -> float:
    """Return how many seconds it takes to capture one request in every host, trace its rules, and print it all.

    What is measured ends where the reading begins: the lines of all hosts still have to be put together by eye.
    """
    lab = client.lab
    rule = ("PREROUTING", "-p", "tcp", "--dport", "80", "-j", "TRACE")
    began = time.perf_counter()
    watching: list[Process] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            files = []
            for host in lab.hosts.values():
                files.append(Path(folder, f"{host.name}.pcapng"))
                with files[-1].open("wb") as file:
                    watching.append(host.popen("dumpcap", "-q", "-i", "any", "-w", "-", stdout=file))
            for process in watching:
                _await_words(process, r"File: -")
            for host in routers:
                host.iptables("-t", "raw", "-I", *rule)
                with Path(folder, f"{host.name}.trace").open("wb") as file:
                    watching.append(host.popen("nft", "monitor", "trace", stdout=file))
            client.run("curl", "-s", "-m", "5", f"http://{address}/", check=True)
        finally:
            for process in watching:
                process.send_signal(signal.SIGINT)
            for process in watching:
                process.wait(timeout=10)
                process.close()
            for host in routers:
                host.iptables("-t", "raw", "-D", *rule)
        for file_ in files:
            client.run("tshark", "-n", "-r", str(file_), "-Y", "tcp", check=True, timeout=60)
    return time.perf_counter() - began


def _await_words(process: Process, pattern: str) -> None:
    assert process.stderr is not None  # noqa: S101 - popen opens it
    said = b""
    while not re.search(pattern.encode(), said):
        chunk = process.stderr.readline()
        if not chunk:
            raise LabError(f"dumpcap ended: {said.decode(errors='replace')}")
        said += chunk
