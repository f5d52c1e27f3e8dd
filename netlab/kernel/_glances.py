"""Notice what sends no events: that a host has more or fewer sockets, or tracked connections, than before.

Part of the first process of a sandbox (see `_init.py`). The files below /proc stay open: to read one again costs two
microseconds, to open it in another namespace ten times as much.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from netlab.kernel import _calls
else:  # see `_init.py`
    import _calls

_FILES = ("/proc/net/sockstat", "/proc/net/sockstat6", "/proc/sys/net/netfilter/nf_conntrack_count")
#: A file that is not there may come, when the kernel loads a module: it is looked for again after so many rounds.
_PATIENCE = 25
_LINES = (b"TCP: ", b"UDP: ", b"TCP6: ", b"UDP6: ")


class Glances:
    """Remembers how many sockets and tracked connections each host had, and in which round that was new."""

    def __init__(self, most: int) -> None:
        """Prepare; ``most`` is how many files may stay open."""
        self._most = most
        self._round = 0
        self._open: dict[str, list[int]] = {}
        self._texts: dict[str, list[bytes]] = {}
        self._numbers: dict[str, list[bytes]] = {}
        self._changed: dict[str, int] = {}

    def look(self, hosts: dict[str, int], since: int) -> dict[str, Any]:
        """Return the number of this round, and which hosts have changed after round ``since``.

        ``hosts`` are the descriptors of network namespaces, by name. Whoever asks with the last round's number hears
        of each change once. The caller goes back to its own namespace.
        """
        self._round += 1
        for name, net in hosts.items():
            texts = self._read(name, net)
            if texts == self._texts.get(name):
                continue
            self._texts[name] = texts
            numbers = _numbers(texts)
            if numbers != self._numbers.get(name):
                self._numbers[name], self._changed[name] = numbers, self._round
        return {"round": self._round, "changed": [name for name in hosts if self._changed[name] > since]}

    def forget(self, name: str) -> None:
        """Close a host's files, which would keep its namespace alive."""
        self._close(name)
        for known in (self._texts, self._numbers):
            known.pop(name, None)
        self._changed.pop(name, None)

    def _read(self, name: str, net: int) -> list[bytes]:
        numbers = self._open.get(name)
        if numbers is None or (-1 in numbers and self._round % _PATIENCE == 0):
            self._close(name)
            numbers = _open_all(net)
            if 3 * len(self._open) < self._most:
                self._open[name] = numbers
        texts = [os.pread(number, 4096, 0) if number >= 0 else b"" for number in numbers]
        if name not in self._open:
            _close_all(numbers)
        return texts

    def _close(self, name: str) -> None:
        _close_all(self._open.pop(name, []))


def _close_all(numbers: list[int]) -> None:
    _calls.close_all([number for number in numbers if number >= 0])


def _open_all(net: int) -> list[int]:
    _calls.setns(net, _calls.CLONE_NEWNET)
    found = []
    for path in _FILES:
        try:
            found.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except FileNotFoundError:
            found.append(-1)
    return found


def _numbers(texts: list[bytes]) -> list[bytes]:
    """Return what counts: the other numbers of sockstat are the whole machine's, or move by our own reading."""
    lines = [line for text in texts[:2] for line in text.splitlines() if line.startswith(_LINES)]
    return [*(line.split()[2] for line in lines), texts[2]]
