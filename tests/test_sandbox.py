from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fingerprint import until

from netlab import ClosedError, Lab, LabError, SandboxError
from netlab.kernel import sandbox as sandbox_module
from netlab.kernel.sandbox import explain_refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("machine")]

HERE = Path(__file__).parent
#: What the programs of these tests begin with: a lab with a host, a command, and a daemon that left its parent.
START = """
import os, signal, sys, time
from netlab import Lab
lab = Lab("program")
host = lab.add_host("h")
process = host.popen("sleep", "1000")
host.run("sh", "-c", "setsid sleep 1001 >/dev/null 2>&1 </dev/null &", check=True)
"""


@pytest.fixture
def programs() -> Iterator[list[subprocess.Popen[str]]]:
    """Collect the programs of a test, and end them after it."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for program in started:
        program.kill()
        program.communicate()


def start(programs: list[subprocess.Popen[str]], text: str) -> subprocess.Popen[str]:
    """Start a program that prints "ready" at the end of its text, and wait for that."""
    program = subprocess.Popen(
        [sys.executable, "-c", f"{START}{text}\nprint('ready', flush=True)\nwhile True: time.sleep(1000)"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    programs.append(program)
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    return program


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the thread has ended since the list was read
            found += [int(word) for word in (thread / "children").read_text(encoding="ascii").split()]
    return found


def first_processes(owner: int) -> tuple[int, int]:
    """Return the process between an owner and its newest sandbox, and the sandbox's first process."""
    middle = max(
        pid for pid in children(owner) if "_start.main(" in Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
    )
    (first,) = children(middle)
    return middle, first


def descriptors(pid: int) -> list[str]:
    """Return what a process has open."""
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one with which we look
            found.append(str(path.readlink()))
    return sorted(link for link in found if not link.startswith("/proc/"))


