"""`netlab cni conformance` finds what a plugin breaks, and names the rule."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from netlab import InvalidInputError
from netlab.kubernetes.cni.conformance import examine

pytestmark = pytest.mark.kernel

BRIDGE = Path("/usr/lib/cni/bridge")
#: What Debian's plugins, version 1.1.1, are known to break.
KNOWN = {
    "A missing CNI_COMMAND is refused with code 4",
    "An error repeats the cniVersion of the configuration",
}
#: A chained plugin that keeps the interfaces of prevResult, and nothing else of it.
GREEDY = """#!{python}
import json, os, subprocess, sys
config = json.load(sys.stdin)
command, space = os.environ["CNI_COMMAND"], os.path.basename(os.environ.get("CNI_NETNS", ""))
if command == "VERSION":
    print(json.dumps({{"cniVersion": "1.0.0", "supportedVersions": ["1.0.0"]}}))
elif command == "ADD":
    print(json.dumps({{"cniVersion": "1.0.0", "interfaces": config["prevResult"]["interfaces"]}}))
elif command == "DEL":
    subprocess.run(["ip", "-n", space, "link", "del", os.environ["CNI_IFNAME"]])
"""
#: A plugin as a learner might write it first: it adds and deletes, and checks nothing.
NAIVE = """#!{python}
import json, os, subprocess, sys
config = json.load(sys.stdin)
command, space = os.environ["CNI_COMMAND"], os.path.basename(os.environ.get("CNI_NETNS", ""))
name = os.environ.get("CNI_IFNAME", "")
if command == "VERSION":
    print(json.dumps({{"cniVersion": "1.0.0", "supportedVersions": ["1.0.0"]}}))
elif command == "ADD":
    link = ["ip", "link", "add", "veth" + name, "type", "veth", "peer", "name", name, "netns", space]
    subprocess.run(link, check=True)
    subprocess.run(["ip", "-n", space, "addr", "add", "10.1.0.2/24", "dev", name], check=True)
    print(json.dumps({{"cniVersion": "1.0.0", "interfaces": [{{"name": name, "sandbox": os.environ["CNI_NETNS"]}}],
        "ips": [{{"address": "10.1.0.2/24", "interface": 0}}, {{"address": "10.1.0.3/24", "interface": 7}}]}}))
elif command == "DEL":
    subprocess.run(["ip", "-n", space, "link", "del", name], check=True)
"""


def test_the_reference_plugin_keeps_nearly_all_rules() -> None:
    """Debian's bridge, version 1.1.1: it takes a missing command for a question, and its errors have no version."""
    if not BRIDGE.exists():
        pytest.skip("the package containernetworking-plugins is not installed")
    verdicts = [verdict for verdict in examine(BRIDGE) if verdict.applies]
    assert len(verdicts) >= 40
    assert all(verdict.section for verdict in verdicts)
    assert {verdict.rule for verdict in verdicts if verdict.passed is False} <= KNOWN


def test_a_naive_plugin_is_told_what_it_breaks(tmp_path: Path) -> None:
    """Each mistake has its own rule; what it does right is seen as right."""
    plugin = tmp_path / "naive"
    plugin.write_text(NAIVE.format(python=sys.executable))
    plugin.chmod(0o755)
    found = {verdict.rule: verdict.passed for verdict in examine(plugin)}
    assert found["VERSION lists the supported versions of the specification"]
    assert found["ADD makes the interface CNI_IFNAME inside the namespace CNI_NETNS"]
    assert found["DEL removes the interface"]
    for rule in (
        "An unknown CNI_COMMAND is refused with code 4",
        "ADD without CNI_IFNAME is refused with code 4, and the message names it",
        "A configuration that is not JSON is refused with code 6",
        "A cniVersion that the plugin does not speak is refused with code 1",
        "The interface is up",
        "The addresses in the result are on the interface",
        "Each address names its interface by an index into the list, and a prefix stands in it",
        "CHECK is refused when the interface is not there",
        "DEL of what is gone already succeeds",
        "DEL succeeds when the namespace is not there any more",
    ):
        assert found[rule] is False, rule


def test_a_plugin_that_cannot_run_breaks_everything(tmp_path: Path) -> None:
    """Not even VERSION; and nothing of it stops the examination."""
    plugin = tmp_path / "empty"
    plugin.write_text("#!/bin/false\n")
    plugin.chmod(0o755)
    verdicts = list(examine(plugin))
    assert not verdicts[0].passed
    assert not any(verdict.passed for verdict in verdicts if verdict.section.endswith(("VERSION", "ADD", "DEL")))


@pytest.mark.parametrize("name", ["tuning", "firewall", "bandwidth"])
def test_a_chained_plugin_gets_the_checks_that_apply(name: str) -> None:
    """It is given what another plugin made, has to pass it on, and must not take it away; the rest is named."""
    if not (BRIDGE.parent / name).exists():
        pytest.skip("the package containernetworking-plugins is not installed")
    verdicts = list(examine(BRIDGE.parent / name))
    made = [verdict for verdict in verdicts if verdict.applies]
    assert len(made) >= 35
    assert {verdict.rule for verdict in made if verdict.passed is False} <= KNOWN
    found = {verdict.rule: verdict.passed for verdict in verdicts}
    assert found["The result passes on the addresses of prevResult"]
    assert found["DEL leaves the interface alone, which another plugin made"]
    apart = {verdict.rule: verdict.words for verdict in verdicts if not verdict.applies}
    assert apart["ADD makes the interface CNI_IFNAME inside the namespace CNI_NETNS"] == "it makes no interface"


def test_a_chained_plugin_that_drops_what_it_was_given_is_told(tmp_path: Path) -> None:
    """It forgets the addresses, and takes the interface away in the end."""
    plugin = tmp_path / "greedy"
    plugin.write_text(GREEDY.format(python=sys.executable))
    plugin.chmod(0o755)
    found = {verdict.rule: verdict.passed for verdict in examine(plugin, kind="chained")}
    assert found["The result passes on the interfaces of prevResult"]
    assert found["The result passes on the addresses of prevResult"] is False
    assert found["DEL leaves the interface alone, which another plugin made"] is False
    assert found["ADD without prevResult does no harm: it succeeds, or is refused by an error in JSON"] is False


def test_plugins_that_connect_no_pod_are_refused() -> None:
    """These rules would find fault where there is none."""
    with pytest.raises(InvalidInputError, match="host-local gives addresses"):
        list(examine(BRIDGE.parent / "host-local"))
