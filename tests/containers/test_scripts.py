"""The scripts that start and test netlab: what they refuse, in which words, and what they run."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CONTAINERS = ROOT / "containers"
SCRIPTS = [CONTAINERS / name for name in ("up", "test", "serve", "entrypoint", "lock", "lib.sh")] + [
    ROOT / ".ci" / "run"
]
# What a script may use on a stand-in's PATH.
NEEDED = ["awk", "bash", "cat", "comm", "cut", "dirname", "env", "find", "grep", "head", "id", "mktemp"]
NEEDED += ["od", "sed", "sha256sum", "sort", "sysctl", "tr", "uname"]


class Machine:
    """A PATH with the few commands that a script may use, and stand-ins for those that would change something."""

    def __init__(self, bin_directory: Path) -> None:
        self.bin, self.log = bin_directory, bin_directory.parent / "log"
        self.bin.mkdir()
        for name in NEEDED:
            found = shutil.which(name)
            assert found, name
            (self.bin / name).symlink_to(found)

    def stand_in(self, name: str, body: str) -> None:
        """Put a script in the place of a command; each call adds one line to the log."""
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(f'#!/usr/bin/env bash\nprintf "%s\\n" "{name} $*" >>"{self.log}"\n{body}\n')
        path.chmod(0o755)

    def calls(self, name: str) -> list[str]:
        """Return what the command was called with."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line.partition(" ")[2] for line in lines if line.split(" ", 1)[0] == name]

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a script without a terminal, with nothing but this PATH."""
        return subprocess.run(
            [CONTAINERS / script, *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
            env={"PATH": str(self.bin), "HOME": str(self.bin.parent)},
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Give a test a PATH of its own."""
    return Machine(tmp_path / "bin")


@pytest.fixture
def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.fixture
def busy_port() -> Iterator[int]:
    """Hold a port for as long as the test runs."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    """The scripts keep to what bash does everywhere."""
    checker = Path(sys.executable).with_name("shellcheck")
    result = subprocess.run([checker, "--external-sources", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("script", [path for path in SCRIPTS if path.suffix != ".sh"], ids=lambda path: path.name)
def test_script_can_be_started(script: Path) -> None:
    """A script that lost its executable bit cannot be the README's command."""
    assert os.access(script, os.X_OK)


@pytest.mark.parametrize(
    ("script", "options"),
    [("up", ["--engine", "--port", "--yes", "--check", "--help"]), ("test", ["--yes", "--fast", "-k", "--help"])],
)
def test_help_names_every_option(machine: Machine, script: str, options: list[str]) -> None:
    """What can be said is said by --help."""
    result = machine.run(script, "--help")
    assert result.returncode == 0, result.stderr
    for option in options:
        assert option in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--engine", "lxc"], '--engine must be docker, podman or native, not "lxc"'),
        (["--engine"], "--engine needs a value"),
        (["--port"], "--port needs a value"),
        (["--port", "http"], '--port must be a number from 1024 to 65535, not "http"'),
        (["--port", ""], "--port must be a number from 1024 to 65535"),
        (["--port", "80"], "--port must be a number from 1024 to 65535, not 80"),
        (["--port=65536"], "--port must be a number from 1024 to 65535, not 65536"),
        (["--port", "99999999999999999999"], "--port must be a number from 1024 to 65535"),
        (["--prot", "8888"], "There is no option --prot"),
    ],
)
def test_up_refuses_what_it_does_not_know(machine: Machine, arguments: list[str], words: str) -> None:
    """A mistyped option is named, and nothing starts."""
    result = machine.run("up", *arguments)
    assert result.returncode == 2
    assert words in result.stderr


def test_up_names_a_free_port_when_its_own_is_taken(machine: Machine, busy_port: int) -> None:
    """The reader gets a command that works, not only a complaint."""
    result = machine.run("up", "--engine", "native", "--port", str(busy_port))
    assert result.returncode == 2
    assert f"Port {busy_port} is in use" in result.stderr
    offered = re.search(r"--port (\d+)", result.stderr)
    assert offered
    assert int(offered[1]) != busy_port
    with socket.create_server(("127.0.0.1", int(offered[1]))):
        pass


def test_up_says_that_an_engine_is_not_installed(machine: Machine, free_port: int) -> None:
    """A missing engine is told from one that does not answer."""
    result = machine.run("up", "--engine", "podman", "--port", str(free_port))
    assert result.returncode == 4
    assert "podman is not installed" in result.stderr
    assert "--engine native" in result.stderr


