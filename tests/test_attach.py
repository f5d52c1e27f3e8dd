"""Drive `netlab shell` and `netlab ps` as a person at a terminal would, through a real pseudo-terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import netlab
from netlab import Lab
from netlab.attach import host_names, running_labs

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kernel

NETLAB = [sys.executable, "-m", "netlab"]
PATIENCE = 15.0
#: What a terminal obeys and does not show (ECMA-48).
COLOUR = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def environment(home: Path) -> dict[str, str]:
    """Return a plain user's environment in which this netlab is importable."""
    source = str(Path(netlab.__file__).parents[1])
    # An ordinary user's PATH has no sbin; the tools of a lab live there.
    path = "/usr/local/bin:/usr/bin:/bin"
    return {"PATH": path, "HOME": str(home), "SHELL": "/bin/bash", "TERM": "dumb", "PYTHONPATH": source}


class Terminal:
    """A program on a pseudo-terminal of its own, which it controls."""

    def __init__(self, argv: list[str], home: Path) -> None:
        self.seen = ""
        self.screen, slave = pty.openpty()
        # setsid(1) makes the terminal the controlling one, as a terminal window does.
        self.program = subprocess.Popen(
            ["setsid", "--ctty", *argv], stdin=slave, stdout=slave, stderr=slave, env=environment(home), cwd=home
        )
        os.close(slave)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.screen, text.encode())

    def expect(self, pattern: str) -> re.Match[str]:
        """Wait until the screen shows a pattern behind what was matched before, and return the match."""
        deadline = time.monotonic() + PATIENCE
        while not (match := re.search(pattern, self.seen)):
            if not select.select([self.screen], [], [], max(deadline - time.monotonic(), 0))[0]:
                pytest.fail(f"no {pattern!r} within {PATIENCE:g} s; the screen shows:\n{self.seen}")
            try:
                self.seen += COLOUR.sub("", os.read(self.screen, 4096).decode(errors="replace"))
            except OSError:  # the program has closed its side
                pytest.fail(f"no {pattern!r} before the program ended; the screen shows:\n{self.seen}")
        self.seen = self.seen[match.end() :]
        return match

    def end(self) -> int:
        """Wait for the program's end and return its status."""
        try:
            return self.program.wait(PATIENCE)
        finally:
            self.close()

    def close(self) -> None:
        """Hang up."""
        if self.screen >= 0:
            os.close(self.screen)
            self.screen = -1
        self.program.kill()
        self.program.wait()


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Return a lab with two hosts, under a name that no other test uses."""
    with Lab(f"attach-{os.getpid()}") as lab:
        lab.connect(lab.add_host("red"), lab.add_host("blue"), "10.0.0.1/24", "10.0.0.2/24")
        yield lab


@pytest.fixture
def open_terminal(tmp_path: Path) -> Iterator[object]:
    """Return a function that opens a terminal; all of them are closed at the end."""
    opened: list[Terminal] = []

    def start(*argv: str) -> Terminal:
        opened.append(Terminal(list(argv), tmp_path))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


def call(home: Path, *words: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run netlab without a terminal."""
    return subprocess.run(
        [*prefix, *NETLAB, *words],
        env=environment(home),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def shell(open_terminal: object, lab: Lab, host: str = "red") -> Terminal:
    """Open `netlab shell` and wait for its prompt."""
    terminal: Terminal = open_terminal(*NETLAB, "shell", f"{lab.name}/{host}")  # type: ignore[operator]
    terminal.expect(rf"{host}@{lab.name}:~# ")
    return terminal


def test_the_prompt_says_where_you_are_and_the_lab_has_names(lab: Lab, open_terminal: object) -> None:
    """The shell is root of the host, sees the lab's hosts by name, and passes its exit status on."""
    terminal = shell(open_terminal, lab)
    terminal.type("hostname; id -u; ip netns list; ip -n blue -4 -br addr show eth0\r")
    terminal.expect(r"red\r\n0\r\nblue.*\r\nred.*\r\neth0\S*\s+UP\s+10\.0\.0\.2/24")
    terminal.type("exit 3\r")
    assert terminal.end() == 3


def test_what_is_done_in_the_shell_is_done_to_the_host(lab: Lab, open_terminal: object) -> None:
    """It is the host itself: the lab's own snapshot shows what was typed."""
    terminal = shell(open_terminal, lab)
    terminal.type("ip link set eth0 mtu 1400 && echo do''ne\r")
    terminal.expect("done")
    assert lab.snapshot()["red"].interface("eth0").mtu == 1400


def test_where_no_shell_was_opened_a_warning_says_so(lab: Lab, open_terminal: object) -> None:
    """Who does not look at the prompt would type the next line into the machine itself."""
    terminal: Terminal = open_terminal(*NETLAB, "shell", f"{lab.name}/green")  # type: ignore[operator]
    terminal.expect("There is no host 'green'")
    terminal.expect(
        "You are still in this machine's own shell, " + ("as root" if os.getuid() == 0 else "and in no lab")
    )
    assert terminal.end() == 1


def test_ctrl_c_stops_the_command_and_not_the_shell(lab: Lab, open_terminal: object) -> None:
    """An interrupt reaches the program in the foreground only."""
    terminal = shell(open_terminal, lab)
    terminal.type("sh -c 'echo going; exec sleep 1000'\r")
    terminal.expect("(^|\\n)going")
    terminal.type("\x03")
    terminal.expect(r"red@.*# ")
    terminal.type("echo status $?\r")
    terminal.expect("status 130")
    terminal.type("exit\r")
    assert terminal.end() == 0


def test_job_control_works(lab: Lab, open_terminal: object, tmp_path: Path) -> None:
    """Ctrl-Z stops a program, `jobs` lists it, `fg` brings it back."""
    (tmp_path / "wait.py").write_text(
        "import os, signal\n"
        "signal.signal(signal.SIGCONT, lambda *_: os.write(1, b'back\\n'))\n"
        "os.write(1, b'going\\n')\n"
        "while True:\n    signal.pause()\n"
    )
    terminal = shell(open_terminal, lab)
    terminal.type(f"{sys.executable} wait.py\r")
    terminal.expect(r"\ngoing")
    terminal.type("\x1a")
    terminal.expect("Stopped")
    terminal.type("jobs\r")
    terminal.expect(r"\[1\]\+ +Stopped +.*wait\.py")
    terminal.type("fg\r")
    terminal.expect(r"\nback")
    terminal.type("\x03")
    terminal.expect(r"KeyboardInterrupt[\s^C]+red@.*# ")
    terminal.type("jobs; echo no''ne\r")
    terminal.expect(r"jobs; echo no''ne\r\nnone")


def test_a_command_can_be_given_instead_of_a_shell(lab: Lab, tmp_path: Path) -> None:
    """Output, exit status and the status of a signal are those of the command, with or without `--`."""
    where = f"{lab.name}/red"
    result = call(tmp_path, "shell", where, "--", "sh", "-c", "echo $NETLAB_HOST of $NETLAB_LAB; exit 9")
    assert (result.stdout, result.returncode) == (f"red of {lab.name}\n", 9)
    assert call(tmp_path, "shell", where, "ip", "-br", "link").stdout.startswith("lo")
    assert call(tmp_path, "shell", where, "sh", "-c", "kill -TERM $$").returncode == 128 + signal.SIGTERM
    missing = call(tmp_path, "shell", where, "no-such-command")
    assert (missing.returncode, missing.stderr) == (
        127,
        "netlab: no-such-command: No such file or directory. It was to run in host 'red'.\n",
    )


def test_ctrl_c_ends_a_command_with_its_status(lab: Lab, open_terminal: object) -> None:
    """A single command gets Ctrl-C itself, and netlab reports it as a shell does."""
    terminal: Terminal = open_terminal(*NETLAB, "shell", f"{lab.name}/red", "sh", "-c", "echo going; exec sleep 1000")  # type: ignore[operator]
    terminal.expect("(^|\\n)going")
    terminal.type("\x03")
    assert terminal.end() == 130


def test_the_users_own_files_are_read_and_not_changed(lab: Lab, open_terminal: object, tmp_path: Path) -> None:
    """Aliases work, and a prompt that sets itself before each line does not hide where one is."""
    rc = tmp_path / ".bashrc"
    text = "alias hello='echo hello from my file'\nPROMPT_COMMAND='PS1=\"mine> \"'\n"
    rc.write_text(text)
    terminal = shell(open_terminal, lab)
    terminal.type("hello\r")
    terminal.expect(r"hello from my file\r\nred@")
    assert rc.read_text() == text


def test_the_end_of_the_lab_is_told(lab: Lab, open_terminal: object) -> None:
    """The shell ends with the lab, at once, and says why."""
    terminal = shell(open_terminal, lab)
    lab.close()
    terminal.expect(rf"The lab '{lab.name}' has ended, and what ran in it with it\.")
    assert terminal.end() != 0


def test_a_removed_host_is_told(lab: Lab, open_terminal: object) -> None:
    """The lab goes on; only this host is gone."""
    terminal = shell(open_terminal, lab)
    lab.remove_host("red")
    terminal.expect(rf"The host 'red' was removed from the lab '{lab.name}'")
    assert terminal.end() != 0


def test_a_stopped_terminal_does_not_hold_up_the_lab(lab: Lab, open_terminal: object) -> None:
    """A command that waits behind Ctrl-Z in the user's own shell cannot keep a lab from closing."""
    terminal: Terminal = open_terminal("bash", "--norc", "-i")  # type: ignore[operator]
    terminal.type(f"{' '.join(NETLAB)} shell {lab.name}/red -- sh -c 'echo go''ing; exec sleep 1000'\r")
    terminal.expect("\ngoing")
    terminal.type("\x1a")
    terminal.expect("Stopped")
    before = time.monotonic()
    lab.close()
    assert time.monotonic() - before < 5
    terminal.type("fg\r")
    terminal.expect("has ended")


def test_a_command_ends_with_netlab(lab: Lab, open_terminal: object) -> None:
    """After kill -9 of netlab, what it started in the host is hung up and does not stay behind."""
    terminal: Terminal = open_terminal(*NETLAB, "shell", f"{lab.name}/red", "sh", "-c", "echo $$; exec sleep 1000")  # type: ignore[operator]
    pid = int(terminal.expect(r"(\d+)\r\n")[1])
    terminal.program.kill()
    waiting = lab.host("red").run("timeout", "10", "tail", f"--pid={pid}", "-s", "0.05", "-f", "/dev/null")
    assert waiting.ok, "it still runs"


def test_ps_lists_labs_hosts_and_processes(lab: Lab, tmp_path: Path) -> None:
    """The table and the JSON say what runs where."""
    with lab.host("red").popen("sleep", "1234") as process:
        table = call(tmp_path, "ps").stdout
        document = json.loads(call(tmp_path, "ps", "--json").stdout)
    assert re.search(rf"{lab.name} +[0-9a-f]{{8}} +process {os.getpid()} +red +{process.pid} sleep 1234", table)
    (entry,) = [entry for entry in document if entry["lab"] == lab.name]
    assert entry["pid"] == os.getpid()
    assert list(entry["hosts"]) == ["red", "blue"]
    assert entry["hosts"]["red"]["processes"] == [{"pid": process.pid, "command": "sleep 1234"}]
    assert entry["hosts"]["blue"]["processes"] == []


def test_inside_a_lab_it_says_where_you_are(lab: Lab, tmp_path: Path) -> None:
    """A host's network namespace cannot see the lab's socket; that is explained, not reported as no lab."""
    result = call(tmp_path, "shell", f"{lab.name}/red", *NETLAB, "shell", "blue")
    assert result.stderr.startswith("netlab: You are in host 'red' of a lab, which sees no other lab.")
    assert result.returncode == 1


def test_what_is_not_there_is_answered_with_what_is(lab: Lab, tmp_path: Path) -> None:
    """A wrong host or lab gets a list of the right ones."""
    result = call(tmp_path, "shell", f"{lab.name}/green")
    assert result.returncode == 1
    assert (
        result.stderr
        == f"netlab: There is no host 'green'. Hosts of your running labs: {lab.name}/red, {lab.name}/blue.\n"
    )
    assert "There is no lab 'no-such-lab'. Your running labs: " in call(tmp_path, "shell", "no-such-lab/red").stderr


HOLD = "import sys; from netlab import Lab; lab = Lab(sys.argv[1]); lab.add_host('red'); print('made'); input()"


def test_two_labs_with_one_host_name_are_told_apart(lab: Lab, tmp_path: Path) -> None:
    """An ambiguous name is refused with names that are not; each of them works."""
    argv = [sys.executable, "-u", "-c", HOLD, lab.name]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | environment(tmp_path), text=True
    ) as twin:
        assert twin.stdout is not None
        assert twin.stdin is not None
        assert twin.stdout.readline() == "made\n"
        result = call(tmp_path, "shell", f"{lab.name}/red")
        choices = re.findall(r"(\w+/red) \(of process", result.stderr)
        assert (result.returncode, len(choices)) == (1, 2)
        neighbours = [call(tmp_path, "shell", choice, "ip", "netns", "list").stdout.split() for choice in choices]
        twin.stdin.close()
    assert sorted("blue" in names for names in neighbours) == [False, True]


