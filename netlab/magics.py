"""``%%host red`` and ``%host red ip addr``: commands in a host, from a notebook cell; ``%kubectl`` for a cluster.

The commands are bash, and print to a pseudo-terminal: so what they print comes at once and in order, both streams as
one, as in a terminal window. Nothing of it passes through the notebook's own shell.
"""

from __future__ import annotations

import argparse
import codecs
import contextlib
import contextvars
import fcntl
import functools
import os
import pty
import re
import select
import shlex
import signal
import struct
import sys
import termios
import threading
import time
import tty
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from IPython.core.completer import SimpleCompletion, context_matcher
from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from netlab.errors import ClosedError, CommandError, CommandTimeoutError, LabError, NotFoundError
from netlab.kernel.process import describe_status
from netlab.lab import living_labs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from IPython.core.completer import CompletionContext, SimpleMatcherResult
    from IPython.core.interactiveshell import InteractiveShell

    from netlab.host import Host
    from netlab.kernel.process import Process

#: Reports the line of a failing command over what bash gets as its stdin, and gives the script an empty one.
_REPORTING = (
    "exec {NETLAB_REPORT}>&0 </dev/null; "
    """trap 'printf "%s %s\\n" "$LINENO" "$?" >&$NETLAB_REPORT' ERR; set -E -e -o pipefail; """
)
_QUIET = "exec </dev/null; "
#: A terminal that shows plain text, in which nothing asks the reader to press a key.
_ENVIRONMENT = {"TERM": "dumb", "PAGER": "cat", "GIT_PAGER": "cat", "SYSTEMD_PAGER": "cat", "PYTHONUNBUFFERED": "1"}
_VALUED = {"--lab", "--timeout"}  # the options that a value follows
_LINES, _COLUMNS = 50, 80
_GRACE = 2.0  # seconds between asking a script to end and ending it
_GLANCE = 0.05  # seconds: how often a script's end is looked for while its output stays open


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Report a wrong option as IPython does: one line, no traceback."""
        raise UsageError(f"{self.prog}: {message}\n{self.format_usage()}")


def _parser(prog: str) -> _Parser:
    what = "the lines of the cell" if prog == "%%host" else "the rest of the line"
    parser = _Parser(
        prog=prog,
        add_help=False,
        description=f"Run {what} with bash in a host of a lab, and show the output as it comes.",
    )
    parser.add_argument("host", nargs="?", help="HOST, or LAB/HOST where several open labs have one of that name")
    parser.add_argument("--lab", metavar="NAME", help="the lab of the host; else the newest open lab that has it")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="end it after this time, and raise")
    parser.add_argument("--no-raise", action="store_true", help="go on after a failing line, and raise nothing")
    parser.add_argument("-h", "--help", action="store_true", help="show this text")
    return parser


@magics_class
class HostMagics(Magics):
    """The magics; `load` adds them to IPython."""

    @line_cell_magic  # type: ignore[untyped-decorator, unused-ignore]
    def host(self, line: str, cell: str | None = None) -> None:
        """Run commands in a host: ``%%host red`` the whole cell, ``%host red ip addr`` one line; ``-h`` for more."""
        parser = _parser("%host" if cell is None else "%%host")
        words, rest = (line, cell) if cell is not None else _split_line(line)
        try:
            options = parser.parse_args(shlex.split(words))
        except ValueError as error:
            raise UsageError(f"{parser.prog}: {error}") from None
        if options.help:
            print(parser.format_help())  # noqa: T201 - a magic speaks to the reader
            return
        if not options.host:
            parser.error("say in which host, as in: " + ("%%host red" if cell is not None else "%host red ip addr"))
        if not rest.strip():
            parser.error("there is no command to run")
        try:
            run_script(
                find_host(options.host, options.lab), rest, timeout=options.timeout, checked=not options.no_raise
            )
        except LabError as error:
            raise _shown_plainly(error) from None

    @no_var_expand  # type: ignore[untyped-decorator, unused-ignore]
    @line_cell_magic  # type: ignore[untyped-decorator, unused-ignore]
    def kubectl(self, line: str, cell: str | None = None) -> None:
        """Run a kubectl command on a cluster of this notebook: ``%kubectl get pods``; the cell is what ``-f -`` reads.

        Without ``--context NAME`` it is the newest open cluster. ``{name}`` and ``{name.attribute}`` stand for values
        of the notebook; all other braces are kubectl's, as in ``-p '{"spec": {"type": "NodePort"}}'``.
        """
        try:
            words = shlex.split(fill(line, self.shell.user_ns if self.shell else {}))
        except ValueError as error:
            raise UsageError(f"%kubectl: {error}") from None
        try:
            print(run_kubectl(words, cell or ""))  # noqa: T201 - a magic speaks to the reader
        except LabError as error:
            raise _shown_plainly(error) from None


def fill(line: str, values: Mapping[str, object]) -> str:
    """Put values in for ``{name}`` and ``{name.attribute}``; what names none of them stays as it is. Pure.

    >>> fill("delete pod {pod} -p '{a: {b: 1}}' {other}", {"pod": "web-1"})
    "delete pod web-1 -p '{a: {b: 1}}' {other}"
    """

    def value(found: re.Match[str]) -> str:
        name, *attributes = found[1].split(".")
        if name not in values:
            return found[0]
        try:
            return str(functools.reduce(getattr, attributes, values[name]))
        except AttributeError as error:
            raise UsageError(f"{found[0]}: {error}") from None

    return re.sub(r"\{([A-Za-z_][\w.]*)\}", value, line)


def run_kubectl(words: list[str], stdin: str) -> str:
    """Run a command on the newest open cluster, or on that of ``--context``; raises NotFoundError without one."""
    from netlab.kubernetes.cluster import living_clusters  # noqa: PLC0415 - most notebooks have none
    from netlab.kubernetes.commands import run  # noqa: PLC0415

    wanted = None
    if "--context" in words[:-1]:
        place = words.index("--context")
        wanted, words = words[place + 1], words[:place] + words[place + 2 :]
    clusters = [each for each in living_clusters() if wanted in {None, each.lab.name}]
    if not clusters:
        known = ", ".join(each.lab.name for each in living_clusters()) or "none; Cluster() makes one"
        named = f" named {wanted!r}" if wanted else ""
        raise NotFoundError(f"This notebook has no open cluster{named}. It has: {known}.")
    return run(clusters[0], words, stdin)


def _shown_plainly(error: LabError) -> LabError:
    """Return the error, to be shown without a traceback: the learner's mistake is in the cell."""
    lines = [f"\x1b[31m{type(error).__name__}\x1b[0m: {error}"]
    setattr(error, "_render_traceback_", lambda: lines)  # noqa: B010 - what IPython looks for
    return error


