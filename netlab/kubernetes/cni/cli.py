"""``netlab cni``: examine CNI plugins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from netlab.errors import InvalidInputError

if TYPE_CHECKING:
    from netlab.kubernetes.cni.conformance import Verdict

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Examine CNI plugins.")
_FOLDER = Path("/usr/lib/cni")


@app.callback()
def _subjects() -> None:
    """Examine CNI plugins."""


@app.command()
def conformance(
    plugin: Annotated[str, typer.Argument(help="A plugin: its path, or the name of one in /usr/lib/cni.")],
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Its configuration in JSON, without cniVersion.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Run a plugin that makes an interface, and say which rules of the CNI specification it breaks."""
    from netlab.kubernetes.cni.conformance import examine  # noqa: PLC0415 - only this command needs it

    path = Path(plugin) if "/" in plugin else _FOLDER / plugin
    if not path.is_file():
        raise InvalidInputError(f"There is no plugin {plugin!r}: {path} is not a file.")
    given = json.loads(config.read_text(encoding="utf-8")) if config else None
    with Console(stderr=True).status(f"examining {path}…"):
        verdicts = list(examine(path, given))
    if as_json:
        fields = [{"section": v.section, "rule": v.rule, "passed": v.passed, "words": v.words} for v in verdicts]
        print(json.dumps(fields, indent=2))
    else:
        show(path, verdicts)
    if any(verdict.passed is False for verdict in verdicts):
        raise typer.Exit(1)


def show(path: Path, verdicts: list[Verdict]) -> None:
    """Print the verdicts as a table, and their counts."""
    console = Console()
    table = Table("section", "rule", "", title=f"{path} against the CNI specification 1.1", title_justify="left")
    for verdict in verdicts:
        mark = {True: "[green]ok[/]", False: f"[red]broken[/]: {verdict.words}", None: f"skipped: {verdict.words}"}
        table.add_row(verdict.section, verdict.rule, mark[verdict.passed])
    console.print(table)
    counts = [sum(verdict.passed is value for verdict in verdicts) for value in (True, False, None)]
    console.print(f"{len(verdicts)} checks: {counts[0]} kept, {counts[1]} broken, {counts[2]} skipped")
