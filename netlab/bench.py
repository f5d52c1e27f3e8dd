"""``netlab bench``: measure netlab against what a person would use instead, in one run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netlab.benches.measure import Figure

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Measure netlab against what you would use instead."
)


@app.callback()
def _subjects() -> None:
    """Measure netlab against what you would use instead."""


@app.command()
def build(
    hosts: Annotated[int, typer.Option(min=1, max=250, help="How many hosts on one bridge.")] = 100,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="How often each thing is measured.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Build, read and close hosts on one bridge; compare with `ip -batch` and with Mininet."""
    from netlab.benches.build import measure  # noqa: PLC0415 - only this command needs it

    console = Console(stderr=True)
    with console.status("measuring…") as status:
        figures = list(measure(hosts, rounds, lambda what: status.update(f"measuring {what}…")))
    show(f"{hosts} hosts on one bridge, {rounds} rounds", figures, as_json=as_json)


@app.command()
def services(
    quick: Annotated[bool, typer.Option("--quick", help="Only 100 and 1,000 Services.")] = False,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="How often one endpoint is changed.")] = 5,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Draw what connections pay into this file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Sync 100 to 10,000 Services with three endpoints each, in both modes, and connect to the last one."""
    from netlab.benches.services import draw_connections, measure, sizes  # noqa: PLC0415 - only this command needs it

    console = Console(stderr=True)
    with console.status("measuring…") as status:
        figures = list(measure(sizes(quick=quick), rounds, lambda what: status.update(f"measuring {what}…")))
    show("Services with three endpoints each", figures, as_json=as_json)
    if not as_json:
        show_connections(figures)
    if plot is not None:
        plot.write_text(draw_connections(figures), encoding="utf-8")


def show_connections(figures: list[Figure]) -> None:
    """Print what a connection pays: one line a number of Services, one column a mode."""
    from netlab.benches.services import connection_times  # noqa: PLC0415 - only one command needs it

    times = connection_times(figures)
    table = Table(title="What a connection to the last Service pays (median)", title_justify="left")
    table.add_column("Services", justify="right")
    for mode in times:
        table.add_column(mode, justify="right")
    for size in sorted({size for by_size in times.values() for size in by_size}):
        table.add_row(f"{size:,}", *(f"{by_size[size].median:.0f} µs" for by_size in times.values()))
    Console().print(table)


@app.command()
def cluster(
    quick: Annotated[bool, typer.Option("--quick", help="Only 30 pods on 3 nodes.")] = False,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="How often each is made.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Make clusters of 3 to 10 nodes with 30 to 300 pods, and see that the cost grows in line."""
    from netlab.benches.cluster import SIZES, measure  # noqa: PLC0415 - only this command needs it

    console = Console(stderr=True)
    with console.status("measuring…") as status:

        def told(what: str, done: int, most: int) -> None:
            status.update(f"making {what}: {done} of {most}…")

        figures = list(measure(SIZES[:1] if quick else SIZES, rounds, told))
    show(f"Clusters, {rounds} rounds", figures, as_json=as_json)


@app.command()
def see(
    services: Annotated[int, typer.Option(min=1, max=1000, help="How many Services each node has rules for.")] = 100,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="How often each thing is measured.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Follow a packet over three nodes; draw and watch 30 and 310 hosts, up to the page of a browser."""
    from netlab.benches.see import measure  # noqa: PLC0415 - only this command needs it

    console = Console(stderr=True)
    with console.status("measuring…") as status:
        figures = list(measure(services, rounds, lambda what: status.update(f"measuring {what}…")))
    show(f"Seeing: {services} Services, {rounds} rounds", figures, as_json=as_json)


def show(title: str, figures: list[Figure], *, as_json: bool) -> None:
    """Print figures as a table or as JSON."""
    if as_json:
        print(json.dumps([{**dataclasses.asdict(figure), "median": figure.median} for figure in figures], indent=2))
        return
    table = Table(title=title, title_justify="left")
    table.add_column("what")
    for column in ("median", "least – greatest", "aim"):
        table.add_column(column, justify="right")
    table.add_column("")
    for row in _rows(figures):
        table.add_row(*row)
    Console().print(table)


def _rows(figures: list[Figure]) -> Iterator[tuple[str, ...]]:
    for figure in figures:
        verdict = {True: "met", False: "NOT met", None: ""}[figure.met]
        if figure.median is None:
            yield figure.what, "–", "", figure.aim, figure.note
            continue
        spread = f"{min(figure.values):.3g} – {max(figure.values):.3g}" if len(figure.values) > 1 else ""
        yield figure.what, f"{figure.median:.3g} {figure.unit}", spread, figure.aim, verdict or figure.note
