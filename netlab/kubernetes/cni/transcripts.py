"""Replay recorded calls of Debian's CNI plugins, and compare answers, rules and refusals."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from netlab.errors import LabError
from netlab.kubernetes.cni.config import Attachment, read_network
from netlab.kubernetes.cni.results import CniError
from netlab.kubernetes.cni.runtime import PLUGIN_FOLDERS, Runtime
from netlab.kubernetes.conformance import Suite
from netlab.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: The recording of the version that Debian bookworm ships.
RECORDED = "debian-1.1.1"
STEPS = 15
_NETNS = "cnipod"
_SUBNET, _ADDRESS = "10.244.1.0/24", "10.244.1.2"
_NETWORK = {
    "cniVersion": "1.0.0",
    "name": "lab",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipMasq": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "dataDir": "/run/cni/networks",
                "ranges": [[{"subnet": _SUBNET}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "portmap", "snat": True, "capabilities": {"portMappings": True}},
        {"type": "firewall"},
        {"type": "bandwidth", "capabilities": {"bandwidth": True}},
    ],
}
_POD = Attachment(
    "cnitool-ce1c9ff332392ae3f98c",
    f"/var/run/netns/{_NETNS}",
    capabilities={
        "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
        "bandwidth": {"ingressRate": 1_000_000, "ingressBurst": 1_000_000},
    },
)
_BRIDGE = '{"cniVersion":"1.0.0","name":"lab","type":"bridge"}'
#: Bad calls: the configuration, and what the environment has besides a good one; None for nearly nothing.
_BAD: dict[str, tuple[str, dict[str, str] | None]] = {
    "10-bad-command": ('{"cniVersion":"1.0.0"}', {"CNI_COMMAND": "WHAT"}),
    "11-missing-env": (_BRIDGE, None),
    "12-bad-json": ("", {}),
    "13-bad-version": (_BRIDGE.replace("1.0.0", "9.9.9"), {}),
    "14-bad-ifname": (_BRIDGE, {"CNI_IFNAME": "much-too-long-a-name"}),
    "15-bad-containerid": (_BRIDGE, {"CNI_CONTAINERID": "a/b"}),
}


def run_transcripts(folder: Path) -> Suite:
    """Return how many of the recorded steps go as recorded; ``folder`` holds ``cni/``.

    Where the recording or the plugins are not here, or are of another version, the suite says so in ``unrecorded``.
    """
    suite = Suite(f"CNI transcripts ({RECORDED})")
    recording = folder / "cni" / RECORDED
    if not recording.is_dir():
        suite.unrecorded.append(f"{recording} is not there")
        return suite
    with Lab("cni") as lab:
        runtime = Runtime(lab.add_host("node"))
        lab.add_host(_NETNS)
        recorded = json.loads((recording / "9-version.out").read_text())["supportedVersions"]
        try:
            installed = list(runtime.versions("bridge"))
        except LabError as error:
            suite.unrecorded.append(f"the plugins are not installed: {error}")
            return suite
        if installed != recorded:
            suite.unrecorded.append(f"the installed plugins speak {installed}, the recorded ones {recorded}")
            return suite
        suite.note("9-version", agrees=True)
        for name, compare in _Replay(runtime, recording).steps():
            suite.note(name, agrees=compare())
    return suite


class _Replay:
    """The recorded calls, in order, each with the comparison of what came of it."""

    def __init__(self, runtime: Runtime, recording: Path) -> None:
        self.runtime, self.recording = runtime, recording
        self.network = read_network(_NETWORK)

    def steps(self) -> Iterator[tuple[str, Callable[[], bool]]]:
        runtime, network = self.runtime, self.network
        yield "1-add", self.add
        yield "2-check", lambda: self.refused(runtime.check, "2-check")
        yield "3-add-again", lambda: self.refused(runtime.add, "3-add-again")
        yield "4-status", lambda: self.quiet(lambda: runtime.status(network), "4-status")
        yield "5-del", lambda: self.quiet(lambda: runtime.delete(network, _POD), "5-del")
        yield "6-del-again", lambda: self.quiet(lambda: runtime.delete(network, _POD), "6-del-again")
        yield "7-check-after-del", lambda: self.refused(runtime.check, "7-check-after-del")
        yield "8-gc", self.collect
        for name in _BAD:
            yield name, lambda name=name: self.bad(name)  # type: ignore[misc]

    def text(self, name: str) -> str:
        return (self.recording / name).read_text(encoding="utf-8")

    def rules(self) -> str:
        return self.runtime.host.run("iptables-save", check=True).stdout

    def add(self) -> bool:
        result = self.runtime.add(self.network, _POD)
        same = _without_accidents(result.data) == _without_accidents(json.loads(self.text("1-add.out")))
        held = self.runtime.host.run("cat", f"/run/cni/networks/lab/{_ADDRESS}").stdout.split()
        return (
            same and held == [_POD.container_id, "eth0"] and _plain(self.rules()) == _plain(self.text("iptables.txt"))
        )

    def refused(self, action: Callable[..., object], name: str) -> bool:
        try:
            action(self.network, _POD)
        except CniError as error:
            return bool(error.msg) and self.text(f"{name}.err").splitlines()[-1].endswith(error.msg)
        return False

    def quiet(self, action: Callable[[], object], name: str) -> bool:
        try:
            action()
        except CniError:
            return False
        return self.text(f"{name}.out") == self.text(f"{name}.err") == ""

    def collect(self) -> bool:
        quiet = self.quiet(lambda: self.runtime.gc(self.network, []), "8-gc")
        files = self.runtime.host.run("ls", "-1", "/run/cni/networks/lab").stdout.split()
        left = sorted(line.rpartition("/")[2] for line in self.text("hostlocal-after.txt").splitlines())
        return quiet and files == left and _plain(self.rules()) == _plain(self.text("iptables-after.txt"))

    def bad(self, name: str) -> bool:
        config, more = _BAD[name]
        given = {"CNI_COMMAND": "ADD"}
        if more is not None:
            given |= {"CNI_CONTAINERID": "a", "CNI_NETNS": f"/run/netns/{_NETNS}", "CNI_IFNAME": "eth0"}
            given |= {"CNI_PATH": PLUGIN_FOLDERS[0], **more}
        try:
            self.runtime.execute("bridge", given, config)
        except CniError as error:
            found = {"code": error.code, "msg": error.msg, "details": error.details}
            return found == {"details": "", **json.loads(self.text(f"{name}.out"))}
        return False


def _plain(rules: str) -> list[str]:
    """Return rules without the tool's comments and counters."""
    return [re.sub(r" \[\d+:\d+\]", "", line) for line in rules.splitlines() if not line.startswith("#")]


def _without_accidents(result: Any) -> Any:
    """Return a result without MAC addresses and the random part of the veth's name; empty fields do not count."""
    interfaces = [
        {**interface, "mac": "", "name": re.sub(r"^veth[0-9a-f]{8}$", "veth", interface["name"])}
        for interface in result["interfaces"]
    ]
    return {key: value for key, value in {**result, "interfaces": interfaces}.items() if value != {}}
