from __future__ import annotations

import gc
import shutil
from typing import TYPE_CHECKING

import fingerprint
import pytest

from netlab import Lab, LabError
from netlab.lab import living_labs

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from playwright.sync_api import Browser

    from netlab import Host

#: What tells most about a host when a test has failed in it.
_QUESTIONS = (
    ("ip", "-d", "addr"),
    ("ip", "route", "show", "table", "all"),
    ("ip", "neigh"),
    ("bridge", "fdb"),
    ("iptables-save", "-c"),
    ("ip6tables-save", "-c"),
    ("nft", "list", "ruleset"),
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the hosts of every open lab below a test that failed."""
    report = yield
    if report.when == "call" and report.failed and item.get_closest_marker("kernel"):
        for lab in living_labs():
            for host in lab.hosts.values():
                report.sections.append((f"host {host.name} of lab {lab.name}", describe(host)))
    return report


def describe(host: Host) -> str:
    """Return what the usual commands print in a host."""
    texts = []
    for question in _QUESTIONS:
        try:
            result = host.run(*question, timeout=5)
        except LabError as error:
            texts.append(f"$ {' '.join(question)}\n{error}")
        else:
            if result.stdout or not result.ok:
                texts.append(repr(result))
    return "\n".join(texts)


@pytest.fixture(scope="session", autouse=True)
def machine_as_before() -> Iterator[None]:
    """See that all tests together leave nothing on the machine."""
    before = fingerprint.take()
    yield
    gc.collect()
    left = fingerprint.wait_for_same(before)
    assert not left, f"the tests have left this on the machine:\n{left}"


@pytest.fixture
def machine() -> Iterator[None]:
    """See that this test alone leaves nothing on the machine."""
    before = fingerprint.take()
    yield
    gc.collect()
    left = fingerprint.wait_for_same(before)
    assert not left, f"the test has left this on the machine:\n{left}"


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Make a fresh lab, and close it after the test."""
    with Lab("test") as made:
        yield made


@pytest.fixture
def pair(lab: Lab) -> tuple[Host, Host]:
    """Return red and blue, joined by a cable: 10.0.0.1/24 and fd00::1/64 at red, 10.0.0.2/24 and fd00::2/64 at blue."""
    red, blue = lab.add_host("red"), lab.add_host("blue")
    lab.connect(red, blue, ["10.0.0.1/24", "fd00::1/64"], ["10.0.0.2/24", "fd00::2/64"])
    return red, blue


#: What keeps Chromium from talking to anybody but the server of the test.
ALONE = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Return a headless Chromium, the system's or else Playwright's: one for all, as Playwright allows no second."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "google-chrome", "google-chrome-stable")
    path = next((found for name in names if (found := shutil.which(name))), None)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ALONE)
        yield browser
        browser.close()
