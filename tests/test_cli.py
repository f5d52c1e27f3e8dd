from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import netlab
from netlab import cli

ROOT = Path(netlab.__file__).parents[1]


def call(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as its own program."""
    return subprocess.run(
        [sys.executable, "-m", "netlab", *words], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )


def test_without_arguments_it_shows_its_commands() -> None:
    """Each command has a line in the help, those with a module of their own too."""
    text = call("--help").stdout
    for name in ("ps", "shell", "doctor"):
        assert f" {name} " in text
    assert call("-h").stdout == text


def test_every_lazy_command_can_be_imported() -> None:
    """What the table names and is there has an application to run."""
    for name, module in cli._MODULES.items():
        if cli._exists(module):
            result = call(name, "--help")
            assert result.returncode == 0, result.stderr
            assert f"netlab {name}" in result.stdout


def test_the_version_is_that_of_the_distribution() -> None:
    """The command says which release it is, or that it was never installed."""
    try:
        expected = f"netlab {version('kube-netlab')}\n"
    except ModuleNotFoundError:
        expected = "netlab, run from a source tree that is not installed\n"
    assert call("--version").stdout == expected


def test_an_unknown_command_is_refused() -> None:
    """A misspelt command is an error of use, with status 2."""
    result = call("pz")
    assert result.returncode == 2
    assert "No such command" in result.stderr


def test_ps_without_a_lab_says_how_to_make_one(tmp_path: Path) -> None:
    """In a network namespace of its own no lab can be seen."""
    made = subprocess.run(["unshare", "--user", "--net", "true"], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"user and network namespaces: {made.stderr.strip()}")
    command = ["unshare", "--user", "--net", sys.executable, "-m", "netlab"]
    ps = subprocess.run([*command, "ps"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert ps.stdout.startswith("No lab of yours is running. Make one in Python")
    empty = subprocess.run(
        [*command, "ps", "--json"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert json.loads(empty.stdout) == []
    shell = subprocess.run(
        [*command, "shell", "red"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert shell.returncode == 1
    assert shell.stderr.startswith("netlab: No lab of yours is running. Make one in Python")


def test_ps_and_shell_load_little() -> None:
    """What a lab or a notebook needs is not loaded to list labs or to enter one: both start at once."""
    program = "import netlab.cli, netlab.attach, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"pyroute2", "IPython", "ipywidgets", "scapy", "cattrs", "jsonschema", "graphviz", "anywidget"}
    assert not heavy & set(loaded)
