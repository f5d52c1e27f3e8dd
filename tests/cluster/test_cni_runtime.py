"""The CNI runtime gives plugins exactly what the specification says: a plugin that writes down all it gets shows it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from netlab import Lab
from netlab.kubernetes.cni import Attachment, CniError, Runtime, read_network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netlab import Host

pytestmark = pytest.mark.kernel

RECORDER = """#!{python}
import json, os, sys
text = sys.stdin.read()
config = json.loads(text) if text else None
me = os.path.basename(sys.argv[0])
with open("{log}", "a") as log:
    log.write(json.dumps([me, {{k: v for k, v in os.environ.items() if k.startswith("CNI_")}}, config,
        os.stat("/proc/self/ns/net").st_ino]) + "\\n")
command = os.environ["CNI_COMMAND"]
if command == "VERSION":
    print(json.dumps({{"cniVersion": config["cniVersion"], "supportedVersions": ["1.0.0", "1.1.0"]}}))
    sys.exit()
wish = config.get("fail", {{}}).get(command)
if wish == "words":
    print("something went wrong", file=sys.stderr)
    sys.exit(3)
if wish == "garbage":
    print("no JSON")
    sys.exit()
if wish:
    print(json.dumps({{"cniVersion": config["cniVersion"], "code": wish, "msg": "as asked", "details": me}}))
    sys.exit(1)
if command == "ADD":
    result = config.get("prevResult") or {{"cniVersion": config["cniVersion"], "interfaces": [], "ips": []}}
    result["interfaces"].append({{"name": me, "sandbox": os.environ["CNI_NETNS"]}})
    print(json.dumps(result))
"""


class Recorder:
    """Two plugins, ``first`` and ``second``, that write down what they are given."""

    def __init__(self, folder: Path) -> None:
        """Write the executables into a folder."""
        self.folder, self.log = folder, folder / "log"
        for name in ("first", "second"):
            file = folder / name
            file.write_text(RECORDER.format(python=sys.executable, log=self.log))
            file.chmod(0o755)

    @property
    def calls(self) -> list[tuple[str, dict[str, str], dict[str, Any], int]]:
        """Return plugin, environment, configuration and network namespace of each call."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [tuple(json.loads(line)) for line in lines]

    def commands(self) -> list[str]:
        """Return who was called for what, in order."""
        return [f"{environment['CNI_COMMAND']} {name}" for name, environment, _, _ in self.calls]

    def forget(self) -> None:
        """Begin a new list."""
        self.log.unlink(missing_ok=True)


LIST: dict[str, Any] = {
    "cniVersion": "1.1.0",
    "name": "lab",
    "plugins": [
        {"type": "first", "mtu": 1400, "ipam": {"type": "none"}},
        {"type": "second", "capabilities": {"portMappings": True, "bandwidth": False}, "runtimeConfig": {"old": 1}},
    ],
}
PORTS = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]
POD = Attachment(
    "pod-1",
    "/run/netns/pod",
    "eth0",
    {"K8S_POD_NAME": "web", "IgnoreUnknown": "1"},
    {"portMappings": PORTS, "bandwidth": {"ingressRate": 1}, "dns": {}},
)


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    """Return the plugins that write down what they get."""
    return Recorder(tmp_path)


@pytest.fixture
def node() -> Iterator[Host]:
    """Return a node with a namespace to attach."""
    with Lab("cni") as lab:
        host = lab.add_host("node")
        lab.add_host("pod")
        yield host


@pytest.fixture
def runtime(node: Host, recorder: Recorder) -> Runtime:
    """Return a runtime that finds the recording plugins."""
    return Runtime(node, path=["/nowhere", str(recorder.folder)])


def failing(**wishes: Any) -> dict[str, Any]:
    """Return the list with a second plugin that fails on some commands."""
    return {**LIST, "plugins": [LIST["plugins"][0], {**LIST["plugins"][1], "fail": wishes}]}


def test_add_gives_each_plugin_what_the_specification_says(runtime: Runtime, recorder: Recorder, node: Host) -> None:
    """Environment, namespace and configuration of both plugins, key by key (sections 2 and 3)."""
    result = runtime.add(read_network(LIST), POD)
    (one, env_one, first, place_one), (two, env_two, second, place_two) = recorder.calls
    assert (one, two) == ("first", "second")
    assert env_one == env_two
    assert env_one.pop("CNI_COMMAND") == "ADD"
    assert env_one.pop("CNI_CONTAINERID") == "pod-1"
    assert env_one.pop("CNI_NETNS") == "/run/netns/pod"
    assert env_one.pop("CNI_IFNAME") == "eth0"
    assert env_one.pop("CNI_ARGS") == "K8S_POD_NAME=web;IgnoreUnknown=1"
    assert env_one.pop("CNI_PATH") == f"/nowhere:{recorder.folder}"
    assert env_one == {}
    assert place_one == place_two == node.namespace.inode
    assert first == {
        "cniVersion": "1.1.0",
        "name": "lab",
        "type": "first",
        "mtu": 1400,
        "ipam": {"type": "none"},
    }
    assert "prevResult" not in first
    assert "runtimeConfig" not in first
    assert second["cniVersion"] == "1.1.0"
    assert second["name"] == "lab"
    assert second["type"] == "second"
    assert "capabilities" not in second
    assert second["runtimeConfig"] == {"portMappings": PORTS}
    assert second["prevResult"]["interfaces"] == [{"name": "first", "sandbox": "/run/netns/pod"}]
    assert [interface.name for interface in result.interfaces] == ["first", "second"]


