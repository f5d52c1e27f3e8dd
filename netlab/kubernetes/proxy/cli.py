"""``netlab proxy``: show what the Service proxy would write, without a cluster."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from netlab.errors import InvalidInputError
from netlab.kubernetes.proxy.fields import ManifestError
from netlab.kubernetes.proxy.render import FAMILIES, USED_KINDS, read_input

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Show the rules that Services need on a node."
)


class FamilyName(StrEnum):
    """The families, as they are named on the command line."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"


@app.callback()
def _commands() -> None:
    """Show the rules that Services need on a node."""


@app.command()
def render(
    file: Annotated[
        str, typer.Option("-f", "--filename", metavar="FILE", help='Objects as YAML or JSON; "-" is standard input.')
    ],
    ip_family: Annotated[FamilyName, typer.Option(help="The family to write.")] = FamilyName.IPV4,
) -> None:
    """Print the complete input of a first sync: for iptables-restore --noflush, or for nft -f.

    The objects may be a KubeProxyConfiguration (its mode is iptables or nftables), a Node, Services and EndpointSlices.
    """
    name = "standard input" if file == "-" else file
    text = _read(file, name)
    try:
        given = read_input(text, FAMILIES[ip_family.value])
    except ManifestError as error:
        raise InvalidInputError(f"{name}: {error}") from None
    if given.left_out:
        used = ", ".join(USED_KINDS)
        typer.echo(f"netlab: {name}: left out {', '.join(given.left_out)}: the proxy reads {used}.", err=True)
    _write(given.render())


def _read(file: str, name: str) -> str:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise InvalidInputError(f"{name}: expected a file with Kubernetes objects; {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{name}: expected text in UTF-8; byte {error.start} is none.") from None


def _write(text: str) -> None:
    """Print a text; a reader such as ``head`` may leave before its end."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more when it ends, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
