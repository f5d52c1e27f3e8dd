"""Run commands inside a sandbox: processes that end with it, and their results."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import selectors
import shlex
import signal
import subprocess
import textwrap
import time
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from netlab.errors import ClosedError, CommandError, CommandTimeoutError, InvalidInputError, KernelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from netlab.kernel.sandbox import Sandbox

PIPE, DEVNULL, STDOUT = subprocess.PIPE, subprocess.DEVNULL, subprocess.STDOUT
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CHUNK = 1 << 16
#: How many commands `output_of` runs at a time: each takes three descriptors of the program.
SIDE_BY_SIDE = 32


def inherited() -> dict[str, str]:
    """Return the environment for what runs in a host: ours, but no proxies, which are out of a lab's reach."""
    return {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}


@dataclass(frozen=True, slots=True)
class Result:
    """What a command printed, and how it ended; truthy texts are decoded as UTF-8."""

    host: str
    command: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        """Tell whether it ended with status 0."""
        return self.returncode == 0

    def __bool__(self) -> bool:
        """Return `ok`."""
        return self.ok

    def __str__(self) -> str:
        """Return what it printed."""
        return self.stdout + self.stderr

    def __repr__(self) -> str:
        """Show the command, how it ended, and then what it printed, as a terminal would."""
        status = "ok" if self.ok else describe_status(self.returncode)
        return f"{self.host}$ {shlex.join(self.command)}   [{status}]\n{self.stdout}{self.stderr}".rstrip("\n")


def describe_status(returncode: int) -> str:
    """Return a return code in words: a negative one is a signal."""
    if returncode < 0:
        with contextlib.suppress(ValueError):
            return f"ended by {signal.Signals(-returncode).name}"
        return f"ended by signal {-returncode}"
    return f"exit status {returncode}"