def test_check_goes_forward_with_the_final_result(runtime: Runtime, recorder: Recorder) -> None:
    """Both plugins get the result of the whole ADD, from the cache."""
    network = read_network(LIST)
    result = runtime.add(network, POD)
    recorder.forget()
    runtime.check(network, POD)
    assert recorder.commands() == ["CHECK first", "CHECK second"]
    for _, environment, config, _ in recorder.calls:
        assert config["prevResult"] == result.data
        assert environment["CNI_CONTAINERID"] == "pod-1"
    assert recorder.calls[1][2]["runtimeConfig"] == {"portMappings": PORTS}


def test_delete_goes_backward_with_the_final_result_and_may_be_repeated(runtime: Runtime, recorder: Recorder) -> None:
    """A second DEL runs too, and has no result to give."""
    network = read_network(LIST)
    result = runtime.add(network, POD)
    recorder.forget()
    runtime.delete(network, POD)
    runtime.delete(network, POD)
    assert recorder.commands() == ["DEL second", "DEL first"] * 2
    configs = [config for _, _, config, _ in recorder.calls]
    assert [config.get("prevResult") for config in configs] == [result.data, result.data, None, None]
    assert configs[0]["runtimeConfig"] == {"portMappings": PORTS}


def test_the_cache_is_a_file_inside_the_lab(runtime: Runtime, node: Host) -> None:
    """What libcni keeps below /var/lib/cni is below /run/cni here, and nothing of it is on the machine."""
    network = read_network(LIST)
    result = runtime.add(network, POD)
    path = "/run/cni/node/results/lab-pod-1-eth0"
    document = json.loads(node.run("cat", path, check=True).stdout)
    assert document["result"] == result.data
    assert (document["kind"], document["containerId"], document["ifName"]) == ("cniCacheV1", "pod-1", "eth0")
    assert document["capabilityArgs"]["portMappings"] == PORTS
    assert not Path(path).exists()
    runtime.delete(network, POD)
    assert not node.run("ls", path).ok


def test_a_failed_add_is_undone_and_reported(runtime: Runtime, recorder: Recorder) -> None:
    """The error is the plugin's own, with its code; both plugins are told DEL, and nothing is cached."""
    network = read_network(failing(ADD=100))
    with pytest.raises(CniError, match="CNI plugin 'second' ADD: as asked; code 100; second") as error:
        runtime.add(network, POD)
    assert (error.value.code, error.value.msg, error.value.details) == (100, "as asked", "second")
    assert (error.value.plugin, error.value.command) == ("second", "ADD")
    assert recorder.commands() == ["ADD first", "ADD second", "DEL second", "DEL first"]
    assert recorder.calls[-1][2]["prevResult"]["interfaces"][0]["name"] == "first"
    assert runtime.cache.attachments(network) == []


@pytest.mark.parametrize(
    ("wish", "code", "words"),
    [
        (11, 11, "try again later"),
        ("words", 999, "something went wrong"),
        ("garbage", 6, "the plugin printed no JSON"),
    ],
)
def test_errors_keep_their_codes(runtime: Runtime, wish: object, code: int, words: str) -> None:
    """A code of the specification gets its meaning; a plugin without JSON gets code 999, as in libcni."""
    with pytest.raises(CniError, match=words) as error:
        runtime.add(read_network(failing(ADD=wish)), POD)
    assert error.value.code == code


def test_delete_stops_at_an_error(runtime: Runtime, recorder: Recorder) -> None:
    """The first plugin's work is still needed to try again, so the result stays cached."""
    network = read_network(failing(DEL=7))
    runtime.add(network, POD)
    recorder.forget()
    with pytest.raises(CniError, match="invalid network configuration"):
        runtime.delete(network, POD)
    assert recorder.commands() == ["DEL second"]
    assert [each.container_id for each in runtime.cache.attachments(network)] == ["pod-1"]


def test_gc_deletes_what_is_not_valid_and_asks_every_plugin(runtime: Runtime, recorder: Recorder) -> None:
    """GC names the attachments that stay; CNI_CONTAINERID, CNI_NETNS and CNI_IFNAME are not set."""
    network = read_network(LIST)
    other = Attachment("pod-2", "/run/netns/pod", "eth1")
    runtime.add(network, POD)
    runtime.add(network, other)
    recorder.forget()
    runtime.gc(network, [POD])
    assert recorder.commands() == ["DEL second", "DEL first", "GC first", "GC second"]
    assert recorder.calls[0][1]["CNI_CONTAINERID"] == "pod-2"
    for _, environment, config, _ in recorder.calls[2:]:
        assert config["cni.dev/valid-attachments"] == [{"containerID": "pod-1", "ifname": "eth0"}]
        assert "prevResult" not in config
        assert "runtimeConfig" not in config or config["runtimeConfig"] == {"old": 1}
        assert not {"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"} & environment.keys()
        assert environment["CNI_PATH"].endswith(str(recorder.folder))
    assert runtime.cache.attachments(network) == [POD]


