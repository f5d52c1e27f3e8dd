"""What a command in a host inherits from the program that made the lab."""

from __future__ import annotations

import pytest

from netlab import Lab

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "all_proxy", "no_proxy"])
def test_proxies_stay_outside(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the machine's network cannot be reached from a lab, and would keep curl from the hosts in it."""
    monkeypatch.setenv(name, "http://192.0.2.1:3128")
    monkeypatch.setenv("COLOUR", "green")
    with Lab("environment") as lab:
        told = lab.add_host("red").run("env", check=True).stdout
    assert "192.0.2.1" not in told
    assert "COLOUR=green" in told
