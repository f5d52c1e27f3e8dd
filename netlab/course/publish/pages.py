"""Chapters that ran, and the map of the course, as pages; by nbconvert, from the template beside this module."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from nbconvert import HTMLExporter
from traitlets.config import Config

from netlab.course.publish.running import LATER, OTHER, SOLUTION
from netlab.course.widget import STATIC
from netlab.view import theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netlab.course.catalogue import Chapter

_HERE = Path(__file__).parent
_INDEX, _STYLE, _PICTURES = "index.html", "style.css", "pictures"
#: What the template knows by these words.
_NAMES = {"style": _STYLE, "index": _INDEX, "solution": SOLUTION, "later": LATER, "other": OTHER}
_LINK = re.compile(r"(?P<image>!?)\[(?P<words>[^\]]*)\]\((?P<target>[^)\s#]+)(?P<rest>[^)]*)\)")
#: What is left to lead to a notebook is in an output, such as the map of the reader's progress.
_NOTEBOOK = re.compile(r' href="([\w.-]+\.ipynb)"')
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:")
#: What a page can show of an output, the best first: no scripts, and no widgets, which need Python.
_SHOWN = ["text/html", "image/svg+xml", "image/png", "text/markdown", "text/plain"]
_ANCHOR = re.compile(r'<a class="anchor-link"[^>]*>.*?</a>')
#: What is wider than a phone is moved sideways by itself, by keyboard too.
_SCROLLED = {
    "<table": '<div class="scroll" role="group" aria-label="Table" tabindex="0"><table',
    "</table>": "</table></div>",
    "<pre>": '<pre tabindex="0">',
}
_WIDGET = "application/vnd.jupyter.widget-view+json"


class Pages:
    """The pages of a site, as they are made."""

    def __init__(self, labs: Path, chosen: Sequence[Chapter]) -> None:
        """Prepare for these chapters out of the folder ``labs``."""
        self._labs = labs
        self._chosen = list(chosen)
        self._targets = {one.path.name: one.path.with_suffix(".html").name for one in chosen} | {"README.md": _INDEX}
        self._files: dict[str, bytes] = {}
        self._exporter = _exporter()

    def add(self, chapter: Chapter, notebook: Any) -> None:
        """Make the page of a chapter that ran."""
        place = self._chosen.index(chapter)
        around = {"before": place - 1, "after": place + 1}
        links = {
            word: (self._targets[self._chosen[at].path.name], self._chosen[at].title)
            for word, at in around.items()
            if 0 <= at < len(self._chosen)
        }
        self._convert(chapter.path.with_suffix(".html").name, notebook, {"title": chapter.title, **links})

    def files(self) -> dict[str, bytes]:
        """Return all files of the site by their path; the map of the course is the first page."""
        text = (self._labs / "README.md").read_text(encoding="utf-8")
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])  # type: ignore[no-untyped-call]
        self._convert(_INDEX, notebook, {"title": "The course"})
        parts = (theme.live_css(), STATIC / "course.css", _HERE / "site.css")
        style = "\n".join(part if isinstance(part, str) else part.read_text(encoding="utf-8") for part in parts)
        return {**self._files, _STYLE: style.encode()}

    def _convert(self, name: str, notebook: Any, facts: dict[str, Any]) -> None:
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = _LINK.sub(self._relink, cell.source)
            else:
                cell.outputs = [output for output in cell.outputs if not _is_widget_alone(output)]
        resources = {
            "unique_key": Path(name).stem,
            "output_files_dir": _PICTURES,
            "site": {**facts, **_NAMES},
        }
        made: tuple[str, Any] = self._exporter.from_notebook_node(notebook, resources=resources)
        page, more = made
        self._files[name] = _NOTEBOOK.sub(self._rehref, page).encode()
        self._files.update(more.get("outputs", {}))

    def _relink(self, found: re.Match[str]) -> str:
        """Lead a link to the page or the file in the site; one that would lead out of it becomes plain words."""
        target = found["target"]
        if _SCHEME.match(target) and not found["image"]:
            return found[0]
        if target in self._targets:
            return f"[{found['words']}]({self._targets[target]}{found['rest']})"
        path = (self._labs / target).resolve()
        if path.is_file() and path.is_relative_to(self._labs.resolve()) and path.suffix != ".ipynb":
            self._files[target] = path.read_bytes()
            return found[0]
        return found["words"]

    def _rehref(self, found: re.Match[str]) -> str:
        page = self._targets.get(found[1])
        return f' href="{page}"' if page else ""


def _is_widget_alone(output: Any) -> bool:
    """Tell whether an output is a live view and nothing else: what it shows is kept in the output behind it."""
    data = output.get("data", {})
    return _WIDGET in data and not set(data) & set(_SHOWN[:-1])


def _tidy(html: str) -> str:
    """Let wide parts of a text scroll, and keep the places that links lead to, without signs of their own."""
    html = _ANCHOR.sub("", html)
    for old, new in _SCROLLED.items():
        html = html.replace(old, new)
    return html


def _exporter() -> HTMLExporter:
    config = Config()
    config.NbConvertBase.display_data_priority = _SHOWN
    config.ExtractOutputPreprocessor.enabled = True
    config.ExtractOutputPreprocessor.extract_output_types = {"image/svg+xml", "image/png"}
    config.HTMLExporter.preprocessors = ["nbconvert.preprocessors.coalescestreams.CoalesceStreamsPreprocessor"]
    config.HighlightMagicsPreprocessor.languages = {"%%host": "bash"}
    exporter: HTMLExporter = HTMLExporter(  # type: ignore[no-untyped-call]
        config=config,
        extra_template_basedirs=[str(_HERE / "templates")],
        template_name="site",
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    exporter.register_filter("tidy", _tidy)  # type: ignore[no-untyped-call]
    return exporter
