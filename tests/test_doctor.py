from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import netlab
from netlab import doctor
from netlab.probes import KERNEL, TOOLS, Probe

ROOT = str(Path(netlab.__file__).parents[1])
IP_LINK = next(probe for probe in KERNEL if probe.name == "bridge")


def call(*prefix: str, path: str = "") -> tuple[int, dict[str, dict[str, Any]]]:
    """Run `netlab doctor --json` as its own program; return its status and its findings by feature."""
    environment = os.environ | {"PYTHONPATH": ROOT, "PATH": path + os.environ["PATH"]}
    command = [*prefix, sys.executable, "-m", "netlab", "doctor", "--json"]
    result = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=100, check=False)
    assert result.stdout, result.stderr
    document = json.loads(result.stdout)
    assert document["ok"] == (result.returncode == 0)
    return result.returncode, {finding["feature"]: finding for finding in document["findings"]}


def outer(script: str) -> list[str]:
    """Return a command that runs another one as root of a user namespace, after a script; skip where there is none."""
    made = subprocess.run(["unshare", "--user", "--map-root-user", "true"], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"user namespaces: {made.stderr.strip()}")
    namespaces = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc"]
    return [*namespaces, "sh", "-ec", f'{script}\nexec "$@"', "sh"]


def test_names_are_unique_and_every_probe_can_be_helped() -> None:
    """Each record has a remedy, and knows the package of every tool that its script calls."""
    for group in (KERNEL, TOOLS):
        assert len({probe.name for probe in group}) == len(group)
    for probe in (*KERNEL, *TOOLS):
        assert bool(probe.package) + bool(probe.module) + bool(probe.root) == 1
        assert bool(probe.module) == bool(probe.config)
        for tool in probe.tools:
            assert doctor._package_of(tool)
        assert all(0 <= chapter <= 18 for chapter in probe.chapters)


@pytest.mark.kernel
def test_the_table_tells_works_from_missing() -> None:
    """The status is 0 exactly if all of the core works; what is missing has a remedy and the failed command's words."""
    status, findings = call()
    assert findings["sandbox"]["state"] == "works"
    assert findings["veth"]["state"] == "works"
    for finding in findings.values():
        assert (finding["state"] == "works") or (finding["remedy"] and finding["detail"])
    assert status == any(finding["core"] and finding["state"] != "works" for finding in findings.values())


@pytest.mark.kernel
def test_what_the_kernel_lacks_is_missing() -> None:
    """A kind of link that no kernel has, and netem where this one refuses it, are reported so, with its words."""
    nothing = replace(IP_LINK, name="nothing", script="ip link add probe0 type no_such_kind", chapters=(5,))
    netem = next(probe for probe in KERNEL if probe.name == "netem")
    _, found, shaped = doctor.examine([nothing, netem])
    assert (found.state, found.detail) == ("missing", "Error: Unknown device type.")
    refused = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", netem.script],
        env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
        capture_output=True,
        check=False,
    ).returncode
    assert shaped.state == ("missing" if refused else "works")


@pytest.mark.kernel
def test_a_broken_tool_is_missing_and_fails_the_core(tmp_path: Path) -> None:
    """A tool that is there but does not work counts as missing; what it serves is named, and the status is 1."""
    curl = tmp_path / "curl"
    curl.write_text("#!/bin/sh\necho curl: broken >&2\nexit 1\n")
    curl.chmod(0o755)
    tmp_path.chmod(0o755)
    status, findings = call(path=f"{tmp_path}:")
    assert status == 1
    assert findings["curl"]["state"] == "missing"
    assert findings["curl"]["detail"] == "curl: broken"
    assert findings["curl"]["remedy"] == "sudo apt-get install curl"


@pytest.mark.kernel
def test_without_its_tools_a_feature_cannot_be_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A missing program is no proof that the kernel lacks something; the program itself is missing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(doctor, "TOOL_PATH", str(tmp_path))
    ip = next(probe for probe in TOOLS if probe.name == "ip")
    _, feature, tool = doctor.examine([IP_LINK, ip])
    assert (feature.state, feature.detail) == ("cannot tell", "not installed: ip")
    assert feature.remedy == "sudo apt-get install iproute2"
    assert (tool.state, tool.remedy) == ("missing", "sudo apt-get install iproute2")


