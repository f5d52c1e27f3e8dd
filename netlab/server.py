"""A server that runs in a host and says who answered and who called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from netlab.errors import CommandError
from netlab.workloads import echo

if TYPE_CHECKING:
    from netlab.kernel.process import Process


class Server:
    """A running echo server; it ends with `close`, or with the lab. Also a context manager.

    Its answers are JSON: ``server``, ``client_address`` and ``client_port`` as the server saw them, ``host`` (the
    Host header), ``path``, and more.
    """

    def __init__(self, process: Process, protocol: str, port: int) -> None:
        """Wait until the server's port is open; raises CommandError where it cannot be opened."""
        self.process, self.protocol, self.port = process, protocol, port
        assert process.stdout is not None  # noqa: S101 - it was started with pipes
        assert process.stderr is not None  # noqa: S101
        if process.stdout.readline() != b"ready\n":
            reason = process.stderr.read().decode(errors="replace").strip()
            process.close()
            raise CommandError(
                f"Host {process.host!r} cannot serve {protocol} port {port}: {reason}", returncode=process.returncode
            )

    @staticmethod
    def command(label: str, protocol: str, address: str, port: int) -> list[str]:
        """Return the arguments with which Python runs the server."""
        return ["-I", "-S", str(echo.__file__), label, protocol, address, str(port)]

    @property
    def pid(self) -> int:
        """The server's process number inside the lab."""
        return self.process.pid

    def close(self) -> None:
        """End the server; may be called twice."""
        self.process.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the server."""
        self.close()

    def __repr__(self) -> str:
        """Say what listens where."""
        state = "listening" if self.process.poll() is None else "ended"
        return f"<Server on {self.process.host}, {self.protocol} port {self.port}, {state}>"
