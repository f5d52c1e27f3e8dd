"""The runtime gets from the real plugins what the real runtime got: recorded calls, compared answer by answer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from netlab import Lab
from netlab.kubernetes.cni import Attachment, CniError, Runtime, read_network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netlab import Host

#: Recorded with the plugins of Debian bookworm.
RECORDED = Path(__file__).parents[3] / "shared" / "conformance" / "cni" / "debian-1.1.1"
PLUGINS = Path("/usr/lib/cni")

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(not RECORDED.is_dir(), reason="the recordings of conformance/cni are not beside this checkout"),
    pytest.mark.skipif(not PLUGINS.is_dir(), reason="the package containernetworking-plugins is not installed"),
]

NETWORK = {
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
                "ranges": [[{"subnet": "10.244.1.0/24"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "portmap", "snat": True, "capabilities": {"portMappings": True}},
        {"type": "firewall"},
        {"type": "bandwidth", "capabilities": {"bandwidth": True}},
    ],
}
CONTAINER = "cnitool-ce1c9ff332392ae3f98c"
POD = Attachment(
    CONTAINER,
    "/var/run/netns/cnipod",
    capabilities={
        "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
        "bandwidth": {"ingressRate": 1_000_000, "ingressBurst": 1_000_000},
    },
)


@pytest.fixture
def node() -> Iterator[Host]:
    """Return a node beside a namespace of the recorded name."""
    with Lab("cni") as lab:
        host = lab.add_host("node")
        lab.add_host("cnipod")
        yield host


@pytest.fixture
def runtime(node: Host) -> Runtime:
    """Return a runtime that finds Debian's plugins, of the version that was recorded."""
    made = Runtime(node)
    recorded = json.loads(text("9-version.out"))["supportedVersions"]
    if list(made.versions("bridge")) != recorded:
        pytest.skip(f"the installed plugins speak {made.versions('bridge')}, the recorded ones {recorded}")
    return made


def text(name: str) -> str:
    """Return a recorded text."""
    return (RECORDED / name).read_text(encoding="utf-8")


def plain(rules: str) -> list[str]:
    """Return the rules without comments of the tool and counters."""
    return [re.sub(r" \[\d+:\d+\]", "", line) for line in rules.splitlines() if not line.startswith("#")]


def without_accidents(result: Any) -> Any:
    """Return a result without MAC addresses and the random part of the veth's name; empty fields do not count."""
    interfaces = [
        {**interface, "mac": "", "name": re.sub(r"^veth[0-9a-f]{8}$", "veth", interface["name"])}
        for interface in result["interfaces"]
    ]
    return {key: value for key, value in {**result, "interfaces": interfaces}.items() if value != {}}


def refusal(action: Any, *arguments: Any) -> str:
    """Return the message with which a call is refused."""
    with pytest.raises(CniError) as error:
        action(*arguments)
    return error.value.msg


def last_line(name: str) -> str:
    """Return what a recorded program ended with."""
    return text(name).splitlines()[-1]


def test_the_life_of_an_attachment_is_the_recorded_one(runtime: Runtime, node: Host) -> None:
    """ADD, CHECK, ADD again, STATUS, DEL, DEL again, CHECK after DEL, GC: results, rules, files and refusals."""
    network = read_network(NETWORK)
    result = runtime.add(network, POD)
    assert without_accidents(result.data) == without_accidents(json.loads(text("1-add.out")))
    assert plain(node.run("iptables-save").stdout) == plain(text("iptables.txt"))
    held = node.run("cat", "/run/cni/networks/lab/10.244.1.2").stdout.split()
    assert held == [CONTAINER, "eth0"]
    assert re.search(r"veth[0-9a-f]{8}@if2: .* qdisc tbf master cni0 state UP", node.run("ip", "link").stdout)

    assert refusal(runtime.check, network, POD) == last_line("2-check.err")
    again = refusal(runtime.add, network, POD)
    assert again == last_line("3-add-again.err").partition("failed (add): ")[2]
    runtime.status(network)
    assert text("4-status.out") == text("4-status.err") == ""

    runtime.delete(network, POD)
    runtime.delete(network, POD)
    assert text("5-del.err") == text("6-del-again.err") == ""
    assert refusal(runtime.check, network, POD) == last_line("7-check-after-del.err")
    runtime.gc(network, [])
    assert text("8-gc.err") == ""
    assert plain(node.run("iptables-save").stdout) == plain(text("iptables-after.txt"))
    files = node.run("sh", "-c", "cd /run/cni/networks && ls -1 lab").stdout.split()
    assert files == sorted(line.partition("/")[2] for line in text("hostlocal-after.txt").splitlines())


@pytest.mark.parametrize(
    ("name", "config", "environment"),
    [
        ("10-bad-command", '{"cniVersion":"1.0.0"}', {"CNI_COMMAND": "WHAT"}),
        ("11-missing-env", '{"cniVersion":"1.0.0","name":"lab","type":"bridge"}', None),
        ("12-bad-json", "", {}),
        ("13-bad-version", '{"cniVersion":"9.9.9","name":"lab","type":"bridge"}', {}),
        (
            "14-bad-ifname",
            '{"cniVersion":"1.0.0","name":"lab","type":"bridge"}',
            {"CNI_IFNAME": "much-too-long-a-name"},
        ),
        ("15-bad-containerid", '{"cniVersion":"1.0.0","name":"lab","type":"bridge"}', {"CNI_CONTAINERID": "a/b"}),
    ],
)
def test_bad_calls_are_refused_as_recorded(
    runtime: Runtime, name: str, config: str, environment: dict[str, str] | None
) -> None:
    """The codes and words of the plugin reach the caller."""
    given = {"CNI_COMMAND": "ADD"}
    if environment is not None:
        given |= {
            "CNI_CONTAINERID": "a",
            "CNI_NETNS": "/run/netns/cnipod",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(PLUGINS),
            **environment,
        }
    recorded = json.loads(text(f"{name}.out"))
    with pytest.raises(CniError) as error:
        runtime.execute("bridge", given, config)
    found = {"code": error.value.code, "msg": error.value.msg, "details": error.value.details}
    assert found == {"details": "", **recorded}
