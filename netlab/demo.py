"""``netlab demo``: see what netlab does, in a terminal, without writing a line."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from netlab.lab import Lab
    from netlab.server import Server

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="See what netlab does, in a terminal.")
#: Seconds between two lines on a terminal.
PACE = 0.12


@app.callback()
def _demos() -> None:
    """See what netlab does, in a terminal."""


@app.command()
def cluster() -> None:
    """Run three nodes and a Service, send 300 requests, cut a node's power, send 300 more."""
    from netlab.kubernetes.demo import run  # noqa: PLC0415 - only this command needs it

    run()


@app.command()
def journey(
    pcap: Annotated[str, typer.Option(metavar="FILE", help="Also write the packets to a pcapng file.")] = "",
    fast: Annotated[bool, typer.Option("--fast", help="Do not pause between the lines.")] = False,
) -> None:
    """Follow a packet from a client over NAT and a router to a server and back, and then one that is dropped."""
    from netlab.lab import Lab  # noqa: PLC0415 - only this command needs it

    pace = 0.0 if fast or not sys.stdout.isatty() else PACE
    with Lab("journey") as lab, build(lab):
        say("client (192.168.1.2) sits behind gateway, which hides it (MASQUERADE).", pace)
        say("router has a service address, 10.96.0.10:80, which leads to server (10.0.2.2:8080): DNAT.", pace)
        say("", pace)
        found = lab.trace("client", "10.96.0.10", 80)
        say(str(found), pace)
        if pcap:
            say("", pace)
            say(f"The packets, with the rules they met as comments: {found.pcap(pcap)}", pace)
        rule = ("FORWARD", "-p", "tcp", "--dport", "8080", "-j", "DROP")
        for line in ("", f"Now router gets one rule more: iptables -I {' '.join(rule)}", ""):
            say(line, pace)
        lab.host("router").iptables("-I", *rule)
        say(str(lab.trace("client", "10.96.0.10", 80, timeout=0.5)), pace)


def build(lab: Lab) -> Server:
    """Build client, gateway, router and server in a row; return the server that runs."""
    client, gateway, router, server = (lab.add_host(name) for name in ("client", "gateway", "router", "server"))
    lab.connect(client, gateway, "192.168.1.2/24", "192.168.1.1/24")
    lab.connect(gateway, router, "10.0.1.2/24", "10.0.1.1/24")
    lab.connect(router, server, "10.0.2.1/24", "10.0.2.2/24")
    for host in (gateway, router):
        host.sysctl["net.ipv4.ip_forward"] = 1
    for host, via in ((client, "192.168.1.1"), (gateway, "10.0.1.1"), (server, "10.0.2.1")):
        host.add_route("default", via=via)
    gateway.iptables("-t", "nat", "-A", "POSTROUTING", "-o", "eth1", "-j", "MASQUERADE")
    service = ("-d", "10.96.0.10", "-p", "tcp", "--dport", "80")
    router.iptables("-t", "nat", "-A", "PREROUTING", *service, "-j", "DNAT", "--to-destination", "10.0.2.2:8080")
    router.iptables("-A", "FORWARD", "-d", "10.0.2.0/24", "-j", "ACCEPT")
    return server.serve(8080)


def say(text: str, pace: float) -> None:
    """Print a text line by line, as fast as one can read along."""
    for line in text.splitlines() or [""]:
        print(line, flush=True)
        time.sleep(pace)