def test_up_shows_the_words_of_an_engine_that_does_not_answer(machine: Machine, free_port: int) -> None:
    """Only the engine knows why: its own words are shown."""
    machine.stand_in("docker", 'echo "Cannot connect to the Docker daemon" >&2; exit 1')
    result = machine.run("up", "--engine", "docker", "--port", str(free_port))
    assert result.returncode == 4
    assert "does not answer" in result.stderr
    assert "Cannot connect to the Docker daemon" in result.stderr


def test_up_without_an_engine_goes_native_and_says_why(machine: Machine, free_port: int) -> None:
    """On a system that has neither an engine nor Linux, the reader learns what to install."""
    machine.stand_in("uname", "echo Darwin")
    result = machine.run("up", "--port", str(free_port))
    assert result.returncode == 4
    assert "natively, because no engine" in result.stdout
    assert "netlab needs Linux" in result.stderr


def test_up_goes_native_when_the_image_cannot_be_built(machine: Machine, free_port: int) -> None:
    """An engine without a way to its base image is no reason to give up."""
    machine.stand_in("docker", 'case $1 in info) ;; --version) echo "Docker version 28" ;; *) exit 1 ;; esac')
    machine.stand_in("uname", "echo Darwin")
    result = machine.run("up", "--port", str(free_port))
    assert "docker answers, but the image could not be built" in result.stdout
    assert "natively" in result.stdout


def engine(machine: Machine, name: str, version: str, info: str = "") -> None:
    """Stand in for an engine that answers, builds, and runs at once."""
    machine.stand_in(name, f'case $1 in --version) echo "{version}" ;; info) echo "{info}" ;; image) exit 1 ;; esac')


def test_up_runs_docker_without_privileges(machine: Machine, free_port: int) -> None:
    """The container gets the profile and an uncovered /proc, no capability, and one port on loopback."""
    engine(machine, "docker", "Docker version 28.2.2", "[name=seccomp,profile=default]")
    result = machine.run("up", "--engine", "docker", "--port", str(free_port))
    assert result.returncode == 0, result.stderr
    (words,) = [call.split() for call in machine.calls("docker") if "--publish" in call]
    assert f"--security-opt=seccomp={CONTAINERS}/seccomp.json" in words
    assert "--security-opt=systempaths=unconfined" in words
    assert "--security-opt=apparmor=unconfined" not in words
    assert "--cap-drop=ALL" in words
    assert words[words.index("--publish") + 1] == f"127.0.0.1:{free_port}:8888"
    assert not [word for word in words if word.startswith(("--privileged", "--cap-add"))]
    assert words[-1] == "netlab"


def test_up_keeps_the_token_out_of_the_process_list(machine: Machine, free_port: int) -> None:
    """Whoever can list processes must not be able to open the lab."""
    engine(machine, "docker", "Docker version 28.2.2")
    machine.run("up", "--engine", "docker", "--port", str(free_port))
    (call,) = [call for call in machine.calls("docker") if "--publish" in call]
    assert "--env=JUPYTER_TOKEN" in call.split()
    assert not re.search(r"[0-9a-f]{32}", call)


def test_up_lifts_apparmor_where_the_engine_has_it(machine: Machine, free_port: int) -> None:
    """AppArmor's profile for containers forbids mount, whatever seccomp says."""
    engine(machine, "docker", "Docker version 28.2.2", "[name=apparmor name=seccomp,profile=builtin]")
    machine.run("up", "--engine", "docker", "--port", str(free_port))
    (call,) = [call for call in machine.calls("docker") if "--publish" in call]
    assert "--security-opt=apparmor=unconfined" in call.split()


@pytest.mark.parametrize("name", ["podman", "docker"])
def test_up_speaks_podmans_words(machine: Machine, free_port: int, name: str) -> None:
    """Podman uncovers /proc by another option, also where it is installed under the name of docker."""
    engine(machine, name, "podman version 4.3.1", "false")
    machine.run("up", "--engine", name, "--port", str(free_port))
    (call,) = [call for call in machine.calls(name) if "--publish" in call]
    assert "--security-opt=unmask=ALL" in call.split()
    assert "systempaths" not in call


def test_up_says_what_forbids_namespaces_in_the_container(machine: Machine, free_port: int) -> None:
    """The kernel is the host's, so the remedy is on the host; the server is not started in vain."""
    refusal = 'if [ "$1" = run ]; then echo "unshare: Operation not permitted" >&2; exit 1; fi'
    machine.stand_in("docker", refusal)
    machine.stand_in("sysctl", "echo 1")
    result = machine.run("up", "--engine", "docker", "--port", str(free_port))
    assert result.returncode == 4
    assert "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0" in result.stderr
    assert not [call for call in machine.calls("docker") if "--publish" in call]


