"""The command line. What a command needs is imported when it runs, so that each one starts at once."""

from __future__ import annotations

import json
import sys
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from netlab.errors import LabError

#: Commands and groups of commands that have a module of their own, whose ``app`` is a typer application.
_MODULES = {
    "doctor": "netlab.doctor",
    "bench": "netlab.bench",
    "demo": "netlab.demo",
    "cni": "netlab.kubernetes.cni.cli",
    "proxy": "netlab.kubernetes.proxy.cli",
    "conformance": "netlab.kubernetes.conformance_cli",
    "course": "netlab.course.cli",
    "progress": "netlab.course.progress",
}


class _LazyGroup(TyperGroup):
    """A group that imports a command's module only when that command is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return all names, those of modules too."""
        return [*super().list_commands(ctx), *(name for name, module in _MODULES.items() if _exists(module))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return one command; imports its module if it has one."""
        if cmd_name in _MODULES and _exists(_MODULES[cmd_name]):
            command = get_command(import_module(_MODULES[cmd_name]).app)
            command.name = cmd_name
            return command
        return super().get_command(ctx, cmd_name)


def _exists(module: str) -> bool:
    return find_spec(module) is not None


app = typer.Typer(
    cls=_LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Learn Kubernetes networking by building it, from real Linux parts.",
)


def main() -> None:
    """Run the command that the arguments name; an error of ours is a sentence, not a traceback."""
    try:
        app(prog_name="netlab")
    except LabError as error:
        print(f"netlab: {error}", *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
        sys.exit(getattr(error, "returncode", None) or 1)


def _version(wanted: bool) -> None:
    if wanted:
        try:
            print(f"netlab {metadata.version('kube-netlab')}")
        except metadata.PackageNotFoundError:
            print("netlab, run from a source tree that is not installed")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def ps(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List your running labs, their hosts, and what runs in them."""
    from netlab.attach import as_document, print_labs, running_labs  # noqa: PLC0415 - see the module's docstring

    ours, others = running_labs(processes=True)
    if as_json:
        print(json.dumps([as_document(lab) for lab in ours], indent=2, ensure_ascii=False))
    else:
        print_labs(ours, others)


def _complete_host(incomplete: str) -> list[str]:
    """Return the hosts of this user's labs for the shell's completion."""
    from netlab.attach import host_names, running_labs  # noqa: PLC0415

    return [name for name in host_names(running_labs()[0]) if name.startswith(incomplete)]


@app.command(context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
def shell(
    host: Annotated[
        str,
        typer.Argument(metavar="[LAB/]HOST", help="A host, as `netlab ps` shows it.", autocompletion=_complete_host),
    ],
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[COMMAND...]", help="A command instead of a shell.")
    ] = None,
) -> None:
    """Open a shell in a host of a running lab, or run a command there."""
    from netlab.attach import attach, find_host, running_labs, still_here  # noqa: PLC0415

    words = command or []
    try:
        lab, name = find_host(host, *running_labs())
        status = attach(lab, name, words[1:] if words[:1] == ["--"] else words)
    except LabError as error:
        if not words and sys.stdin.isatty():
            error.add_note(still_here())
        raise
    raise typer.Exit(status)
