"""The course as a static site: what is in it, what becomes of the folder, and what happens when a chapter fails."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest

from netlab.course.publish.site import Site
from netlab.errors import InvalidInputError

MAP = """# The course

- [00 · First](00-first.ipynb), [01 · Second](01-second.ipynb), [a picture](images/dot.svg), [out](../README.md)
- [elsewhere](https://example.org/)

| a | b |
|---|---|
| 1 | 2 |
"""
SOLUTIONS = """\
from netlab.course import Exercise, Verdict
from netlab.course.values import failed

SPEC = Exercise(
    key="00-up",
    title="Up",
    goal="Set `lo` of {client} up.",
    setup=lambda scene: scene.add_hosts("client"),
    check=lambda scene: failed("lo is what it was", "another state", "`ip link`."),
    solution={"client": "ip link set lo up mtu 1234"},
)
EXERCISES = (SPEC,)
"""
FIRST = [
    ("md", "# 00 · First\n\nGo on with [the second](01-second.ipynb#Why), or [the map](README.md).\n"),
    ("md", "## Why\n\n```\nip link\n```\n"),
    ("py", "from netlab import Lab\nfrom netlab.course import exercise\nlab = Lab('one')\nred = lab.add_host('red')"),
    ("py", "lab.diagram()"),
    ("py", "blue = lab.add_host('blue')\nprint('two', end='')\nprint(' hosts')"),
    ("py", "up = exercise('00-up')\nup"),
    ("py", "up.check()"),
    ("py", 'from IPython.display import HTML\nHTML(\'<a href="01-second.ipynb">on</a> <a href="07-no.ipynb">no</a>\')'),
]
SECOND = [("md", "# 01 · Second\n\nBack to [the first](00-first.ipynb).\n\n## Why\n"), ("py", "1 + 1")]


def write_notebook(path: Path, cells: list[tuple[str, str]]) -> None:
    """Write a chapter that has these cells."""
    made = [
        nbformat.v4.new_markdown_cell(text, id=f"cell-{number}")  # type: ignore[no-untyped-call]
        if kind == "md"
        else nbformat.v4.new_code_cell(text, id=f"cell-{number}")  # type: ignore[no-untyped-call]
        for number, (kind, text) in enumerate(cells)
    ]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata=kernel), path)  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a course of two short chapters."""
    folder = tmp_path_factory.mktemp("course") / "labs"
    for name in ("solutions", "images"):
        (folder / name).mkdir(parents=True)
    (folder / "README.md").write_text(MAP, encoding="utf-8")
    (folder / "images" / "dot.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>", encoding="utf-8")
    (folder / "solutions" / "00-first.py").write_text(SOLUTIONS, encoding="utf-8")
    write_notebook(folder / "00-first.ipynb", FIRST)
    write_notebook(folder / "01-second.ipynb", SECOND)
    return folder


def publish(labs: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command for a course."""
    command = [sys.executable, "-m", "netlab", "course", "publish", *map(str, words)]
    environment = os.environ | {
        "NETLAB_LABS": str(labs),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "COLUMNS": "120",
    }
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture(scope="module")
def site(labs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the site of the two chapters."""
    folder = tmp_path_factory.mktemp("published") / "deep" / "site"
    done = publish(labs, folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"2 chapters are published: open {folder / 'index.html'}\n"
    assert re.fullmatch(r"1/2  00 · First  \(\d+ s\)\n2/2  01 · Second  \(\d+ s\)\n", done.stderr)
    return folder


class Reader(HTMLParser):
    """Reads a page: its tags with their attributes, and what it asks a browser to get."""

    def __init__(self, page: Path) -> None:
        """Read it."""
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of each such tag."""
        return [attributes for name, attributes in self.tags if name == tag]

    def links(self) -> list[str]:
        """Return all that is linked or loaded."""
        return [str(attrs[key]) for _, attrs in self.tags for key in ("href", "src") if attrs.get(key)]


def pages(site: Path) -> list[Path]:
    """Return the pages of a site."""
    return sorted(site.glob("*.html"))


@pytest.mark.kernel
@pytest.mark.notebook
def test_all_links_inside_the_site_lead_somewhere(site: Path) -> None:
    """To a file, and to a place in it; one that would lead out of the folder is plain text."""
    assert [page.name for page in pages(site)] == ["00-first.html", "01-second.html", "index.html"]
    for page in pages(site):
        for link in Reader(page).links():
            name, _, place = link.partition("#")
            if link != "https://example.org/":
                target = site / (name or page.name)
                assert target.is_file(), link
                assert not place or any(attrs.get("id") == place for _, attrs in Reader(target).tags), link
    assert "../README.md" not in (site / "index.html").read_text(encoding="utf-8")
    assert ", out" in (site / "index.html").read_text(encoding="utf-8")
    text = (site / "00-first.html").read_text(encoding="utf-8")
    assert '<a href="01-second.html">on</a> <a>no</a>' in text, "in an output too"


@pytest.mark.kernel
@pytest.mark.notebook
def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    """No script, no font, no picture and no style of another host: it can be read without a network."""
    for page in pages(site):
        found = Reader(page)
        assert not found.all("script")
        loaded = [attrs.get("href") for attrs in found.all("link")] + [attrs.get("src") for attrs in found.all("img")]
        assert all(one and not re.match(r"[a-z]+:|//", one) for one in loaded), loaded
    style = (site / "style.css").read_text(encoding="utf-8")
    assert not re.search(r"url\(|@import", style)


@pytest.mark.kernel
@pytest.mark.notebook
def test_a_page_can_be_read_by_all(site: Path) -> None:
    """It has a language, a title, one first heading, a way past the links at the top, and words for its pictures."""
    for page in pages(site):
        found = Reader(page)
        assert found.all("html")[0]["lang"] == "en"
        assert found.all("meta")[1]["content"] == "width=device-width, initial-scale=1"
        assert len(found.all("h1")) == 1
        assert found.all("a")[0]["href"] == "#main"
        assert all(attrs.get("alt") for attrs in found.all("img"))
    assert "<title>00 · First – netlab</title>" in (site / "00-first.html").read_text(encoding="utf-8")


@pytest.mark.kernel
@pytest.mark.notebook
def test_a_solution_is_folded_behind_its_exercise(site: Path) -> None:
    """It is there for the names of this run, after the check, and the call that fetched it is not shown."""
    text = (site / "00-first.html").read_text(encoding="utf-8")
    goal, check, solution = (text.index(words) for words in ("<strong>Up</strong>", "Not yet", "lo up mtu 1234"))
    assert goal < check < solution
    (name,) = set(re.findall(r"Set <code>lo</code> of (\w+) up", text))
    assert re.search(rf"<details><summary>A solution</summary><pre[^>]*># in {name}\n", text)
    assert "up.solution()" not in text
    assert [attrs.get("class") for attrs in Reader(site / "00-first.html").all("details") if "open" in attrs] == [
        "later"
    ]


@pytest.mark.kernel
@pytest.mark.notebook
def test_a_picture_stays_as_the_text_around_it_means_it(site: Path) -> None:
    """A host that was added two cells below is not in it; the live view itself, which needs Python, is left out."""
    first, later = Reader(site / "00-first.html").all("img")
    drawn = [(site / str(one["src"])).read_text(encoding="utf-8") for one in (first, later)]
    assert [(">red<" in one, ">blue<" in one) for one in drawn] == [(True, False), (True, True)]
    assert "1 host (red)" in str(first["alt"])
    assert "2 hosts (red and blue)" in str(later["alt"])
    text = (site / "00-first.html").read_text(encoding="utf-8")
    assert text.count("1 host (red)") == 1, "as alternative text"
    shown, added, again = (text.index(words) for words in ("diagram", "two hosts", "The picture after this"))
    assert shown < added < again
    assert re.search(r"<pre[^>]*>two hosts\n</pre>", text), "one stream, one block"


@pytest.mark.kernel
@pytest.mark.notebook
def test_chapters_follow_each_other(site: Path) -> None:
    """Each has a link to the one before and the one after it."""
    first, second = Reader(site / "00-first.html"), Reader(site / "01-second.html")
    assert {attrs["href"] for attrs in first.all("a") if attrs.get("rel") == "next"} == {"01-second.html"}
    assert {attrs["href"] for attrs in second.all("a") if attrs.get("rel") == "prev"} == {"00-first.html"}
    assert not [attrs for attrs in first.all("a") if attrs.get("rel") == "prev"]


@pytest.mark.kernel
@pytest.mark.notebook
def test_a_chapter_that_fails_leaves_the_old_site(labs: Path, site: Path, tmp_path: Path) -> None:
    """The command says which cell it was, and ends with 1."""
    broken = tmp_path / "labs"
    (broken / "solutions").mkdir(parents=True)
    (broken / "README.md").write_text("# The course\n", encoding="utf-8")
    write_notebook(broken / "00-first.ipynb", [("md", "# 00 · First"), ("py", "1 + 1"), ("py", "1 / 0")])
    before = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}
    done = publish(broken, site)
    assert done.returncode == 1
    assert "netlab: 00-first.ipynb failed in its cell 'cell-2': ZeroDivisionError: division by zero." in done.stderr
    assert "Traceback" not in done.stderr
    assert {path: path.read_bytes() for path in site.rglob("*") if path.is_file()} == before
    assert labs != broken


@pytest.mark.notebook
def test_a_kernel_that_dies_is_told(tmp_path: Path) -> None:
    """It is no cell's error, and no traceback of ours."""
    (tmp_path / "labs" / "solutions").mkdir(parents=True)
    write_notebook(tmp_path / "labs" / "00-first.ipynb", [("md", "# 00"), ("py", "import os\nos._exit(3)")])
    done = publish(tmp_path / "labs", tmp_path / "site")
    assert done.returncode == 1
    assert "netlab: 00-first.ipynb failed: Kernel died" in done.stderr
    assert not (tmp_path / "site").exists()


@pytest.mark.kernel
@pytest.mark.notebook
def test_one_chapter_alone(labs: Path, tmp_path: Path) -> None:
    """The site then has no link to another."""
    done = publish(labs, tmp_path / "site", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 chapter is published: open ")
    assert not [link for page in pages(tmp_path / "site") for link in Reader(page).links() if "00-first" in link]


def test_a_folder_of_somebody_else_is_left_alone(labs: Path, tmp_path: Path) -> None:
    """Nothing runs and nothing is written; the words say what would be done with --force."""
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    done = publish(labs, tmp_path)
    assert done.returncode == 1
    assert "holds files that netlab did not write" in done.stderr
    assert "--force" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    assert publish(labs, tmp_path / "thesis.txt").returncode == 1
    unknown = publish(labs, tmp_path / "site", "77")
    assert "There is no chapter '77'. There are: 00, 01." in unknown.stderr


def test_help_says_what_it_takes(labs: Path) -> None:
    """The folder, the chapters, and the option."""
    text = publish(labs, "--help").stdout
    assert "DIR" in text
    assert "[CHAPTER...]" in text
    assert "--force" in text


def test_a_new_site_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    """Pages that are no more go, with their folder; a file that is not ours stays."""
    Site(tmp_path).write({"index.html": b"old", "pictures/old.svg": b"old", "gone.html": b"old"})
    (tmp_path / "CNAME").write_text("example.org", encoding="utf-8")
    Site(tmp_path).write({"index.html": b"new"})
    assert sorted(path.name for path in tmp_path.iterdir()) == [".netlab-site.json", "CNAME", "index.html"]
    assert (tmp_path / "index.html").read_bytes() == b"new"


def test_force_leaves_other_files(tmp_path: Path) -> None:
    """A folder that holds other files, such as a checkout for pages, is taken when somebody says so."""
    (tmp_path / "CNAME").write_text("example.org", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="did not write"):
        Site(tmp_path)
    Site(tmp_path, force=True).write({"index.html": b"new"})
    Site(tmp_path).write({"index.html": b"newer"})
    assert (tmp_path / "CNAME").read_text(encoding="utf-8") == "example.org"


@pytest.mark.parametrize("listed", ['{"files": ["../keep.txt", "/etc/hostname"]}', "[]", "not JSON", '{"files": 7}'])
def test_a_list_that_somebody_changed_leads_nowhere_else(tmp_path: Path, listed: str) -> None:
    """Only what is in the folder is ever taken away."""
    keep = tmp_path / "keep.txt"
    keep.write_text("mine", encoding="utf-8")
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / ".netlab-site.json").write_text(listed, encoding="utf-8")
    Site(folder).write({"index.html": b"new"})
    assert keep.read_text(encoding="utf-8") == "mine"
    assert Path("/etc/hostname").exists()
    assert json.loads((folder / ".netlab-site.json").read_text(encoding="utf-8")) == {"files": ["index.html"]}
