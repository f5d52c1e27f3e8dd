"""The widget: the live picture of a lab in a notebook, always as the kernel has it."""

from __future__ import annotations

import secrets
import threading
import weakref
from typing import TYPE_CHECKING, Any, Protocol

import traitlets
from IPython.core.getipython import get_ipython
from IPython.display import display

from netlab.errors import InvalidInputError
from netlab.view import changes
from netlab.view.details import details
from netlab.view.drawing import Drawing, draw
from netlab.view.folding import fold
from netlab.view.notebook import Weak, in_kernel
from netlab.view.png import save_picture
from netlab.view.scene import to_scene
from netlab.view.slots import Slots
from netlab.view.still import Still
from netlab.view.svg import Picture, picture, static
from netlab.view.widget import Shown, script, style

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from netlab.kernel.values import Snapshot
    from netlab.view.nouns import Scene

#: One module for the browser, and its style.
ESM = script("text.js", "picture.js", "marks.js", "keyboard.js", "finding.js", "rates.js", "details.js", "diagram.js")
CSS = style("diagram.css")


class Subscription(Protocol):
    """What a watcher gives back; `close` ends it."""

    def close(self) -> None:
        """Get no more snapshots."""


class Watching(Protocol):
    """What calls back with each new Snapshot."""

    def subscribe(self, callback: Callable[[Snapshot], object]) -> Subscription:
        """Call back at once with the present state, then with each new one."""


class Source(Protocol):
    """What a diagram needs of a lab."""

    name: str

    @property
    def watcher(self) -> Watching:
        """What follows the kernel."""

    @property
    def closed(self) -> bool:
        """Tell whether it has ended."""

    def snapshot(self) -> Snapshot:
        """Read all of it, now."""

    def on_close(self, farewell: Callable[[], object]) -> None:
        """Call something at the end."""