def test_a_cell_that_was_run_again_leaves_no_doubt(lab: Lab, tmp_path: Path) -> None:
    """Of labs that one process made under one name the newest with that host is meant, and the older has its id."""
    (old,) = (one for one in running_labs()[0] if one.label == lab.name)
    command = ("ip", "netns", "list")
    with Lab(lab.name) as twin:
        assert "blue" in call(tmp_path, "shell", f"{lab.name}/red", *command).stdout, "the new one has no red yet"
        twin.add_host("red")
        assert call(tmp_path, "shell", f"{lab.name}/red", *command).stdout.split() == ["red"]
        assert "blue" in call(tmp_path, "shell", f"{old.ident}/red", *command).stdout
        assert f"{lab.name}/red" in host_names(running_labs()[0])


def test_another_user_is_refused(lab: Lab, tmp_path: Path) -> None:
    """A lab answers its own user only, and netlab says whose it is; even root must become that user."""
    if os.getuid() != 0:
        pytest.skip("becoming another user needs root (CAP_SETUID)")
    other = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--")
    result = call(tmp_path, "shell", f"{lab.name}/red", prefix=other)
    assert result.returncode == 1
    assert f"The lab '{lab.name}' (process {os.getpid()}) belongs to root; only they may enter." in result.stderr
    assert f"{lab.name} (process {os.getpid()}) belongs to root" in call(tmp_path, "ps", prefix=other).stdout


def test_a_privileged_lab_can_be_entered(tmp_path: Path) -> None:
    """Without a user namespace there is one namespace less to enter."""
    if os.getuid() != 0:
        pytest.skip("a privileged lab needs root")
    with Lab(f"privileged-{os.getpid()}", privileged=True) as lab:
        lab.add_host("red")
        result = call(tmp_path, "shell", f"{lab.name}/red", "sh", "-c", "hostname; ip netns list; ip -o link")
    assert result.stdout.startswith("red\nred\n1: lo:"), result.stderr
    assert len(result.stdout.splitlines()) == 3


def test_the_shell_completes_host_names(lab: Lab, tmp_path: Path) -> None:
    """The bash completion that typer installs asks netlab itself."""
    asked = {"_NETLAB_COMPLETE": "complete_bash", "COMP_WORDS": f"netlab shell {lab.name}/r", "COMP_CWORD": "2"}
    result = subprocess.run(
        NETLAB,
        env=environment(tmp_path) | asked,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.stdout.split() == [f"{lab.name}/red"]
