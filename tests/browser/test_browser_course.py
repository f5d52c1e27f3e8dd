"""Every chapter in JupyterLab, from top to bottom: predictions clicked, solutions put in, and no error on the way."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from lab_server import ROOT, SHORT, Notebook, Server
from playwright.sync_api import Locator, expect

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

CHAPTERS = sorted((ROOT / "labs").glob("*.ipynb"))
_WORK, _PREDICT, _CHECK = "exercise", "predict", "check"


def tagged(notebook: Any, tag: str) -> list[Any]:
    """Return the cells with a tag."""
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def with_solutions(chapter: Path) -> Any:
    """Return a chapter in which each exercise puts its solution in, as `NAME.solve()` does for a reader."""
    notebook = nbformat.read(chapter, as_version=4)  # type: ignore[no-untyped-call]
    works, checks = tagged(notebook, _WORK), tagged(notebook, _CHECK)
    for work, check in zip(works, checks, strict=True):
        work.source = check.source.replace(".check(", ".solve(")
    return notebook


def choose(group: Locator) -> None:
    """Choose the first answer to a prediction, or 3 where a number is asked for; each may be wrong."""
    if (number := group.get_by_role("spinbutton")).count():
        number.fill("3")
    elif (option := group.get_by_role("radio")).count():
        option.first.check()


def commit(cell: Locator) -> None:
    """Answer a prediction; JupyterLab may draw a cell anew while it scrolls, and what was not committed is gone."""
    group = cell.locator(".nl-course")
    button = group.get_by_role("button", name="Commit")
    for _ in range(5):
        choose(group)
        if button.is_enabled():
            break
        cell.page.wait_for_timeout(200)
    button.click()
    expect(group.get_by_role("status")).to_contain_text("Kept", timeout=SHORT)


def outputs(cells: list[Any]) -> str:
    """Return all that some cells show as text."""
    found = [output for cell in cells for output in cell.get("outputs", [])]
    return "\n".join(one.get("text") or one.get("data", {}).get("text/plain", "") for one in found)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_is_done_from_top_to_bottom(chapter: Path, page: Page, server: Server, shots: Path) -> None:
    """Each prediction is committed and decided, each check passes, pictures are there, and nothing is an error."""
    name = f"course-{chapter.name}"
    prepared = with_solutions(chapter)
    nbformat.write(prepared, server.folder / name)  # type: ignore[no-untyped-call]
    opened = Notebook.open(page, server, name)
    asked = [re.search(r'predict\(\s*"[^"]+"', cell.source) for cell in tagged(prepared, _PREDICT)]
    for found in asked:
        assert found
        words = found[0].split('"')[1]
        opened.run_above(words)
        cell = opened.run_cell(words)
        commit(cell)
        page.screenshot(path=shots / f"{chapter.stem}-{words}.png")
    opened.run_below()
    opened.save()
    done = nbformat.read(server.folder / name, as_version=4)  # type: ignore[no-untyped-call]
    kinds = {(cell.id, output.output_type) for cell in done.cells for output in cell.get("outputs", [])}
    assert not [cell for cell, kind in kinds if kind == "error"]
    told = outputs(tagged(done, _CHECK))
    assert "Not yet" not in told
    assert len(re.findall(r"^(?:Done|Mended|✓)", told, flags=re.MULTILINE)) == len(tagged(done, _CHECK))
    assert outputs(done.cells).count("You said") >= len(asked)
    pictures = [one for cell in done.cells for one in cell.get("outputs", []) if "image/svg+xml" in one.get("data", {})]
    assert pictures
    last = opened.panel.locator(".jp-CodeCell").last
    last.scroll_into_view_if_needed()
    page.screenshot(path=shots / f"{chapter.stem}-end.png")
    opened.shut_down()