def _split_line(line: str) -> tuple[str, str]:
    """Part ``--timeout 5 red ip addr`` into what is ours and the command, which stays as it was typed."""
    words, rest = [], line
    value_follows = False
    while rest.strip():
        word, rest = [*rest.lstrip().split(maxsplit=1), ""][:2]
        words.append(word)
        if not value_follows and not word.startswith("-"):
            break
        value_follows = word in _VALUED
    return " ".join(words), rest


def find_host(name: str, lab_name: str | None = None) -> Host:
    """Return a host of this notebook's open labs, by ``HOST`` or ``LAB/HOST``; the newest lab wins.

    Raises NotFoundError with the hosts that there are.
    """
    wanted, _, host = name.rpartition("/")
    labs = living_labs()
    for lab in labs:
        if lab.name in {wanted or lab.name} & {lab_name or lab.name} and host in lab.hosts:
            return lab.host(host)
    known = ", ".join(_host_names()) or "none"
    raise NotFoundError(f"No open lab of this notebook has a host {name!r}. Hosts: {known}.")


def _host_names() -> list[str]:
    """Return all names by which hosts can be called: short ones first, then ``LAB/HOST``."""
    labs = living_labs()
    short = [host for lab in labs for host in lab.hosts]
    return list(dict.fromkeys(short + [f"{lab.name}/{host}" for lab in labs for host in lab.hosts]))


@dataclass(slots=True)
class _Output:
    """What a script prints: read from a pseudo-terminal and shown at once."""

    source: int
    decoder: codecs.IncrementalDecoder

    def show(self, patience: float) -> bool:
        """Wait so many seconds for something to show; False when nothing came, for now or for good."""
        if self.source < 0 or not select.select([self.source], [], [], patience)[0]:
            return False
        try:
            data = os.read(self.source, 1 << 16)
        except OSError:  # EIO: the last writer has closed its side (pty(7))
            data = b""
        sys.stdout.write(self.decoder.decode(data, not data))
        sys.stdout.flush()
        if not data:
            os.close(self.source)
            self.source = -1
        return bool(data)

    def leave(self) -> None:
        """Go on showing what a background process of the script prints, until it ends."""
        if self.source >= 0:
            # ipykernel knows by the context under which cell to show it.
            context = contextvars.copy_context()
            threading.Thread(target=context.run, args=(self._show_rest,), name="netlab output", daemon=True).start()

    def _show_rest(self) -> None:
        while self.source >= 0:
            self.show(3600)


