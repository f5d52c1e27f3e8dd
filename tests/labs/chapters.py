"""What the tests know about chapters: where they are, how their cells are tagged, and how to run one."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import nbformat
from nbclient import NotebookClient

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

Result = TypeVar("Result")
ROOT = Path(__file__).resolve().parents[2]
LABS = ROOT / "labs"
CHAPTERS = sorted(LABS.glob("*.ipynb"))
SECONDS = 60


def read(chapter: Path) -> Any:
    """Return a chapter as nbformat has it."""
    return nbformat.read(chapter, as_version=nbformat.NO_CONVERT)  # type: ignore[no-untyped-call]


def tags(cell: Any) -> list[str]:
    """Return the tags of a cell."""
    return list(cell.metadata.get("tags", []))


def code_blocks(markdown: str) -> list[str]:
    """Return the code blocks of a text, without their fences."""
    return re.findall(r"^```[^\n]*\n(.*?)^```", markdown, flags=re.DOTALL | re.MULTILINE)


def exercises(notebook: Any) -> Iterator[tuple[Any, Any, str]]:
    """Go through the exercises: the cell to work in, its check, and the name that the exercise has in the notebook."""
    work: Any = None
    for cell in notebook.cells:
        if "exercise" in tags(cell):
            assert work is None, f"no check after {work.id}"
            work = cell
        elif "check" in tags(cell):
            found = re.fullmatch(r"(\w+)\.check\(\)", cell.source)
            assert work is not None, f"nowhere to work before {cell.id}"
            assert found is not None, f"{cell.id} does more than to check"
            yield work, cell, found[1]
            work = None
    assert work is None, f"no check after {work.id}"


@dataclass
class Run:
    """A chapter that ran: the notebook with its outputs, the process number of its kernel, and the seconds it took."""

    notebook: Any
    kernel: int = 0
    seconds: float = 0.0

    def text(self, cell_id: str) -> str:
        """Return what a cell printed, and the text of what it returned."""
        (cell,) = (cell for cell in self.notebook.cells if cell.id == cell_id)
        parts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]
        return "".join(parts)


def solved(check_id: str) -> str:
    """Return the id of the cell in which an exercise is solved and checked once more."""
    return f"{check_id}-solved"


def add_solutions(notebook: Any) -> None:
    """Put a cell behind each check that does what the solution says, and checks again.

    So one run shows that the check is not content with nothing, and that it is content with the solution.
    """
    for _, check, name in list(exercises(notebook)):
        cell = nbformat.v4.new_code_cell(f"{name}.solve()\n{name}.check()", id=solved(check.id))  # type: ignore[no-untyped-call]
        notebook.cells.insert(notebook.cells.index(check) + 1, cell)


def environment(data: str) -> dict[str, str]:
    """Return the environment of a kernel whose reader's progress is in the folder ``data``: it is not the tests'."""
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    return os.environ | {"PATH": path, "XDG_DATA_HOME": data}


def run(chapter: Path, folder: Path) -> Run:
    """Run a chapter in a new kernel, with the solutions behind its checks; raises CellExecutionError."""
    return in_a_loop(begin(chapter, folder))


def in_a_loop(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end in a thread: Playwright keeps a loop running in the one of the tests."""
    with ThreadPoolExecutor(1) as aside:
        return aside.submit(asyncio.run, work).result()


async def begin(chapter: Path, folder: Path, *, last: str = "") -> Run:
    """Run a chapter as `run` does, so that others can run beside it.

    ``last`` is the source of one more cell at the end, whose id is "last".
    """
    notebook = read(chapter)
    add_solutions(notebook)
    if last:
        notebook.cells.append(nbformat.v4.new_code_cell(last, id="last"))  # type: ignore[no-untyped-call]
    client = NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": folder}})
    done = Run(notebook)

    def note_kernel(**_: object) -> None:
        if not done.kernel and client.km is not None:
            done.kernel = getattr(client.km.provisioner, "pid", 0)

    client.on_cell_execute = note_kernel
    with tempfile.TemporaryDirectory() as data:
        started = time.monotonic()
        await client.async_execute(env=environment(data))
        done.seconds = time.monotonic() - started
    return done
