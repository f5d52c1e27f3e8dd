from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from fingerprint import until

from netlab import CommandError, CommandTimeoutError, InvalidInputError, Lab
from netlab.kernel.process import PIPE, STDOUT, describe_status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from netlab import Host

pytestmark = pytest.mark.kernel


@pytest.fixture
def red(lab: Lab) -> Host:
    """Return a host."""
    return lab.add_host("red")


def running(host: Host) -> list[str]:
    """Return the command lines of all processes of the lab, without the asking one's."""
    lines = host.run("ps", "-e", "-o", "args=").stdout.splitlines()
    return [line for line in lines if "_start.main(" not in line and not line.startswith("ps -e")]


def test_a_result_tells_how_a_command_ended(red: Host) -> None:
    """A result has both outputs and the return code, is true when all went well, and shows itself like a terminal."""
    result = red.run("sh", "-c", "echo out; echo err >&2; exit 3")
    assert (result.ok, bool(result), result.returncode) == (False, False, 3)
    assert (result.stdout, result.stderr, str(result)) == ("out\n", "err\n", "out\nerr\n")
    assert repr(result) == "red$ sh -c 'echo out; echo err >&2; exit 3'   [exit status 3]\nout\nerr"
    good = red.run("true")
    assert good
    assert repr(good) == "red$ true   [ok]"


def test_a_failing_command_is_an_error_only_if_asked(red: Host) -> None:
    """With check a failure is raised with the command's own words; a signal is named."""
    with pytest.raises(CommandError, match=r"sh -c .* failed in red \(exit status 4\): no good") as caught:
        red.run("sh", "-c", "echo half; echo no good >&2; exit 4", check=True)
    assert (caught.value.returncode, caught.value.stdout, caught.value.stderr) == (4, "half\n", "no good\n")
    with pytest.raises(CommandError, match="ended by SIGTERM"):
        red.run("sh", "-c", "kill $$", check=True)
    assert describe_status(-64).startswith("ended by ")


def test_what_cannot_start_is_an_error(red: Host, tmp_path: Path) -> None:
    """A command that is not there, is no program, or has no folder to start in says so."""
    with pytest.raises(CommandError, match=r"^no-such: not found\. It is not installed here, or its name is misspelt"):
        red.run("no-such")
    text = tmp_path / "text"
    text.write_text("no program")
    with pytest.raises(CommandError, match=r"could not start .* \(EACCES\)"):
        red.run(str(text))
    with pytest.raises(CommandError, match=r"could not start true: cd /no/such: .*\(ENOENT\)"):
        red.popen("true", cwd="/no/such")
    assert red.run("true").ok


@pytest.mark.parametrize("words", [(), (1,), ("a\0b",), (["ip", "addr"],), (None,)])
def test_a_command_is_given_in_words(red: Host, words: tuple[str, ...]) -> None:
    """Anything but words is refused before a process is made."""
    with pytest.raises(InvalidInputError, match="word by word"):
        red.run(*words)
    with pytest.raises(InvalidInputError, match="options env and cwd; not group"):
        red.popen("true", group=5)
    with pytest.raises(InvalidInputError, match="Only stderr can go where stdout goes; stdout cannot"):
        red.popen("true", stdout=STDOUT)


def test_a_command_sees_its_host(red: Host, tmp_path: Path) -> None:
    """A command has the host's name, network, environment and working directory."""
    assert red.run("hostname").stdout == "red\n"
    assert red.run("sh", "-c", "echo $NETLAB_HOST $X", env={"X": "y"}).stdout == "red y\n"
    assert "eth" not in red.run("cat", "/proc/net/dev").stdout
    process = red.popen("pwd", cwd=str(tmp_path))
    assert process.communicate()[0].decode().strip() == str(tmp_path)


