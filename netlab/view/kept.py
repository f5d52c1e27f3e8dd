"""A widget that a saved notebook keeps as text: its live view, and below it what it said last."""

from __future__ import annotations

import html
import secrets
from typing import Any

from IPython.display import display

from netlab.view.notebook import Weak, in_kernel
from netlab.view.still import Still
from netlab.view.widget import Shown


class Kept(Shown):
    """Show itself live, and keep ``print(self)`` in the notebook for readers without Python; made by its subclasses."""

    _still: Still | None = None

    def _markup(self) -> str:
        """Return what a saved notebook shows, as HTML."""
        return f"<pre>{html.escape(str(self))}</pre>"

    def _saved(self) -> tuple[str, str]:
        return f'<div data-nl-key="{self.key}">{self._markup()}</div>', str(self)

    def _renew(self) -> None:
        """Have what is saved follow what is shown, now or soon."""
        if self._still is not None:
            self._still.changed()

    def _ipython_display_(self, **_: Any) -> None:
        bundle = self._repr_mimebundle_()
        if bundle is None or not in_kernel():
            display({"text/html": self._saved()[0], "text/plain": str(self)}, raw=True)  # type: ignore[no-untyped-call]
            return
        data, metadata = bundle
        display(data | {"text/plain": repr(self)}, metadata=metadata, raw=True)  # type: ignore[no-untyped-call]
        if self._still is not None:
            self._still.close()
        identity = f"netlab-{self.key}-{secrets.token_hex(3)}"
        self._still = Still(identity, Weak(self._saved, ("", "")), "text/html")