def run_script(host: Host, script: str, *, timeout: float | None = None, checked: bool = True) -> None:
    """Run a bash script in a host and show its output as it comes; ``timeout`` in seconds.

    With ``checked`` it ends at the first command that fails, and CommandError names its line. An interrupt reaches the
    script (SIGINT, then SIGKILL), and not the lab. A process that the script puts into the background goes on.
    """
    screen, slave = pty.openpty()
    reports, report = os.pipe()
    output = _Output(screen, codecs.getincrementaldecoder("utf-8")("replace"))
    with open(reports, "rb", buffering=0) as source:  # noqa: PTH123 - a descriptor
        try:
            tty.setraw(slave)
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", _LINES, _COLUMNS, 0, 0))
            argv = ("bash", "-c", (_REPORTING if checked else _QUIET) + script, host.name)
            process = host.popen(*argv, stdin=report, stdout=slave, stderr=slave, env=_ENVIRONMENT)
        except BaseException:
            os.close(screen)
            raise
        finally:
            os.close(slave)
            os.close(report)
        try:
            _follow(process, output, timeout)
        finally:
            output.leave()
        if checked and process.returncode:
            raise _failure(host, process.returncode, script, _last_report(source.fileno()))


def _follow(process: Process, output: _Output, timeout: float | None) -> None:
    """Show a script's output until it ends; raises CommandTimeoutError when its time is up."""
    end = None if timeout is None else time.monotonic() + timeout
    try:
        while process.poll() is None:
            if end is not None and time.monotonic() > end:
                _stop(process, output, signal.SIGTERM)
                raise CommandTimeoutError(
                    f"Ended: the commands in host {process.host!r} took longer than {timeout:g} s."
                )
            if output.source >= 0:
                output.show(_GLANCE)
            else:
                with contextlib.suppress(CommandTimeoutError):  # its output is closed, and it still works
                    process.wait(_GLANCE)
    except KeyboardInterrupt:
        _stop(process, output, signal.SIGINT)
        raise
    finally:
        while output.show(0):
            pass


def _stop(process: Process, output: _Output, number: int) -> None:
    """Ask a script to end; end it if it does not, or if the reader asks again."""
    end = time.monotonic() + _GRACE
    with contextlib.suppress(KeyboardInterrupt):
        process.send_signal(number)
        while process.poll() is None and time.monotonic() < end:
            if not output.show(_GLANCE):
                with contextlib.suppress(CommandTimeoutError):
                    process.wait(_GLANCE)
    process.kill()
    process.wait()


def _last_report(source: int) -> tuple[int, int] | None:
    """Return line and status of the last command that failed, or None if the script ended in another way."""
    reports = b""
    while select.select([source], [], [], 0)[0] and (data := os.read(source, 1 << 16)):
        reports += data
    lines = reports.splitlines()
    if not lines:
        return None
    number, status = lines[-1].split()
    return int(number), int(status)


def _failure(host: Host, status: int, script: str, report: tuple[int, int] | None) -> LabError:
    """Return the error that says which line failed."""
    if host.lab.closed:
        return ClosedError(f"The lab {host.lab.name!r} was closed while the commands ran.")
    words = describe_status(status)
    # A failure that bash let pass, such as one inside $(…), has another status than the end.
    if report is None or report[1] != status:
        return CommandError(f"The commands in host {host.name!r} failed ({words}).", returncode=status)
    number = report[0]
    lines = script.splitlines()
    text = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    where = f"Line {number} failed" if len(lines) > 1 else "Failed"
    return CommandError(f"{where} in host {host.name!r} ({words}): {text}", returncode=status)


@context_matcher(identifier="netlab.host_matcher")  # type: ignore[untyped-decorator, unused-ignore]
def _complete(context: CompletionContext) -> SimpleMatcherResult:
    """Offer hosts, labs or options while the cursor is in the part of a ``%host`` line that is ours."""
    line = context.line_with_cursor[: context.cursor_position]
    words = line.removesuffix(context.token).split()
    offered: list[str] = []
    if words[:1] in (["%host"], ["%%host"]):
        offered = [name for name in _candidates(words, context.token) if name.startswith(context.token)]
    # Alone: to Python's completers, `two-hosts/` looks like a sum.
    return {"completions": [SimpleCompletion(name, type="magic") for name in offered], "suppress": bool(offered)}


def _candidates(words: list[str], begun: str) -> list[str]:
    """Return what may stand behind these words: the magic's name and what follows it."""
    magic, *before = words
    if before[-1:] == ["--lab"]:
        return [lab.name for lab in living_labs()]
    pairs = zip(words, before, strict=False)
    has_host = any(not word.startswith("-") and previous not in _VALUED for previous, word in pairs)
    if begun.startswith("-") and (magic == "%%host" or not has_host):
        return ["--lab", "--timeout", "--no-raise", "--help"]
    return [] if has_host or before[-1:] == ["--timeout"] else _host_names()


def load(shell: InteractiveShell) -> None:
    """Add the magics and their completion; what ``%load_ext netlab`` does."""
    shell.register_magics(HostMagics)
    matchers = shell.Completer.custom_matchers
    if _complete not in matchers:
        matchers.append(_complete)