@pytest.mark.kernel
def test_a_limit_of_user_namespaces_is_explained() -> None:
    """Where no sandbox can be made, its row says why and what to type; of the kernel nothing is claimed."""
    status, findings = call(*outer("echo 0 > /proc/sys/user/max_user_namespaces"))
    assert status == 1
    assert findings["sandbox"]["state"] == "missing"
    assert "sudo sysctl -w user.max_user_namespaces=" in findings["sandbox"]["remedy"]
    assert findings["veth"]["state"] == "cannot tell"


@pytest.mark.kernel
def test_a_masked_proc_is_explained() -> None:
    """A container engine covers parts of /proc, and then none may be mounted inside: the engine's option is named."""
    status, findings = call(*outer("mount -t tmpfs none /proc/sys/fs"))
    assert status == 1
    assert findings["sandbox"]["state"] == "missing"
    assert "--security-opt systempaths=unconfined" in findings["sandbox"]["remedy"]


def test_a_module_is_loaded_installed_or_lacking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The remedy depends on what the machine has: the module, Ubuntu's extra package, a container, or nothing."""
    release = os.uname().release
    monkeypatch.setattr(doctor, "_MODULES", tmp_path)
    monkeypatch.setattr(doctor, "_OS_RELEASE", tmp_path / "os-release")
    monkeypatch.setattr(doctor, "_LOADED", tmp_path / "modules")
    monkeypatch.setattr(doctor, "_CONTAINER_MARKS", (tmp_path / ".dockerenv",))
    assert doctor.module_remedy("vrf", "CONFIG_NET_VRF").startswith(
        f"not in this kernel ({release}): take one with CONFIG_NET_VRF"
    )
    (tmp_path / "modules").touch()
    (tmp_path / ".dockerenv").touch()
    assert doctor.module_remedy("vrf", "CONFIG_NET_VRF").startswith(
        "on the machine that runs this container: sudo modprobe vrf"
    )
    (tmp_path / release).mkdir()
    (tmp_path / "os-release").write_text("NAME=Ubuntu\nID=ubuntu\n")
    extra = f"sudo apt-get install linux-modules-extra-{release} && sudo modprobe vrf"
    assert doctor.module_remedy("vrf", "CONFIG_NET_VRF") == extra
    (tmp_path / release / "modules.dep").write_text("kernel/drivers/net/vrf.ko.zst: kernel/net/core/x.ko\n")
    assert doctor.module_remedy("vrf", "CONFIG_NET_VRF").startswith("sudo modprobe vrf; to keep it:")
    # What a module depends on stands behind the colon.
    assert doctor.module_remedy("x", "CONFIG_X").startswith("sudo apt-get install linux-modules-extra-")


@pytest.mark.kernel
def test_bpf_is_for_root_alone() -> None:
    """An ordinary user is told so; root gets it tried in a privileged lab."""
    bpf = next(probe for probe in KERNEL if probe.name == "BPF")
    (_, finding) = doctor.examine([bpf])
    allowed = Path("/proc/sys/kernel/unprivileged_bpf_disabled")
    if os.geteuid() and allowed.exists() and allowed.read_text().strip() != "0":
        assert finding.state == "missing"
        assert "Lab(privileged=True)" in finding.remedy
    else:
        assert finding.state == "works" or "bpf(BPF_MAP_CREATE)" in finding.detail


@pytest.mark.kernel
def test_people_get_a_table() -> None:
    """Each feature is a row with what it is for; the last line is the verdict."""
    environment = os.environ | {"PYTHONPATH": ROOT}
    command = [sys.executable, "-m", "netlab", "doctor"]
    result = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=100, check=False)
    rows = result.stdout.splitlines()
    assert rows[0].split() == ["feature", "state", "what", "for", "how", "to", "get", "it"]
    assert any(row.startswith("vxlan ") and "overlay networks (chapters 07, 16, 18)" in row for row in rows)
    assert ("All that chapters 00 to 11 need works here." in rows[-1]) == (result.returncode == 0)


@pytest.mark.parametrize(
    ("chapters", "text"),
    [((), ""), ((7,), "chapter 07"), ((3, 10, 11), "chapters 03, 10–11"), (tuple(range(19)), "chapters 00–18")],
)
def test_chapters_are_written_as_ranges(chapters: tuple[int, ...], text: str) -> None:
    """One chapter, several, and runs of them."""
    assert doctor._ranges(chapters) == text


def test_core_means_up_to_chapter_11() -> None:
    """What only later chapters need does not fail the whole."""
    probe = Probe("x", "true", (12, 18), "nothing")
    assert not probe.is_core
    assert replace(probe, chapters=(11, 12)).is_core
