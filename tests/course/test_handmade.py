"""Pods that are built by hand for exercises, and what is seen of their processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netlab import Lab
from netlab.course.images import add_images
from netlab.course.namespaces import listeners, processes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netlab import Host

pytestmark = pytest.mark.kernel

START = "{command} & echo $!; until ss -Htln sport = :{port} | grep -q LISTEN; do sleep 0.01; done"


@pytest.fixture
def node() -> Iterator[Host]:
    """Return a host with the images."""
    with Lab("handmade") as lab:
        host = lab.add_host("node")
        host.set_link("lo", up=True)
        add_images(host)
        yield host


def start(node: Host, command: str, port: int) -> int:
    """Start a program, wait until its port is open, and return its process number."""
    result = node.run("bash", "-c", START.format(command=command, port=port), timeout=10, check=True)
    return int(result.stdout)


def test_a_proxy_asks_the_app_by_localhost(node: Host) -> None:
    """The request goes on to the app, and its answer comes back."""
    start(node, "/run/images/app shop 8080", 8080)
    start(node, "/run/images/proxy 80 8080", 80)
    answer = node.run("curl", "-s", "-m", "2", "-d", "text", "http://127.0.0.1/path", check=True).stdout
    assert '"server": "shop"' in answer
    assert '"path": "/path"' in answer
    assert '"body": "text"' in answer
    assert '"client_address": "127.0.0.1"' in answer


def test_a_proxy_without_an_app_says_so(node: Host) -> None:
    """It answers 502 Bad Gateway, with the reason."""
    start(node, "/run/images/proxy 80 8080", 80)
    answer = node.run("curl", "-s", "-m", "2", "-w", " %{http_code}", "http://127.0.0.1/", check=True).stdout
    assert answer == "no app on 127.0.0.1:8080: Connection refused\n 502"


def test_a_port_that_is_taken_is_told_in_the_log(node: Host) -> None:
    """The second one ends, and its last words are kept."""
    start(node, "/run/images/proxy 80 8080", 80)
    assert not node.run("/run/images/proxy", "80", "8080", timeout=5).ok
    assert node.run("tail", "-n1", "/run/log/proxy.log").stdout == "tcp port 80: Address already in use\n"


def test_processes_and_their_namespaces(node: Host) -> None:
    """Who is in which namespace, and in which of them a port is open."""
    start(node, "/run/images/proxy 80 8080", 80)
    script = "unshare --net --uts /run/images/pause & echo $!; until [ -e /proc/$!/exe ]; do :; done; sleep 0.1"
    number = int(node.run("bash", "-c", script, timeout=5, check=True).stdout)
    (pause,) = (one for one in processes(node) if one.number == number)
    assert pause.command == "sleep infinity"
    (proxy,) = listeners(node, "80")
    assert proxy.spaces["net"] == str(node.namespace.inode) != pause.spaces["net"]
    assert [kind for kind in pause.spaces if pause.spaces[kind] != proxy.spaces[kind]] == ["net", "uts"]
