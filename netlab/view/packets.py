"""A live table of the packets that pass an interface."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

import traitlets

from netlab.errors import InvalidInputError
from netlab.kernel.packets import to_pcapng
from netlab.view.decoding import row
from netlab.view.kept import Kept
from netlab.view.notebook import Weak
from netlab.view.widget import script, style

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from netlab.kernel.capture import Capture
    from netlab.kernel.packets import Packet
    from netlab.lab import Lab

#: How many packets the table holds; all of them are kept for `save`.
LIMIT = 200
#: Seconds between two updates: fast while there is little to send, slower with a full table.
_PACE, _SLOW_PACE, _FEW = 0.1, 0.5, 50


def parse_place(place: str) -> tuple[str, str]:
    """Return (interface, host) of "eth0 of web", or ("any", host) of a host's name alone."""
    words = place.split()
    if len(words) == 3 and words[1] == "of":
        return words[0], words[2]
    if len(words) == 1:
        return "any", words[0]
    raise InvalidInputError(
        f'Say where to look as "eth0 of web", or as "web" for all of its interfaces; not {place!r}.'
    )


class PacketTable(Kept):
    """Show packets as they pass; made by `Lab.watch_packets`. It looks until `stop`, or until the lab is closed.

    `packets` are those seen so far; `save` writes them to a pcapng file that Wireshark opens.
    """

    _esm = script("packets.js")
    _css = style("packets.css")
    title = traitlets.Unicode().tag(sync=True)
    rows: Any = traitlets.List(help="the last packets, oldest first").tag(sync=True)
    total = traitlets.Int(0).tag(sync=True)
    running = traitlets.Bool(default_value=True).tag(sync=True)

    def __init__(self, lab: Lab, title: str, capture: Capture) -> None:
        """Begin to show what a running capture sees; use `Lab.watch_packets` instead."""
        self._capture = capture
        self._shown = 0
        super().__init__(title=title)
        # A running capture holds the host's namespace: it must not outlive the lab, nor this table.
        weakref.finalize(lab, capture.stop)
        weakref.finalize(self, capture.stop)
        lab.on_close(Weak(self.stop))
        self.on_msg(_answer)
        threading.Thread(target=_pump, args=(weakref.ref(self), capture), name=f"packets {title}", daemon=True).start()

    @property
    def packets(self) -> tuple[Packet, ...]:
        """The packets so far."""
        return self._capture.packets

    def stop(self) -> None:
        """Look no longer; what was seen stays. May be called twice."""
        self._capture.stop()
        self._take()
        self.running = False

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the packets so far to a pcapng file; return its path."""
        return self._capture.save(path)

    def close(self) -> None:
        """Stop, and take the widget away."""
        self._capture.stop()
        super().close()

    def _take(self) -> None:
        packets = self._capture.packets
        fresh = packets[max(self._shown, len(packets) - LIMIT) :]
        if not fresh:
            return
        first = len(packets) - len(fresh)
        decoded = [row(packet, first + place + 1, packets[0].time_ns) for place, packet in enumerate(fresh)]
        self._shown = len(packets)
        with self.hold_sync():
            self.rows = [*self.rows, *decoded][-LIMIT:]
            self.total = len(packets)
        self._renew()

    def __repr__(self) -> str:
        """Say where it looks, and how many packets it has seen."""
        return f"<Packets on {self.title}: {len(self._capture)}{'' if self.running else ', stopped'}>"

    def __str__(self) -> str:
        """Return a line for each packet."""
        return str(self._capture)


def watch(lab: Lab, place: str, expression: str | None) -> PacketTable:
    """Start a capture and return its table; ``expression`` is a filter of pcap-filter(7)."""
    interface, name = parse_place(place)
    capture = lab.host(name).capture(interface, filter=expression)
    where = f"{interface} of {name}" if interface != "any" else f"all interfaces of {name}"
    return PacketTable(lab, where + (f", {expression}" if expression else ""), capture.__enter__())


def _answer(table: PacketTable, content: dict[str, Any], _buffers: object) -> None:
    """Do what a button asks for."""
    if content.get("do") == "stop":
        table.stop()
    elif content.get("do") == "save":
        table.send({"file": "capture.pcapng"}, [to_pcapng(table.packets)])


def _pump(known: weakref.ref[PacketTable], capture: Capture) -> None:
    """Send new packets to the table, without keeping it alive."""
    pace = threading.Event()
    seen = 0
    while capture.wait_past(seen):
        table = known()
        if table is None:
            return
        table._take()  # noqa: SLF001 - its own pump
        seen = table._shown  # noqa: SLF001 - as above
        slow = len(table.rows) > _FEW
        del table
        pace.wait(_SLOW_PACE if slow else _PACE)
