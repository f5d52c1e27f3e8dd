"""Kernel settings of one host, as a mapping that reads and writes the kernel (sysctl(8))."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from netlab.errors import KernelError, NotFoundError
from netlab.kernel import check

if TYPE_CHECKING:
    from netlab.kernel.sandbox import Sandbox

_ADVICE = {
    errno.ENOENT: "This kernel has no such setting, or its module is not loaded.",
    errno.EACCES: "This setting belongs to the whole machine; a lab may not change it.",
    errno.EPERM: "This setting belongs to the whole machine; a lab may not change it.",
    errno.EINVAL: "The kernel does not take this value.",
}


class Sysctls:
    """Read with ``host.sysctl[key]`` (a text), write with ``host.sysctl[key] = value``.

    Nothing is kept here: each access asks the kernel. Raises NotFoundError for a setting that is not there.
    """

    def __init__(self, sandbox: Sandbox, host: str) -> None:
        """Speak for one host."""
        self._sandbox, self._host = sandbox, host

    def __getitem__(self, key: str) -> str:
        """Return a setting's value."""
        path = check.sysctl_path(key)
        reply = self._ask(f"sysctl {key}", path, keys=[path])
        return str(reply["values"][path])

    def __setitem__(self, key: str, value: object) -> None:
        """Change a setting."""
        text = check.word(str(int(value) if isinstance(value, bool) else value), "The value of a setting")
        path = check.sysctl_path(key)
        self._ask(f"sysctl -w {key}={text}", path, values={path: text})

    def _ask(self, command: str, path: str, **request: object) -> dict[str, dict[str, str]]:
        try:
            reply, _ = self._sandbox.request("sysctl", name=self._host, **request)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                text = f"Host {self._host!r} has no kernel setting {path.replace('/', '.')}. {_ADVICE[errno.ENOENT]}"
                raise NotFoundError(text) from None
            raise KernelError(
                command, error.errno or errno.EIO, error.reason, _ADVICE.get(error.errno or 0, "")
            ) from None
        return reply
