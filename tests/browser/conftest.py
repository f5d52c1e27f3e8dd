"""One browser and one JupyterLab for the tests of this folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab_server import ROOT, Server, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page


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
