"""What the tests know about chapters: where they are, how their cells are tagged, and how to run one."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from nbclient import NotebookClient

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    """Go through the exercises: the cell to work in, the check, and the commands of the solution.

    The solution of `netlab.course` is in labs/solutions: there the command is the call that puts it in.
    """
    waiting: list[Any] = []
    for cell in notebook.cells:
        if {"exercise", "check"} & set(tags(cell)):
            waiting.append(cell)
            if "check" in tags(cell) and (kit := re.fullmatch(r"(\w+)\.check\(\)", cell.source)):
                work, check = waiting
                yield work, check, f"{kit[1]}.solve()"
                waiting = []
        elif "solution" in tags(cell):
            (work, check), (commands,) = waiting, code_blocks(cell.source)
            yield work, check, commands
            waiting = []
    assert not waiting, f"no solution after {waiting[-1].id}"


@dataclass
class Run:
    """A chapter that ran: the notebook with its outputs, and the process number its kernel had."""

    notebook: Any
    kernel: int = 0
    timings: dict[str, float] = field(default_factory=dict)

    def text(self, cell_id: str) -> str:
        """Return what a cell printed, and the text of what it returned."""
        (cell,) = (cell for cell in self.notebook.cells if cell.id == cell_id)
        parts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]
        return "".join(parts)


def run(chapter: Path, folder: Path, work: dict[str, str] | None = None, until: str = "") -> Run:
    """Run a chapter in a new kernel, with commands put into some of its exercises; raises CellExecutionError.

    ``until`` is the id of a cell after which it ends.
    """
    notebook = read(chapter)
    if until:
        (last,) = (number for number, cell in enumerate(notebook.cells) if cell.id == until)
        notebook.cells = notebook.cells[: last + 1]
    for cell in notebook.cells:
        if cell.id in (work or {}):
            first, commands = cell.source.splitlines()[0], (work or {})[cell.id]
            cell.source = commands if commands.endswith(".solve()") else f"{first}\n{commands}"
    # A reader's progress is not the tests'.
    with tempfile.TemporaryDirectory() as data:
        return _run(notebook, folder, data)


def _run(notebook: Any, folder: Path, data: str) -> Run:
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    environment = os.environ | {"PATH": path, "XDG_DATA_HOME": data}
    client = NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": folder}})
    done = Run(notebook)

    def note_kernel(**_: object) -> None:
        if not done.kernel and client.km is not None:
            done.kernel = getattr(client.km.provisioner, "pid", 0)

    client.on_cell_execute = note_kernel
    client.execute(env=environment)
    return done
