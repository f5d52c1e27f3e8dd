"""The form of the chapters and of the texts beside them: what a reader and a diff rely on."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
from chapters import CHAPTERS, LABS, ROOT, code_blocks, exercises, read, tags

BEAT = ["Why", "Predict", "Build", "Observe", "Explain", "Exercise", "Break", "On a real cluster", "Read on"]
KNOWN_TAGS = {"predict", "exercise", "check"}
TEXTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", LABS / "README.md"]
LINES_OF_CODE = 8

each_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
each_text = pytest.mark.parametrize("text", [*TEXTS, *CHAPTERS], ids=lambda path: f"{path.parent.name}/{path.name}")


def prose(path: Path) -> str:
    """Return the Markdown of a text or of a chapter, without its code blocks."""
    parts = (
        [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
        if path.suffix == ".ipynb"
        else [path.read_text(encoding="utf-8")]
    )
    whole = "\n\n".join(parts)
    return re.sub(r"^```.*?^```", "", whole, flags=re.DOTALL | re.MULTILINE)


def headings(markdown: str) -> list[tuple[int, str]]:
    """Return the headings as (level, words)."""
    return [(len(marks), words) for marks, words in re.findall(r"^(#+) (.+)$", markdown, flags=re.MULTILINE)]


def test_there_are_chapters() -> None:
    """The tests below have something to look at."""
    assert [path.stem for path in CHAPTERS[:2]] == ["00-welcome", "01-one-packet"]


@each_chapter
def test_is_a_valid_notebook_of_today(chapter: Path) -> None:
    """It keeps to nbformat 4.5, names the kernel, and gives each cell an id that can be read."""
    notebook = read(chapter)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z][a-z-]*", one) for one in ids)


@each_chapter
def test_holds_no_output(chapter: Path) -> None:
    """Nothing of a run is kept, so that a diff shows what somebody wrote."""
    for cell in read(chapter).cells:
        if cell.cell_type == "code":
            assert not cell.outputs, cell.id
            assert cell.execution_count is None, cell.id
        assert set(cell.metadata) <= {"tags"}, cell.id


@each_chapter
def test_code_cells_are_short(chapter: Path) -> None:
    """Nobody has to read more than eight lines before they run them."""
    for cell in read(chapter).cells:
        if cell.cell_type == "code":
            assert 0 < len(cell.source.splitlines()) <= LINES_OF_CODE, cell.id


@each_chapter
def test_keeps_the_beat(chapter: Path) -> None:
    """The parts of a chapter come in the order that the reader knows, under one title."""
    found = headings(prose(chapter))
    assert found[0][0] == 1
    assert found[0][1].startswith(chapter.stem[:2])
    parts = [words for level, words in found if level == 2]
    assert [part for part in BEAT if any(words.startswith(part) for words in parts)] == BEAT
    assert [next(part for part in BEAT if words.startswith(part)) for words in parts] == BEAT


@each_text
def test_headings_do_not_skip_a_level(text: Path) -> None:
    """Who reads with a screen reader goes by the headings."""
    levels = [level for level, _ in headings(prose(text))]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


@each_text
def test_pictures_have_words(text: Path) -> None:
    """Who cannot see a picture is told what it shows."""
    markdown = prose(text)
    for words, target in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", markdown):
        assert len(words.split()) > 3, target
    for tag in re.findall(r"<img\b[^>]*>", markdown):
        assert re.search(r'\balt="[^"]{12,}"', tag), tag


@each_text
def test_relative_links_lead_somewhere(text: Path) -> None:
    """A link to another file names one that is there."""
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose(text)):
        if not re.match(r"[a-z]+:", target):
            assert (text.parent / target).exists(), target


@each_chapter
def test_exercises_are_whole(chapter: Path) -> None:
    """There is something to predict, and each exercise has a place to work in and a check."""
    notebook = read(chapter)
    assert {tag for cell in notebook.cells for tag in tags(cell)} <= KNOWN_TAGS
    assert any("predict" in tags(cell) for cell in notebook.cells)
    names = [name for _, _, name in exercises(notebook)]
    assert names
    assert len(set(names)) == len(names)


@each_text
def test_words_are_spelt_as_the_dictionary_has_them(text: Path) -> None:
    """Prose keeps to British spelling; names and terms of the field are in words.txt."""
    if shutil.which("hunspell") is None:
        pytest.skip("hunspell is not installed (Debian: apt install hunspell hunspell-en-gb)")
    # Not code, not where links lead, nothing with a digit or a capital within, and no "'s".
    words = re.sub(r"`[^`]*`|\]\([^)]*\)|<[^>]*>|https?://\S+|\S*\d\S*|\w*[a-z][A-Z]\w*|'s\b", " ", prose(text))
    command = ["hunspell", "-i", "utf-8", "-d", "en_GB", "-p", str(Path(__file__).with_name("words.txt")), "-l"]
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    found = subprocess.run(command, input=words, capture_output=True, text=True, check=True, env=environment)
    assert sorted(set(found.stdout.split())) == []


def test_the_map_names_each_chapter_once() -> None:
    """A chapter that is there is in the map as being there, and no other is."""
    here, planned = (LABS / "README.md").read_text(encoding="utf-8").split("## What is planned")
    assert re.findall(r"\]\((\d\d-[\w-]+\.ipynb)\)", here) == [path.name for path in CHAPTERS]
    numbers = [path.stem[:2] for path in CHAPTERS] + re.findall(r"^\| (\d\d) · ", planned, flags=re.MULTILINE)
    assert sorted(numbers) == [f"{number:02}" for number in range(19)]


def test_the_readme_names_real_paths() -> None:
    """The map of the repository lists only what is there."""
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("## Where things are")[1]
    for cell in re.findall(r"^\| (`.*?`) \|", table, flags=re.MULTILINE):
        for path in re.findall(r"`([^`]+)`", cell):
            assert (ROOT / path).exists(), path


def test_the_readme_example_has_ten_lines() -> None:
    """It is as short as its heading says."""
    (example,) = (block for block in code_blocks((ROOT / "README.md").read_text(encoding="utf-8")) if "Lab(" in block)
    assert len(example.splitlines()) <= 10
