"""Go back in time: a lab's picture at every moment since it was first watched, and what changed, in words."""

from __future__ import annotations

import base64
import datetime as dt
import html
from typing import TYPE_CHECKING, Any

import traitlets

from netlab.view.drawing import draw
from netlab.view.folding import fold
from netlab.view.kept import Kept
from netlab.view.notebook import Weak
from netlab.view.scene import to_scene
from netlab.view.slots import Slots
from netlab.view.svg import picture, static
from netlab.view.widget import script, style

if TYPE_CHECKING:
    from netlab.kernel.values import Snapshot
    from netlab.lab import Lab
    from netlab.timeline import Moment
    from netlab.view.drawing import Drawing


class History(Kept):
    """Show what a lab went through, with a slider; made by `Lab.history`.

    `moments` are the snapshots; ``print(lab.history())`` tells all changes in words.
    """

    _esm = script("text.js", "history.js")
    _css = style("history.css")
    lab = traitlets.Unicode().tag(sync=True)
    times: Any = traitlets.List(help="of each moment: the time, and what changed, line by line").tag(sync=True)
    index = traitlets.Int(-1, help="the moment that is shown; -1 is the latest").tag(sync=True)
    svg = traitlets.Unicode().tag(sync=True)

    def __init__(self, lab: Lab) -> None:
        """Begin with all moments so far, and follow the lab."""
        self._drawing: Drawing | None = None
        super().__init__(lab=lab.name)
        self._timeline = lab.watcher.timeline
        self._slots = Slots()
        self._subscription = lab.watcher.subscribe(Weak(self._update))
        self._refresh()

    @property
    def moments(self) -> tuple[Moment, ...]:
        """The moments so far, oldest first."""
        return self._timeline.moments

    def at(self, index: int) -> Snapshot:
        """Return the snapshot of one moment."""
        return self.moments[index].snapshot

    def close(self) -> None:
        """Take the widget away and follow the lab no longer."""
        self._subscription.close()
        super().close()

    def _update(self, _snapshot: Snapshot) -> None:
        if len(self.moments) != len(self.times):
            self._refresh()

    def _refresh(self) -> None:
        moments = self.moments
        with self.hold_sync():
            self.times = [_plain(moment) for moment in moments]
            if self.index < 0:
                self._show()

    @traitlets.observe("index")
    def _show(self, _change: object = None) -> None:
        moments = self.moments
        if moments and -len(moments) <= self.index < len(moments):
            scene = self._slots.keep(to_scene(moments[self.index].snapshot))
            self._drawing = draw(fold(scene), self._slots.rooms)
            # A picture with a style sheet of its own would change the colours of all others in the page.
            self.svg = picture(self._drawing).markup
            self._renew()

    def _markup(self) -> str:
        if self._drawing is None:
            return super()._markup()
        svg = base64.b64encode(static(self._drawing, self.key).encode()).decode()
        words = html.escape(self._drawing.scene.sentence)
        return f'<img src="data:image/svg+xml;base64,{svg}" alt="{words}">{super()._markup()}'

    def __str__(self) -> str:
        """Return all changes in words, with their times."""
        lines = [f"lab {self.lab}"]
        for moment in self.moments:
            plain = _plain(moment)
            lines += [f"{plain['time']}  {line}" for line in plain["lines"]]
        return "\n".join(lines)

    def __repr__(self) -> str:
        """Say how many moments there are."""
        return f"<History of lab {self.lab}: {len(self.moments)} moments>"


def _plain(moment: Moment) -> dict[str, Any]:
    """Return a moment's local time and what changed in it."""
    time = dt.datetime.fromtimestamp(moment.snapshot.time).astimezone()
    if moment.difference is None:
        hosts = ", ".join(host.name for host in moment.snapshot.hosts)
        lines = [f"hosts: {hosts}" if hosts else "no host yet"]
    else:
        lines = [str(change) for change in moment.difference]
    return {"time": f"{time:%H:%M:%S}.{time.microsecond // 1000:03}", "lines": lines}
