"""Answers that are Python: a function that the reader writes in the notebook, and a check calls."""

from __future__ import annotations

import contextvars
import threading
import traceback
from typing import TYPE_CHECKING

from netlab.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds that one call may take: a check shall be over within two.
_PATIENCE = 1.0


def define(name: str, source: str) -> Callable[..., object]:
    """Return the function of this name that a source defines; raises InvalidInputError where it defines none."""
    space: dict[str, object] = {}
    exec(compile(source, f"<{name}>", "exec"), space)  # noqa: S102 - the course's own text, from labs/solutions
    function = space.get(name)
    if not callable(function):
        raise InvalidInputError(f"The source defines no function {name!r}.")
    return function


def find_in_notebook(name: str) -> Callable[..., object] | None:
    """Return the notebook's function of this name, as it is now, or None."""
    from IPython.core.getipython import get_ipython  # noqa: PLC0415 - `netlab progress` shall not wait for it

    shell = get_ipython()
    found = shell.user_ns.get(name) if shell is not None else None
    return found if callable(found) else None


def put_into_notebook(name: str, function: Callable[..., object]) -> None:
    """Define a function in the notebook, as a cell would; without a notebook it does nothing."""
    from IPython.core.getipython import get_ipython  # noqa: PLC0415 - as above

    shell = get_ipython()
    if shell is not None:
        shell.user_ns[name] = function


def call(function: Callable[..., object], *arguments: object, patience: float = _PATIENCE) -> str:
    """Call a reader's function; return what went wrong, in words, or nothing.

    It runs in a thread, since it may never end; then it goes on until the lab is closed, and the words say so.
    """
    problem = ""

    def run() -> None:
        nonlocal problem
        try:
            function(*arguments)
        except Exception as error:  # noqa: BLE001 - a reader's function may raise anything: it is told, not hidden
            problem = _describe(function, error)

    # What it prints belongs under the cell that asked for the check.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), name="answer", daemon=True)
    thread.start()
    thread.join(patience)
    if thread.is_alive():
        return f"it has not come back after {patience:g} s"
    return problem


def _describe(function: Callable[..., object], error: Exception) -> str:
    """Say what was raised, and in which line of the function's own cell."""
    code = getattr(function, "__code__", None)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if code is not None and frame.filename == code.co_filename]
    where = f" in its line {own[-1].lineno}" if own and own[-1].lineno else ""
    words = str(error).strip().splitlines()
    return f"it raised {type(error).__name__}{where}" + (f": {words[0]}" if words else "")