def test_image_is_built_once_for_the_same_sources(machine: Machine, free_port: int) -> None:
    """A second start finds the image by the hash of what went into it."""
    engine(machine, "docker", "Docker version 28.2.2")
    machine.run("up", "--engine", "docker", "--port", str(free_port))
    (build,) = [call for call in machine.calls("docker") if call.startswith("build ")]
    built = re.search(r"netlab\.source=([0-9a-f]{64})", build)
    assert built
    machine.log.unlink()
    machine.stand_in("docker", f"case $1 in image) echo {built[1]} ;; esac")
    machine.run("up", "--engine", "docker", "--port", str(free_port))
    assert not [call for call in machine.calls("docker") if call.startswith("build ")]


def packages(*kinds: str) -> list[str]:
    """Return what the one list says for some kinds."""
    pairs = [line.split() for line in (CONTAINERS / "packages.txt").read_text().splitlines() if line[:1] != "#"]
    return [name for kind in kinds for line_kind, name in pairs if line_kind == kind]


def test_installed_tools_do_not_become_services(machine: Machine, free_port: int) -> None:
    """What the packages would start with the machine is switched off again; what was on stays on."""
    installed = machine.bin.parent / "installed"
    for name in ("dpkg-query", "tee", "chmod", "rm"):
        machine.stand_in(name, "")
    machine.stand_in("uname", "echo Linux")
    machine.stand_in("sudo", 'exec "$@"')
    machine.stand_in("apt-get", f'case $* in *install*) : >"{installed}" ;; esac')
    enabled = f'echo "ssh.service enabled"; if [ -e "{installed}" ]; then echo "nginx.service enabled enabled"; fi'
    machine.stand_in("systemctl", f"case $1 in list-unit-files) {enabled} ;; esac")
    machine.run("up", "--yes", "--engine", "native", "--port", str(free_port))
    update, install = machine.calls("apt-get")
    assert update.startswith("update")
    assert install.split()[-len(packages("run", "venv")) :] == packages("run", "venv")
    assert [call for call in machine.calls("systemctl") if "disable" in call] == ["--quiet disable nginx.service"]


def test_services_are_held_back_while_packages_are_installed(machine: Machine, free_port: int) -> None:
    """Debian's way to say so is taken, and taken away again, also when apt-get fails; an administrator's own stays."""
    for name in ("dpkg-query", "tee", "chmod", "rm"):
        machine.stand_in(name, "")
    machine.stand_in("uname", "echo Linux")
    machine.stand_in("sudo", 'exec "$@"')
    machine.stand_in("apt-get", "exit 100")
    result = machine.run("up", "--yes", "--engine", "native", "--port", str(free_port))
    assert result.returncode == 3
    assert "apt-get failed (status 100)" in result.stderr
    policy = "/usr/sbin/policy-rc.d"
    ours = [] if Path(policy).exists() else [policy]
    assert machine.calls("tee") == ours
    assert machine.calls("rm") == [f"-f -- {path}" for path in ours]


def test_nothing_is_installed_without_consent(machine: Machine, free_port: int) -> None:
    """Without a terminal and without --yes, missing packages end the start, and apt-get is not called."""
    for name in ("dpkg-query", "apt-get", "sudo", "tee"):
        machine.stand_in(name, "")
    machine.stand_in("uname", "echo Linux")
    result = machine.run("up", "--engine", "native", "--port", str(free_port))
    assert result.returncode == 3
    assert f"missing Debian packages: {' '.join(packages('run', 'venv'))}" in result.stdout
    assert "Say --yes to agree" in result.stderr
    assert not machine.calls("apt-get")
    assert not machine.calls("sudo")


def test_missing_commands_are_named_where_there_is_no_dpkg(machine: Machine, free_port: int) -> None:
    """On other distributions the reader is told what to install."""
    machine.stand_in("uname", "echo Linux")
    result = machine.run("up", "--engine", "native", "--port", str(free_port))
    missing = [name for name in ("curl", "dot", "traceroute") if not Path("/usr/sbin", name).exists()]
    assert result.returncode == 3
    assert all(name in result.stderr for name in missing)
    assert "This is not Debian or Ubuntu" in result.stderr
