"""The course as a static site, for those who read it on a phone, on paper, or without Python.

Each chapter is run, untouched, as a reader finds it; the solutions stand folded behind the exercises. nbconvert makes
the pages, from a template of ours. They need nothing from the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.course.catalogue import labs_folder
from netlab.course.publish.pages import Pages
from netlab.course.publish.running import run_chapter
from netlab.course.publish.site import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from netlab.course.catalogue import Chapter

__all__ = ["publish"]


def publish(
    chosen: Sequence[Chapter],
    target: Path,
    *,
    force: bool = False,
    progress: Callable[[Chapter, int], object] = lambda *_: None,
) -> Path:
    """Run chapters and write a site of them into a folder; return its first page.

    ``progress`` is told of each chapter before it runs, with its place. Nothing is written before all of them ran.
    Raises InvalidInputError where the folder holds what is not ours, unless ``force``; LabError where a cell fails.
    """
    site = Site(target, force=force)
    pages = Pages(labs_folder(), chosen)
    for number, chapter in enumerate(chosen):
        progress(chapter, number)
        pages.add(chapter, run_chapter(chapter.path))
    site.write(pages.files())
    return site.folder / "index.html"
