"""How an error of netlab looks in a notebook: the reader's own lines and the message, without the inside of netlab.

``%xmode Verbose`` shows all of it, and so does ``%debug``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from netlab.errors import LabError

if TYPE_CHECKING:
    from types import FrameType

    from IPython.core.interactiveshell import InteractiveShell

#: Where code lies that no reader has written: netlab's own, Python's, and the packages.
_NOT_THE_READERS = (str(Path(__file__).parent), sys.prefix, sys.base_prefix)
_WHOLE = "Verbose"


def load(shell: InteractiveShell) -> None:
    """Show errors of netlab shortly in this notebook, unless somebody handles errors in it already."""
    if not shell.custom_exceptions:
        shell.set_custom_exc((LabError,), _show)  # type: ignore[no-untyped-call]


def _show(
    shell: InteractiveShell,
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
    tb_offset: int | None = None,
) -> None:
    """Show an error as IPython does, with a shorter traceback and without the errors that led to it."""
    if shell.InteractiveTB.mode == _WHOLE:
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
        return
    led_to_it = error.__cause__, error.__suppress_context__
    error.__cause__, error.__suppress_context__ = None, True
    try:
        shell.showtraceback((kind, error, until_the_readers_last_line(trace)), tb_offset=tb_offset)
    finally:
        error.__cause__, error.__suppress_context__ = led_to_it


def until_the_readers_last_line(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback that ends where the reader's own code does; the same one if none of it is the reader's."""
    steps: list[tuple[FrameType, int, int]] = []
    length, step = 0, trace
    while step is not None:
        steps.append((step.tb_frame, step.tb_lasti, step.tb_lineno))
        if not step.tb_frame.f_code.co_filename.startswith(_NOT_THE_READERS):
            length = len(steps)
        step = step.tb_next
    if not length:
        return trace
    short: TracebackType | None = None
    for frame, instruction, line in reversed(steps[:length]):
        short = TracebackType(short, frame, instruction, line)
    return short
