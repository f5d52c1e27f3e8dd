"""The reader's progress: one JSON file of the user's own, never half-written, shared by several kernels.

Each change locks, reads, changes, and replaces the file in one step: after a crash it is the old one or the new one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netlab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VERSION = 1
_DRAFT = ".progress-"
#: Seconds: a longer pause between two actions is not counted as time spent on a chapter.
_PAUSE = 600


def folder() -> Path:
    """Return where netlab keeps what belongs to the user (XDG Base Directory Specification)."""
    given = os.environ.get("XDG_DATA_HOME", "")
    # The specification says that a relative path is to be ignored.
    base = Path(given) if given.startswith("/") else Path.home() / ".local" / "share"
    return base / "netlab"


def _empty() -> dict[str, Any]:
    return {"version": VERSION, "salt": secrets.token_hex(4), "chapters": {}, "predictions": {}, "exercises": {}}


@dataclass(frozen=True, slots=True)
class Store:
    """The file with the progress; `Store.default` is the user's."""

    path: Path

    @classmethod
    def default(cls) -> Store:
        """Return the store of this user."""
        return cls(folder() / "progress.json")

    def read(self) -> dict[str, Any]:
        """Return all that is kept; an empty record if there is nothing yet.

        Raises LabError for a file that is not ours to read; a damaged one is put aside by the next `change`.
        """
        try:
            return _parse(self.path.read_text(encoding="utf-8")) or _empty()
        except FileNotFoundError:
            return _empty()
        except OSError as error:
            raise LabError(f"Your progress in {self.path} cannot be read: {error.strerror}.") from None

    def change(self, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Change the record in one step, alone among all kernels, and return it; raises LabError."""
        try:
            with self._locked():
                record = self._read_for_change()
                change(record)
                self._replace(record)
        except OSError as error:
            raise LabError(f"Your progress cannot be written to {self.path}: {error.strerror}.") from None
        return record

    def _read_for_change(self) -> dict[str, Any]:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return _empty()
        record = _parse(text)
        if record is None:
            # Whatever it is, it is the user's: it is kept beside, under another name.
            self.path.replace(self.path.with_name(f"progress-damaged-{time.time_ns()}.json"))
        return record or _empty()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock: on a file of its own, since the other one is replaced. The kernel frees it at our end."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Nobody else writes now: what lies here is of one that was ended while it wrote.
            for left in self.path.parent.glob(f"{_DRAFT}*"):
                left.unlink()
            yield

    def _replace(self, record: dict[str, Any]) -> None:
        handle, name = tempfile.mkstemp(prefix=_DRAFT, dir=self.path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump(record, stream, indent=2, ensure_ascii=False, sort_keys=True)
                stream.write("\n")
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _parse(text: str) -> dict[str, Any] | None:
    """Return the record, or None for what is not one."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    parts = ("chapters", "predictions", "exercises")
    if not isinstance(found, dict) or not all(isinstance(found.get(part), dict) for part in parts):
        return None
    if found.get("version") != VERSION:
        raise LabError(
            f"Your progress was written by another netlab (version {found.get('version')!r}); update netlab."
        )
    return found


def note_time(record: dict[str, Any], key: str) -> None:
    """Count the time since the last action in a chapter, the first two letters of a key."""
    now = time.time()
    chapter = record["chapters"].setdefault(key[:2], {"seconds": 0.0, "last": now})
    gap = now - chapter["last"]
    chapter["seconds"] += gap if 0 < gap <= _PAUSE else 0.0
    chapter["last"] = now
