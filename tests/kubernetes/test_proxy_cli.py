"""``netlab proxy render`` prints rules for objects as users write them, or one sentence and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from netlab.kubernetes.proxy.render import render

WEB = Path(__file__).parents[2] / "labs" / "manifests" / "web.yaml"
OBJECTS = """
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.0.10, ports: [{port: 80}]}
---
kind: EndpointSlice
addressType: IPv4
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
endpoints: [{addresses: [10.244.0.1]}]
ports: [{port: 8080}]
"""


def netlab(*arguments: str, text: str | bytes = "") -> subprocess.CompletedProcess[bytes]:
    """Run the command as a user does, with a text on its standard input."""
    data = text.encode() if isinstance(text, str) else text
    return subprocess.run(
        [sys.executable, "-m", "netlab", "proxy", "render", *arguments], input=data, capture_output=True, check=False
    )


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_it_prints_what_the_library_renders(family: str, mode: str) -> None:
    """Both modes and families, from standard input, with nothing on standard error."""
    text = f"kind: KubeProxyConfiguration\nmode: {mode}\n---{OBJECTS}"
    result = netlab("--ip-family", family, "-f", "-", text=text)
    assert result.returncode == 0
    assert result.stdout.decode() == render(text, family=family)
    assert result.stderr == b""


def test_a_manifest_for_a_cluster_is_rendered_too() -> None:
    """A Service without endpoints rejects, and standard error says that the Deployment is not the proxy's."""
    result = netlab("-f", str(WEB))
    assert result.returncode == 0
    assert b"-d 10.96.0.10 --dport 80 -j REJECT" in result.stdout
    assert b"left out" in result.stderr
    assert b"Deployment" in result.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (OBJECTS.replace("port: 80}", "port: http}"), [b"standard input", b"default/web", b"spec.ports[0].port"]),
        ("a: [", [b"standard input", b"YAML or JSON"]),
        (b"\xff\xfe\x00", [b"UTF-8"]),
        ("- 7", [b"a Kubernetes object"]),
    ],
)
def test_bad_input_gets_a_sentence_and_prints_nothing(text: str | bytes, words: list[bytes]) -> None:
    """The exit status is 1, and the sentence names the file, the document, the field and what was expected."""
    result = netlab("-f", "-", text=text)
    assert result.returncode == 1
    assert result.stdout == b""
    assert b"Traceback" not in result.stderr
    assert b"expected" in result.stderr
    for word in words:
        assert word in result.stderr


def test_a_missing_file_is_named() -> None:
    """The message holds the path that was given."""
    result = netlab("-f", "/nowhere/objects.yaml")
    assert (result.returncode, result.stdout) == (1, b"")
    assert b"/nowhere/objects.yaml" in result.stderr


def test_a_reader_may_leave_early() -> None:
    """Piped into ``head``, the command ends without complaint."""
    command = f"{sys.executable} -m netlab proxy render -f - | head -n 1"
    services = "".join(
        f"---\nkind: Service\nmetadata: {{name: s{number}}}\n"
        f"spec: {{clusterIP: 10.96.{number >> 8}.{number & 255}, ports: [{{port: 80}}]}}\n"
        for number in range(2000)
    )
    result = subprocess.run(["sh", "-c", command], input=services.encode(), capture_output=True, check=False)
    assert result.stdout == b"*mangle\n"
    assert result.stderr == b""
