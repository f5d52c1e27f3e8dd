"""The errors that netlab raises, in one tree.

::

    LabError                    everything below; catch this one
    ├── InvalidInputError       a name, address, number or text that cannot be right; also a ValueError
    ├── NotFoundError           no such host, interface or lab; also a LookupError
    ├── ClosedError             the lab is closed, or its sandbox has died
    ├── SandboxError            the sandbox cannot be made on this machine
    ├── MissingFeatureError     this kernel or machine lacks something, named in the message
    ├── KernelError             the kernel refused a request; also an OSError
    └── CommandError            a command in a host failed, or could not be started
        └── CommandTimeoutError it took longer than it was given

Every message says what was tried, what was found, and what to do next.
"""

from __future__ import annotations

import errno as _errno
import os


def errno_name(number: int) -> str:
    """Return an error number's name, as the manual pages write it."""
    # Linux gives ENOTSUP the same number, and Python takes that name; the kernel and its manuals say EOPNOTSUPP.
    return "EOPNOTSUPP" if number == _errno.EOPNOTSUPP else _errno.errorcode.get(number, str(number))


class LabError(Exception):
    """Stand for any failure that netlab reports."""


class InvalidInputError(LabError, ValueError):
    """Report an input that cannot be right, before anything was changed."""


class NotFoundError(LabError, LookupError):
    """Report that something named does not exist."""

    def __str__(self) -> str:
        """Return the message as it was given (a KeyError would quote it)."""
        return str(self.args[0]) if self.args else ""


class ClosedError(LabError):
    """Report that a lab is closed, or that its sandbox has ended."""


class SandboxError(LabError):
    """Report that the sandbox cannot be made here, and what to do about it."""


class MissingFeatureError(LabError):
    """Report that this kernel or machine lacks a feature, by its name."""


class KernelError(LabError, OSError):
    """Report what the kernel refused.

    Attributes: ``command`` (the ``ip`` command a person would have typed), ``errno``, ``reason`` (the kernel's
    own words, from the extended acknowledgement where there is one), ``advice``.
    """

    def __init__(self, command: str, errno: int, reason: str = "", advice: str = "") -> None:
        """Keep the parts, so that a caller need not parse the message."""
        words = reason or os.strerror(errno)
        name = errno_name(errno)
        message = f"{command}: {words} ({name})." + (f" {advice}" if advice else "")
        super().__init__(errno, message)
        self.command = command
        self.reason = words
        self.advice = advice

    def __str__(self) -> str:
        """Return the whole message without the errno that OSError puts in front."""
        return str(self.args[1])


class CommandError(LabError):
    """Report a command that failed or could not be started in a host.

    Attributes: ``returncode`` (None when it never ran or was cut off), ``stdout``, ``stderr``.
    """

    def __init__(self, message: str, *, returncode: int | None = None, stdout: str = "", stderr: str = "") -> None:
        """Keep what the command printed."""
        super().__init__(message)
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr


class CommandTimeoutError(CommandError):
    """Report a command that was ended because its time was up."""
