"""The virtual environment that `up` and `test` share: made once for each lock, never from half an installation."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CONTAINERS = Path(__file__).parents[2] / "containers"

PYTHON = """#!/usr/bin/env bash
case $* in
    -V) echo "Python 3.12.1" ;;
    "-c import sys"*) ;;
    "-c import ensurepip"*) exit "${NO_VENV:-0}" ;;
    "-m venv --clear "*)
        rm -rf "$4" && mkdir -p "$4/bin" && touch "$4/pyvenv.cfg"
        echo made >>"$LOG"
        printf '#!/usr/bin/env bash\\necho "pip $*" >>"$LOG"; exit "${PIP_FAILS:-0}"\\n' >"$4/bin/pip"
        cp "$0" "$4/bin/python"; chmod +x "$4/bin/pip" ;;
    *) echo "unexpected: $*" >&2; exit 99 ;;
esac
"""


class Checkout:
    """The parts of a checkout that make the environment, with a stand-in for Python and pip."""

    def __init__(self, directory: Path) -> None:
        self.root, self.log, self.python = directory / "netlab", directory / "log", directory / "python3"
        (self.root / "containers" / "jupyter").mkdir(parents=True)
        for name in ("lib.sh", "lock.txt", "jupyter/ipython_kernel_config.json"):
            shutil.copy(CONTAINERS / name, self.root / "containers" / name)
        shutil.copy(CONTAINERS.parent / "pyproject.toml", self.root)
        self.python.write_text(PYTHON)
        self.python.chmod(0o755)
        self.venv = self.root / ".venv"

    def make(self, part: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Source the library and make the environment."""
        kept = {key: value for key, value in os.environ.items() if key in {"PATH", "LANG"}}
        environment = {"HOME": str(self.root.parent), "LOG": str(self.log), "NETLAB_PYTHON": str(self.python)}
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f'. containers/lib.sh; make_venv {part}; echo "$venv"'],
            cwd=self.root,
            env={**kept, **environment, **more},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def done(self) -> list[str]:
        """Return what Python and pip did since the last call."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """Lay out a checkout of a user who starts for the first time."""
    return Checkout(tmp_path)


def test_first_start_installs_what_a_lab_runs_with(checkout: Checkout) -> None:
    """Hashes are required, and the tests' half of the lock stays out."""
    result = checkout.make("run")
    assert result.stdout.splitlines()[-1] == str(checkout.venv)
    made, packages, netlab = checkout.done()
    assert made == "made"
    assert "--require-hashes" in packages
    assert f"--editable {checkout.root}" in netlab
    installed = (checkout.venv / "lock.txt").read_text()
    assert "jupyterlab==" in installed
    assert "pytest==" not in installed


def test_second_start_does_nothing(checkout: Checkout) -> None:
    """A learner waits once."""
    checkout.make("run")
    checkout.done()
    assert checkout.make("run").returncode == 0
    assert checkout.done() == []


def test_environment_of_the_tests_serves_a_lab_too(checkout: Checkout) -> None:
    """The larger part holds the smaller one, and not the other way round."""
    checkout.make("run")
    checkout.done()
    checkout.make("all")
    assert "made" in checkout.done()
    assert "pytest==" in (checkout.venv / "lock.txt").read_text()
    checkout.make("run")
    assert checkout.done() == []


@pytest.mark.parametrize("name", ["containers/lock.txt", "pyproject.toml"])
def test_another_lock_is_installed_anew(checkout: Checkout, name: str) -> None:
    """After `git pull` the environment follows."""
    checkout.make("run")
    checkout.done()
    with (checkout.root / name).open("a") as stream:
        stream.write("# changed\n")
    checkout.make("run")
    assert "made" in checkout.done()


def test_moved_checkout_is_installed_anew(checkout: Checkout) -> None:
    """An environment's commands name their Python by its full path, so it cannot move along."""
    checkout.make("run")
    checkout.done()
    checkout.root = checkout.root.rename(checkout.root.with_name("elsewhere"))
    checkout.make("run")
    assert "made" in checkout.done()


def test_failed_installation_is_not_taken_for_a_whole_one(checkout: Checkout) -> None:
    """What a lost connection left behind is done again."""
    result = checkout.make("run", PIP_FAILS="1")
    assert result.returncode == 3
    assert "pip could not install" in result.stderr
    checkout.done()
    assert checkout.make("run").returncode == 0
    assert "made" in checkout.done()


def test_missing_python_is_named(checkout: Checkout) -> None:
    """The reader learns which version, and which package has it."""
    result = checkout.make("run", NETLAB_PYTHON="/nonexistent/python3")
    assert result.returncode == 3
    assert "No Python 3.11 or newer" in result.stderr
    assert "apt-get install python3" in result.stderr


def test_missing_venv_module_is_named(checkout: Checkout) -> None:
    """Debian has it in a package of its own."""
    result = checkout.make("run", NO_VENV="1")
    assert result.returncode == 3
    assert "has no venv module" in result.stderr
    assert "python3-venv" in result.stderr


def test_directory_that_is_no_environment_is_left_alone(checkout: Checkout) -> None:
    """Nothing is deleted that we did not make."""
    precious = checkout.root / ".venv" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("years of work")
    result = checkout.make("run")
    assert result.returncode == 3
    assert "is not a virtual environment" in result.stderr
    assert precious.read_text() == "years of work"


@pytest.mark.kernel  # so that an ordinary user runs it too: root may write everywhere
def test_second_user_of_a_checkout_gets_an_environment_of_their_own(checkout: Checkout) -> None:
    """What another user made is used while it fits, and never overwritten."""
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    checkout.make("run")
    checkout.done()
    for path in (checkout.venv, checkout.root):
        path.chmod(0o555)
    assert checkout.make("run").stdout.splitlines()[-1] == str(checkout.venv)
    with (checkout.root / "pyproject.toml").open("a") as stream:
        stream.write("# changed\n")
    assert checkout.make("run").stdout.splitlines()[-1] == str(checkout.root.parent / ".cache" / "netlab" / "venv")
    for path in (checkout.venv, checkout.root):
        path.chmod(0o755)
