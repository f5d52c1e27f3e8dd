"""``netlab doctor``: try each kernel feature and tool in a sandbox; say what is missing, and how to get it."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from netlab.attach import TOOL_PATH
from netlab.errors import LabError, SandboxError
from netlab.lab import Lab
from netlab.probes import CORE, KERNEL, TOOLS, Probe

if TYPE_CHECKING:
    from collections.abc import Iterable

State = Literal["works", "missing", "cannot tell"]
_TIMEOUT = 20.0
_MODULES, _OS_RELEASE = Path("/lib/modules"), Path("/etc/os-release")
_LOADED = Path("/proc/modules")  # not there where a kernel cannot load any
_CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
_SANDBOX = Probe("sandbox", "true", tuple(range(19)), "everything: user, mount, process and network namespaces", ())

app = typer.Typer(pretty_exceptions_enable=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """What a probe found: ``detail`` in the words of the failed command, ``remedy`` what to do about it."""

    probe: Probe
    state: State
    detail: str = ""
    remedy: str = ""

    @property
    def meaning(self) -> str:
        """Return what it serves, and in which chapters."""
        numbers = _ranges(self.probe.chapters)
        return f"{self.probe.serves} ({numbers})" if numbers else f"{self.probe.serves} (no chapter needs it)"


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Try what netlab needs of this machine; the exit status is 0 if all works that chapters 00 to 11 need."""
    findings = examine()
    lacking = [finding for finding in findings if finding.probe.is_core and finding.state != "works"]
    if as_json:
        print(json.dumps({"ok": not lacking, "findings": [_document(finding) for finding in findings]}, indent=2))
    else:
        _print(findings, lacking)
    raise typer.Exit(1 if lacking else 0)


def examine(probes: Iterable[Probe] = (*KERNEL, *TOOLS)) -> list[Finding]:
    """Try each probe in a host of its own; the first finding is the sandbox itself."""
    try:
        with Lab("doctor") as lab:
            return [Finding(_SANDBOX, "works"), *(_try(lab, probe) for probe in probes)]
    except SandboxError as error:
        words, _, remedy = str(error).partition(". ")
        return [Finding(_SANDBOX, "missing", words, remedy), *(_look(probe) for probe in probes)]


def _try(lab: Lab, probe: Probe) -> Finding:
    """Run a probe's script, and find the remedy if it fails."""
    absent = [tool for tool in probe.tools if not _installed(tool)]
    if absent:
        return _without_tools(probe, absent)
    if probe.root and os.geteuid() == 0 and not lab.sandbox.privileged:
        with Lab("doctor-root", privileged=True) as privileged:
            return _try(privileged, probe)
    host = lab.add_host("probe")
    try:
        result = host.run("bash", "-ec", probe.script, timeout=_TIMEOUT)
    except LabError as error:
        return Finding(probe, "missing", str(error), _remedy(probe))
    finally:
        lab.remove_host(host)
    if result.ok:
        return Finding(probe, "works")
    words = (result.stderr or result.stdout).strip().splitlines()
    return Finding(probe, "missing", words[-1] if words else f"exit status {result.returncode}", _remedy(probe))


def _look(probe: Probe) -> Finding:
    """Judge a probe without a sandbox: a tool is there or not, of the kernel nothing can be told."""
    absent = [tool for tool in probe.tools if not _installed(tool)]
    if probe.package and absent:
        return _without_tools(probe, absent)
    if probe.package and probe.tools:
        return Finding(probe, "works", "is installed; it could not be tried without a sandbox")
    return Finding(probe, "cannot tell", "there is no sandbox to try it in", "make the sandbox work first")


def _without_tools(probe: Probe, absent: list[str]) -> Finding:
    words = f"not installed: {', '.join(absent)}"
    if probe.package:
        return Finding(probe, "missing", words, f"sudo apt-get install {probe.package}")
    packages = {_package_of(tool) for tool in absent}
    return Finding(probe, "cannot tell", words, f"sudo apt-get install {' '.join(sorted(packages))}")


