"""What stays: an output of SVG or HTML beside a widget, so that saved notebooks show it without Python.

JupyterLab, nbconvert and GitHub show it; the widget hides it for as long as it is alive itself.
"""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from IPython.core.getipython import get_ipython
from IPython.display import display

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between two refreshes while a cell runs; after each cell it is refreshed anyway.
_PACE = 2.0
_lock = threading.Lock()


class Still:
    """One static output in a notebook, refreshed when its picture is another.

    ``render`` returns the picture, which is of the type ``mime``, and a summary in words.
    """

    def __init__(self, identity: str, render: Callable[[], tuple[str, str]], mime: str = "image/svg+xml") -> None:
        """Show the picture once, below what was shown last."""
        self.identity = identity
        self._mime = mime
        self._render = render
        self._shown = ""
        self._last = 0.0
        self._timer: threading.Timer | None = None
        self._dirty = False
        self._show(update=False)
        self._after_cell = _hook(self)

    def changed(self) -> None:
        """Refresh the output now, or soon if that was done a moment ago."""
        with _lock:
            self._dirty = True
            wait = self._last + _PACE - time.monotonic()
            if self._timer is not None:
                return
            if wait > 0:
                self._timer = threading.Timer(wait, self._late)
                self._timer.daemon = True
                self._timer.start()
                return
        self.refresh()

    def refresh(self) -> None:
        """Refresh the output if the picture is another."""
        with _lock:
            if not self._dirty:
                return
            self._dirty = False
        self._show(update=True)

    def close(self) -> None:
        """Refresh a last time and leave the output as it is."""
        if self._after_cell is not None:
            shell: Any = get_ipython()
            if shell is not None and self._after_cell in shell.events.callbacks["post_run_cell"]:
                shell.events.unregister("post_run_cell", self._after_cell)
            self._after_cell = None
        with _lock:
            timer, self._timer = self._timer, None
            self._dirty = True  # the last picture may say that the lab is closed
        if timer is not None:
            timer.cancel()
        self.refresh()

    def _late(self) -> None:
        with _lock:
            self._timer = None
        self.refresh()

    def _show(self, *, update: bool) -> None:
        picture, words = self._render()
        self._last = time.monotonic()
        if not picture or picture == self._shown:
            return
        self._shown = picture
        bundle = {self._mime: picture, "text/plain": words}
        display(bundle, raw=True, display_id=self.identity, update=update)  # type: ignore[no-untyped-call]


def _hook(still: Still) -> Callable[[Any], None] | None:
    """Have a picture refreshed after each cell, without keeping it alive."""
    shell: Any = get_ipython()
    if shell is None:
        return None
    known = weakref.ref(still)

    def after_cell(_result: Any = None) -> None:
        alive = known()
        if alive is not None:
            alive.refresh()
        elif after_cell in shell.events.callbacks["post_run_cell"]:
            shell.events.unregister("post_run_cell", after_cell)

    shell.events.register("post_run_cell", after_cell)
    return after_cell
