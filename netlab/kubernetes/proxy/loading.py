"""Run iptables-restore and nft in a host, with rules of any length as their input."""

from __future__ import annotations

import os
import re
from io import TextIOWrapper
from itertools import islice
from typing import TYPE_CHECKING, Self

from netlab.errors import CommandError
from netlab.kernel.process import run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netlab.host import Host

NFT = ("nft", "-f", "-")
_LINE = re.compile(r"\bline:? (\d+)")


class Pieces:
    """A file that loads into a host, piece by piece, what is written into it; a context manager."""

    def __init__(self, host: Host, command: tuple[str, ...], size: int) -> None:
        """Load whole lines, of about ``size`` characters together, at a time."""
        self._host, self._command, self._size = host, command, size
        self._written: list[str] = []
        self._length = 0

    def write(self, text: str) -> None:
        """Take some of a text."""
        self._written.append(text)
        self._length += len(text)
        if self._length >= self._size and text.endswith("\n"):
            self.flush()

    def flush(self) -> None:
        """Load what was not loaded yet."""
        written, self._written, self._length = self._written, [], 0
        if written:
            load(self._host, self._command, written)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        """Load the rest."""
        if failed is None:
            self.flush()


def load(host: Host, command: tuple[str, ...], texts: Iterable[str]) -> None:
    """Run a command with texts, of any length, as its standard input; raises CommandError with the line it names."""
    with rules_file() as file:
        for text in texts:
            file.write(text)
        load_file(host, command, file)


def rules_file() -> TextIOWrapper:
    """Open a file in memory: a pipe would take a large text in pieces of 4 KiB."""
    # The text layer collects 8 KiB before it writes: another buffer below it would only be more memory.
    return TextIOWrapper(os.fdopen(os.memfd_create("rules"), "w+b", 512), encoding="utf-8", newline="")


def load_file(host: Host, command: tuple[str, ...], file: TextIOWrapper) -> None:
    """Run a command with a file as its standard input, from its beginning; raises CommandError with the line it names.

    The file may be read once more for that line.
    """
    file.seek(0)
    result = run(host.popen(*command, stdin=file.fileno()))
    if result.ok:
        return
    words = result.stderr.strip()
    if command != NFT and (match := _LINE.search(words)):
        file.seek(0)
        line = next(islice(file, int(match[1]) - 1, None), "").strip()
        words += f" [{line}]" if line else ""
    raise CommandError(
        f"{' '.join(command)} failed in {host.name}: {words}",
        returncode=result.returncode,
        stdout=result.stdout,
        stderr=result.stderr,
    )