class Diagram(Shown):
    """Show a lab as the kernel has it, live; made by `Lab.diagram`.

    It holds the lab weakly: a picture keeps no lab alive. `to_svg` and `save` work without a notebook too.
    """

    _esm = ESM
    _css = CSS
    lab = traitlets.Unicode().tag(sync=True)
    svg = traitlets.Unicode(help="the picture as it was laid out last").tag(sync=True)
    patch = traitlets.Dict(help="what looks different in it by now: fragments and labels by id").tag(sync=True)
    details = traitlets.Dict(help="facts and lists of each thing, by id").tag(sync=True)
    fresher = traitlets.Dict(help="details that have changed since, or None for what is gone").tag(sync=True)
    marks = traitlets.Dict(help="seq, items: signs at what changed last").tag(sync=True)
    news = traitlets.Dict(help="seq, lines: what changed last, in words").tag(sync=True)
    closed = traitlets.Bool(default_value=False).tag(sync=True)
    unfolded = traitlets.Unicode(help="the hub that the reader has unfolded in a large lab").tag(sync=True)

    def __init__(self, lab: Source, **options: Any) -> None:
        """Begin to follow a lab."""
        self._guard = threading.RLock()
        self._slots = Slots()
        self._snapshot: Snapshot | None = None
        self._drawing: Drawing | None = None
        self._base: Picture | None = None
        self._latest: Picture | None = None
        self._seq = 0
        self._still: Still | None = None
        self._cells: set[str] = set()
        self._subscription: Subscription | None = None
        self._source = weakref.ref(lab)
        super().__init__(lab=lab.name, **options)
        if lab.closed:
            self.closed = True
            return
        self._subscription = lab.watcher.subscribe(Weak(self._update))
        lab.on_close(Weak(self._farewell))

    def __repr__(self) -> str:
        """Return what it shows, in a few words."""
        return f"<Diagram of lab {self.lab}{', closed' if self.closed else ''}>"

    # -- from the kernel to the browser ---------------------------------------------

    def _update(self, snapshot: Snapshot) -> None:
        with self._guard:
            old, self._snapshot = self._snapshot, snapshot
            new = self._draw(fold(self._slots.keep(to_scene(snapshot)), self.unfolded))
            patch = new.patch(self._base)
            with self.hold_sync():
                if patch is None or self._base is None:
                    self._base, self.svg, self.patch = new, new.markup, {}
                elif patch or self.patch:
                    labels = {key: text for key, text in new.labels.items() if self._base.labels.get(key) != text}
                    self.patch = {"fragments": patch, "labels": labels}
                self._detail(details(snapshot, self._drawing.scene.services if self._drawing else ()))
                if old is not None:
                    self._tell(old, snapshot)
        if self._still is not None:
            self._still.changed()

    def _draw(self, scene: Scene) -> Picture:
        """Draw a scene, or return the last picture if nothing of it has changed: counters tick all the time."""
        if self._drawing is None or self._latest is None or self._drawing.scene != scene:
            self._drawing = draw(scene, self._slots.rooms)
            self._latest = picture(self._drawing)
        return self._latest

    def _detail(self, known: dict[str, Any]) -> None:
        """Send what is known of each thing: all of it once, and then what has changed since."""
        base = self.details
        fresher: dict[str, Any] = {key: value for key, value in known.items() if base.get(key) != value}
        fresher |= dict.fromkeys(key for key in base if key not in known)
        if len(fresher) * 2 > len(known):
            self.details, self.fresher = known, {}
        else:
            self.fresher = fresher

    @traitlets.observe("unfolded")
    def _refold(self, _: Any) -> None:
        with self._guard:
            if self._snapshot is not None:
                self._update(self._snapshot)

    def _tell(self, old: Snapshot, new: Snapshot) -> None:
        difference = new - old
        found, lines = changes.marks(difference, old, new), changes.news(difference)
        if found or lines:
            self._seq += 1
            self.marks = {"seq": self._seq, "items": [mark.to_json() for mark in found]}
            self.news = {"seq": self._seq, "lines": list(lines)}

    def _farewell(self) -> None:
        self.closed = True
        self._stop()

    def _stop(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.close()
        if self._still is not None:
            self._still.close()

    def close(self) -> None:
        """Take the widget away and follow the lab no longer."""
        self._stop()
        super().close()

    # -- in a notebook ----------------------------------------------------------------

    def _ipython_display_(self, **_: Any) -> None:
        cell = _cell()
        if cell:
            _replace_in(cell, self)
        self._resume()
        bundle = self._repr_mimebundle_()
        if bundle is None or not in_kernel():
            display({"image/svg+xml": self.to_svg(), "text/plain": self._words()}, raw=True)  # type: ignore[no-untyped-call]
            return
        data, metadata = bundle
        display(data | {"text/plain": self._words()}, metadata=metadata, raw=True)  # type: ignore[no-untyped-call]
        if self._still is not None:
            self._still.close()
        self._still = Still(f"netlab-{self.key}-{secrets.token_hex(3)}", Weak(self._render, ("", "")))

    def _resume(self) -> None:
        """Follow the lab again, after another diagram had taken the place of this one."""
        lab = self._source()
        if self._subscription is None and lab is not None and not lab.closed:
            self._subscription = lab.watcher.subscribe(Weak(self._update))

    def _render(self) -> tuple[str, str]:
        return self.to_svg(), self._words()

    def _words(self) -> str:
        with self._guard:
            scene = self._drawing.scene if self._drawing is not None else None
        said = scene.sentence if scene is not None else f"Lab {self.lab}."
        return f"{said} This lab is closed." if self.closed else said

    # -- without one ----------------------------------------------------------------

    def tidy(self) -> None:
        """Lay the picture out afresh, without the empty places that vanished hosts have left."""
        with self._guard:
            self._slots.tidy()
            self._latest = None
            if self._snapshot is not None:
                self._update(self._snapshot)

    def to_svg(self) -> str:
        """Return the picture as an SVG that stands on its own: style sheet included, light and dark."""
        with self._guard:
            drawing = self._drawing
        if drawing is None:
            raise InvalidInputError(
                f"Lab {self.lab} was closed before this diagram was made: there is nothing to draw."
            )
        return static(drawing, self.key, closed=self.closed)

    def save(self, path: str | Path, *, dark: bool = False) -> Path:
        """Write the picture to a file, whose name ends in ``.svg`` or ``.png``; return its path.

        An SVG follows the reader's light or dark preference on its own; of a PNG ``dark`` says which it is.
        """
        return save_picture(self.to_svg(), path, dark=dark)


def _cell() -> str:
    """Return the id of the notebook cell that is running, if JupyterLab tells it."""
    shell: Any = get_ipython()
    if not in_kernel():
        return ""
    parent = shell.get_parent() or {}
    return str(parent.get("metadata", {}).get("cellId", "")) + " " + str(parent.get("header", {}).get("msg_id", ""))


#: cell id: (message id of the run, the diagrams that this run shows)
_shown: dict[str, tuple[str, weakref.WeakSet[Diagram]]] = {}


def _replace_in(cell: str, diagram: Diagram) -> None:
    """Note that a cell shows a diagram; one that only an earlier run of the cell showed follows its lab no longer."""
    where, _, run = cell.partition(" ")
    if not where:
        return
    known, before = _shown.get(where, ("", weakref.WeakSet()))
    if known != run:
        for old in list(before):
            old._cells.discard(where)  # noqa: SLF001 - of the same class
            if old is not diagram and not old._cells:  # noqa: SLF001 - as above
                old._stop()  # noqa: SLF001 - as above
        before = weakref.WeakSet()
    before.add(diagram)
    diagram._cells.add(where)  # noqa: SLF001 - as above
    _shown[where] = (run, before)
