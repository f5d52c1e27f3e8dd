"""Run a chapter for its readers: every cell, with the solution of each exercise behind its check."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, DeadKernelError

from netlab.errors import LabError

#: Seconds that a cell may take.
_PATIENCE = 120
_CHECK = re.compile(r"(\w+)\.check\(\)")
#: The tag of a cell that shows a solution: a page shows only what came of it.
SOLUTION = "netlab-solution"
#: The mark, among an output's metadata, of a picture that an earlier cell shows.
LATER = "netlab_later"
#: The mark of one whose words are others: there are other hosts or cables in it.
OTHER = "netlab_other"
_PICTURE = "image/svg+xml"


class _Client(NotebookClient):
    """Runs cells; a live picture stays as it was at the end of its own cell, since that is what the text speaks of.

    A cell below that changed the picture gets the new one, marked as `LATER`.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Take what a NotebookClient takes."""
        super().__init__(*arguments, **options)
        self._shown: dict[str, int] = {}
        self._words: dict[str, str] = {}

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        """Keep a change to what an earlier cell showed with the cell that changed it."""
        content = msg["content"]
        identity = (content.get("transient") or {}).get("display_id")
        if not identity:
            return super().process_message(msg, cell, cell_index)
        words = content["data"].get("text/plain", "")
        changed = self._words.get(identity, words) != words
        self._words[identity] = words
        if self._shown.setdefault(identity, cell_index) == cell_index:
            return super().process_message(msg, cell, cell_index)
        if _PICTURE in content["data"]:
            older = [one for one in cell.outputs if one.get("metadata", {}).get(LATER) == identity]
            cell.outputs = [one for one in cell.outputs if one not in older]
            mark = {LATER: identity, OTHER: changed or any(one.metadata[OTHER] for one in older)}
            cell.outputs.append(
                nbformat.v4.new_output("display_data", data=content["data"], metadata=mark)  # type: ignore[no-untyped-call]
            )
        return None


def run_chapter(path: Path) -> Any:
    """Return a chapter with its outputs, as nbformat has it; raises LabError that names the cell that failed."""
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    _add_solutions(notebook)
    # Neither a reader's progress nor the folder of the chapters is this run's to change.
    with tempfile.TemporaryDirectory(prefix="netlab-") as folder:
        client = _Client(
            notebook,
            timeout=_PATIENCE,
            kernel_name="python3",
            store_widget_state=False,
            resources={"metadata": {"path": folder}},
        )
        search = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
        places = {"PATH": search, "XDG_DATA_HOME": f"{folder}/data", "NETLAB_LABS": str(path.parent)}
        # What the kernel's process says itself belongs to no page, but tells why it died.
        with (Path(folder) / "kernel.log").open("w+", encoding="utf-8") as log:
            try:
                client.execute(env=os.environ | places, stderr=log)
            except AssertionError as error:
                # At an interrupt nbclient ends the kernel, and then misses it.
                raise LabError(f"{path.name} was interrupted. Nothing was published.") from error
            except (CellControlSignal, DeadKernelError, RuntimeError) as error:
                log.seek(0)
                words = _describe(notebook) or f"failed: {error} {log.read()[-500:]}".strip()
                raise LabError(f"{path.name} {words}. Nothing was published.") from error
    return notebook


def _add_solutions(notebook: Any) -> None:
    """Put a cell behind each check that shows the solution, for the names and addresses of this run."""
    for check in list(notebook.cells):
        named = _CHECK.fullmatch(check.source) if check.cell_type == "code" else None
        if named:
            cell = nbformat.v4.new_code_cell(  # type: ignore[no-untyped-call]
                f"{named[1]}.solution()", id=f"{check.id}-solution", metadata={"tags": [SOLUTION]}
            )
            notebook.cells.insert(notebook.cells.index(check) + 1, cell)


def _describe(notebook: Any) -> str:
    """Say in which cell a run ended, and why; nothing where it was in no cell."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error" and output.ename == "KeyboardInterrupt":
                return f"was interrupted in its cell {cell.id!r}"
            if output.output_type == "error":
                return f"failed in its cell {cell.id!r}: {output.ename}: {output.evalue}".rstrip(" .:")
    return ""
