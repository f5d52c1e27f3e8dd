"""What the containers of a pod run: the image names of manifests stand for small programs that are on this machine.

There are no images and no registry here. The last part of an image's name, without its tag, chooses the program.
A container's ``command`` takes the place of the program, as in Kubernetes. Pure.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netlab.server import Server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ECHO, NGINX, SHELL, CLIENT, PAUSE = "echo server", "nginx", "shell", "client", "pause"
#: Image names by what they stand for.
IMAGES = {
    ECHO: ("echo", "echoserver", "agnhost", "http-echo", "whoami"),
    NGINX: ("nginx",),
    SHELL: ("shell", "busybox", "alpine", "debian", "ubuntu", "netshoot"),
    CLIENT: ("client", "curl"),
    PAUSE: ("pause",),
}
_BY_IMAGE = {image: program for program, images in IMAGES.items() for image in images}
_PORTS = {ECHO: 8080, NGINX: 80}
SLEEP = ("sleep", "infinity")

# One process that stays the user it is: the sandbox's root may not call setgroups(), which nginx's workers do.
_NGINX = """\
daemon off; master_process off; user root; pid {folder}/nginx.pid; error_log stderr;
events {{ worker_connections 64; }}
http {{
    access_log off; default_type text/plain;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
{listens}
        location / {{ return 200 "{pod}: $remote_addr asked for $host$request_uri\\n"; }}
    }}
}}
"""
# The file is read once more when nginx is told to reload: it has to be one.
_START_NGINX = 'mkdir -p "$0" && cat >"$0/nginx.conf" && exec nginx -c "$0/nginx.conf" -e stderr'


@dataclass(frozen=True, slots=True)
class Program:
    """One process of a container.

    ``ports`` (protocol, number) are open once it is up; it prints a line "ready" then, if ``announces``.
    """

    argv: tuple[str, ...]
    stdin: str = ""
    ports: tuple[tuple[str, int], ...] = ()
    announces: bool = False


def image_name(image: str) -> str:
    """Return the part of an image's name that counts.

    >>> image_name("registry.k8s.io/e2e-test-images/agnhost:2.40")
    'agnhost'
    """
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]


def refuse(image: str, command: Sequence[str]) -> str:
    """Return why an image cannot be run; an empty text if it can."""
    name = image_name(image)
    if name in _BY_IMAGE:
        return "" if not command or all(isinstance(word, str) for word in command) else "a list of words was expected"
    known = "; ".join(f"{', '.join(images)} ({program})" for program, images in IMAGES.items())
    given = f"not {image!r}" if image else "the field is missing"
    return f"there is no registry here; one of these names was expected, with any registry and tag: {known}; {given}"


def programs(container: Mapping[str, Any], pod: str, folder: str) -> list[Program]:
    """Return the processes of a container; ``folder`` is a path of its own that need not exist yet."""
    kind = _BY_IMAGE[image_name(container["image"])]
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    if container.get("command"):
        return [Program(tuple(words), ports=())]
    ports = _ports(container, kind)
    if kind == ECHO:
        return [_echo(pod, protocol, port) for protocol, port in ports]
    if kind == NGINX:
        listens = "".join(f"        listen {number}; listen [::]:{number};\n" for _, number in ports)
        config = _NGINX.format(folder=folder, listens=listens.rstrip("\n"), pod=pod)
        return [Program(("sh", "-c", _START_NGINX, folder), config, ports)]
    if kind == CLIENT and words:
        return [Program(("curl", *words))]
    if kind == SHELL and words:
        return [Program(("sh", *words))]
    return [Program(SLEEP)]


def _echo(pod: str, protocol: str, port: int) -> Program:
    command = (sys.executable, *Server.command(pod, protocol, "::", port))
    return Program(command, ports=((protocol, port),), announces=True)


def _ports(container: Mapping[str, Any], kind: str) -> tuple[tuple[str, int], ...]:
    given = [
        ((port.get("protocol") or "TCP").lower(), int(port["containerPort"])) for port in container.get("ports") or ()
    ]
    return tuple(dict.fromkeys(given)) or ((("tcp", _PORTS[kind]),) if kind in _PORTS else ())
