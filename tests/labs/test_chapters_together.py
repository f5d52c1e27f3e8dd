"""Chapters that are interrupted, restarted, or run by two people at once."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import claims
import pytest
from chapters import LABS, Run, begin, exercises, in_a_loop, read, solved
from ipykernel_driver import Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.kernel, pytest.mark.notebook]

CHAPTER = LABS / "01-one-packet.ipynb"
OURS = {"one-packet", "01-two-bare-hosts", "01-without-a-question", "01-a-minute-ago"}
#: Cells that do nothing but wait for an answer that does not come; they are left out on the way to another cell.
WAITING = {"nobody", "deaf", "lost", "symptom"}
#: Cells that take some hundredths of a second at least, so that there is a middle; and seconds until it is reached.
LONG = [
    "lab",
    "loopbacks",
    "first-request",
    "three-witnesses",
    "bare",
    "question",
    "broken",
    "check-fix",
    *sorted(WAITING),
]
SOONEST, LATEST = 0.003, 0.008
SEED = 1


@pytest.fixture
def kernel(tmp_path: Path, machine: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    """Return a fresh kernel of a reader without progress; afterwards nothing may be left on the machine."""
    for name in ("HOME", "XDG_DATA_HOME", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    kernel = Kernel(tmp_path)
    yield kernel
    kernel.close()


def cells() -> list[Any]:
    """Return the code cells of the chapter."""
    return [cell for cell in read(CHAPTER).cells if cell.cell_type == "code"]


def run_all(kernel: Kernel, until: str = "") -> None:
    """Run the cells from the top, up to one with an id or to the end; each must succeed."""
    for cell in cells():
        if cell.id == until:
            return
        if cell.id not in WAITING:
            done = kernel.run(cell.source)
            assert done.reply["status"] == "ok", f"{cell.id}: {done.error}"


def source(cell_id: str) -> str:
    """Return the source of a cell."""
    (found,) = (cell.source for cell in cells() if cell.id == cell_id)
    return str(found)


def labs(kernel: Kernel) -> set[str]:
    """Return the names of the labs that the kernel holds."""
    return set(
        kernel.run("from netlab.lab import living_labs; print(*(lab.name for lab in living_labs()))").text.split()
    )


def owned(pid: int) -> list[str]:
    """Return the sockets of the labs that a process owns."""
    return [
        line for line in Path("/proc/net/unix").read_text(encoding="utf-8").splitlines() if f"@netlab/{pid}/" in line
    ]


def test_interrupt_and_run_all(kernel: Kernel) -> None:
    """Interrupt in the middle of a cell, then Run All in the same kernel: every cell works, time and again."""
    drawn, pid = random.Random(SEED), kernel.pid  # noqa: S311 - not for secrets
    for chosen in drawn.sample(LONG, 4):
        run_all(kernel, until=chosen)
        middle = drawn.uniform(SOONEST, LATEST)
        timer = threading.Timer(middle, os.kill, (pid, signal.SIGINT))
        done = kernel.run(source(chosen), on_start=timer.start)
        timer.join()
        assert done.reply.get("ename") == "KeyboardInterrupt", (
            f"{chosen} after {middle:.4f} s: {done.reply} {done.error}"
        )
    run_all(kernel)
    assert labs(kernel) == OURS
    listed = kernel.run("%host one-packet/red ip netns list").text.splitlines()
    assert {line.split()[0] for line in listed} == {"red", "blue"}


def test_restart_and_run_all(kernel: Kernel) -> None:
    """Restart in the middle of a cell: at once nothing of the labs is left, and Run All works in the new kernel."""
    drawn = random.Random(SEED)  # noqa: S311 - not for secrets
    for chosen in drawn.sample(LONG, 2):
        run_all(kernel, until=chosen)
        before = kernel.pid
        assert owned(before) or chosen == "lab"
        kernel.client.execute(source(chosen))
        time.sleep(drawn.uniform(SOONEST, LATEST))
        kernel.restart()
        assert not owned(before), chosen
    run_all(kernel)
    assert labs(kernel) == OURS


#: Each waits for the other, so that both look while both labs are there.
MEET = """
import json, time
from pathlib import Path

def meet(name):
    Path({folder!r}, name + {me!r}).touch()
    while not Path({folder!r}, name + {other!r}).exists():
        time.sleep(0.05)

from netlab.lab import living_labs
meet("ready-")
found = {{
    "inodes": [host.state().inode for lab in living_labs() for host in lab.hosts.values()],
    "names": [line.split()[0] for line in red.run("ip", "netns", "list", check=True).stdout.splitlines()],
    "processes": red.run("ps", "-e", "-o", "args=", check=True).stdout.splitlines(),
}}
meet("seen-")
print(json.dumps(found))
"""


async def meet(meeting: Path, folders: dict[str, Path]) -> list[Run]:
    """Run the chapter in both folders at the same time."""
    return await asyncio.gather(
        *(
            begin(CHAPTER, folders[me], last=MEET.format(folder=str(meeting), me=me, other=other))
            for me, other in (("ada", "ben"), ("ben", "ada"))
        )
    )


def test_two_people_at_once(machine: None, tmp_path: Path) -> None:
    """Two readers of one chapter on one machine: all of it works for both, and neither sees the other's hosts."""
    meeting = tmp_path / "meeting"
    folders = {me: tmp_path / me for me in ("ada", "ben")}
    for folder in (meeting, *folders.values()):
        folder.mkdir()
    runs = in_a_loop(meet(meeting, folders))
    views = [json.loads(done.text("last")) for done in runs]
    for done, view in zip(runs, views, strict=True):
        claims.check(CHAPTER.stem, done)
        for _, check, _ in exercises(done.notebook):
            assert done.text(solved(check.id)).startswith(("Done: ", "Mended: "))
        assert sorted(view["names"]) == ["blue", "red"]
        assert sum("echo.py" in line for line in view["processes"]) == 1, "its own web server, and no other"
    assert not set(views[0]["inodes"]) & set(views[1]["inodes"])
    assert len(set(views[0]["inodes"])) == 8
