"""What a lab went through: the snapshots that differ from the one before, in order."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netlab.kernel.difference import Difference
    from netlab.kernel.values import Snapshot

#: How many snapshots are kept; they share what did not change, so that a thousand are some ten megabytes.
LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Moment:
    """A snapshot, and what it differs in from the one before (None for the first)."""

    snapshot: Snapshot
    difference: Difference | None


class Timeline:
    """The moments of one lab since it was first watched, oldest first; safe to use from several threads."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lock = threading.Lock()
        self._moments: deque[Moment] = deque(maxlen=LIMIT)

    @property
    def moments(self) -> tuple[Moment, ...]:
        """All moments that are kept."""
        with self._lock:
            return tuple(self._moments)

    def record(self, snapshot: Snapshot) -> bool:
        """Keep a snapshot if more than counters differ; return whether it was kept."""
        with self._lock:
            last = self._moments[-1] if self._moments else None
            difference = snapshot - last.snapshot if last is not None else None
            if difference is not None and not difference:
                return False
            self._moments.append(Moment(snapshot, difference))
            return True