@dataclass(frozen=True, slots=True)
class Streams:
    """Where a command's standard streams go: a file, a descriptor, PIPE, DEVNULL or (stderr) STDOUT."""

    stdin: IO[bytes] | int = DEVNULL
    stdout: IO[bytes] | int = PIPE
    stderr: IO[bytes] | int = PIPE


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command starts: more environment variables, and a working directory (ours if none is given)."""

    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None


class Process:
    """A live process in a host; it ends with the lab at the latest.

    ``stdin``, ``stdout``, ``stderr`` are binary files where a pipe was asked for, else None; ``pid`` is its number
    inside the lab. Also a context manager, which ends it.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        host: str,
        argv: Sequence[str],
        streams: Streams,
        place: Place = Place(),
    ) -> None:
        """Start it; raises CommandError where it cannot be started."""
        self.host, self.args = host, tuple(argv)
        self.stdin: IO[bytes] | None = None
        self.stdout: IO[bytes] | None = None
        self.stderr: IO[bytes] | None = None
        self._status: IO[bytes] | None = None
        self.returncode: int | None = None
        self._sandbox = sandbox
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            numbers = self._connect(streams, ours, theirs)
            read_end, write_end = os.pipe()
            self._status = ours.enter_context(os.fdopen(read_end, "rb", buffering=0))
            theirs.callback(os.close, write_end)
            environment = {
                **inherited(),
                "PATH": f"{os.environ.get('PATH', '')}:{_PATH}".lstrip(":"),
                "NETLAB_HOST": host,
                **place.env,
            }
            try:
                reply, _ = sandbox.request(
                    "spawn",
                    (*numbers, write_end),
                    name=host,
                    argv=list(argv),
                    env=environment,
                    cwd=[place.cwd] if place.cwd else _here(),
                )
            except KernelError as error:
                raise CommandError(self._not_started(error)) from None
            ours.pop_all()
        self.pid: int = reply["pid"]
        # When it is forgotten, what is ours closes; the process itself goes on until the lab ends. Not by __del__:
        # in a cycle of objects the files could be finalized before us, and would complain.
        files = (self.stdin, self.stdout, self.stderr, self._status)
        weakref.finalize(self, _close_all, [file for file in files if file is not None]).atexit = False

    def _connect(self, streams: Streams, ours: contextlib.ExitStack, theirs: contextlib.ExitStack) -> list[int]:
        """Return the three descriptors that the command gets; keep our ends of the pipes."""
        numbers: list[int] = []
        for name, target in (("stdin", streams.stdin), ("stdout", streams.stdout), ("stderr", streams.stderr)):
            if target == PIPE:
                reading, writing = os.pipe()
                mine, yours = (writing, reading) if name == "stdin" else (reading, writing)
                file = ours.enter_context(os.fdopen(mine, "wb" if name == "stdin" else "rb", buffering=0))
                setattr(self, name, file)
                theirs.callback(os.close, yours)
                numbers.append(yours)
            elif target == DEVNULL:
                number = os.open(os.devnull, os.O_RDWR)
                theirs.callback(os.close, number)
                numbers.append(number)
            elif target == STDOUT:
                if name != "stderr":
                    raise InvalidInputError(f"Only stderr can go where stdout goes; {name} cannot.")
                numbers.append(numbers[1])
            else:
                numbers.append(target if isinstance(target, int) else target.fileno())
        return numbers

    def _not_started(self, error: KernelError) -> str:
        if error.errno == errno.ENOENT and error.command == self.args[0]:
            advice = "It is not installed here, or its name is misspelt; `netlab doctor` lists the tools."
            return f"{self.args[0]}: not found. {advice}"
        return f"Host {self.host!r} could not start {textwrap.shorten(shlex.join(self.args), 200)}: {error}"

    def poll(self) -> int | None:
        """Return the return code if it has ended, else None."""
        if self.returncode is None and self._ended(0):
            self._collect()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it ends, for ``timeout`` seconds at most; return its return code.

        Raises CommandTimeoutError when the time is up (it goes on) and ClosedError when the lab has ended.
        """
        if self.returncode is None:
            if not self._ended(timeout):
                raise CommandTimeoutError(f"{shlex.join(self.args)} in {self.host} has not ended after {timeout:g} s.")
            self._collect()
        assert self.returncode is not None  # noqa: S101 - for the type checker
        return self.returncode

    def _ended(self, timeout: float | None) -> bool:
        """Wait until it has ended; poll(2), since a large lab has descriptors above what select(2) takes."""
        waiting = select.poll()
        assert self._status is not None  # noqa: S101 - for the type checker
        waiting.register(self._status, select.POLLIN)
        return bool(waiting.poll(None if timeout is None else max(timeout, 0) * 1000))

    def _collect(self) -> None:
        assert self._status is not None  # noqa: S101 - for the type checker
        data = self._status.read(16)
        # Without a status the first process of the sandbox has died, and this one with it.
        self.returncode = int(data) if data else -signal.SIGKILL
        # Last: an interrupt before it must not leave a closed file and no return code.
        self._status.close()

    def send_signal(self, number: int) -> None:
        """Send a signal to it and to its children in the same process group."""
        if self.poll() is None:
            with contextlib.suppress(ClosedError):
                self._sandbox.request("kill", pid=self.pid, number=int(number))

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """End it, wait for its end, and close the pipes."""
        self.kill()
        self.wait()
        self._close_streams()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()

    def _close_streams(self) -> None:
        _close_all([stream for stream in (self.stdin, self.stdout, self.stderr) if stream is not None])

    def __repr__(self) -> str:
        """Show what runs where, and whether it still does."""
        status = self.poll()
        return f"<{shlex.join(self.args)} in {self.host}, {'running' if status is None else describe_status(status)}>"

    def communicate(self, data: bytes = b"", timeout: float | None = None) -> tuple[bytes, bytes]:
        """Write to stdin, read all it prints, wait; raises CommandTimeoutError when the time is up."""
        deadline = None if timeout is None else time.monotonic() + timeout
        printed: dict[object, list[bytes]] = {self.stdout: [], self.stderr: []}
        with selectors.DefaultSelector() as selector:
            for stream in (self.stdout, self.stderr):
                if stream is not None:
                    selector.register(stream, selectors.EVENT_READ)
            if self.stdin is not None and data:
                selector.register(self.stdin, selectors.EVENT_WRITE)
            elif self.stdin is not None:
                self.stdin.close()
            pending = memoryview(data)
            while selector.get_map():
                ready = selector.select(None if deadline is None else max(deadline - time.monotonic(), 0))
                if not ready and deadline is not None and time.monotonic() >= deadline:
                    text = f"{shlex.join(self.args)} in {self.host} has not ended after {timeout:g} s."
                    raise CommandTimeoutError(
                        text, stdout=_text(printed[self.stdout]), stderr=_text(printed[self.stderr])
                    )
                for key, _ in ready:
                    if key.fileobj is self.stdin:
                        pending = self._feed(pending)
                        done = not pending
                    else:
                        chunk = os.read(key.fd, _CHUNK)
                        printed[key.fileobj].append(chunk)
                        done = not chunk
                    if done:
                        selector.unregister(key.fileobj)
        self.wait(None if deadline is None else max(deadline - time.monotonic(), 0.1))
        return b"".join(printed[self.stdout]), b"".join(printed[self.stderr])

    def _feed(self, pending: memoryview) -> memoryview:
        assert self.stdin is not None  # noqa: S101 - for the type checker
        try:
            pending = pending[os.write(self.stdin.fileno(), pending[: select.PIPE_BUF]) :]
        except BrokenPipeError:
            pending = pending[:0]
        if not pending:
            self.stdin.close()
        return pending


def _here() -> list[str]:
    """Return our own working directory, and what to take in its place: a lab has a /run of its own."""
    with contextlib.suppress(FileNotFoundError):  # ours was deleted
        return [str(Path.cwd()), "/"]
    return ["/"]


def _close_all(streams: list[IO[bytes]]) -> None:
    for stream in streams:
        stream.close()


def _text(parts: list[bytes]) -> str:
    return b"".join(parts).decode(errors="replace")


def run(process: Process, data: bytes = b"", timeout: float | None = None) -> Result:
    """See a started process to its end; ends it when the time is up or the reader interrupts."""
    try:
        stdout, stderr = process.communicate(data, timeout)
    except CommandTimeoutError as error:
        process.close()
        text = f"{shlex.join(process.args)} in {process.host} was ended: it took longer than {timeout:g} s."
        raise CommandTimeoutError(text, stdout=error.stdout, stderr=error.stderr) from None
    except BaseException:
        process.close()
        raise
    process.close()
    return Result(
        process.host, process.args, process.wait(), stdout.decode(errors="replace"), stderr.decode(errors="replace")
    )


def output_of(sandbox: Sandbox, commands: list[tuple[str, tuple[str, ...]]]) -> dict[tuple[str, tuple[str, ...]], str]:
    """Run commands of many hosts, some side by side; return what each printed, by (host, command).

    Raises CommandError at the first that fails.
    """
    printed = {}
    for first in range(0, len(commands), SIDE_BY_SIDE):
        with contextlib.ExitStack() as ends:
            started = [
                ends.enter_context(Process(sandbox, host, argv, Streams()))
                for host, argv in commands[first : first + SIDE_BY_SIDE]
            ]
            for process in started:
                result = run(process, timeout=60)
                if not result.ok:
                    text = f"{shlex.join(process.args)} failed in {process.host}: {result.stderr.strip()}"
                    raise CommandError(text, returncode=result.returncode, stderr=result.stderr)
                printed[process.host, process.args] = result.stdout
    return printed
