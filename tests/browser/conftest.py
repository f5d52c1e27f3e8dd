"""One browser and one JupyterLab for the tests of this folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab_server import ROOT, Server, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

AXE = "axe-core@4.10.2"


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the source of axe-core: that at NETLAB_AXE, or else as npm has it."""
    if known := os.environ.get("NETLAB_AXE"):
        return Path(known).read_text(encoding="utf-8")
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed, and NETLAB_AXE names no axe.min.js")
    folder = tmp_path_factory.mktemp("axe")
    command = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts", AXE]
    # Who runs this may have no home that can be written to, or another's settings: npm keeps what it needs here.
    kept = {"npm_config_cache": f"{folder}/cache", "npm_config_userconfig": f"{folder}/npmrc", "HOME": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90, env=os.environ | kept)
    if done.returncode and not os.environ.get("CI"):
        pytest.skip(f"npm cannot get {AXE}: {done.stderr.strip()[:200]}")
    assert done.returncode == 0, done.stderr
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a JupyterLab that serves a copy of the chapters."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("served") / "labs"
    shutil.copytree(ROOT / "labs", folder)
    with serve(folder, home) as running:
        yield running


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """Return a page of a browser that has seen nothing yet; its errors fail the test."""
    context = chromium.new_context(viewport={"width": 1600, "height": 1000}, device_scale_factor=1)
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    context.close()
    assert not errors


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Return the folder for screenshots: NETLAB_SHOTS if it is set, else a temporary one."""
    folder = Path(os.environ.get("NETLAB_SHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
