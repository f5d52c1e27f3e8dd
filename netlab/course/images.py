"""Programs that stand for container images: files in a lab that the reader starts in namespaces of their choice."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from netlab.workloads import echo, proxy

if TYPE_CHECKING:
    from netlab.host import Host

FOLDER = "/run/images"
#: As a container runtime does: what a container prints goes to a file, and it hears nothing.
_START = "#!/bin/sh\nexec >>/run/log/{log} 2>&1 </dev/null\nexec {command}\n"


def add_images(host: Host) -> None:
    """Put the programs app, proxy and pause into the /run/images of a host's lab; all of its hosts see them.

    ``app NAME PORT`` answers HTTP on 127.0.0.1 with who answered and who called. ``proxy PORT APP-PORT`` listens on all
    addresses, and passes HTTP on to a port of localhost. ``pause`` does nothing. What they print is in /run/log.
    """
    python = shlex.join((sys.executable, "-I", "-S"))
    programs = {
        "app": ('"$1".log', f'{python} {shlex.quote(echo.__file__)} "$1" tcp 127.0.0.1 "$2"'),
        "proxy": ("proxy.log", f'{python} {shlex.quote(proxy.__file__)} "$@"'),
        "pause": ("pause.log", "sleep infinity"),
    }
    host.run("mkdir", "-p", FOLDER, "/run/log", check=True)
    for name, (log, command) in programs.items():
        script = 'cat >"$0" && chmod 755 "$0"'
        host.run("sh", "-c", script, f"{FOLDER}/{name}", input=_START.format(log=log, command=command), check=True)