def alive(pid: int) -> bool:
    """Tell whether a process runs, and is not only waiting to be collected."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}


def test_nothing_is_left_of_labs_killed_at_random() -> None:
    """Labs of 50 hosts, killed with SIGKILL at 50 random instants, leave the machine as it was each time."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)])}
    done = subprocess.run(
        [sys.executable, HERE / "killed_labs.py", *map(str, range(50))],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == 50
    assert not [result for result in results if result["left"]]
    slowest = max(result["seconds"] for result in results)
    print(f"the slowest of 50 killed labs was gone after {slowest * 1000:.0f} ms")  # noqa: T201 - for the log


def test_close_ends_everything() -> None:
    """After close no process, descriptor or socket of the lab is left in this program."""
    gc.collect()
    before = descriptors(os.getpid())
    lab = Lab("closing")
    hosts = [lab.add_host(f"h{number}") for number in range(10)]
    lab.connect(hosts[0], hosts[1], "10.0.0.1/24", "10.0.0.2/24")
    process = hosts[0].popen("sleep", "1000")
    hosts[1].run("sh", "-c", "setsid sleep 1001 >/dev/null 2>&1 </dev/null &", check=True)
    lab.snapshot()
    lab.watch(lambda _: None).close()
    middle, first = first_processes(os.getpid())
    lab.close()
    assert not alive(first)
    assert not alive(middle)
    assert process.wait(5) == -signal.SIGKILL
    assert lab.closed
    del lab, hosts, process
    gc.collect()
    after = descriptors(os.getpid())
    assert after == before


def test_a_block_that_raises_ends_its_lab() -> None:
    """An exception in the with-block closes the lab and goes on."""
    seen: list[int] = []

    def work() -> None:
        with Lab("block") as lab:
            lab.add_host("red").popen("sleep", "1000")
            seen.append(first_processes(os.getpid())[1])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert not alive(seen[0])


def test_a_forgotten_lab_is_collected() -> None:
    """A lab that nobody knows any more is gone after garbage collection."""
    lab = Lab("forgotten")
    lab.add_host("red").popen("sleep", "1000")
    _, first = first_processes(os.getpid())
    assert alive(first)
    del lab
    gc.collect()
    assert until(lambda: not alive(first))


def test_the_end_of_a_program_is_the_end_of_its_labs() -> None:
    """A program that ends, by itself or by an exception, without close, ends its labs."""
    for ending, code in (("sys.exit(0)", 0), ("raise ValueError", 1), ("os._exit(3)", 3)):
        done = subprocess.run([sys.executable, "-c", START + ending], capture_output=True, text=True, check=False)
        assert done.returncode == code


def test_kill_of_the_owner(programs: list[subprocess.Popen[str]]) -> None:
    """SIGKILL of the owner ends its commands and daemons."""
    program = start(programs, "")
    middle, first = first_processes(program.pid)
    program.kill()
    assert until(lambda: not alive(first) and not alive(middle))


def test_kill_of_the_process_in_the_middle() -> None:
    """When the process between owner and sandbox is killed the lab ends, the owner hears it, and close still works."""
    lab = Lab("middle")
    red = lab.add_host("red")
    process = red.popen("sleep", "1000")
    middle, first = first_processes(os.getpid())
    os.kill(middle, signal.SIGKILL)
    assert process.wait(5) == -signal.SIGKILL
    assert until(lambda: not alive(first))
    with pytest.raises(ClosedError, match="The sandbox of this lab has ended"):
        red.run("true")
    with pytest.raises(ClosedError):
        lab.add_host("blue")
    with pytest.raises(LabError):
        lab.snapshot()
    lab.close()
    assert lab.closed


def test_kill_of_the_first_process(caplog: pytest.LogCaptureFixture) -> None:
    """When the sandbox's first process is killed all of the lab ends, and a watcher with it."""
    lab = Lab("first")
    red = lab.add_host("red")
    lab.watch(lambda _: None)
    process = red.popen("sleep", "1000")
    _, first = first_processes(os.getpid())
    os.kill(first, signal.SIGKILL)
    assert process.wait(5) == -signal.SIGKILL
    with pytest.raises(ClosedError):
        red.run("true")
    thread = lab.watcher._thread
    if thread is not None:
        thread.join(5)
        assert not thread.is_alive()
    lab.close()


def test_a_command_cannot_end_the_lab(lab: Lab) -> None:
    """The lab's own root cannot kill the first process from inside."""
    red = lab.add_host("red")
    red.run("sh", "-c", "kill -9 1; kill -TERM 1; kill -INT 1; kill -HUP 1")
    assert red.run("true").ok


def test_a_forked_child_does_not_keep_a_lab(programs: list[subprocess.Popen[str]]) -> None:
    """A child that the owner forked lives on after it, and the lab does not."""
    text = "child = os.fork()\nif child == 0:\n    time.sleep(1000)\nprint(child)"
    program = subprocess.Popen(
        [sys.executable, "-c", f"{START}{text}\nprint('ready', flush=True)\ntime.sleep(1000)"],
        stdout=subprocess.PIPE,
        text=True,
    )
    programs.append(program)
    assert program.stdout is not None
    child = int(program.stdout.readline())
    assert program.stdout.readline() == "ready\n"
    try:
        # It lets go of them as the first thing it does, which may be a little later than our look.
        assert until(lambda: not [link for link in descriptors(child) if link.startswith(("net:", "socket:"))])
        middle, first = first_processes(program.pid)
        program.kill()
        assert until(lambda: not alive(first) and not alive(middle))
        assert alive(child)
    finally:
        os.kill(child, signal.SIGKILL)
        until(lambda: not alive(child))


def test_a_forked_child_does_not_end_the_lab() -> None:
    """A forked child that ends, or closes its copy of the lab, leaves the lab to the owner."""
    text = """
for leave in (lambda: sys.exit(0), lambda: (lab.close(), sys.exit(0))):
    child = os.fork()
    if child == 0:
        leave()
    os.waitpid(child, 0)
    print(host.run("echo", "alive").stdout, end="")
child = os.fork()
if child == 0:
    try:
        host.run("true")
    except Exception as error:
        print(type(error).__name__, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""
    done = subprocess.run([sys.executable, "-c", START + text], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["alive", "alive", "ClosedError"]
    assert done.stderr == ""


def test_an_interrupt_of_the_process_group_spares_the_lab(programs: list[subprocess.Popen[str]]) -> None:
    """SIGINT to the owner's whole process group, as Jupyter and terminals send it, does not reach the lab."""
    text = """
def answer(*_):
    print(host.run("echo", "alive").stdout.strip(), process.poll(), flush=True)
signal.signal(signal.SIGINT, answer)
"""
    program = start(programs, text)
    os.killpg(program.pid, signal.SIGINT)
    assert program.stdout is not None
    assert program.stdout.readline() == "alive None\n"


def test_labs_of_several_programs_do_not_meet(programs: list[subprocess.Popen[str]]) -> None:
    """Programs with labs of the same name, and several of them each, end one by one."""
    text = "more = Lab('program'); more.add_host('h')"
    first, second = start(programs, text), start(programs, text)
    firsts = [first_processes(program.pid)[1] for program in (first, second)]
    first.kill()
    assert until(lambda: not alive(firsts[0]))
    assert alive(firsts[1])
    second.kill()
    assert until(lambda: not alive(firsts[1]))


def test_a_lab_has_the_process_tree_promised(lab: Lab) -> None:
    """The sandbox leads its own user, mount, PID, UTS, IPC and network namespaces, in a session of its own."""
    _, first = first_processes(os.getpid())
    lab.add_host("red")
    kinds = ("user", "mnt", "pid", "uts", "ipc", "net")
    ours = {kind: str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in kinds}
    links = lab.host("red").run("readlink", *(f"/proc/self/ns/{kind}" for kind in kinds), check=True).stdout.split()
    theirs = dict(zip(kinds, links, strict=True))
    assert all(ours[kind] != theirs[kind] for kind in ours)
    assert os.getsid(first) != os.getsid(0)


def test_replies_longer_than_a_message_arrive(lab: Lab) -> None:
    """A reply that no socket buffer can hold comes whole, and does not end the sandbox."""
    lab.add_host("red")
    keys = ["net/dev"] * 5000
    values = lab.sandbox.request("peek", names=["red"], keys=keys)[0]["values"]["red"]
    assert len(values) == 5000
    assert sum(map(len, values)) > 1 << 20


def test_the_sandbox_survives_nonsense(lab: Lab) -> None:
    """A request that the sandbox cannot serve is an error with words, and the next one works."""
    red = lab.add_host("red")
    for request in (
        {"operation": "no_such"},
        {"operation": "add_host"},
        {"operation": "write_file", "name": "red", "file": "x"},
    ):
        with pytest.raises(LabError):
            lab.sandbox.request(request.pop("operation"), **request)
    assert red.run("true").ok


def test_a_visitor_who_talks_nonsense_is_shown_out(lab: Lab) -> None:
    """The lab's socket answers questions of the same user, and nothing else; the lab goes on."""
    import socket  # noqa: PLC0415 - one test is a visitor

    red = lab.add_host("red")
    for message in (b"nonsense", b"[]", b'{"op": "remove_host", "name": "red"}', b'{"op": "spawn"}'):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as visitor:
            visitor.connect("\0" + lab.sandbox.address)
            visitor.send(message)
            assert select.select([visitor], [], [], 5)[0]
            assert visitor.recv(1024) == b""
    assert red.run("true").ok


@pytest.mark.parametrize(
    ("number", "call", "switches", "advice"),
    [
        (1, "unshare(0x10000000)", {"apparmor_restrict_unprivileged_userns": "1"}, "sudo sysctl -w kernel.apparmor"),
        (
            1,
            "unshare(0x10000000)",
            {"unprivileged_userns_clone": "0"},
            "sudo sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (28, "unshare(0x10000000)", {}, "sudo sysctl -w user.max_user_namespaces"),
        (1, "unshare(0x10000000)", {"max_user_namespaces": "0"}, "sudo sysctl -w user.max_user_namespaces"),
        (1, "mount proc on /proc", {}, "--security-opt systempaths=unconfined"),
        (1, "unshare(0x10000000)", {}, "--security-opt seccomp=containers/seccomp.json"),
        (5, "python", {}, "netlab doctor"),
    ],
)
def test_a_refused_sandbox_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, number: int, call: str, switches: dict[str, str], advice: str
) -> None:
    """Each known reason why a sandbox cannot be made comes with its remedy."""
    monkeypatch.setattr(sandbox_module, "_switch", lambda path: switches.get(Path(path).name, ""))
    text = explain_refusal(number, "Operation not permitted", call)
    assert text.startswith(f"The sandbox cannot be made: {call}: Operation not permitted (E")
    assert advice in text


def test_a_machine_without_user_namespaces_says_so(lab: Lab) -> None:
    """In a lab that may make no further user namespaces, making a lab fails with the switch to turn."""
    red = lab.add_host("red")
    limit = red.run("sh", "-c", "echo 0 > /proc/sys/user/max_user_namespaces")
    if not limit.ok:
        pytest.skip(f"the limit of user namespaces cannot be set in a lab here: {limit.stderr.strip()}")
    done = red.run(sys.executable, "-c", "from netlab import Lab; Lab('inner')", env={"PYTHONPATH": str(HERE.parent)})
    assert SandboxError.__name__ in done.stderr
    assert "user.max_user_namespaces" in done.stderr
