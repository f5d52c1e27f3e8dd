"""Chapters in a real kernel, as a reader runs them: each exercise untouched first, and then with its solution."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import claims
import pytest
from chapters import CHAPTERS, ROOT, SECONDS, Run, code_blocks, exercises, run, solved

pytestmark = [pytest.mark.kernel, pytest.mark.notebook]

#: Run once, for all tests about the chapter: see the fixture.
each_chapter = pytest.mark.parametrize("done", CHAPTERS, ids=lambda path: path.stem, indirect=True)


@pytest.fixture(scope="module")
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Run]:
    """Return a chapter, the folder in which it ran, and its run: all cells, from a clean kernel, without an error."""
    folder = tmp_path_factory.mktemp("run")
    return request.param, folder, run(request.param, folder)


@each_chapter
def test_it_runs_in_time(done: tuple[Path, Path, Run]) -> None:
    """Nobody waits for a chapter longer than a minute."""
    assert done[2].seconds < SECONDS


@each_chapter
def test_untouched_exercises_are_not_done(done: tuple[Path, Path, Run]) -> None:
    """Who does nothing is told so kindly: what was seen, what is expected, and where to look."""
    for _, check, _ in exercises(done[2].notebook):
        text = done[2].text(check.id)
        assert text.startswith("Not yet. Seen: "), text
        assert "Expected: " in text
        assert "Look next: " in text


@each_chapter
def test_solutions_pass(done: tuple[Path, Path, Run]) -> None:
    """With the solution in, each check is content."""
    for _, check, _ in exercises(done[2].notebook):
        text = done[2].text(solved(check.id))
        assert text.startswith(("Done: ", "Mended: ")), text


@each_chapter
def test_the_prose_is_true(done: tuple[Path, Path, Run]) -> None:
    """What the texts say about outputs is so."""
    claims.check(done[0].stem, done[2])


@each_chapter
def test_nothing_is_left(done: tuple[Path, Path, Run]) -> None:
    """Afterwards there is no kernel, no lab, and no file."""
    _, folder, ran = done
    assert ran.kernel
    assert f"netlab/{ran.kernel}/" not in Path("/proc/net/unix").read_text(encoding="utf-8")
    assert not Path(f"/proc/{ran.kernel}").exists()
    assert not list(folder.iterdir())


def test_the_readme_example_runs(tmp_path: Path) -> None:
    """The ten lines of the README print an answer and its packets."""
    (example,) = (block for block in code_blocks((ROOT / "README.md").read_text(encoding="utf-8")) if "Lab(" in block)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    shown = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert '"server": "blue"' in shown
    assert "ARP who has 10.0.0.2" in shown