def test_gc_asks_all_plugins_before_it_reports(runtime: Runtime, recorder: Recorder) -> None:
    """An error of one must not keep the others from cleaning up (section 2, GC)."""
    network = read_network({**failing(GC=5), "plugins": list(reversed(failing(GC=5)["plugins"]))})
    with pytest.raises(CniError, match="as asked"):
        runtime.gc(network, [])
    assert recorder.commands() == ["GC second", "GC first"]


def test_status_asks_every_plugin_and_keeps_its_code(runtime: Runtime, recorder: Recorder) -> None:
    """50 says that ADD would fail now."""
    runtime.status(read_network(LIST))
    assert recorder.commands() == ["STATUS first", "STATUS second"]
    assert "CNI_NETNS" not in recorder.calls[0][1]
    with pytest.raises(CniError, match="the plugin is not available") as error:
        runtime.status(read_network(failing(STATUS=50)))
    assert error.value.code == 50


def test_older_versions_are_not_asked_what_they_do_not_know(runtime: Runtime, recorder: Recorder) -> None:
    """STATUS and GC came with 1.1.0, CHECK with 0.4.0, the result for DEL with 0.4.0."""
    old = read_network({**LIST, "cniVersion": "1.0.0"})
    runtime.status(old)
    runtime.gc(old, [])
    assert recorder.commands() == []
    oldest = read_network({**LIST, "cniVersion": "0.3.1"})
    with pytest.raises(CniError, match=r"CHECK needs version 0\.4\.0"):
        runtime.check(oldest, POD)
    runtime.add(oldest, POD)
    recorder.forget()
    runtime.delete(oldest, POD)
    assert [config.get("prevResult") for _, _, config, _ in recorder.calls] == [None, None]


def test_version_is_asked_with_the_command_alone(runtime: Runtime, recorder: Recorder) -> None:
    """The answer is the plugin's list."""
    assert runtime.versions("first") == ("1.0.0", "1.1.0")
    ((_, environment, config, _),) = recorder.calls
    assert environment == {"CNI_COMMAND": "VERSION"}
    assert config == {"cniVersion": "1.0.0"}


def test_switches_of_the_list_are_heeded(runtime: Runtime, recorder: Recorder) -> None:
    """A list may say that its plugins are not to be asked for CHECK and GC."""
    network = read_network({**LIST, "disableCheck": True, "disableGC": "true"})
    runtime.check(network, POD)
    runtime.gc(network, [])
    assert recorder.commands() == []


def test_the_newest_common_version_is_chosen() -> None:
    """A list may offer several versions (cniVersions)."""
    network = read_network({**LIST, "cniVersion": "0.4.0", "cniVersions": ["0.3.1", "1.0.0", "9.0.0"]})
    assert network.version == "1.0.0"


def test_a_plugin_that_is_not_there_is_named(runtime: Runtime, recorder: Recorder) -> None:
    """The message says where it was looked for."""
    with pytest.raises(CniError, match=f"no plugin 'third' in /nowhere, {recorder.folder}"):
        runtime.add(read_network({**LIST, "plugins": [{"type": "third"}]}), POD)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"name": None}, 7, "the name of the network is missing"),
        ({"name": "a b"}, 7, "the name of the network is missing or wrong"),
        ({"cniVersion": "9.9.9"}, 1, "incompatible CNI versions"),
        ({"plugins": []}, 7, "one plugin or more"),
        ({"plugins": [{}]}, 7, r"plugins\[0\].type"),
        ({"plugins": [{"type": "a/b"}]}, 7, r"plugins\[0\].type"),
        ({"plugins": [{"type": "a", "capabilities": {"x": 1}}]}, 7, "true or false for each"),
        ({"disableCheck": "perhaps"}, 7, "disableCheck: true or false"),
    ],
)
def test_wrong_lists_are_refused(change: dict[str, Any], code: int, words: str) -> None:
    """Before any plugin runs."""
    with pytest.raises(CniError, match=words) as error:
        read_network({**LIST, **change})
    assert error.value.code == code


@pytest.mark.parametrize("wrong", ["", "a/b", "-a"])
def test_wrong_container_ids_are_refused(wrong: str) -> None:
    """Section 2: a letter or digit first."""
    with pytest.raises(CniError, match="container ID"):
        Attachment(wrong, "/run/netns/pod")


@pytest.mark.parametrize("wrong", ["", ".", "..", "a/b", "a:b", "a b", "sixteen-letters-"])
def test_wrong_interface_names_are_refused(wrong: str) -> None:
    """Section 2: what the kernel takes, without / : and spaces."""
    with pytest.raises(CniError, match="interface name"):
        Attachment("pod-1", "/run/netns/pod", wrong)
