"""The magics in a real ipykernel: what a reader of a chapter types, and what comes back."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ipykernel_driver import Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipykernel_driver import Cell

#: In what our processes are called, for they are looked for on all of this machine.
MARK = os.getpid()

pytestmark = [pytest.mark.notebook, pytest.mark.kernel]


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    """Return a fresh kernel with the extension loaded and a lab of two hosts."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    kernel = Kernel(tmp_path)
    cell = kernel.run(
        "%load_ext netlab\n"
        "from netlab import Lab\n"
        "lab = Lab('two-hosts')\n"
        "red, blue = lab.add_host('red'), lab.add_host('blue')\n"
        "lab.connect(red, blue, '10.0.0.1/24', '10.0.0.2/24')"
    )
    assert cell.reply["status"] == "ok", cell.error
    yield kernel
    kernel.close()


def processes(mark: str) -> list[str]:
    """Return the command lines of this machine's processes that contain a mark."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # it ended while we looked
            if mark in line:
                found.append(line)
    return found


def interrupt_at(kernel: Kernel, text: str, code: str) -> Cell:
    """Run a cell and press Interrupt as soon as a text was printed."""
    pressed: list[str] = []

    def press(seen: str) -> None:
        if text in seen and not pressed:
            pressed.append(seen)
            kernel.manager.interrupt_kernel()

    return kernel.run(code, on_text=press)


def test_a_cell_runs_in_the_host(kernel: Kernel) -> None:
    """The script sees the host's interfaces and name, not the machine's, and stdin is empty."""
    cell = kernel.run("%%host red\nhostname\nip -4 -br addr show eth0\ncat\nping -c1 10.0.0.2")
    assert cell.reply["status"] == "ok", cell.error
    assert cell.text.startswith("red\n")
    assert re.search(r"eth0\S*\s+UP\s+10\.0\.0\.1/24", cell.text)
    assert "1 received" in cell.text


def test_a_line_runs_in_the_host(kernel: Kernel) -> None:
    """The rest of the line is bash: options belong to the command, pipes work, nothing is returned."""
    cell = kernel.run("%host red ip -br addr | grep -c eth0")
    assert cell.text == "1\n"
    assert not [kind for _, kind, _ in cell.outputs if kind == "execute_result"]
    assert kernel.run("%host --timeout 9 two-hosts/blue hostname").text == "blue\n"


def test_output_comes_as_it_is_written_and_in_order(kernel: Kernel) -> None:
    """Standard output and error are one stream, each line there before the script goes on."""
    script = "echo one\necho two >&2\necho three\nsleep 1\nprintf 'fo'\nprintf 'ur\\n' >&2\npython3 -c 'print(5)'"
    cell = kernel.run(f"%%host red\n{script}")
    assert cell.text == "one\ntwo\nthree\nfour\n5\n"
    assert cell.time_of("four") - cell.time_of("three") > 0.8


def test_programs_that_buffer_for_a_pipe_are_seen_at_once(kernel: Kernel) -> None:
    """The script prints to a terminal, so that C programs write each line when it is ready."""
    cell = kernel.run("%%host red\n(echo first; sleep 1; echo second) | sed s/^/:/")
    assert cell.text == ":first\n:second\n"
    assert cell.time_of(":second") - cell.time_of(":first") > 0.8


def test_a_failing_line_raises_and_is_named(kernel: Kernel) -> None:
    """The script ends there; the message has the line, the command and the status, without a traceback."""
    cell = kernel.run("%%host red\necho before\n\nip link set nope up  # there is none\necho after")
    assert cell.reply["ename"] == "CommandError"
    assert cell.text.startswith("before\n")
    assert "Cannot find device" in cell.text
    assert "after" not in cell.text
    plain = re.sub(r"\x1b\[\d*m", "", cell.error)
    assert plain == ("CommandError: Line 3 failed in host 'red' (exit status 1): ip link set nope up  # there is none")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("false | cat\ntrue", "Line 1 failed in host 'red' (exit status 1): false | cat"),
        ("f() {\n  false\n}\nf\n", "Line 2 failed in host 'red' (exit status 1): false"),
        ("x=$(false; true)\nexit 3", "The commands in host 'red' failed (exit status 3)."),
        ("echo a\nif then", "The commands in host 'red' failed (exit status 2)."),
        ("kill -TERM $$\n", "The commands in host 'red' failed (ended by SIGTERM)."),
        ("no-such-command", "Failed in host 'red' (exit status 127): no-such-command"),
    ],
)
def test_what_went_wrong_is_told_apart(kernel: Kernel, script: str, words: str) -> None:
    """Pipes and functions name their line; an exit, a signal and a script that bash cannot read say what they are."""
    cell = kernel.run(f"%%host red\n{script}")
    assert cell.reply["ename"] == "CommandError"
    assert cell.reply["evalue"] == words


def test_no_raise_goes_on_after_a_failing_line(kernel: Kernel) -> None:
    """As in a terminal: each line runs, and nothing is raised."""
    cell = kernel.run("%%host red --no-raise\nping -c1 -W1 10.9.9.9\necho after")
    assert cell.reply["status"] == "ok"
    assert cell.text.endswith("after\n")


def test_a_timeout_ends_the_script(kernel: Kernel) -> None:
    """When the time is up, everything the script started in the foreground is ended, and the cell raises."""
    cell = kernel.run(f"%%host red --timeout 0.5\necho begin\nsleep 4711.1{MARK}")
    assert cell.reply["ename"] == "CommandTimeoutError"
    assert cell.text == "begin\n"
    assert not processes(f"sleep 4711.1{MARK}")


def test_interrupt_ends_the_script_and_not_the_lab(kernel: Kernel) -> None:
    """Interrupt reaches what runs in the host; then the same lab goes on."""
    cell = interrupt_at(kernel, "begin", f"%%host red\necho begin\nexec sleep 4711.2{MARK}")
    assert cell.reply["ename"] == "KeyboardInterrupt"
    assert not processes(f"sleep 4711.2{MARK}")
    assert kernel.run("%host red ping -c1 10.0.0.2").reply["status"] == "ok"


def test_a_script_that_ignores_interrupts_is_ended(kernel: Kernel) -> None:
    """After a moment without an answer to SIGINT comes SIGKILL."""
    cell = interrupt_at(kernel, "begin", f"%%host red\ntrap '' INT\necho begin\nsleep 4711.3{MARK}")
    assert cell.reply["ename"] == "KeyboardInterrupt"
    assert not processes(f"sleep 4711.3{MARK}")
    assert kernel.run("%host red hostname").text == "red\n"


def test_a_background_process_goes_on(kernel: Kernel) -> None:
    """The cell ends with its script; what that left running can still print, and dies with the lab only."""
    cell = kernel.run("%%host blue\n(while sleep 0.05; do echo tick; done) &\necho pid $!")
    assert cell.reply["status"] == "ok"
    pid = cell.text.split()[1]
    later = kernel.run(f"import time\ntime.sleep(1)\nprint(blue.run('kill', '-0', '{pid}').ok)")
    assert later.text == "True\n"
    assert kernel.late[cell.ident].count("tick\n") > 5, "its output belongs under its own cell"


def test_wrong_use_is_answered_in_words(kernel: Kernel) -> None:
    """A wrong option or host is an error of use; what is right is in the message."""
    assert "red, blue, two-hosts/red, two-hosts/blue" in kernel.run("%host green hostname").error
    assert "say in which host" in kernel.run("%%host\nhostname").error + kernel.run("%%host\nhostname").text
    cell = kernel.run("%%host red --nope\nhostname")
    assert "--nope" in cell.text + cell.error
    assert "--no-raise" in kernel.run("%%host -h\n\n").text


def test_the_newest_lab_wins_and_others_have_full_names(kernel: Kernel) -> None:
    """A bare name means the newest open lab with that host; LAB/HOST and --lab are exact."""
    kernel.run("newer = Lab('newer'); newer.add_host('red')")
    assert kernel.run("%host red ip netns list | wc -l").text.strip() == "1"
    assert kernel.run("%host two-hosts/red ip netns list | wc -l").text.strip() == "2"
    assert kernel.run("%host --lab two-hosts red ip netns list | wc -l").text.strip() == "2"
    assert kernel.run("%host blue hostname").text == "blue\n"
    kernel.run("newer.close()")
    assert kernel.run("%host red ip netns list | wc -l").text.strip() == "2"


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("%%host re", ["red"]),
        ("%host b", ["blue"]),
        ("%%host two-hosts/", ["two-hosts/blue", "two-hosts/red"]),
        ("%%host --lab two", ["two-hosts"]),
        ("%%host red --no", ["--no-raise"]),
        ("x = 1\n%host re", ["red"]),
    ],
)
def test_names_are_completed(kernel: Kernel, typed: str, expected: list[str]) -> None:
    """Tab offers hosts, labs and options: the same request that JupyterLab sends."""
    assert kernel.complete(typed) == expected


def test_netlink_works_beside_a_running_event_loop(kernel: Kernel) -> None:
    """Jupyter runs each cell inside its event loop; building, reading and closing a lab must not need one."""
    code = (
        "import asyncio\n"
        "assert asyncio.get_running_loop().is_running()\n"
        "with Lab('inner') as inner:\n"
        "    a, b = inner.add_host('a'), inner.add_host('b')\n"
        "    inner.connect(a, b, '10.1.0.1/24', '10.1.0.2/24')\n"
        "    before = inner.snapshot()\n"
        "    assert a.run('ping', '-c1', '10.1.0.2').ok\n"
        "    a.set_link('eth0', up=False)\n"
        "    print(inner.snapshot() - before)\n"
    )
    cell = kernel.run(code)
    assert cell.reply["status"] == "ok", cell.error
    assert "a: eth0 went down" in cell.text
    waiting = kernel.run("await asyncio.sleep(0.1)\nprint(len(lab.snapshot().hosts))")
    assert waiting.text == "2\n", waiting.error


def test_restart_leaves_nothing(kernel: Kernel) -> None:
    """Restart Kernel ends the lab with all that ran in it."""
    kernel.run(f"red.popen('sleep', '4711.4{MARK}')")
    assert processes(f"sleep 4711.4{MARK}")
    kernel.restart()
    assert kernel.run("%load_ext netlab\n%host red hostname").reply["ename"] == "NotFoundError"
    assert not processes(f"sleep 4711.4{MARK}")


def test_kubectl_works_on_the_newest_cluster_or_on_the_one_named(kernel: Kernel) -> None:
    """The cell is what is applied; names of the notebook may stand in the line; a mistake is told in one line."""
    made = "from netlab import Cluster\none, two = (Cluster(nodes=1, name=name) for name in ('one', 'two'))"
    assert kernel.run(made).reply["status"] == "ok"
    manifest = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}"
    assert kernel.run(f"%%kubectl apply -f -\n{manifest}").text.strip() == "namespace/shop created"
    assert kernel.run("wanted = 'shop'\n%kubectl get ns {wanted} -o name").text.strip() == "namespace/shop"
    labelled = kernel.run("""%kubectl patch ns {wanted} -p '{"metadata": {"labels": {"for": "{two.lab.name}"}}}'""")
    assert labelled.text.strip() == "namespace/shop patched"
    assert "for=two" in kernel.run("%kubectl get ns --show-labels").text
    assert "no attribute 'nothing'" in kernel.run("%kubectl get ns {one.nothing}").text
    missing = kernel.run("%kubectl --context one get ns shop")
    assert missing.reply["ename"] == "NotFoundError"
    assert "Traceback" not in missing.error
    assert "node-1" in kernel.run("%kubectl --context {one.lab.name} get nodes").text
    assert "It has: two, one." in kernel.run("%kubectl --context three get nodes").error
