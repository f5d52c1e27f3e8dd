"""What every widget of a picture or table has: its parts for the browser, a key, and a line that needs a notebook."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from netlab.view import theme
from netlab.view.notebook import in_kernel

_STATIC = Path(__file__).with_name("static")
#: Every widget has these.
_BASE = ("dom.js", "still.js")


def script(*names: str) -> str:
    """Return one module for the browser, of files whose order does not matter to it."""
    return "\n".join((_STATIC / name).read_text("utf-8") for name in (*_BASE, *names))


def style(name: str) -> str:
    """Return a style sheet with what all widgets share, and the colours of the theme."""
    return (_STATIC / "base.css").read_text("utf-8") + (_STATIC / name).read_text("utf-8") + theme.live_css()


class Shown(anywidget.AnyWidget):
    """A widget that works outside of a notebook too, where there is no browser to talk to."""

    key = traitlets.Unicode(help="tells the static pictures of different widgets apart").tag(sync=True)

    def __init__(self, **values: Any) -> None:
        """Take the first values of the traits."""
        super().__init__(**({"key": secrets.token_hex(4)} | values))

    def open(self) -> None:
        """Open the line to the browser; outside of a notebook there is none."""
        if in_kernel():
            super().open()
