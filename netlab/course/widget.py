"""What the widgets of the kit share: their style, and what is left of them in a saved notebook."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget

from netlab.view import theme
from netlab.view.notebook import in_kernel

STATIC = Path(__file__).with_name("static")


class CourseWidget(anywidget.AnyWidget):
    """A widget that can be read without a browser: its text is that of ``str``, its page that of `still`."""

    _css = (STATIC / "course.css").read_text("utf-8") + theme.live_css()

    def open(self) -> None:
        """Open the line to the browser; outside of a notebook there is none."""
        if in_kernel():
            super().open()

    def still(self) -> str:
        """Return it as HTML that stays in a saved notebook."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        text = {"text/plain": str(self), "text/html": self.still()}
        bundle = super()._repr_mimebundle_(**kwargs) if self.comm is not None else None
        if bundle is None:
            return text
        data, metadata = bundle
        return {**data, **text}, metadata
