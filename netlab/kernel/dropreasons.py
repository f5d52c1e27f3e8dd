"""Hear from the kernel itself why it dropped packets: its kfree_skb event (Linux 5.17), for root of the machine only.

The event is opened with perf_event_open(2) for the calling thread alone: a packet that is sent over veth cables is
worked off in the sender's own context. It goes with its descriptor, so that nothing can be left behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import platform
import re
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

_EVENT = Path("/sys/kernel/tracing/events/skb/kfree_skb")
#: Numbers of perf_event_open(2).
_CALLS = {"x86_64": 298, "aarch64": 241}
_TRACEPOINT, _SAMPLE = 2, 9
_SAMPLE_TIME, _SAMPLE_RAW, _USE_CLOCKID = 1 << 2, 1 << 10, 1 << 25
#: struct perf_event_attr up to sample_regs_intr, aux_watermark and their padding (PERF_ATTR_SIZE_VER5).
_ATTRIBUTES = struct.Struct("=IIQQQQQIIQQQQIiQII")
_PAGES, _HEAD_OFFSET = 16, 1024
_NOT_DROPPED = frozenset({"NOT_SPECIFIED", "CONSUMED", "TCP_OLD_ACK"})


class Reason(NamedTuple):
    """One packet that the kernel dropped: when, in nanoseconds since the epoch, and its word for why."""

    time_ns: int
    name: str


class DropReasons:
    """Collects the reasons of drops in the calling thread; use it in a ``with`` block.

    `reasons` is filled at the end of the block. Where this is not possible (no root, no tracefs, an older kernel)
    it stays empty, and `available` is False.
    """

    def __init__(self) -> None:
        """Prepare."""
        self.reasons: tuple[Reason, ...] = ()
        self.available = False
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Begin, if it is possible here."""
        try:
            text = (_EVENT / "format").read_text(encoding="ascii")
            number = int((_EVENT / "id").read_text(encoding="ascii"))
            self._open(number)
        except (OSError, KeyError):
            self._stack.close()
            return self
        self._names = {int(found[1]): found[2] for found in re.finditer(r'\{ (\w+), "(\w+)" \}', text)}
        place = re.search(r"skb_drop_reason reason;\s*offset:(\d+)", text)
        self._place = int(place[1]) if place else -1
        self.available = bool(self._names) and place is not None
        return self

    def _open(self, number: int) -> None:
        call = _CALLS[platform.machine()]
        size, sample = _ATTRIBUTES.size, _SAMPLE_TIME | _SAMPLE_RAW
        # One sample for each event; the clock is the monotonic one.
        values = (
            _TRACEPOINT,
            size,
            number,
            1,
            sample,
            0,
            _USE_CLOCKID,
            1,
            0,
            0,
            0,
            0,
            0,
            0,
            time.CLOCK_MONOTONIC,
            0,
            0,
            0,
        )
        attributes = ctypes.create_string_buffer(_ATTRIBUTES.pack(*values), size)
        libc = ctypes.CDLL(None, use_errno=True)
        # This thread, on any processor, in no group, closed on exec.
        descriptor = libc.syscall(call, attributes, 0, -1, -1, 8)
        if descriptor < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), "perf_event_open")
        self._stack.callback(os.close, descriptor)
        self._ring = mmap.mmap(descriptor, (1 + _PAGES) * mmap.PAGESIZE)
        self._stack.callback(self._ring.close)

    def __exit__(self, *_: object) -> None:
        """End, and keep what was heard."""
        if self.available:
            # Both clocks run at one speed: what is between them now was between them then.
            offset = time.time_ns() - time.monotonic_ns()
            self.reasons = tuple(Reason(stamp + offset, name) for stamp, name in self._read())
        self._stack.close()

    def _read(self) -> Iterator[tuple[int, str]]:
        (head,) = struct.unpack_from("=Q", self._ring, _HEAD_OFFSET)
        data = self._ring[mmap.PAGESIZE : mmap.PAGESIZE + min(head, _PAGES * mmap.PAGESIZE)]
        start = 0
        while start + 8 <= len(data):
            kind, _, size = struct.unpack_from("=IHH", data, start)
            if size < 8:
                return
            if kind == _SAMPLE:
                (stamp,) = struct.unpack_from("=Q", data, start + 8)
                (number,) = struct.unpack_from("=I", data, start + 20 + self._place)
                name = self._names.get(number, "")
                if name and name not in _NOT_DROPPED:
                    yield stamp, name
            start += size
