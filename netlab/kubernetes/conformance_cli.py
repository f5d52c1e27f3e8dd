"""``netlab conformance``: hold netlab against recordings of the real programs, as a table."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from netlab.kubernetes.cni.transcripts import run_transcripts
from netlab.kubernetes.conformance import Suite, home_of, run, run_saved
from netlab.kubernetes.flow_cases import case_steps, flat_steps
from netlab.kubernetes.flows import run_flows
from netlab.kubernetes.proxy.applier import Applier
from netlab.kubernetes.proxy.model import Family
from netlab.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from netlab.host import Host
    from netlab.kubernetes.proxy.state import Inventory

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)

#: Where the recordings are kept: beside a checkout of the project.
BESIDE = Path(__file__).parents[3] / "shared" / "conformance"
VARIABLE = "NETLAB_CONFORMANCE"
_FEW = 12


@app.command()
def conformance(
    folder: Annotated[
        Path | None,
        typer.Option("--conformance", metavar="DIR", help=f"The recordings; else ${VARIABLE}, or beside the checkout."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out what needs connections.")] = False,
) -> None:
    """Compare netlab with recordings of kube-proxy, rule by rule and packet by packet, and of CNI plugins.

    Ends with status 1 if anything differs.
    """
    found = folder or Path(os.environ.get(VARIABLE) or BESIDE)
    home_of(found)
    began = time.monotonic()
    console = Console(stderr=True)
    with console.status("comparing…") as status:
        suites = list(all_suites(found, lambda what: status.update(f"{what}…"), flows=not quick))
    if as_json:
        typer.echo(json.dumps([to_document(suite) for suite in suites], indent=2))
    else:
        show(suites, f"{found}, in {time.monotonic() - began:.0f} s")
    if any(suite.failing for suite in suites):
        raise typer.Exit(1)


def all_suites(folder: Path, told: Callable[[str], object], *, flows: bool = True) -> Iterator[Suite]:
    """Yield every suite for the recordings in ``folder``; ``told`` hears what comes next."""
    with Lab("conformance") as lab:
        host = lab.add_host("node")
        told("texts and states")
        yield from run(folder, lambda inventory, mode: synced(host, inventory, mode))
        told("what the kernel lists")
        yield from run_saved(
            folder, lambda family, text: _saved(host, family, text), lambda family, text: _listed(host, family, text)
        )
    told("CNI transcripts")
    yield run_transcripts(folder)
    if not flows:
        return
    for mode in ("iptables", "nftables"):
        for name, steps in ((f"{mode} flows", flat_steps), (f"{mode} flows of unit tests", case_steps)):

            def tell(case: str, name: str = name) -> None:
                told(f"{name}: {case}")

            yield run_flows(name, steps(folder, mode), tell)


def synced(host: Host, inventory: Inventory, mode: str) -> str:
    """Let a proxy sync once in a host without rules; return the rules that are there then."""
    host.nft("flush ruleset")
    Applier(host, inventory.state.settings, mode).sync(inventory)
    return host.run("nft", "-s", "list", "ruleset", check=True).stdout


def _saved(host: Host, family: Family, text: str) -> str:
    host.nft("flush ruleset")
    host.restore_iptables(text, family=family.name.lower(), flush=False)
    return host.run("iptables-save" if family is Family.IPV4 else "ip6tables-save", check=True).stdout


def _listed(host: Host, family: Family, script: str) -> str:
    host.nft("flush ruleset")
    host.nft(script)
    word = "ip" if family is Family.IPV4 else "ip6"
    return host.run("nft", "-s", "list", "table", word, "kube-proxy", check=True).stdout


def to_document(suite: Suite) -> dict[str, object]:
    """Return a suite for JSON."""
    return {
        "suite": suite.name,
        "passed": suite.passed,
        "total": suite.total,
        "failing": suite.failing,
        "not compared here": suite.unrecorded,
    }


def show(suites: list[Suite], caption: str) -> None:
    """Print a table of suites, and below it every failing case by name."""
    console = Console()
    table = Table(title="Conformance with kube-proxy 1.36.2 and the CNI plugins", caption=caption, title_justify="left")
    table.add_column("suite")
    table.add_column("passed", justify="right")
    table.add_column("of", justify="right")
    table.add_column("not here", justify="right")
    table.add_column("failing")
    for suite in suites:
        names = suite.failing[:_FEW]
        more = [f"and {len(suite.failing) - _FEW} more"] if len(suite.failing) > _FEW else []
        failing = "\n".join([*names, *more]) if names else "none"
        skipped = str(len(suite.unrecorded)) if suite.unrecorded else ""
        table.add_row(suite.name, str(suite.passed), str(suite.total), skipped, failing)
    console.print(table)
    for suite in suites:
        for reason in suite.unrecorded:
            console.print(f"{suite.name}: not compared here: {reason}.")
