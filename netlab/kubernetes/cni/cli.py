"""``netlab cni``: examine CNI plugins."""

from __future__ import annotations

import dataclasses
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
    chained: Annotated[
        bool | None,
        typer.Option(
            "--chained/--interface", help="Whether it changes what another made, or makes an interface itself."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Run a plugin, and say which rules of the CNI specification it breaks."""
    from netlab.kubernetes.cni.conformance import CHAINED, INTERFACE, examine  # noqa: PLC0415 - only for this command

    path = Path(plugin) if "/" in plugin else _FOLDER / plugin
    if not path.is_file():
        raise InvalidInputError(f"There is no plugin {plugin!r}: {path} is not a file.")
    given = json.loads(config.read_text(encoding="utf-8")) if config else None
    with Console(stderr=True).status(f"examining {path}…"):
        kind = None if chained is None else CHAINED if chained else INTERFACE
        verdicts = list(examine(path, given, kind=kind))
    if as_json:
        print(json.dumps([dataclasses.asdict(verdict) for verdict in verdicts], indent=2))
    else:
        show(path, verdicts)
    if any(verdict.passed is False for verdict in verdicts):
        raise typer.Exit(1)


def show(path: Path, verdicts: list[Verdict]) -> None:
    """Print the verdicts as a table, and their counts."""
    console = Console()
    table = Table("section", "rule", "", title=f"{path} against the CNI specification 1.1", title_justify="left")
    for verdict in verdicts:
        why = f"{'skipped' if verdict.applies else 'not applicable'}: {verdict.words}"
        mark = {True: "[green]ok[/]", False: f"[red]broken[/]: {verdict.words}", None: why}
        table.add_row(verdict.section, verdict.rule, mark[verdict.passed])
    console.print(table)
    made = [verdict for verdict in verdicts if verdict.applies]
    counts = [sum(verdict.passed is value for verdict in made) for value in (True, False, None)]
    rest = f", {len(verdicts) - len(made)} not applicable"
    console.print(f"{len(made)} checks: {counts[0]} kept, {counts[1]} broken, {counts[2]} skipped{rest}")