def test_a_folder_that_the_lab_hides_is_no_obstacle(red: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that stands in a folder which the lab does not have runs its commands in /."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert red.run("pwd").stdout == "/\n"


def test_a_command_gets_its_streams_and_no_more(red: Host) -> None:
    """A command inherits no descriptor, ignored signal or blocked signal of the program or the sandbox."""
    with open("/dev/null") as _kept:  # noqa: PTH123 - an open descriptor, not its contents
        listed = red.run("sh", "-c", "ls /proc/self/fd").stdout.split()
    assert listed == ["0", "1", "2", "3"]
    status = dict(
        line.split(":\t") for line in red.run("cat", "/proc/self/status").stdout.splitlines() if ":\t" in line
    )
    assert int(status["SigIgn"], 16) == int(status["SigBlk"], 16) == int(status["SigCgt"], 16) == 0


def test_ignored_signals_are_not_passed_on() -> None:
    """A lab of a program that ignores SIGINT, as one in the background does, still runs commands that heed it."""
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from netlab import Lab\n"
        "with Lab('x') as lab: print(lab.add_host('h').run('grep', 'SigIgn', '/proc/self/status').stdout)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["SigIgn:", "0000000000000000"]


def test_input_and_output_of_ten_megabytes(red: Host) -> None:
    """10 MB in and 10 MB out at once, on both streams, arrive whole."""
    data = os.urandom(10_000_000)
    process = red.popen("tee", "/dev/stderr", stdin=PIPE)
    out, err = process.communicate(data, timeout=30)
    assert hashlib.sha256(out).digest() == hashlib.sha256(err).digest() == hashlib.sha256(data).digest()
    assert red.run("wc", "-c", input="grün").stdout == "5\n"


def test_a_command_that_does_not_read_is_no_obstacle(red: Host) -> None:
    """A command that ends without reading its input ends the run too."""
    assert red.run("true", input=b"x" * 1_000_000, timeout=10).ok


def test_without_input_a_command_reads_nothing(red: Host) -> None:
    """A command that asks for input without any gets the end of it, and does not wait for the notebook."""
    assert red.run("cat", timeout=10).stdout == ""


def test_time_is_limited(red: Host) -> None:
    """A command that takes too long is ended with its children, and what it printed until then is kept."""
    with pytest.raises(CommandTimeoutError, match=r"in red was ended: it took longer than 0\.3 s\.") as caught:
        red.run("sh", "-c", "echo first; sleep 1000 & sleep 1000", timeout=0.3)
    assert caught.value.stdout == "first\n"
    assert until(lambda: not running(red))


def test_a_command_with_a_daemon_does_not_wait_for_it(red: Host) -> None:
    """A run ends with its command, though a daemon that closed its streams lives on in the lab."""
    assert red.run("sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 </dev/null & echo started", timeout=10).ok
    assert until(lambda: "sleep 1000" in running(red))


def test_a_live_process(red: Host) -> None:
    """A process runs beside us: it has a pid in the lab, takes signals, and says how it ended."""
    process = red.popen("sleep", "1000")
    assert process.poll() is None
    assert repr(process) == "<sleep 1000 in red, running>"
    assert str(process.pid) in red.run("pgrep", "-x", "sleep").stdout.split()
    with pytest.raises(CommandTimeoutError, match=r"sleep 1000 in red has not ended after 0\.05 s"):
        process.wait(0.05)
    with pytest.raises(CommandTimeoutError, match="has not ended"):
        process.communicate(timeout=0.05)
    process.terminate()
    assert process.wait(5) == -signal.SIGTERM
    assert process.wait() == process.poll() == -signal.SIGTERM
    assert repr(process) == "<sleep 1000 in red, ended by SIGTERM>"
    process.terminate()
    process.close()
    process.close()


def test_a_process_is_a_context_manager(red: Host) -> None:
    """Leaving the block ends the process and all that it started in its group."""
    with red.popen("sh", "-c", "sleep 1000 & sleep 1000") as process:
        assert until(lambda: running(red).count("sleep 1000") == 2)
    assert process.returncode == -signal.SIGKILL
    assert until(lambda: not running(red))


def test_a_conversation_with_a_process(red: Host) -> None:
    """Pipes give answers as they come, not only at the end."""
    with red.popen("sh", "-c", "while read line; do echo got $line; done", stdin=PIPE, stderr=STDOUT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for word in (b"one", b"two"):
            process.stdin.write(word + b"\n")
            assert process.stdout.readline() == b"got " + word + b"\n"


def test_streams_go_to_files(red: Host, tmp_path: Path) -> None:
    """Files and descriptors can stand in for pipes."""
    with (tmp_path / "in").open("w+b") as given, (tmp_path / "out").open("w+b") as printed:
        given.write(b"hello\n")
        given.seek(0)
        assert red.popen("cat", stdin=given, stdout=printed.fileno()).wait(5) == 0
    assert (tmp_path / "out").read_bytes() == b"hello\n"


def test_processes_of_the_lab_see_only_the_lab(red: Host) -> None:
    """In the lab's process tree there are its first process and what runs in it."""
    assert red.run("cat", "/proc/1/comm").ok
    assert len(red.run("ps", "-e", "-o", "pid=").stdout.split()) == 2


def test_orphans_are_collected(red: Host) -> None:
    """Processes that lose their parent leave no zombie."""
    assert red.run("sh", "-c", "for i in 1 2 3 4 5; do (sleep 0.01 &) ; done").ok
    assert until(lambda: "Z" not in red.run("ps", "-e", "-o", "stat=").stdout and not running(red))


def test_many_threads_may_ask_at_once(lab: Lab) -> None:
    """Commands and changes from eight threads at once all get their own answer."""
    hosts = [lab.add_host(f"h{number}") for number in range(8)]
    wrong: list[str] = []

    def work(host: Host) -> None:
        for _ in range(10):
            if (name := host.run("hostname").stdout.strip()) != host.name:
                wrong.append(f"{host.name} got {name}")
            host.add_bridge("br0")
            host.delete_link("br0")

    threads = [threading.Thread(target=work, args=(host,)) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.fixture
def alarm() -> Iterator[None]:
    """Interrupt this program from the outside, as Jupyter does: the test sets the timer."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_an_interrupt_ends_the_command_and_not_the_lab(red: Host, alarm: None) -> None:
    """An interrupt while a command runs ends it, raises KeyboardInterrupt, and leaves the lab whole."""
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    with pytest.raises(KeyboardInterrupt):
        red.run("sh", "-c", "sleep 1000; echo no")
    assert until(lambda: not running(red))
    assert red.run("echo", "alive").stdout == "alive\n"


# A pipe that was just made when the interrupt came is left to the garbage collector, which says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_at_any_moment_leaves_the_answers_in_order(red: Host, alarm: None) -> None:
    """However an interrupt falls into a stream of requests, each later answer belongs to its own question."""
    interrupts = 0
    for round_ in range(60):
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0005 + 0.0002 * round_)
            while True:
                red.run("true")
                red.sysctl["net.ipv4.ip_forward"] = 0
                red.lab.snapshot()
        except KeyboardInterrupt:
            interrupts += 1
        assert red.sysctl["net.ipv4.ip_default_ttl"] == "64"
        assert red.hostname == "red"
        assert red.lab.snapshot()["red"].interface("lo").index == 1
    assert interrupts == 60


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupted_host_can_be_added_again(lab: Lab, alarm: None) -> None:
    """However an interrupt falls into the making of hosts, each is there whole or not at all."""
    for round_ in range(30):
        with contextlib.suppress(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.0003 + 0.0001 * round_)
            for number in itertools.count():
                lab.add_host(f"h{round_}-{number}")
        last = len([name for name in lab.hosts if name.startswith(f"h{round_}-")])
        assert lab.add_host(f"h{round_}-{last}").run("true").ok
        assert set(lab.sandbox.request("info")[0]["hosts"]) == set(lab.hosts) == {h.name for h in lab.snapshot().hosts}


def test_descriptors_above_1023_are_no_obstacle(red: Host) -> None:
    """A program with more open files than select(2) can name runs commands as ever."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2048:
        pytest.skip("the limit of open files (ulimit -n) cannot be raised to 2048 here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    kept = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        process = red.popen("true")
        assert process.wait(5) == 0
        assert red.run("echo", "hello", timeout=5).stdout == "hello\n"
    finally:
        for number in kept:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_long_command_line_passes(red: Host) -> None:
    """Half a megabyte of arguments and environment reaches the command; what exec refuses is an error."""
    words = ["x" * 1000] * 500
    assert len(red.run("echo", *words).stdout) == 500 * 1001
    with pytest.raises(CommandError, match=r"^Host 'red' could not start .{1,300} \(E2BIG"):
        red.run("echo", "x" * 1_000_000)
    assert red.run("true").ok


def test_forgotten_processes_close_their_pipes(red: Host) -> None:
    """A process object that nobody keeps gives its descriptors back, while the process itself goes on."""
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names only
    for _ in range(20):
        red.popen("sleep", "1000", stdin=PIPE)
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    assert running(red).count("sleep 1000") == 20


def test_a_command_starts_fast(red: Host) -> None:
    """Starting a command takes milliseconds, so that a cell with a hundred of them is bearable."""
    began = time.monotonic()
    for _ in range(50):
        red.run("true")
    assert time.monotonic() - began < 5