def _package_of(tool: str) -> str:
    """Return the Debian package of a tool that a kernel probe calls."""
    known = {"tc": "iproute2", "python3": "python3", "ipset": "ipset"}
    if tool.startswith(("iptables", "ip6tables")):
        return "iptables"
    return known.get(tool) or next(probe.package for probe in TOOLS if tool in probe.tools)


def _installed(tool: str) -> bool:
    return shutil.which(tool, path=f"{os.environ.get('PATH', '')}:{TOOL_PATH}") is not None


def _remedy(probe: Probe) -> str:
    """Return what to do about something that was tried in vain: to type, on Debian and Ubuntu."""
    if probe.remedy:
        return probe.remedy
    return f"sudo apt-get install {probe.package}" if probe.package else module_remedy(probe.module, probe.config)


def module_remedy(module: str, config: str) -> str:
    """Say how to get a kernel module: load it, install it, or take another kernel."""
    release = os.uname().release
    if any(f"/{module}.ko" in line.partition(":")[0] for line in _lines(_MODULES / release / "modules.dep")):
        return f"sudo modprobe {module}; to keep it: echo {module} | sudo tee -a /etc/modules-load.d/netlab.conf"
    if (_MODULES / release).exists() and "ID=ubuntu" in _lines(_OS_RELEASE):
        return f"sudo apt-get install linux-modules-extra-{release} && sudo modprobe {module}"
    if _LOADED.exists() and any(mark.exists() for mark in _CONTAINER_MARKS):
        return f"on the machine that runs this container: sudo modprobe {module} (its kernel needs {config})"
    return f"not in this kernel ({release}): take one with {config}, such as Debian's or Ubuntu's own"


def _lines(path: Path) -> list[str]:
    """Return a file's lines; none where there is no such file."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _ranges(chapters: tuple[int, ...]) -> str:
    """Return chapters as a reader writes them: 03, 05–18."""
    runs: list[list[int]] = []
    for chapter in chapters:
        if runs and chapter == runs[-1][-1] + 1:
            runs[-1].append(chapter)
        else:
            runs.append([chapter])
    texts = [f"{run[0]:02}" if len(run) == 1 else f"{run[0]:02}–{run[-1]:02}" for run in runs]
    return (
        ("chapter " if texts == texts[:1] and "–" not in "".join(texts) else "chapters ") + ", ".join(texts)
        if texts
        else ""
    )


def _document(finding: Finding) -> dict[str, object]:
    """Return a finding as JSON has it."""
    probe = finding.probe
    return {
        "feature": probe.name,
        "state": finding.state,
        "core": probe.is_core,
        "chapters": list(probe.chapters),
        "serves": probe.serves,
        "detail": finding.detail,
        "remedy": finding.remedy,
    }


def _print(findings: list[Finding], lacking: list[Finding]) -> None:
    """Print the table, and below it what matters most."""
    from rich.console import Console  # noqa: PLC0415 - --json needs none of it
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    # A pipe has no width; a pager or a bug report likes long lines.
    console = Console(width=None if os.isatty(1) else 200, highlight=False)
    table = Table(box=None, pad_edge=False)
    for title in ("feature", "state", "what for", "how to get it"):
        table.add_column(title, no_wrap=title in {"feature", "state"})
    colours = {"works": "green", "missing": "yellow", "cannot tell": "yellow"}
    for finding in findings:
        colour = "red" if finding in lacking else colours[finding.state]
        help_text = finding.remedy if finding.state != "works" else ""
        why = f"[dim]{escape(finding.detail)}[/dim]" if finding.detail else ""
        how = "\n".join(part for part in (escape(help_text), why) if part)
        table.add_row(finding.probe.name, f"[{colour}]{finding.state}[/]", escape(finding.meaning), how)
    console.print(table)
    core = f"chapters {CORE.start:02} to {CORE.stop - 1:02}"
    if lacking:
        names = ", ".join(finding.probe.name for finding in lacking)
        console.print(f"\n[red]Not all that {core} need works here:[/] {escape(names)}.")
    else:
        console.print(f"\n[green]All that {core} need works here.[/]")
